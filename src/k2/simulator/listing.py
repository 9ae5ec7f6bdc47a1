"""What exchangeInfo says: the symbols, their assets and steps, and the limits of REST."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k2.simulator.market import Instrument, Venue


def exchange_info(venue: Venue, instruments: Sequence[Instrument], now_ms: int, weight_per_minute: int) -> dict[str, object]:
    """The document as an object, with the fields that clients of market data read."""
    describe = _spot_symbol if venue == "spot" else _usdm_symbol
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight_per_minute}
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [limit],
        "exchangeFilters": [],
        "symbols": [describe(instrument) for instrument in instruments],
    }


def _spot_symbol(instrument: Instrument) -> dict[str, object]:
    return {
        "symbol": instrument.symbol,
        "status": instrument.status,
        "baseAsset": instrument.base_asset,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote_asset,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "isSpotTradingAllowed": instrument.status == "TRADING",
        "filters": _filters(instrument),
    }


def _usdm_symbol(instrument: Instrument) -> dict[str, object]:
    return {
        "symbol": instrument.symbol,
        "pair": instrument.symbol.partition("_")[0],
        "contractType": "PERPETUAL",
        "status": instrument.status,
        "baseAsset": instrument.base_asset,
        "quoteAsset": instrument.quote_asset,
        "marginAsset": instrument.quote_asset,
        "filters": _filters(instrument),
    }


def _filters(instrument: Instrument) -> list[dict[str, str]]:
    return [
        {"filterType": "PRICE_FILTER", "tickSize": instrument.tick_size},
        {"filterType": "LOT_SIZE", "stepSize": instrument.lot_size},
    ]
