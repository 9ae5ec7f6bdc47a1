"""The producer on its own: records go in, and whatever becomes of them is kept in lists."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from k2.ingestion.adapters.kafka import KafkaSink
from k2.ingestion.core.outcome import Headers, Record
from k2.ingestion.settings import load_settings
from kit.verify import ReadRecord, read_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from k2.ingestion.core.delivery import Verdict

TOPIC = "trades"
FIRST_TIME_MS = 1_700_000_000_000
CLOCK_RATE = 50  # the sink's clock runs so much faster than ours: it waits a second before it tries again
PATIENCE_S = 20.0

LOGGER = logging.getLogger("test.librdkafka")
LOGGER.propagate = False
LOGGER.addHandler(logging.NullHandler())


class Observer:
    """Hears what the sink has to tell. `letters` are the records that it gave up, in order."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.failures: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.fatal: list[str] = []
        self.renewals: list[tuple[str, int]] = []
        self.letters: list[tuple[Record, Verdict]] = []
        self.texts: list[str] = []
        self.attempts: list[int] = []

    def delivery_failed(self, code: str, text: str) -> None:
        assert text
        self.failures[code] += 1

    def client_error(self, code: str, text: str) -> None:
        assert text
        self.errors[code] += 1

    def renewed(self, code: str, text: str, carried_over: int) -> None:
        assert text
        self.renewals.append((code, carried_over))

    def fatal_error(self, code: str, text: str) -> None:
        assert text
        self.fatal.append(code)

    def undeliverable(self, record: Record, verdict: Verdict, error: str, attempts: int) -> None:
        self.letters.append((record, verdict))
        self.texts.append(error)
        self.attempts.append(attempts)

    @property
    def dead_values(self) -> list[bytes]:
        return [record.value for record, _ in self.letters]


def product_config(bootstrap: str, **properties: object) -> dict[str, Any]:
    """The producer's configuration as the product makes it, and quick to try again. Names have `_` for a dot."""
    given = {"retry_backoff_ms": 10, "retry_backoff_max_ms": 50, "reconnect_backoff_ms": 20, "reconnect_backoff_max_ms": 50}
    arguments = ["--kafka-bootstrap", bootstrap]
    for name, value in {**given, **properties}.items():
        arguments += ["--kafka-property", f"{name.replace('_', '.')}={value}"]
    return load_settings(arguments, {}).kafka.producer_config()


class Bench:
    """A sink on a broker. After every poll its books are checked."""

    def __init__(
        self, bootstrap: str, topic: str = TOPIC, clock_ns: Callable[[], int] | None = None, **properties: object
    ) -> None:
        self.bootstrap, self.topic = bootstrap, topic
        self.observer = Observer()
        config = product_config(bootstrap, **properties)
        self.sink = KafkaSink(config, self.observer, LOGGER, clock_ns=clock_ns or (lambda: time.monotonic_ns() * CLOCK_RATE))
        self.sent: list[Record] = []

    def renew(self, topic: str) -> None:
        """Begin anew on another topic; the producer has introduced itself to the broker already, which takes half a second."""
        assert self.sink.in_flight == 0
        self.topic = topic
        self.sink.delivered = self.sink.dead = self.sink.retried_alone = 0
        self.sink.error_codes.clear()
        self.sent.clear()
        self.observer.clear()

    def send(
        self, count: int, *, size: int = 20, key: bytes = b"BTCUSDT", headers: Headers | None = None, age_ms: int = 0
    ) -> list[Record]:
        """One read of the socket with so many records, whose values are numbers and whose times are all different."""
        read, first = self.sink.begin_read(), len(self.sent)
        for number in range(first, first + count):
            record = Record(self.topic, key, b"%0*d" % (size, number), FIRST_TIME_MS - age_ms + number, headers)
            self.sent.append(record)
            self.sink.send(record, read)
        return self.sent[first:]

    def poll(self) -> None:
        self.sink.poll()
        self.assert_balanced()

    def assert_balanced(self) -> None:
        """made = delivered + dead + in flight, and whoever is dead has a letter."""
        sink = self.sink
        assert len(self.sent) == sink.delivered + sink.dead + sink.in_flight
        assert sink.dead == len(self.observer.letters)
        assert sink.in_flight >= sink.overflow >= 0

    def poll_until(self, reached: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + patience_s
        while not reached():
            assert time.monotonic() < deadline, f"in flight: {self.sink.in_flight}, codes: {dict(self.sink.error_codes)}"
            self.poll()
            time.sleep(0.002)

    def drain(self) -> None:
        """Poll until the fate of every record is known."""
        self.poll_until(lambda: self.sink.in_flight == 0)

    def stored(self) -> list[ReadRecord]:
        """What is in the topic, by partition and offset."""
        return read_topic(self.bootstrap, "", self.topic, raw=True)

    def stored_values(self) -> list[bytes | None]:
        return [record.payload for record in self.stored()]
