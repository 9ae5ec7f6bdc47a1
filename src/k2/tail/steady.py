"""Reading a topic on and on, whatever becomes of the broker meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from k2.errors import ConfigurationError, UnavailableError
from k2.ingestion.adapters.topic_reader import TopicReader, TopicRecord
from k2.reading.patience import Patience
from k2.reading.topic import KAFKA, Ranges

READ_S = 0.2
CHECK_INTERVAL_S = 5.0  # a broker that is away shows in no read: it has to be asked


class SteadyReader:
    """
    Reads on from these offsets, over absences of the broker, without leaving out or repeating a record.

    Args:
        patience: With a broker that is away.
        all_partitions: Take in partitions that are added to the topic.
    """

    def __init__(
        self,
        reader: TopicReader,
        offsets: Mapping[int, int],
        patience: Patience,
        *,
        all_partitions: bool,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader, self._patience, self._all_partitions, self._clock_s = reader, patience, all_partitions, clock_s
        self._offsets = dict(offsets)
        self._check_at_s = clock_s() + CHECK_INTERVAL_S
        self._is_disturbed = False
        reader.start(self._offsets)

    def read(self) -> list[TopicRecord]:
        """
        What comes within a moment; blocks for as long as the broker is away.

        Raises:
            UnavailableError: it was away for too long.
            ConfigurationError: the topic is gone, or we may not read it any more.
        """
        try:
            records = self._reader.read(READ_S)
        except UnavailableError:
            self._is_disturbed, records = True, []
        self._offsets.update((record.partition, record.offset + 1) for record in records)
        if self._is_disturbed or self._clock_s() >= self._check_at_s:
            self._check()
        return records

    def _check(self) -> None:
        ranges = self._patience.wait_for(KAFKA, self._ranges)
        if not ranges:
            raise ConfigurationError(f"topic {self._reader.topic} does not exist any more")
        added = {partition: start for partition, (start, _) in ranges.items() if partition not in self._offsets}
        if self._all_partitions and added:
            self._offsets.update(added)
            self._is_disturbed = True
        if self._is_disturbed:  # what librdkafka held when a request failed may be lost: it is read once more
            self._reader.start(self._offsets)
        self._is_disturbed = False
        self._check_at_s = self._clock_s() + CHECK_INTERVAL_S

    def _ranges(self) -> Ranges:
        try:
            return self._reader.ranges()
        except UnavailableError:
            self._is_disturbed = True
            raise
