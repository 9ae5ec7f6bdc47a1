"""A well-formed event of any stream, to be spoilt."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from k2.simulator.catalogue import CATALOGUES
from k2.simulator.generated import GeneratedMarket, GeneratedOptions
from k2.simulator.intervals import MINUTE_MS
from k2.simulator.rendering import RENDERERS, Trade
from k2.simulator.streams import kind_of

if TYPE_CHECKING:
    from k2.simulator.market import TradeKind, Venue

_SYMBOL = "BTCUSDT"
_TAKES = 500  # at one a second: within so many every stream has spoken
_AGE_MS = 2 * MINUTE_MS


def sample(venue: Venue, stream: str, event_at_ms: int) -> Any:
    """
    An event of about that time. Ids of trades begin with 1, which no stream in use is near.

    For a stream that does not exist it is an aggregated trade.
    """
    kind = kind_of(stream)
    if kind in CATALOGUES[venue].kinds and kind not in {"trade", "aggTrade"}:
        return json.loads(_generated(venue, stream, event_at_ms // MINUTE_MS))
    symbol, known = stream.partition("@")[0].upper(), _trade_kind(kind)
    trade = Trade(symbol, 1, "1.00000000", "1.00000000", 1, 1, event_at_ms, event_at_ms, buyer_is_maker=False)
    return json.loads(RENDERERS[venue, known](trade))


def _trade_kind(kind: str) -> TradeKind:
    return "trade" if kind == "trade" else "aggTrade"


@lru_cache(maxsize=256)
def _generated(venue: Venue, stream: str, minute: int) -> bytes:
    symbol = _SYMBOL if stream.startswith("!") else stream.partition("@")[0].upper()
    began_at_ms = minute * MINUTE_MS - _AGE_MS
    options = GeneratedOptions(symbols=(symbol,), venue=venue, rate=None, event_rate=1.0, first_ids=1, began_at_ms=began_at_ms)
    market = GeneratedMarket(options)
    market.begin(0.0, began_at_ms)
    while market.issued < _TAKES:
        for frame in market.pull(0.0, (stream,), 1):
            if b":null" not in frame.raw:
                return frame.raw
    raise AssertionError(f"{stream} never speaks")
