"""
Delivery reports: how the producer's callbacks find back to what a record came with.

They run on the event loop's thread, one for every record, so they count and do little else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, Message

from k2.ingestion.core.outcome import Headers, Record

if TYPE_CHECKING:
    from k2.ingestion.adapters.kafka import KafkaSink


class Report:
    """
    The delivery callback of records that came in one read, with one timestamp and the same headers.

    It keeps what librdkafka's report of a failure has lost: there the timestamp is -1, and there are no headers. A callback
    object for each message would cost as much as decoding it, but trades of the same millisecond come one after the other.
    """

    __slots__ = ("_sink", "headers", "maybe_written", "received_at_ns", "timestamp_ms")

    def __init__(self, sink: KafkaSink, record: Record, received_at_ns: int, *, maybe_written: bool) -> None:
        self._sink, self.received_at_ns, self.maybe_written = sink, received_at_ns, maybe_written
        self.timestamp_ms, self.headers = record.timestamp_ms, record.headers

    def acknowledged(self, error: KafkaError | None, message: Message) -> None:
        sink = self._sink
        sink.reported += 1
        if error is None:
            sink.delivered += 1
            sink.latency.observe(sink.now_ns - self.received_at_ns)
        else:
            sink.failed(error, message, self, alone=False)

    def acknowledged_alone(self, error: KafkaError | None, message: Message) -> None:
        sink = self._sink
        sink.reported += 1
        if error is None:
            sink.delivered += 1
            sink.latency.observe(sink.now_ns - self.received_at_ns)
        else:
            sink.failed(error, message, self, alone=True)

    def record_of(self, message: Message) -> Record:
        """The record as it was sent."""
        return Record(message.topic() or "", _bytes(message.key()), _bytes(message.value()), self.timestamp_ms, self.headers)


class ReadBatch:
    """
    What one read of the socket brought: its records share one receive time.

    `maybe_written` marks a record that is produced again though it may be in the topic: whatever happens to it now, that stays
    an open question.
    """

    __slots__ = ("_sink", "acknowledged", "headers", "maybe_written", "received_at_ns", "timestamp_ms")

    def __init__(self, sink: KafkaSink, received_at_ns: int, *, maybe_written: bool = False) -> None:
        self._sink, self.received_at_ns, self.maybe_written = sink, received_at_ns, maybe_written
        self.timestamp_ms: int | None = None
        self.headers: Headers | None = None
        self.acknowledged: Callable[[KafkaError | None, Message], None]

    def share_report(self, record: Record) -> None:
        """Make `acknowledged` the callback for this record and those like it."""
        report = Report(self._sink, record, self.received_at_ns, maybe_written=self.maybe_written)
        self.timestamp_ms, self.headers = record.timestamp_ms, record.headers
        self.acknowledged = report.acknowledged


def _bytes(value: str | bytes | None) -> bytes:
    return value if isinstance(value, bytes) else (value or "").encode()
