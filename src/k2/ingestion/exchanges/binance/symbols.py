"""What a symbol is made of: from the exchange's own metadata, or offline from its ending."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

# Assets that Binance quotes prices in, on spot and on futures. Only the offline fallback: metadata comes first.
_DOLLARS = ("USD", "USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "PAX", "USDS", "USD1", "USDE")
_MORE_DOLLARS = ("RLUSD", "XUSD", "BFUSD", "DAI", "UST")
_MONEY = ("EUR", "GBP", "TRY", "BRL", "JPY", "AUD", "ARS", "COP", "CZK", "MXN")
_MORE_MONEY = ("NGN", "PLN", "RON", "RUB", "UAH", "ZAR", "KZT", "IDR")
_MONEY_TOKENS = ("EURI", "AEUR", "BIDR", "IDRT", "BVND", "VAI", "BKRW", "GYEN")
_COINS = ("BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "DOT", "SOL")
_QUOTE_ASSETS = frozenset(_DOLLARS + _MORE_DOLLARS + _MONEY + _MORE_MONEY + _MONEY_TOKENS + _COINS)
_LONGEST_FIRST = tuple(sorted(_QUOTE_ASSETS, key=lambda asset: (-len(asset), asset)))


TRADING = "TRADING"


class SymbolInfo(Struct, frozen=True):
    """A symbol as the exchange describes it. `status` is its word, "TRADING" for a live one, or empty."""

    symbol: str
    base_asset: str
    quote_asset: str
    status: str = ""


class _Listed(Struct, rename="camel"):
    symbol: str
    base_asset: str
    quote_asset: str
    status: str = ""


class _ExchangeInfo(Struct):
    symbols: list[msgspec.Raw]


def quote_asset(symbol: str) -> str:
    """
    The quote asset by the symbol's ending, and "" where none is known.

    The longest ending wins (BTCTUSD is in TUSD, not in USD), unless a shorter one leaves an asset that we know: BNBIDR is BNB in
    IDR, not "BN" in BIDR. The delivery date and the like of a futures symbol (BTCUSDT_250328, BTCUSD_PERP) do not count.
    """
    pair = symbol.upper().partition("_")[0]
    quotes = [quote for quote in _LONGEST_FIRST if pair.endswith(quote) and pair != quote]
    with_known_base = (quote for quote in quotes if pair.removesuffix(quote) in _QUOTE_ASSETS)
    return next(with_known_base, quotes[0] if quotes else "")


def parse_exchange_info(document: bytes) -> dict[str, SymbolInfo]:
    """
    The symbols of an `exchangeInfo` answer, spot or futures. Entries that make no sense are left out.

    Raises:
        ValueError: no JSON, or no list of symbols in it.
    """
    listed = msgspec.json.decode(document, type=_ExchangeInfo).symbols
    infos = filter(None, map(_parse_symbol, listed))
    return {info.symbol: info for info in infos}


def unknown_symbols(wanted: Iterable[str], known: Mapping[str, SymbolInfo]) -> list[str]:
    """The symbols that the exchange does not list, in the order asked for."""
    return [symbol for symbol in wanted if symbol.upper() not in known]


def trading_in(quote_assets: Iterable[str], known: Iterable[SymbolInfo]) -> list[str]:
    """The symbols that trade now and are priced in one of these assets, sorted."""
    wanted = frozenset(quote_assets)
    return sorted(info.symbol for info in known if info.quote_asset in wanted and info.status == TRADING)


def _parse_symbol(raw: msgspec.Raw) -> SymbolInfo | None:
    try:
        listed = msgspec.json.decode(raw, type=_Listed)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return SymbolInfo(listed.symbol, listed.base_asset, listed.quote_asset, listed.status)
