"""
Which part of a topic to read next.

Both ways through a topic, forwards by time and backwards from its end, go by rounds: a round reads a window of some partitions,
and what it brought says which window is the next. So records come in order, and little of the topic is in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k2.ingestion.adapters.topic_reader import TopicRecord

ROUND_BYTES = 16 * 1024 * 1024
RECORD_BYTES = 400  # what a record takes in memory beside its value
GROWTH = 4

Span = tuple[int, int]  # a first offset, and the one behind the last
Spans = dict[int, Span]  # by partition


class WindowSize:
    """How many offsets of a partition a round reads: more each time, as long as its records stay small in memory."""

    def __init__(self, first: int) -> None:
        self.offsets = first

    def adapt(self, records: Iterable[TopicRecord]) -> None:
        """Learn from what the latest round brought."""
        taken_bytes = sum(len(record.value or b"") + RECORD_BYTES for record in records)
        bearable = self.offsets * ROUND_BYTES // taken_bytes if taken_bytes else math.inf
        self.offsets = int(max(1, min(self.offsets * GROWTH, bearable)))


def filled(spans: Mapping[int, Span]) -> Spans:
    """The spans that have something in them."""
    return {partition: (start, end) for partition, (start, end) in spans.items() if start < end}


def age(record: TopicRecord) -> tuple[int, int, int]:
    """What records are sorted by: their time, and where times are equal partition and offset."""
    return record.timestamp_ms, record.partition, record.offset
