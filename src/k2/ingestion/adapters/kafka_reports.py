"""What accompanies a record on its way to Kafka, and the callback by which librdkafka reports how that ended."""

from __future__ import annotations

from typing import Protocol

from confluent_kafka import KafkaError, Message
from msgspec import Struct

from k2.ingestion.core.outcome import Headers, Record
from k2.ingestion.core.tally import DurationTally


class Shipment(Struct, gc=False):
    """
    A record that waits, when it was received, and how often it was tried.

    `maybe_written`: it may be in the topic already, an earlier try had no clear end.
    """

    record: Record
    received_at_ns: int
    maybe_written: bool = False
    attempts: int = 0


class Ledger(Protocol):
    """Where reports are counted: the sink that sent the record. `now_ns` is the time of the poll that serves them."""

    reported: int
    delivered: int
    now_ns: int
    latency: DurationTally

    def failed(self, error: KafkaError, message: Message, report: Report) -> None: ...


class Report(Struct, gc=False):
    """
    The delivery callback of one record; runs on the event loop's thread.

    It keeps what librdkafka's own report of a failure has lost: the timestamp is -1 there, headers are none, and batches are not
    reported in the order in which they were sent. One for every record: as a Struct it costs no more than a bound method.
    """

    sink: Ledger
    serial: int
    received_at_ns: int
    timestamp_ms: int
    headers: Headers | None
    maybe_written: bool
    attempts: int  # this one included
    alone: bool

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        sink = self.sink
        sink.reported += 1
        if error is None:
            sink.delivered += 1
            sink.latency.observe(sink.now_ns - self.received_at_ns)
        else:
            sink.failed(error, message, self)

    def record_of(self, message: Message) -> Record:
        """The record as it was sent."""
        return Record(message.topic() or "", _bytes(message.key()), _bytes(message.value()), self.timestamp_ms, self.headers)


def _bytes(value: str | bytes | None) -> bytes:
    return value if isinstance(value, bytes) else (value or "").encode()
