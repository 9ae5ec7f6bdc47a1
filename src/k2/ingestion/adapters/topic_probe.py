"""
One record there and back, to prove what no question can: that the cluster takes our records and hands them out.

The record goes into a topic of its own, made for this and removed afterwards. In the topic of trades it would be a trade that
never happened, for every consumer and for ever; aborting a transaction hides it from few of them, as most read uncommitted.
The topic's name begins with `k2-probe.`, so that no consumer of a pattern such as `market.*` takes it up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from msgspec import Struct

from k2.errors import K2Error
from k2.ingestion.adapters.kafka_faults import AUTHORISATION, BrokerUnavailableError, ClientFaults, open_client
from k2.ingestion.adapters.kafka_inspection import NotAuthorisedError
from k2.ingestion.adapters.topic_reader import TopicReader, TopicRecord
from k2.ingestion.adapters.topics import TopicSpec, ensure_topic
from k2.ingestion.core.outcome import Headers, Record

PROBE_PREFIX = "k2-probe."
RETENTION_MS = 3_600_000  # what cannot be removed at once is gone within the hour
_GRACE_S = 1.0  # for the report of a record that was given up in time
_POLL_S = 0.1
_HEADERS: Headers = [("k2-source", b"probe")]


class ProbeReport(Struct, frozen=True):
    """
    What became of a probe.

    Attributes:
        produced_ms, read_ms: How long it took until the record was acknowledged, and until it was read back.
        left_behind: Whether the topic is still there: it was there before, or could not be removed.
    """

    topic: str
    partition: int
    offset: int
    produced_ms: int
    read_ms: int
    left_behind: bool


def probe_topic_of(topic: str) -> str:
    """The topic that a probe of this one goes to."""
    return PROBE_PREFIX + topic


def probe(
    producer_config: Mapping[str, Any],
    admin_config: Mapping[str, Any],
    spec: TopicSpec,
    *,
    logger: logging.Logger,
    timeout_s: float,
) -> ProbeReport:
    """
    Produce a record as the client does and read it back. Blocks, for a few times `timeout_s` at most.

    Args:
        spec: The topic to probe with, made where it is missing.

    Raises:
        BrokerUnavailableError: no acknowledgement, or not read back in time.
        NotAuthorisedError: we may not produce.
        ConfigurationError: the topic may not be made, or not be read; credentials; certificates.
    """
    made = ensure_topic(admin_config, spec, create=True, logger=logger, timeout_s=timeout_s).created
    try:
        record = Record(spec.name, b"k2-probe", f"k2 doctor {uuid4()}".encode(), time.time_ns() // 1_000_000, _HEADERS)
        began_s = time.monotonic()
        partition, offset = _produced(producer_config, record, logger, timeout_s)
        produced_ms = _ms_since(began_s)
        _read_back(admin_config, record, partition, offset, logger, timeout_s)
        read_ms = _ms_since(began_s) - produced_ms
    finally:
        removed = made and _removed(admin_config, spec.name, logger, timeout_s)
    return ProbeReport(spec.name, partition, offset, produced_ms, read_ms, left_behind=not removed)


def _produced(config: Mapping[str, Any], record: Record, logger: logging.Logger, timeout_s: float) -> tuple[int, int]:
    """Partition and offset of the record once all replicas have it."""
    faults = ClientFaults(config)
    limits = {"message.timeout.ms": round(timeout_s * 1000), "linger.ms": 0}
    producer = open_client(Producer, {**config, **limits, "error_cb": faults.append}, logger)
    reports: list[tuple[KafkaError | None, Message]] = []

    def on_report(error: KafkaError | None, message: Message) -> None:
        reports.append((error, message))

    deadline_s = time.monotonic() + timeout_s + _GRACE_S
    try:
        producer.produce(record.topic, record.value, record.key, -1, on_report, None, record.timestamp_ms, record.headers)
        # Not `flush`: after a fatal error it calls back with an exception of its own pending, which ends in a SystemError.
        while not reports and time.monotonic() < deadline_s:
            producer.poll(_POLL_S)
    except KafkaException as failure:
        raise _explained(failure.args[0], faults, record.topic) from failure
    if not reports:
        raise faults.explain_silence()
    [(error, message)] = reports
    if error is not None:
        raise _explained(error, faults, record.topic)
    return message.partition() or 0, message.offset() or 0


def _explained(error: KafkaError, faults: ClientFaults, topic: str) -> K2Error:
    if error.name() in AUTHORISATION:
        return NotAuthorisedError("Write", topic)
    return faults.explain(KafkaException(error))


def _read_back(
    config: Mapping[str, Any], record: Record, partition: int, offset: int, logger: logging.Logger, timeout_s: float
) -> None:
    deadline_s = time.monotonic() + timeout_s
    with TopicReader(config, record.topic, logger=logger, timeout_s=timeout_s) as reader:
        reader.start({partition: offset})
        while time.monotonic() < deadline_s:
            if any(_same(read, record, offset) for read in reader.read()):
                return
    raise BrokerUnavailableError(f"the record at offset {offset} of {record.topic} was acknowledged, but could not be read back")


def _same(read: TopicRecord, record: Record, offset: int) -> bool:
    wanted = (offset, record.key, record.value, record.timestamp_ms)
    return (read.offset, read.key, read.value, read.timestamp_ms) == wanted


def _removed(config: Mapping[str, Any], topic: str, logger: logging.Logger, timeout_s: float) -> bool:
    client = open_client(AdminClient, config, logger)
    try:
        client.delete_topics([topic], operation_timeout=timeout_s, request_timeout=timeout_s)[topic].result(timeout_s + _GRACE_S)
    except (KafkaException, TimeoutError):
        return False
    return True


def _ms_since(began_s: float) -> int:
    return round((time.monotonic() - began_s) * 1000)
