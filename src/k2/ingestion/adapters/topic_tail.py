"""What a topic holds at its end: one topic carries one market and one stream, and a look at its last records tells which."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from msgspec import Struct

from k2.ingestion.adapters.kafka_faults import AUTHORISATION, ClientFaults, open_client
from k2.ingestion.core.identity import message_identity

READ_TIMEOUT_S = 5.0
TAIL_RECORDS = 5  # the marker of a transaction takes an offset too, so the last record may lie a little further up
_BATCH = 1_000
_ABSENT = frozenset({"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"})
# librdkafka looks for the coordinator of any consumer's group, but partitions that are assigned with offsets need none.
_NO_GROUP = "GROUP_AUTHORIZATION_FAILED"


class TopicTail(Struct, frozen=True):
    """The last `message_id` of each partition, as far as its records are ours, and what kept us from reading others."""

    identities: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def last_identities(
    config: Mapping[str, Any], topic: str, *, logger: logging.Logger, timeout_s: float = READ_TIMEOUT_S
) -> TopicTail:
    """
    Read the end of all partitions together, without joining a group or committing anything: no ACL on a group is needed.

    The call blocks: run it with `asyncio.to_thread`. A topic that does not exist has an empty tail. One that we may not read
    has one too, with a warning, because producing needs no permission to read.

    Args:
        config: librdkafka configuration, brokers and security only.

    Raises:
        BrokerUnavailableError: nobody answers; try again later.
        ConfigurationError: credentials or certificates.
    """
    faults = ClientFaults(config)
    consumer = open_client(
        Consumer, {**config, **_READER, "group.id": f"k2-tail-{uuid4().hex}", "error_cb": faults.append}, logger
    )
    try:
        return _Tail(consumer, topic, timeout_s).read()
    except KafkaException as failure:
        if failure.args[0].name() in AUTHORISATION:
            return TopicTail(warnings=(_not_allowed(topic, failure.args[0]),))
        consumer.consume(_BATCH, timeout=0.1)  # serves the callback that tells the reason
        raise faults.explain(failure) from failure
    finally:
        consumer.close()


def _not_allowed(topic: str, error: KafkaError) -> str:
    of_topic = error.name() == "TOPIC_AUTHORIZATION_FAILED"
    reason = f"the ACL Read on topic {topic} is missing" if of_topic else error.str()
    return f"topic {topic} could not be read, so what it holds is not checked: {reason}"


_READER = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "allow.auto.create.topics": False,
    "auto.offset.reset": "latest",
    "isolation.level": "read_uncommitted",  # an open transaction must not hide what lies before it
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 50,
}


class _Tail:
    """One reading. Every step spends from the same time."""

    def __init__(self, consumer: Consumer, topic: str, timeout_s: float) -> None:
        self._consumer = consumer
        self._topic = topic
        self._deadline = time.monotonic() + timeout_s
        self._last: dict[int, str] = {}

    def read(self) -> TopicTail:
        ends = {partition: self._range(partition) for partition in self._partitions()}
        filled = {partition: end for partition, (start, end) in ends.items() if end > start}
        starts = [
            TopicPartition(self._topic, partition, max(ends[partition][0], end - TAIL_RECORDS))
            for partition, end in filled.items()
        ]
        if starts:
            self._consumer.assign(starts)
        unread = self._read_until(filled)
        warning = f"the end of {len(unread)} of {len(ends)} partitions of topic {self._topic} could not be read in time"
        return TopicTail(tuple(self._last.values()), (warning,) if unread else ())

    def _partitions(self) -> list[int]:
        found = self._consumer.list_topics(self._topic, timeout=self._remaining()).topics[self._topic]
        if found.error is not None and found.error.name() not in _ABSENT:
            raise KafkaException(found.error)
        return list(found.partitions)

    def _range(self, partition: int) -> tuple[int, int]:
        """First offset, and the one that the next record will get."""
        marks = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=self._remaining())
        return marks or (0, 0)

    def _read_until(self, ends: dict[int, int]) -> dict[int, int]:
        """Read up to these offsets. Returns those partitions whose end did not come in time."""
        unread = dict(ends)
        while unread and time.monotonic() < self._deadline:
            for message in self._consumer.consume(_BATCH, timeout=min(self._remaining(), 0.1)):
                self._take(message, unread)
        return unread

    def _take(self, message: Message, unread: dict[int, int]) -> None:
        partition, error = message.partition() or 0, message.error()
        if error is not None and error.name() == _NO_GROUP:
            return
        if error is not None and error.name() != "_PARTITION_EOF":
            raise KafkaException(error)
        identity = None if error else message_identity(message.value())
        if identity is not None and partition in unread:
            self._last[partition] = identity
        if error is not None or (message.offset() or 0) + 1 >= unread.get(partition, 0):
            unread.pop(partition, None)

    def _remaining(self) -> float:
        return max(self._deadline - time.monotonic(), 0.1)
