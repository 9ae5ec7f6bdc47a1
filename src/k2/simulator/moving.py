"""
Moves the times in recorded frames to the present and touches nothing else: no id, though ids may have thirteen digits too.

Which keys are times differs by stream. What marks the bounds of something (candles, funding periods) stays such a bound.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from k2.simulator.intervals import FUNDING_MS, INTERVALS, candle_of, next_opening_ms, opening_ms
from k2.simulator.streams import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from k2.simulator.market import Frame

_TIMES = {keys: re.compile(rb'("[%b]":\s*)(\d{13})(?!\d)' % keys) for keys in (b"E", b"T", b"t", b"ET", b"ETOC")}


def moved(frame: Frame, by_ms: int) -> Frame:
    """The frame with its times moved."""
    kind = kind_of(frame.stream)
    move = next(move for part, move in _MOVES.items() if part in kind)
    return frame._replace(combined=move(frame.combined, kind, by_ms))


def moved_snapshot(snapshot: bytes, by_ms: int) -> bytes:
    """An order book of REST with its times moved; spot's has none."""
    return _by(snapshot, b"ET", by_ms)


def _candle(text: bytes, kind: str, by_ms: int) -> bytes:
    """The bounds of a candle move to those of the candle that its beginning falls into."""
    interval, offset_ms = candle_of(kind)
    opened = _TIMES[b"t"].search(text)
    if opened is None or interval not in INTERVALS["spot"]:
        return _by(text, b"E", by_ms)
    opens_ms = opening_ms(interval, int(opened[2]) + by_ms, offset_ms)
    closes_ms = next_opening_ms(interval, opens_ms, offset_ms)
    return _to(_to(_by(text, b"E", by_ms), b"t", lambda _: opens_ms), b"T", lambda _: closes_ms - 1)


def _mark_price(text: bytes, _kind: str, by_ms: int) -> bytes:
    return _by(_by(text, b"E", by_ms), b"T", by_ms // FUNDING_MS * FUNDING_MS)


def _keys(keys: bytes) -> Callable[[bytes, str, int], bytes]:
    return lambda text, _kind, by_ms: _by(text, keys, by_ms)


# By a part of the stream's kind; the first that fits. The last fits all.
_MOVES: dict[str, Callable[[bytes, str, int], bytes]] = {
    "kline_": _candle,
    "markPrice": _mark_price,
    "referencePrice": _keys(b"t"),
    "miniTicker": _keys(b"E"),
    "bookTicker": _keys(b"ET"),
    "ticker": _keys(b"ETOC"),
    "": _keys(b"ET"),
}


def _by(text: bytes, keys: bytes, by_ms: int) -> bytes:
    return _to(text, keys, lambda at_ms: at_ms + by_ms)


def _to(text: bytes, keys: bytes, move: Callable[[int], int]) -> bytes:
    return _TIMES[keys].sub(lambda found: b"%b%d" % (found[1], move(int(found[2]))), text)
