"""Which numbers came, and whether something came before: the arithmetic of the demo's own half of the books."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Hashable

REMEMBERED = 200_000  # a record that is written twice comes twice within seconds


class IdRanges:
    """
    A set of integers, kept as ascending closed intervals: what comes without holes takes no room, however long it runs.

    `first` and `last` need at least one number in it.
    """

    __slots__ = ("_ends", "_starts", "count")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.count = 0

    def cover(self, first: int, last: int) -> bool:
        """Take in all numbers from `first` to `last`. False where all were there already, and where there are none."""
        low = bisect_right(self._starts, first - 1)
        if low and self._ends[low - 1] >= first - 1:  # the interval before overlaps with these, or they continue it
            low -= 1
        high = bisect_right(self._starts, last + 1)
        if low == high:
            new = max(0, last - first + 1)
        else:
            known = sum(end - start + 1 for start, end in zip(self._starts[low:high], self._ends[low:high], strict=True))
            first, last = min(first, self._starts[low]), max(last, self._ends[high - 1])
            new = last - first + 1 - known
        if new:
            self._starts[low:high], self._ends[low:high] = [first], [last]
            self.count += new
        return new > 0

    @property
    def first(self) -> int:
        return self._starts[0]

    @property
    def last(self) -> int:
        return self._ends[-1]

    @property
    def missing(self) -> int:
        """How many numbers between the first and the last are not there."""
        return self.last - self.first + 1 - self.count if self._starts else 0


class Recent:
    """The latest of what came, so that what comes again is known: for what has no number without holes."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._known: set[Hashable] = set()
        self._order: deque[Hashable] = deque()
        self._most = most

    def add(self, identity: Hashable) -> bool:
        """Take it in. False where it is there already."""
        if identity in self._known:
            return False
        self._known.add(identity)
        self._order.append(identity)
        if len(self._order) > self._most:
            self._known.remove(self._order.popleft())
        return True
