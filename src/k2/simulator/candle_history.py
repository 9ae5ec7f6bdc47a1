"""Candles of the past, as REST lists them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from k2.simulator.candles import Candle, row
from k2.simulator.intervals import next_opening_ms, opening_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k2.simulator.lane import Lane
    from k2.simulator.market import CandleWindow


def candle_rows(lane: Lane, began_ms: int, newest_ms: int, window: CandleWindow) -> list[list[object]]:
    """The candles from the market's beginning to its newest event, the unfinished one included."""
    last_ms = newest_ms if window.end_ms is None else min(newest_ms, window.end_ms)
    since_ms = opening_ms(window.interval, began_ms, window.offset_ms)
    if window.start_ms is None:
        openings = [*islice(_backwards(window, since_ms, last_ms), window.limit)][::-1]
    else:
        openings = [*islice(_forwards(window, max(since_ms, window.start_ms), last_ms), window.limit)]
    return [_row(lane, opens_ms, window) for opens_ms in openings]


def _forwards(window: CandleWindow, since_ms: int, last_ms: int) -> Iterator[int]:
    opens_ms = opening_ms(window.interval, since_ms, window.offset_ms)
    while opens_ms <= last_ms:
        if opens_ms >= since_ms:
            yield opens_ms
        opens_ms = next_opening_ms(window.interval, opens_ms, window.offset_ms)


def _backwards(window: CandleWindow, since_ms: int, last_ms: int) -> Iterator[int]:
    opens_ms = opening_ms(window.interval, last_ms, window.offset_ms)
    while opens_ms >= since_ms:
        yield opens_ms
        opens_ms = opening_ms(window.interval, opens_ms - 1, window.offset_ms)


def _row(lane: Lane, opens_ms: int, window: CandleWindow) -> list[object]:
    closes_ms = next_opening_ms(window.interval, opens_ms, window.offset_ms)
    return row(lane.book, Candle(opens_ms, closes_ms, window.interval, lane.summary(opens_ms, closes_ms), closed=True))
