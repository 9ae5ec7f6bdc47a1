"""
The floor: nothing but `Producer.produce` of ready bytes, with a callback that counts. No client in Python can cost less.

Says `ready` when the producer knows its topic, begins when a line comes, and says `done` when every record is acknowledged.
"""

from __future__ import annotations

import sys
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

from benchmarks.frames import read_records
from k2.ingestion.settings import load_settings

POLL_EVERY = 256  # as the client does
ERRORS_ONLY = 3  # a fresh broker refuses the first producer id, which librdkafka asks for again and warns about


class Deliveries:
    """Counts delivery reports."""

    def __init__(self) -> None:
        self.delivered = 0

    def count(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            raise RuntimeError(error.str())
        self.delivered += 1


def produce_all(producer: Producer, topic: str, records: list[tuple[bytes, bytes, int]], deliveries: Deliveries) -> None:
    """Produce by position, as the client does, and wait for the last acknowledgement."""
    produce, acknowledged, until_poll = producer.produce, deliveries.count, POLL_EVERY
    for key, value, timestamp_ms in records:
        try:
            produce(topic, value, key, -1, acknowledged, None, timestamp_ms)
        except BufferError:
            producer.flush()
            produce(topic, value, key, -1, acknowledged, None, timestamp_ms)
        until_poll -= 1
        if not until_poll:
            until_poll = POLL_EVERY
            producer.poll(0)
    producer.flush()


def main(bootstrap: str, topic: str, records_file: str) -> None:
    records, deliveries = read_records(Path(records_file)), Deliveries()
    config = load_settings(["--kafka-bootstrap", bootstrap], {}).kafka.producer_config()
    producer = Producer({**config, "log_level": ERRORS_ONLY})
    producer.list_topics(topic, timeout=10)
    print("ready", flush=True)
    sys.stdin.readline()
    produce_all(producer, topic, records, deliveries)
    print("done", deliveries.delivered, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
