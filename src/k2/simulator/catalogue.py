"""
Every stream of either venue, how often it speaks, and what tells its events.

Source: binance-spot-api-docs, web-socket-streams.md; for USD-M futures the official connectors and frames captured in 2026.
Spot's `!ticker@arr` was retired in March 2026: it is acknowledged and says nothing, so it is not here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from k2.simulator import prices, quotes, tickers
from k2.simulator.candles import CandleTeller
from k2.simulator.intervals import EAST_8_MS, INTERVALS
from k2.simulator.rendering import RENDERERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k2.simulator.lane import Lane
    from k2.simulator.market import Venue

Teller = Callable[["Lane", int], "str | None"]  # what a lane says at a moment
TakeTeller = Callable[["Lane", int, int], "str | None"]  # what it says of a take that is told at a moment


class Timed(NamedTuple):
    """A stream that speaks at whole multiples of its period, or keeps silent there."""

    period_ms: int
    tell: Teller


class AllMarket(NamedTuple):
    """A stream of all symbols: one array, or an event each."""

    period_ms: int
    tell: Teller
    in_array: bool = True


class Catalogue(NamedTuple):
    """A venue's streams: of single takes besides the trades, by time, and of all symbols together."""

    takes: Mapping[str, TakeTeller]
    timed: Mapping[str, Timed]
    all_market: Mapping[str, AllMarket]

    @property
    def kinds(self) -> list[str]:
        """All names: behind the `@` for those of a symbol, whole for those of all. Trades first."""
        return [*_TRADES, *self.takes, *self.timed, *self.all_market]


_TRADES = tuple(dict.fromkeys(kind for _, kind in RENDERERS))
_SPOT_SPEEDS_MS = {"": 1_000, "@100ms": 100}
_USDM_SPEEDS_MS = {"": 250, "@100ms": 100, "@500ms": 500}
_TOPS = (5, 10, 20)
_ARRAY_MS = 1_000


def _spot() -> Catalogue:
    timed = {f"kline_{i}": Timed(_candle_ms(i), CandleTeller("spot", i, _candle_ms(i))) for i in INTERVALS["spot"]}
    timed |= {
        f"kline_{i}@+08:00": Timed(_candle_ms(i), CandleTeller("spot", i, _candle_ms(i), EAST_8_MS)) for i in INTERVALS["spot"]
    }
    for speed, period_ms in _SPOT_SPEEDS_MS.items():
        timed[f"depth{speed}"] = Timed(period_ms, quotes.DepthTeller("spot", period_ms))
        timed |= {f"depth{top}{speed}": Timed(period_ms, quotes.SpotTopTeller(top, period_ms)) for top in _TOPS}
    timed |= {"miniTicker": Timed(1_000, tickers.spot_mini), "ticker": Timed(1_000, tickers.spot_full)}
    timed |= {f"ticker_{window}": Timed(1_000, tickers.rolling(window)) for window in tickers.WINDOWS_MS}
    timed |= {"avgPrice": Timed(1_000, prices.average), "referencePrice": Timed(1_000, prices.reference)}
    all_market = {"!miniTicker@arr": AllMarket(_ARRAY_MS, tickers.if_traded(tickers.spot_mini, _ARRAY_MS))}
    for window in tickers.WINDOWS_MS:
        all_market[f"!ticker_{window}@arr"] = AllMarket(_ARRAY_MS, tickers.if_traded(tickers.rolling(window), _ARRAY_MS))
    return Catalogue({"blockTrade": prices.block_trade, "bookTicker": quotes.spot_quote}, timed, all_market)


def _usdm() -> Catalogue:
    timed = {f"kline_{i}": Timed(250, CandleTeller("usdm", i, 250)) for i in INTERVALS["usdm"]}
    for speed, period_ms in _USDM_SPEEDS_MS.items():
        timed[f"depth{speed}"] = Timed(period_ms, quotes.DepthTeller("usdm", period_ms))
        timed |= {f"depth{top}{speed}": Timed(period_ms, quotes.UsdmTopTeller(top, period_ms)) for top in _TOPS}
    timed |= {"miniTicker": Timed(2_000, tickers.usdm_mini), "ticker": Timed(2_000, tickers.usdm_full)}
    timed |= {"markPrice": Timed(3_000, prices.mark), "markPrice@1s": Timed(1_000, prices.mark)}
    timed |= {"forceOrder": Timed(1_000, prices.liquidation)}
    all_market = {
        "!miniTicker@arr": AllMarket(_ARRAY_MS, tickers.if_traded(tickers.usdm_mini, _ARRAY_MS)),
        "!ticker@arr": AllMarket(_ARRAY_MS, tickers.if_traded(tickers.usdm_full, _ARRAY_MS)),
        "!markPrice@arr": AllMarket(3_000, prices.mark),
        "!markPrice@arr@1s": AllMarket(1_000, prices.mark),
        "!forceOrder@arr": AllMarket(1_000, prices.liquidation, in_array=False),
        "!bookTicker": AllMarket(5_000, quotes.usdm_quote_at, in_array=False),
    }
    return Catalogue({"bookTicker": quotes.usdm_quote, "depth@0ms": quotes.usdm_take_depth}, timed, all_market)


def _candle_ms(interval: str) -> int:
    return 1_000 if interval == "1s" else 2_000


CATALOGUES: dict[Venue, Catalogue] = {"spot": _spot(), "usdm": _usdm()}
