"""What was read back from the topics, counted by a reader who knows nothing of the client: the demo's own half of the books."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from k2.demo.ranges import IdRanges, Recent
from k2.demo.recognition import Recognise, Seen, recogniser
from k2.demo.sorts import RecordRow
from k2.ingestion.topic_plan import TopicPlan

LATEST_RECORDS = 60

Key = tuple[str, str]  # symbol and stream


class SeriesTally(Struct):
    """All records of one stream of one symbol in one topic: how many, how many of them again, their numbers, the latest."""

    symbol: str
    stream: str
    latest: RecordRow
    records: int = 0
    twins: int = 0
    ids: IdRanges | None = None

    @property
    def distinct(self) -> int:
        return self.records - self.twins

    @property
    def missing(self) -> int:
        """How many numbers are missing between the first and the last; 0 where they have holes by design."""
        return self.ids.missing if self.ids else 0


class TopicTally:
    """Counts the decoded records of one topic."""

    def __init__(self, recognise: Recognise) -> None:
        self.records = 0
        self.series: dict[Key, SeriesTally] = {}
        self._recognise = recognise
        self._recent = Recent()

    def take(self, record: Mapping[str, Any], at_ms: int) -> RecordRow:
        """Count one record; `at_ms` is its time in Kafka."""
        seen = self._recognise(record, at_ms)
        key = seen.symbol, seen.stream
        tally = self.series.get(key)
        if tally is None:
            tally = self.series[key] = SeriesTally(seen.symbol, seen.stream, seen.row)
        if not self._is_new(tally, seen, key):
            tally.twins += 1
        tally.records += 1
        tally.latest = seen.row
        self.records += 1
        return seen.row

    def _is_new(self, tally: SeriesTally, seen: Seen, key: Key) -> bool:
        if seen.span is not None:
            first, last = seen.span
            if tally.ids is None:
                tally.ids = IdRanges()
            is_new = tally.ids.cover(first, last)
            if first == last:
                return is_new
            # What covers several numbers may begin inside of what came before: only as a whole it tells whether it is new.
        return self._recent.add((key, seen.identity))

    @property
    def distinct(self) -> int:
        """How many different records came."""
        return self.records - sum(tally.twins for tally in self.series.values())

    @property
    def missing(self) -> int:
        return sum(tally.missing for tally in self.series.values())


class Tally:
    """Counts what is read back from all topics."""

    def __init__(self, plans: Sequence[TopicPlan], market: str, *, closed_only: bool) -> None:
        self.topics = {plan.name: TopicTally(recogniser(plan, market, closed_only=closed_only)) for plan in plans}
        self.latest: deque[RecordRow] = deque(maxlen=LATEST_RECORDS)

    def take(self, topic: str, record: Mapping[str, Any], at_ms: int = 0) -> None:
        """Count one record of a topic."""
        self.latest.append(self.topics[topic].take(record, at_ms))

    def series(self) -> dict[Key, SeriesTally]:
        """Each stream of each symbol once, as the first topic that holds it has it."""
        found: dict[Key, SeriesTally] = {}
        for topic in self.topics.values():
            for key, series in topic.series.items():
                found.setdefault(key, series)
        return found

    @property
    def records(self) -> int:
        return sum(topic.records for topic in self.topics.values())

    @property
    def distinct(self) -> int:
        return sum(topic.distinct for topic in self.topics.values())

    @property
    def missing(self) -> int:
        return sum(topic.missing for topic in self.topics.values())
