"""The last records of a topic that fit a condition, found from the end backwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from heapq import heappush, heappushpop
from typing import TYPE_CHECKING

from k2.tail.windows import Span, Spans, age, filled

if TYPE_CHECKING:
    from collections.abc import Callable

    from k2.ingestion.adapters.topic_reader import TopicRecord


class BackwardSearch:
    """
    Says what to read next of these spans, and remembers the last `count` records by time that are wanted.

    A partition is done when it is at its start, when it has given `count` records itself, or when its latest window held only
    records older than all that were found.
    """

    def __init__(self, spans: Mapping[int, Span], count: int) -> None:
        self._unread = filled(spans)
        self._count = count
        self._best: list[tuple[tuple[int, int, int], TopicRecord]] = []  # a heap, the oldest first
        self._given: Counter[int] = Counter()
        self._newest_ms: dict[int, int] = {}  # of the latest window

    def next_windows(self, offsets: int) -> Spans:
        """What to read now, right before what was read so far. Empty when the search is over."""
        left = {partition: span for partition, span in self._unread.items() if not self._is_done(partition)}
        windows = {partition: (max(start, end - offsets), end) for partition, (start, end) in left.items()}
        self._unread = filled({partition: (left[partition][0], begin) for partition, (begin, _) in windows.items()})
        self._newest_ms.clear()
        return windows

    def add(self, records: Iterable[TopicRecord], wanted: Callable[[TopicRecord], bool]) -> None:
        """The records of the windows."""
        for record in records:
            newest_ms = self._newest_ms.get(record.partition, record.timestamp_ms)
            self._newest_ms[record.partition] = max(newest_ms, record.timestamp_ms)
            if wanted(record):
                self._given[record.partition] += 1
                self._keep(record)

    def found(self) -> list[TopicRecord]:
        """The last ones, by time."""
        return [record for _, record in sorted(self._best)]

    def _keep(self, record: TopicRecord) -> None:
        entry = (age(record), record)
        if len(self._best) < self._count:
            heappush(self._best, entry)
        else:
            heappushpop(self._best, entry)

    def _is_done(self, partition: int) -> bool:
        return self._given[partition] >= self._count or self._is_older(partition)

    def _is_older(self, partition: int) -> bool:
        if len(self._best) < self._count or partition not in self._newest_ms:
            return False
        return self._newest_ms[partition] < self._best[0][0][0]
