"""Reads the topics back as any consumer would: a plain Kafka client, Confluent's own deserializer with the registry, and JSON."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError
from msgspec import Struct

from k2.demo.tally import Tally
from k2.errors import FatalError
from k2.ingestion.topic_plan import TopicPlan

POLL_S = 0.1  # a batch is what came in this time, so also how stale the screen may be
BATCH_RECORDS = 2_000
TIMEOUT_S = 2.0

_from_json = msgspec.json.Decoder(dict[str, Any]).decode


class Decoded(Struct, frozen=True):
    """A record of a topic; `at_ms` is its time in Kafka."""

    topic: str
    value: Mapping[str, Any]
    at_ms: int


class TopicReader:
    """Reads several topics. Every call blocks: use it from a worker thread, one call at a time."""

    def __init__(self, bootstrap: str, registry_url: str, topics: Sequence[TopicPlan]) -> None:
        self.schema_ids: dict[str, int] = {}
        self._registry = SchemaRegistryClient({"url": registry_url, "timeout": TIMEOUT_S})
        # The default strategy asks the registry for associations that not every registry knows.
        self._from_avro = AvroDeserializer(self._registry, conf={"subject.name.strategy.type": "TOPIC"})
        self._contexts = {plan.name: SerializationContext(plan.name, MessageField.VALUE) for plan in topics if plan.needs_schema}
        self._next_offsets: dict[tuple[str, int], int] = {}
        self._consumer = Consumer(_settings(bootstrap))
        self._partitions = [place for plan in topics for place in self._partitions_of(plan.name)]
        self._consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, partition in self._partitions])

    def _partitions_of(self, topic: str) -> list[tuple[str, int]]:
        found = self._consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
        return [(topic, partition) for partition in found.partitions]

    def read(self) -> list[Decoded]:
        """
        The records of the next tenth of a second, decoded.

        Raises:
            FatalError: a topic cannot be read, or holds what cannot be decoded.
        """
        try:
            messages = self._consumer.consume(BATCH_RECORDS, POLL_S)
        except KafkaException as failure:
            raise FatalError(f"the topics cannot be read: {failure.args[0]}") from failure
        return [self._decoded(message) for message in messages]

    def _decoded(self, message: Message) -> Decoded:
        error, payload, topic = message.error(), message.value(), message.topic() or ""
        if error is not None:
            raise FatalError(f"topic {topic} cannot be read: {error}")
        if payload is None:
            raise FatalError(f"topic {topic} holds a record without a value")
        value = self._value(topic, payload)
        self._next_offsets[topic, message.partition() or 0] = (message.offset() or 0) + 1
        return Decoded(topic, value, message.timestamp()[1])

    def _value(self, topic: str, payload: bytes) -> Mapping[str, Any]:
        context = self._contexts.get(topic)
        try:
            if context is None:
                return _from_json(payload)
            value: Mapping[str, Any] | None = self._from_avro(payload, context)
        except (SerializationError, msgspec.MsgspecError) as failure:
            raise FatalError(f"a record of topic {topic} cannot be decoded: {failure}") from failure
        if value is None:
            raise FatalError(f"topic {topic} holds a record without fields")
        self.schema_ids[topic] = int.from_bytes(payload[1:5], "big")  # Confluent's framing: a zero byte, then the id
        return value

    def at_end(self) -> bool:
        """Whether everything that the topics hold now was read."""
        return all(self._next_offsets.get(place, 0) >= self._end(*place) for place in self._partitions)

    def _end(self, topic: str, partition: int) -> float:
        """The offset that the next record will get; infinite where the broker does not tell."""
        try:
            marks: Any = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=TIMEOUT_S)
        except KafkaException:
            return math.inf
        return marks[1] if marks else math.inf

    def close(self) -> None:
        self._consumer.close()
        self._registry.close()


def _settings(bootstrap: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": bootstrap,
        "group.id": "k2-demo",  # must be there, though nothing is committed and no group is joined
        "enable.auto.commit": False,
        "auto.offset.reset": "error",  # records that the broker dropped before they were read are to be noticed
        "fetch.wait.max.ms": 20,
        "log_level": 0,
    }


class Reading:
    """Reads the topics in the background of an event loop, into a tally."""

    def __init__(self, reader: TopicReader, tally: Tally) -> None:
        self._reader, self._tally = reader, tally
        self._stopped = False
        self.task = asyncio.create_task(self._run())

    @property
    def schema_ids(self) -> Mapping[str, int]:
        """The ids that records were written with, by topic."""
        return self._reader.schema_ids

    async def stop_at_the_end(self, timeout_s: float) -> None:
        """Read on until the topics have nothing more, or time is up. Nobody should be writing any more."""
        await self._stop()
        deadline = time.monotonic() + timeout_s
        while not await asyncio.to_thread(self._reader.at_end) and time.monotonic() < deadline:
            await self._read()

    async def close(self) -> None:
        await self._stop()
        await asyncio.to_thread(self._reader.close)

    async def _stop(self) -> None:
        # Cancelling would leave the worker thread inside a call, and a client must not be closed under it.
        self._stopped = True
        await asyncio.wait({self.task})

    async def _run(self) -> None:
        while not self._stopped:
            await self._read()

    async def _read(self) -> None:
        for record in await asyncio.to_thread(self._reader.read):
            self._tally.take(record.topic, record.value, record.at_ms)
