"""
Completeness per key: does the exchange's own numbering show a hole?

How ids run differs from stream to stream. Where they are contiguous (trades, candles, the updates of an order book, of which
each covers a range of ids), a new one is next, opens a gap, fills an open gap late, or was seen before. Open gaps are kept as
closed intervals of missing ids until they are filled. Where ids only rise (quotes), nothing can be said to be missing. The first
id of a key opens its coverage.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

from k2.ingestion.core.outcome import GapFilled, GapForgotten, GapOpened, Notice, SequenceReset

MAX_OPEN_GAPS = 1_000
# An exchange that counts anew (testnets are wiped monthly) starts far below, later in time. A trade that a second
# connection brings again is never later than what we have seen by more than the exchange's own jitter.
RESET_MIN_DISTANCE = 1_000
RESET_MIN_LATER_MS = 1_000
MAX_TIMES_APART_MS = 600_000


Placed = tuple[bool, bool, tuple[Notice, ...]]


class Sequence(Protocol):
    """
    The numbering of one (stream, symbol).

    The pipeline inlines the usual case (`next_id` arrives: move `next_id` and `last_time_ms` on) and calls `observe` for
    anything else. `gaps` are closed intervals of ids, `ids_missing` how many they hold.
    """

    next_id: int | None
    last_time_ms: int
    gaps: list[tuple[int, int]]
    ids_missing: int

    def observe(self, exchange_id: int, time_ms: int, first_id: int | None = None, /) -> Placed:
        """
        Place one event, which covers the ids from `first_id` (None: from its own) to its own.

        Returns:
            Whether the event is to be published, whether it comes late (fills a gap), and what was noticed.
        """

    def foresee(self, exchange_id: int, time_ms: int, /) -> tuple[Notice, ...]:
        """This id is on its way, which means that all before it have gone out. It is not placed itself."""

    def forget(self) -> None:
        """Nothing was wanted for a while: the next id opens the coverage anew, and what went by is not missing."""

    def account_for(self, exchange_id: int, first_id: int | None = None, /) -> None:
        """
        Note the id of an event that became a dead letter.

        As the next one it is accounted for and no hole. Anywhere else it proves nothing: it may be as wrong as the rest.
        """


class ContiguousSequence:
    """Ids without holes. One event may cover several of them."""

    __slots__ = ("_stream", "_symbol", "gaps", "ids_missing", "last_time_ms", "next_id")

    def __init__(self, stream: str, symbol: str) -> None:
        self._stream, self._symbol = stream, symbol
        self.next_id: int | None = None
        self.last_time_ms = 0
        self.gaps: list[tuple[int, int]] = []  # ascending, disjoint, both ends missing
        self.ids_missing = 0

    def observe(self, exchange_id: int, time_ms: int, first_id: int | None = None, /) -> Placed:
        first = exchange_id if first_id is None else first_id
        # An event that begins before the next id and ends at it or behind overlaps what we have: there is no hole before it.
        if self.next_id is None or first <= self.next_id <= exchange_id:
            self._advance(exchange_id, time_ms)
            return True, False, ()
        if first > self.next_id:
            return True, False, self._open_gap(first, exchange_id, time_ms)
        filled = self._fill(first, exchange_id)
        if filled:
            return True, True, filled
        if self._is_reset(exchange_id, time_ms):
            return True, False, self._reset(exchange_id, time_ms)
        return False, False, ()

    def foresee(self, exchange_id: int, time_ms: int, /) -> tuple[Notice, ...]:
        if self.next_id is None:
            self.next_id = exchange_id  # it opens the coverage, and will be missed if it never comes
        if exchange_id <= self.next_id:
            return ()
        notices = self._open_gap(exchange_id, exchange_id, time_ms)
        self.next_id = exchange_id
        return notices

    def forget(self) -> None:
        self.next_id = None
        self.gaps.clear()
        self.ids_missing = 0

    def account_for(self, exchange_id: int, first_id: int | None = None, /) -> None:
        if self.next_id == (exchange_id if first_id is None else first_id):
            self.next_id = exchange_id + 1

    def _advance(self, exchange_id: int, time_ms: int) -> None:
        self.next_id = exchange_id + 1
        self.last_time_ms = max(self.last_time_ms, time_ms)

    def _open_gap(self, first_id: int, exchange_id: int, time_ms: int) -> tuple[Notice, ...]:
        first, last = self.next_id or 0, first_id - 1
        self.gaps.append((first, last))
        self.ids_missing += last - first + 1
        self._advance(exchange_id, time_ms)
        return (GapOpened(self._stream, self._symbol, first, last), *self._forget_oldest())

    def _forget_oldest(self) -> tuple[Notice, ...]:
        if len(self.gaps) <= MAX_OPEN_GAPS:
            return ()
        first, last = self.gaps.pop(0)
        self.ids_missing -= last - first + 1
        return (GapForgotten(self._stream, self._symbol, first, last),)

    def _fill(self, first_id: int, exchange_id: int) -> tuple[Notice, ...]:
        index = bisect_right(self.gaps, exchange_id, key=lambda gap: gap[0]) - 1
        if index < 0 or exchange_id > self.gaps[index][1] or first_id < self.gaps[index][0]:
            return ()
        first, last = self.gaps[index]
        rest = [part for part in ((first, first_id - 1), (exchange_id + 1, last)) if part[0] <= part[1]]
        self.gaps[index : index + 1] = rest
        filled = exchange_id - first_id + 1
        self.ids_missing -= filled
        # A gap filled in its middle becomes two, so the bound is kept here as well.
        remaining = last - first + 1 - filled
        return (GapFilled(self._stream, self._symbol, exchange_id, remaining, filled), *self._forget_oldest())

    def _is_reset(self, exchange_id: int, time_ms: int) -> bool:
        distance = (self.next_id or 0) - exchange_id
        return distance > RESET_MIN_DISTANCE and time_ms > self.last_time_ms + RESET_MIN_LATER_MS

    def _reset(self, exchange_id: int, time_ms: int) -> tuple[Notice, ...]:
        notice = SequenceReset(self._stream, self._symbol, (self.next_id or 0) - 1, exchange_id)
        self.gaps.clear()
        self.ids_missing = 0
        self._advance(exchange_id, time_ms)
        return (notice,)


class RisingSequence:
    """
    Ids that only rise, with jumps by design: quotes, or events that have no number but their time.

    A lower id was seen before. One of less than half the last means that the exchange counts anew: a server that lags behind
    another never does so by half of all ids.
    """

    __slots__ = ("_last_id", "_stream", "_symbol", "gaps", "ids_missing", "last_time_ms", "next_id")

    def __init__(self, stream: str, symbol: str) -> None:
        self._stream, self._symbol = stream, symbol
        self._last_id = -1
        self.next_id: int | None = None
        self.last_time_ms = 0
        self.gaps: list[tuple[int, int]] = []
        self.ids_missing = 0

    def observe(self, exchange_id: int, _time_ms: int, _first_id: int | None = None, /) -> Placed:
        last_id = self._last_id
        if exchange_id > last_id:
            self._last_id = exchange_id
            return True, False, ()
        if exchange_id >= last_id // 2:
            return False, False, ()
        self._last_id = exchange_id
        return True, False, (SequenceReset(self._stream, self._symbol, last_id, exchange_id),)

    def foresee(self, _exchange_id: int, _time_ms: int, /) -> tuple[Notice, ...]:
        return ()

    def forget(self) -> None:
        """What was seen before still was."""

    def account_for(self, _exchange_id: int, _first_id: int | None = None, /) -> None:
        """Nothing can be missing."""


class RisingTimes(RisingSequence):
    """
    The same where the time of the event is its number.

    A time that lies far ahead of when the event happened is published and not remembered: one wrong clock must not make all that
    follows look seen before.
    """

    __slots__ = ()

    def observe(self, exchange_id: int, time_ms: int, first_id: int | None = None, /) -> Placed:
        if exchange_id > time_ms + MAX_TIMES_APART_MS:
            return True, False, ()
        return super().observe(exchange_id, time_ms, first_id)


class AnyOrder(RisingSequence):
    """For events that come again in whatever order: every id is welcome, and none is missed."""

    __slots__ = ()

    def observe(self, _exchange_id: int, _time_ms: int, _first_id: int | None = None, /) -> Placed:
        return True, False, ()
