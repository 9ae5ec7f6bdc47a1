"""
Reads a topic as an operator does: any place of it, without joining a group and without leaving a trace.

No ACL on a group is needed, and nothing is committed. Every call blocks: run it off the event loop, one call at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, cast
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from msgspec import Struct

from k2.errors import ConfigurationError, K2Error
from k2.ingestion.adapters.kafka_faults import AUTHORISATION, ClientFaults, open_client
from k2.ingestion.core.outcome import Headers

REQUEST_TIMEOUT_S = 5.0
_BATCH = 1_000
_ABSENT = frozenset({"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"})
# librdkafka looks for the coordinator of any consumer's group, but partitions that are assigned with offsets need none.
_NO_GROUP = "GROUP_AUTHORIZATION_FAILED"
_AT_END = "_PARTITION_EOF"

_READER = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "allow.auto.create.topics": False,
    "auto.offset.reset": "earliest",  # where records were deleted while we read, go on with those that are left
    "isolation.level": "read_uncommitted",  # an open transaction must not hide what lies before it
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 50,
}


class TopicNotReadableError(ConfigurationError):
    """Our Kafka user may not read the topic."""


class TopicRecord(Struct, frozen=True, gc=False):
    """A record as it lies in the topic. `timestamp_ms` is -1 where it has none."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class TopicReader:
    """
    A reader of one topic. `partitions` and `range_of` look; `start` says where to read from; `read` brings what there is.

    `at_end` holds the partitions whose last record was read, as of the latest `read`.

    Args:
        config: librdkafka configuration, brokers and security only.
        timeout_s: Of one request.

    Raises:
        ConfigurationError: librdkafka does not take the configuration.
    """

    def __init__(
        self, config: Mapping[str, Any], topic: str, *, logger: logging.Logger, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> None:
        self.topic = topic
        self.at_end: set[int] = set()
        self._timeout_s = timeout_s
        self._faults = ClientFaults(config)
        settings = {**config, **_READER, "group.id": f"k2-reader-{uuid4().hex}", "error_cb": self._faults.append}
        self._consumer = open_client(Consumer, settings, logger)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close()

    def partitions(self) -> list[int]:
        """
        The topic's partitions; none where there is no such topic.

        Raises:
            BrokerUnavailableError: nobody answers; try again later.
            ConfigurationError: credentials or certificates.
            TopicNotReadableError: we may not.
        """
        try:
            found = self._consumer.list_topics(self.topic, timeout=self._timeout_s).topics[self.topic]
        except KafkaException as failure:
            raise self._explained(failure) from failure
        if found.error is not None and found.error.name() not in _ABSENT:
            raise self._explained(KafkaException(found.error))
        return sorted(found.partitions)

    def topic_names(self) -> list[str]:
        """All topics of the cluster that we may see. Raises as `partitions` does."""
        try:
            return sorted(self._consumer.list_topics(timeout=self._timeout_s).topics)
        except KafkaException as failure:
            raise self._explained(failure) from failure

    def range_of(self, partition: int) -> tuple[int, int]:
        """The partition's first offset, and the one that the next record will get. Raises as `partitions` does."""
        try:
            marks: Any = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=self._timeout_s)
        except KafkaException as failure:
            raise self._explained(failure) from failure
        return marks or (0, 0)

    def ranges(self) -> dict[int, tuple[int, int]]:
        """`range_of` every partition."""
        return {partition: self.range_of(partition) for partition in self.partitions()}

    def offsets_at(self, time_ms: int, partitions: Iterable[int]) -> dict[int, int]:
        """For each partition the first offset whose record is of this time or later; its end where there is none."""
        asked = [TopicPartition(self.topic, partition, time_ms) for partition in partitions]
        try:
            found = self._consumer.offsets_for_times(asked, timeout=self._timeout_s)
        except KafkaException as failure:
            raise self._explained(failure) from failure
        return {at.partition: at.offset if at.offset >= 0 else self.range_of(at.partition)[1] for at in found}

    def start(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions, each from its offset on. No partitions: `read` brings nothing."""
        self.at_end.clear()
        self._consumer.assign([TopicPartition(self.topic, partition, offset) for partition, offset in offsets.items()])

    def read(self, timeout_s: float = 0.1, at_most: int = _BATCH) -> list[TopicRecord]:
        """
        What comes within `timeout_s`; in order within a partition. A broker that is away brings nothing and raises nothing.

        Raises:
            TopicNotReadableError: we may not.
            K2Error: anything else that keeps the topic from being read.
        """
        try:
            messages = self._consumer.consume(at_most, timeout=timeout_s)
        except KafkaException as failure:
            raise self._explained(failure) from failure
        return [self._record(message) for message in messages if self._is_record(message)]

    def read_up_to(self, ends: Mapping[int, int], patience_s: float) -> Iterator[list[TopicRecord]]:
        """
        Batches of records of the started partitions, each up to its end, exclusive.

        Raises:
            K2Error: nothing came for `patience_s` while something was still to come; or as `read`.
        """
        unread = set(ends)
        give_up_at_s = time.monotonic() + patience_s
        while unread := unread - self.at_end:
            records = self.read()
            if records:
                give_up_at_s = time.monotonic() + patience_s
                yield [record for record in records if record.offset < ends[record.partition]]
                unread -= {record.partition for record in records if record.offset + 1 >= ends[record.partition]}
            elif time.monotonic() > give_up_at_s:
                raise self._faults.explain_silence()

    def _is_record(self, message: Message) -> bool:
        error, partition = message.error(), message.partition() or 0
        if error is None:
            self.at_end.discard(partition)
            return True
        if error.name() == _AT_END:
            self.at_end.add(partition)
        elif error.name() != _NO_GROUP and not _passes(error):
            raise self._explained(KafkaException(error))
        return False

    @staticmethod
    def _record(message: Message) -> TopicRecord:
        headers = cast("Headers", message.headers() or [])
        at_ms = message.timestamp()[1]
        return TopicRecord(message.partition() or 0, message.offset() or 0, at_ms, message.key(), message.value(), headers)

    def _explained(self, failure: KafkaException) -> K2Error:
        error: KafkaError = failure.args[0]
        if error.name() in AUTHORISATION:
            of_topic = error.name() == "TOPIC_AUTHORIZATION_FAILED"
            return TopicNotReadableError(f"the ACL Read on topic {self.topic} is missing" if of_topic else error.str())
        self._consumer.consume(_BATCH, timeout=0.1)  # serves the callback that tells the reason
        return self._faults.explain(failure)


def _passes(error: KafkaError) -> bool:
    """What librdkafka tells on its way and mends by itself: a lost connection, a leader that moved."""
    return error.name() in {"_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_RESOLVE", "NOT_LEADER_FOR_PARTITION"}
