"""
When the n-th event of a generated market is due.

Arrivals are random but periodic: a table of 1,024 exponential waiting times repeats for ever. Every time is then a function of
the event's number, so a market that runs for months needs no memory of it.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from random import Random

_PERIOD = 1_024
_MAX_MARKS = 100_000
_REMEMBERED_COUNTS = 4_096
_NO_LIMIT = 1 << 62


class Schedule(Protocol):
    """Maps events to seconds since the market's beginning, and back."""

    def due_count(self, age_s: float, already: int, limit: int) -> int:
        """How many events may have been issued by `age_s`, of which `already` are: at most `limit` more."""

    def due_s(self, number: int) -> float:
        """When event `number`, counted from 0, is or was due."""

    def count_until(self, age_ms: int) -> int:
        """How many events are due in whole milliseconds up to this one, that one included."""


class PacedSchedule:
    """A given number of events per second, with the irregular spacing of independent arrivals."""

    def __init__(self, per_second: float, random: Random) -> None:
        waits = [random.expovariate(1.0) for _ in range(_PERIOD)]
        scale = _PERIOD / sum(waits)
        self._arrivals = list(accumulate(wait * scale for wait in waits))
        self._per_second = per_second
        self._counts: dict[int, int] = {}

    def due_count(self, age_s: float, already: int, limit: int) -> int:
        periods, within = divmod(age_s * self._per_second, _PERIOD)
        due = int(periods) * _PERIOD + bisect_right(self._arrivals, within)
        return min(max(due, already), already + limit)

    def due_s(self, number: int) -> float:
        periods, within = divmod(number, _PERIOD)
        return (periods * _PERIOD + self._arrivals[within]) / self._per_second

    def count_until(self, age_ms: int) -> int:
        if age_ms < 0:
            return 0
        if age_ms not in self._counts:
            if len(self._counts) >= _REMEMBERED_COUNTS:
                self._counts.clear()
            self._counts[age_ms] = self._counted(age_ms)
        return self._counts[age_ms]

    def _counted(self, age_ms: int) -> int:
        """The first event that is later; the guess may be wrong by what floating point loses."""
        count = self.due_count((age_ms + 1) / 1_000, 0, _NO_LIMIT)
        while int(self.due_s(count) * 1_000) <= age_ms:
            count += 1
        while count and int(self.due_s(count - 1) * 1_000) > age_ms:
            count -= 1
        return count


class EagerSchedule:
    """As many as asked for. Remembers for each batch when it was issued."""

    def __init__(self) -> None:
        self._first_numbers: list[int] = []
        self._issued_s: list[float] = []

    def due_count(self, age_s: float, already: int, limit: int) -> int:
        self._first_numbers.append(already)
        self._issued_s.append(age_s)
        if len(self._issued_s) > _MAX_MARKS:
            del self._first_numbers[: _MAX_MARKS // 2], self._issued_s[: _MAX_MARKS // 2]
        return already + limit

    def due_s(self, number: int) -> float:
        if not self._issued_s:
            return 0.0
        return self._issued_s[max(0, bisect_right(self._first_numbers, number) - 1)]

    def count_until(self, age_ms: int) -> int:
        later = bisect_right(self._issued_s, age_ms, key=lambda issued_s: int(issued_s * 1_000))
        return self._first_numbers[later] if later < len(self._first_numbers) else _NO_LIMIT


class UnhurriedSchedule:
    """As many as asked for, at the times of a paced market: its clock is its own, and every run has the same times."""

    def __init__(self, times: PacedSchedule) -> None:
        self._times = times
        self.due_s, self.count_until = times.due_s, times.count_until

    def due_count(self, age_s: float, already: int, limit: int) -> int:  # noqa: ARG002 - whatever the wall's clock says
        return already + limit
