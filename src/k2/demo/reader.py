"""Reads the topic back as any consumer would: a plain Kafka client, and Confluent's own deserializer with the registry."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError

from k2.demo.tally import TopicTally
from k2.errors import FatalError

POLL_S = 0.1  # a batch is what came in this time, so also how stale the screen may be
BATCH_RECORDS = 2_000
TIMEOUT_S = 2.0

Decoded = Mapping[str, Any]


class TopicReader:
    """Every call blocks: use it from a worker thread, one call at a time."""

    def __init__(self, bootstrap: str, registry_url: str, topic: str) -> None:
        self.schema_id: int | None = None
        self._topic = topic
        self._registry = SchemaRegistryClient({"url": registry_url, "timeout": TIMEOUT_S})
        # The default strategy asks the registry for associations that not every registry knows.
        self._decode = AvroDeserializer(self._registry, conf={"subject.name.strategy.type": "TOPIC"})
        self._context = SerializationContext(topic, MessageField.VALUE)
        self._next_offsets: dict[int, int] = {}
        self._consumer = Consumer(_settings(bootstrap))
        partitions = self._consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions
        self._partitions = list(partitions)
        self._consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])

    def read(self) -> list[Decoded]:
        """
        The records of the next tenth of a second, decoded.

        Raises:
            FatalError: the topic cannot be read, or holds what the registry's schema cannot decode.
        """
        try:
            return [self._decoded(message) for message in self._consumer.consume(BATCH_RECORDS, POLL_S)]
        except KafkaException as failure:
            raise FatalError(f"topic {self._topic} cannot be read: {failure.args[0]}") from failure
        except SerializationError as failure:
            raise FatalError(f"a record of topic {self._topic} cannot be decoded: {failure}") from failure

    def _decoded(self, message: Message) -> Decoded:
        error, payload = message.error(), message.value()
        if error is not None:
            raise KafkaException(error)
        record: Decoded | None = self._decode(payload, self._context)
        if payload is None or record is None:
            raise FatalError(f"topic {self._topic} holds a record without a value")
        self.schema_id = int.from_bytes(payload[1:5], "big")  # Confluent's framing: a zero byte, then the id
        self._next_offsets[message.partition() or 0] = (message.offset() or 0) + 1
        return record

    def at_end(self) -> bool:
        """Whether everything that the topic holds now was read."""
        return all(self._next_offsets.get(partition, 0) >= self._end(partition) for partition in self._partitions)

    def _end(self, partition: int) -> float:
        """The offset that the next record will get; infinite where the broker does not tell."""
        try:
            marks: Any = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=TIMEOUT_S)
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
    """Reads a topic in the background of an event loop, into a tally."""

    def __init__(self, reader: TopicReader, tally: TopicTally) -> None:
        self._reader, self._tally = reader, tally
        self._stopped = False
        self.task = asyncio.create_task(self._run())

    @property
    def schema_id(self) -> int | None:
        return self._reader.schema_id

    async def stop_at_the_end(self, timeout_s: float) -> None:
        """Read on until the topic has nothing more, or time is up. Nobody should be writing any more."""
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
            self._tally.take(record)
