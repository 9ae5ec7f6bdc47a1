"""What is in a topic, seen by a consumer that knows nothing of us: a plain client and Confluent's own deserializer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

if TYPE_CHECKING:
    from collections.abc import Callable

    Decode = Callable[[bytes], Any]

METADATA_TIMEOUT_S = 15.0
REGISTRY_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class ReadRecord:
    """A record as it was read. `payload` is the value's bytes; `value` is them decoded, None with `raw` and for a tombstone."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: str | None
    headers: dict[str, bytes]
    payload: bytes | None
    value: Any


def read_topic(
    bootstrap: str,
    registry_url: str,
    topic: str,
    *,
    count: int | None = None,
    timeout_s: float = 30,
    raw: bool = False,
) -> list[ReadRecord]:
    """
    Read every partition of a topic from the first record to the last one that is there, ordered by partition and offset.

    Args:
        count: Wait until there are at least so many records; whatever came beyond them is returned as well.
        timeout_s: When to give up, with an AssertionError that says how many records came.
        raw: Leave values undecoded. The registry is not spoken to and its address may be empty.
    """
    if raw:
        return _read(bootstrap, topic, count or 0, timeout_s, lambda _: None)
    with SchemaRegistryClient({"url": registry_url, "timeout": REGISTRY_TIMEOUT_S}) as registry:
        return _read(bootstrap, topic, count or 0, timeout_s, _avro_decoder(registry, topic))


def _avro_decoder(registry: SchemaRegistryClient, topic: str) -> Decode:
    # The default strategy asks the registry for associations that not every registry knows.
    deserializer = AvroDeserializer(registry, conf={"subject.name.strategy.type": "TOPIC"})
    context = SerializationContext(topic, MessageField.VALUE)
    return lambda payload: deserializer(payload, context)


def _read(bootstrap: str, topic: str, count: int, timeout_s: float, decode: Decode) -> list[ReadRecord]:
    consumer = _consumer(bootstrap)
    try:
        messages = _poll_to_the_end(consumer, topic, count, time.monotonic() + timeout_s)
    finally:
        consumer.close()
    records = [_record(message, decode) for message in messages]
    return sorted(records, key=lambda record: (record.partition, record.offset))


def _consumer(bootstrap: str) -> Consumer:
    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "group.id": "k2-verify",  # must be there, though nothing is committed and no group is joined
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "fetch.wait.max.ms": 10,  # a partition's end is told with the answer to an empty fetch
        "log_level": 0,
    }
    return Consumer(settings)


def _poll_to_the_end(consumer: Consumer, topic: str, count: int, deadline: float) -> list[Message]:
    """
    Poll until each partition has said that its end is reached and `count` messages have come.

    A partition's end is the broker's word at a time after this call. Comparing offsets with the high watermark would wait
    for ever on a transaction's marker, which takes an offset and is never handed out.
    """
    partitions = _partitions(consumer, topic)
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    messages: list[Message] = []
    at_end: set[int] = set()
    while len(at_end) < len(partitions) or len(messages) < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"{topic}: {len(messages)} records came, {count or 'all'} were waited for")
        for message in consumer.consume(1_000, timeout=0.01):
            _sort_in(message, messages, at_end)
    return messages


def _partitions(consumer: Consumer, topic: str) -> list[int]:
    metadata = consumer.list_topics(topic, timeout=METADATA_TIMEOUT_S).topics[topic]
    if metadata.error:
        raise AssertionError(f"{topic}: {metadata.error}")
    return list(metadata.partitions)


def _sort_in(message: Message, messages: list[Message], at_end: set[int]) -> None:
    error, partition = message.error(), message.partition()
    assert partition is not None
    if error is None:
        messages.append(message)
        at_end.discard(partition)
    elif error.code() == KafkaError._PARTITION_EOF:
        at_end.add(partition)
    else:
        raise KafkaException(error)


def _record(message: Message, decode: Decode) -> ReadRecord:
    payload, key = message.value(), message.key()
    return ReadRecord(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=message.timestamp()[1],
        key=None if key is None else key.decode(),
        headers=_headers(message),
        payload=payload,
        value=None if payload is None else decode(payload),
    )


def _headers(message: Message) -> dict[str, bytes]:
    pairs: Any = message.headers()  # a list of pairs; the type allows for what only a producer takes
    return dict(pairs or [])
