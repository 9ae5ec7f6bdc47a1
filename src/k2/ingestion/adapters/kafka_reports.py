"""What accompanies a record on its way to Kafka, and the callback by which librdkafka reports how that ended."""

from __future__ import annotations

from typing import Protocol

from confluent_kafka import KafkaError, Message
from msgspec import Struct

from k2.ingestion.core.outcome import Headers, Record
from k2.ingestion.core.tally import DurationTally


class Read(Struct, gc=False):
    """
    One read of the socket, by which all records that it brought are timed. Monotonic clock, nanoseconds.

    `handed_at_ns`: when the last of them was handed on, to librdkafka or to what waits for it; 0 until then.
    """

    received_at_ns: int
    handed_at_ns: int = 0


class Shipment(Struct, gc=False):
    """
    A record that waits, the read that brought it, and how often it was tried.

    `maybe_written`: it may be in the topic already, an earlier try had no clear end.
    """

    record: Record
    read: Read
    maybe_written: bool = False
    attempts: int = 0


class Ledger(Protocol):
    """
    Where reports are counted: the sink that sent the record.

    `now_ns` is the time of the poll that serves them, `read_acknowledged` the read of the first record that it found
    acknowledged.
    """

    reported: int
    delivered: int
    now_ns: int
    latency: DurationTally
    read_acknowledged: Read | None

    def failed(self, error: KafkaError, message: Message, report: Report) -> None: ...


class Report(Struct, gc=False):
    """
    The delivery callback of one record; runs on the event loop's thread.

    It keeps what librdkafka's own report of a failure has lost: the timestamp is -1 there, headers are none, and batches are not
    reported in the order in which they were sent. One for every record: as a Struct it costs no more than a bound method.
    """

    sink: Ledger
    serial: int
    read: Read
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
            read = self.read
            if sink.read_acknowledged is None:
                sink.read_acknowledged = read
            sink.latency.observe(sink.now_ns - read.received_at_ns)
        else:
            sink.failed(error, message, self)

    def record_of(self, message: Message) -> Record:
        """The record as it was sent."""
        key = message.key()
        key = None if key is None else _bytes(key)
        return Record(message.topic() or "", key, _bytes(message.value()), self.timestamp_ms, self.headers)


def _bytes(value: str | bytes | None) -> bytes:
    return value if isinstance(value, bytes) else (value or "").encode()
