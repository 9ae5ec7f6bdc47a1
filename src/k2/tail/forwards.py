"""A topic from some offsets on, its partitions merged by time."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from k2.tail.windows import Span, Spans, age, filled

if TYPE_CHECKING:
    from k2.ingestion.adapters.topic_reader import TopicRecord


class ForwardMerge:
    """
    Says what to read next of these spans, and hands out what is ready: by time, and within a partition in its own order.

    A record is ready when every other partition was read up to its time.
    """

    def __init__(self, spans: Mapping[int, Span]) -> None:
        self._unread = filled(spans)
        self._reached_ms: dict[int, float] = dict.fromkeys(self._unread, -math.inf)
        self._waiting: defaultdict[int, deque[TopicRecord]] = defaultdict(deque)

    def next_windows(self, offsets: int) -> Spans:
        """What to read now, of the partitions that the others wait for or soon will. Empty when everything was read."""
        short = [partition for partition in self._unread if len(self._waiting[partition]) <= offsets // 2]
        windows: Spans = {}
        for partition in short:
            start, end = self._unread.pop(partition)
            windows[partition] = start, min(start + offsets, end)
            if start + offsets < end:
                self._unread[partition] = start + offsets, end
        return windows

    def add(self, records: Iterable[TopicRecord], wanted: Callable[[TopicRecord], bool]) -> None:
        """The records of the windows. One that is not wanted tells how far its partition was read, and no more."""
        for record in records:
            self._reached_ms[record.partition] = max(self._reached_ms.get(record.partition, -math.inf), record.timestamp_ms)
            if wanted(record):
                self._waiting[record.partition].append(record)

    def ready(self) -> Iterator[TopicRecord]:
        """The records whose turn it is."""
        heads = [age(queue[0]) for queue in self._waiting.values() if queue]
        heapify(heads)
        known_up_to_ms = min((self._known_up_to_ms(partition) for partition in self._reached_ms), default=math.inf)
        while heads and heads[0][0] <= known_up_to_ms:
            partition = heappop(heads)[1]
            queue = self._waiting[partition]
            yield queue.popleft()
            if queue:
                heappush(heads, age(queue[0]))
            known_up_to_ms = min(known_up_to_ms, self._known_up_to_ms(partition))

    def _known_up_to_ms(self, partition: int) -> float:
        """No record of the partition that is older than this is still to come, its waiting ones apart."""
        is_open = partition in self._unread and not self._waiting[partition]
        return self._reached_ms[partition] if is_open else math.inf


def by_time(records: Iterable[TopicRecord]) -> list[TopicRecord]:
    """These records by time, and those of one partition in the order in which they come."""
    merge = ForwardMerge({})
    merge.add(records, lambda _: True)
    return list(merge.ready())
