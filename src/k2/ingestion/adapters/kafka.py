"""
The way into Kafka, and the only place that knows what became of a record.

Records leave in the order in which they came. What librdkafka's queue does not take waits here; what a broker refuses as part
of a batch is produced once more alone; what nothing is wrong with is held and tried again, before anything newer. A producer
that broke for good is made anew, and gets what the old one held. Nothing here blocks: `send` returns at once, and callbacks run
inside `poll` on the event loop's thread.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, libversion

from k2.ingestion.adapters.kafka_producers import Producers, Renewals
from k2.ingestion.adapters.kafka_reports import Read, Report, Shipment
from k2.ingestion.adapters.kafka_statistics import ProducerStatistics, read_statistics
from k2.ingestion.core.broker_watch import BrokerWatch
from k2.ingestion.core.delivery import NEVER_HANDED_OVER, Fate, Verdict, in_doubt, verdict_on
from k2.ingestion.core.outcome import Record, WriteOutcome
from k2.ingestion.core.rows import LATE_HEADERS
from k2.ingestion.core.tally import LATENCY_BOUNDS_S, NS_PER_SECOND, STAGE_BOUNDS_S, DurationTally

LIBRDKAFKA_VERSION = libversion()[0]
HOLD_RETRY_NS = NS_PER_SECOND
SLOW_ANSWER_NS = 3 * NS_PER_SECOND  # a broker that takes longer, once a batch was sent, is taken for lost
REPORTS_WAIT_S = 1.0  # after a purge the reports are there at once
FLUSH_SLICE_S = 0.02
TIME_WAS_UP = "the program ended before it could be delivered"
PUMP_AT_MOST = 4_096  # records moved from the overflow in one go: some 15 ms of the event loop


class DeliveryObserver(Protocol):
    """Who hears of what is out of the ordinary. Called on the event loop's thread."""

    def delivery_failed(self, code: str, text: str) -> None: ...
    def client_error(self, code: str, text: str) -> None: ...
    def renewed(self, code: str, text: str, carried_over: int) -> None: ...
    def fatal_error(self, code: str, text: str) -> None: ...
    def undeliverable(self, record: Record, verdict: Verdict, error: str, attempts: int) -> None: ...


class KafkaSink:
    """
    Produces records and keeps their ledger.

    `in_flight` is every record that was sent and whose fate is not known yet, wherever it waits. `delivered` and `dead` are
    final. `overflow` counts what waits here because librdkafka has no room. `renewals` counts producers made anew.
    `held_code` is the error for which Kafka took nothing the last time, empty while it takes records. `latency` holds every
    record from receipt to acknowledgement; `processing` and `acknowledging` are its two parts, sampled once a read and a poll.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        observer: DeliveryObserver,
        logger: logging.Logger,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._observer, self._clock_ns = observer, clock_ns
        self._producers = Producers(config, logger, on_error=self._on_client_error, on_statistics=self._on_statistics)
        self._produce = self._producers.produce
        self.renewals = Renewals()
        self._waiting: deque[Shipment] = deque()
        self._failed: list[tuple[int, Shipment]] = []  # with the serial number of the try that failed
        self._delivered_before_hold = self._retry_at_ns = 0
        self._abandoned = self._must_wait = False  # must wait: something older does, and nothing may pass it
        self._broken: KafkaError | None = None  # the fatal error of a producer that is to be made anew
        self._renew_at_ns = 0
        self._fatal = self.held_code = ""
        self.now_ns = clock_ns()
        self.accepted = self.reported = self.delivered = self.dead = self.retried_alone = 0
        self.latency = DurationTally(LATENCY_BOUNDS_S)
        self.processing, self.acknowledging = DurationTally(STAGE_BOUNDS_S), DurationTally(STAGE_BOUNDS_S)
        self.read_acknowledged: Read | None = None
        self.error_codes: Counter[str] = Counter()
        self.statistics = ProducerStatistics()
        linger_ns = round(float(config.get("linger.ms", 0)) * 1_000_000)
        self._broker = BrokerWatch(SLOW_ANSWER_NS + linger_ns, self.now_ns)

    @property
    def fatal(self) -> str:
        """The text of the error after which even a new producer would be of no use, or empty."""
        return self._fatal

    @property
    def overflow(self) -> int:
        return len(self._waiting) + len(self._failed)

    @property
    def in_flight(self) -> int:
        return self.accepted - self.reported + len(self._waiting) + len(self._failed)

    @property
    def broker_lost_for_s(self) -> float:
        """How long no broker was there: no connection is up, or nothing that we sent is acknowledged."""
        return self._broker.lost_for_ns(self.now_ns) / NS_PER_SECOND

    def begin_read(self) -> Read:
        """A read of the socket begins: the records that it brings are timed from now on."""
        self.now_ns = self._clock_ns()
        return Read(self.now_ns)

    def end_read(self, read: Read) -> None:
        """Everything that it brought was sent."""
        read.handed_at_ns = self._clock_ns()
        self.processing.observe(read.handed_at_ns - read.received_at_ns)

    def send(self, record: Record, read: Read) -> None:
        """Take a record for delivery. Never waits, never raises, never passes an older one."""
        if self._must_wait or not self._produced(record, read):
            self._waiting.append(Shipment(record, read))
            self._must_wait = True

    def _produced(self, record: Record, read: Read, maybe_written: bool = False, attempts: int = 0) -> bool:
        """Hand one record to librdkafka. False when it must wait."""
        headers, timestamp_ms = record.headers, record.timestamp_ms
        report = Report(self, self.accepted, read, timestamp_ms, headers, maybe_written, attempts + 1, False)
        try:
            # By position: keywords cost 0.8 us more, and a header another 0.8, so those of live records have none.
            if headers is None:
                self._produce(record.topic, record.value, record.key, -1, report, None, timestamp_ms)
            else:
                self._produce(record.topic, record.value, record.key, -1, report, None, timestamp_ms, headers)
        except BufferError:
            return False
        except KafkaException as exception:
            return self._refused_here(record, exception.args[0], maybe_written=maybe_written, attempts=attempts + 1)
        self.accepted += 1
        return True

    def _refused_here(self, record: Record, error: KafkaError, *, maybe_written: bool, attempts: int) -> bool:
        """librdkafka itself would not take the record. False when it is to wait for better times."""
        self.error_codes[error.name()] += 1
        if error.fatal():
            self._broke(error)
            return False
        verdict = verdict_on(error.name(), alone=True)
        if verdict.fate is Fate.HOLD:
            self.held_code, self._retry_at_ns = error.name(), self._clock_ns() + HOLD_RETRY_NS
            return False
        self._bury(record, in_doubt(verdict) if maybe_written else verdict, error, attempts)
        return True

    def poll(self) -> None:
        """Serve delivery reports and librdkafka's other callbacks, then move what waits."""
        self.now_ns = self._clock_ns()
        delivered_before, self.read_acknowledged = self.delivered, None
        self._producers.poll()
        if self._broken is not None and not self._fatal and self.now_ns >= self._renew_at_ns:
            self._renew(self._broken)
        if not self.in_flight:
            self._broker.nothing_awaited(self.now_ns)
        if self.delivered != delivered_before:
            self._broker.acknowledged(self.now_ns)
            self.held_code = ""
            self._sample_acknowledging()
        if self._must_wait:
            self._pump()

    def _sample_acknowledging(self) -> None:
        """
        Once a poll, for the first record that it reports, which waited longest for its batch to fill and to be answered.

        A second observation for each record would cost the hot path, and `latency` holds them all.
        """
        read = self.read_acknowledged
        if read is not None and read.handed_at_ns:  # 0 while the read is still going on
            self.acknowledging.observe(self.now_ns - read.handed_at_ns)

    def flush(self) -> None:
        """Poll, and let batches go that still wait to fill up. Blocks for some hundredths of a second at most."""
        self._producers.flush(FLUSH_SLICE_S)
        self.poll()

    def _pump(self) -> None:
        if self.now_ns < self._retry_at_ns or self._broken is not None:
            return
        # Held records go first, in their order, once the outcome of all that was sent with them is known.
        if self._failed and self.accepted == self.reported:
            self._take_back_held()
        if not self._failed:
            for _ in range(min(PUMP_AT_MOST, len(self._waiting))):
                oldest = self._waiting[0]
                if not self._produced(oldest.record, oldest.read, oldest.maybe_written, oldest.attempts):
                    break
                self._waiting.popleft()
        self._must_wait = bool(self._waiting or self._failed)

    def _take_back_held(self) -> None:
        self._failed.sort(key=itemgetter(0))
        held = [shipment for _, shipment in self._failed]
        # Where anything was delivered meanwhile, a younger record of the same key may be among it: then they come late. One that
        # may be in the topic already comes late as well: behind all that was written after it.
        overtaken = self.delivered != self._delivered_before_hold
        for shipment in held:
            if overtaken or shipment.maybe_written:
                shipment.record.headers = shipment.record.headers or LATE_HEADERS
        self._waiting.extendleft(reversed(held))
        self._failed.clear()

    def failed(self, error: KafkaError, message: Message, report: Report) -> None:
        """Decide what becomes of a record whose delivery was reported as failed."""
        code = error.name()
        self.error_codes[code] += 1
        if error.fatal():
            self._broke(error)
        self._observer.delivery_failed(code, error.str())
        verdict = verdict_on(code, alone=report.alone)
        if report.maybe_written:
            verdict = in_doubt(verdict)
        record = report.record_of(message)
        shipment = Shipment(record, report.read, verdict.written is WriteOutcome.UNKNOWN, report.attempts)
        if self._broken is not None and not self._abandoned:
            self._hold(shipment, report.serial)  # whatever it failed of: the producer is done for, the record is not
        elif verdict.fate is Fate.DEAD:
            self._bury(record, verdict, error, report.attempts)
        elif verdict.fate is Fate.ALONE and not self._abandoned:
            self._send_alone(shipment, report.serial)
        else:
            self._hold(shipment, report.serial)
            self.held_code, self._retry_at_ns = code, self.now_ns + HOLD_RETRY_NS

    def _hold(self, shipment: Shipment, serial: int) -> None:
        if not self._failed:
            self._delivered_before_hold = self.delivered
        self._failed.append((serial, shipment))
        self._must_wait = True

    def _send_alone(self, shipment: Shipment, serial: int) -> None:
        self.retried_alone += 1
        record = shipment.record
        record.headers = record.headers or LATE_HEADERS  # it comes after younger ones now, and says so
        read, time_ms, headers, tries = shipment.read, record.timestamp_ms, record.headers, shipment.attempts + 1
        report = Report(self, self.accepted, read, time_ms, headers, shipment.maybe_written, tries, alone=True)
        try:
            self._producers.produce_alone(record.topic, record.value, record.key, -1, report, None, time_ms, headers)
        except (BufferError, KafkaException) as exception:
            self._observer.client_error("_QUEUE_FULL", str(exception))
            self._hold(shipment, serial)
        else:
            self.accepted += 1

    def _bury(self, record: Record, verdict: Verdict, error: KafkaError, attempts: int) -> None:
        self.dead += 1
        self._observer.undeliverable(record, verdict, f"{error.name()}: {error.str()}", attempts)

    def abandon(self) -> None:
        """Give up on everything that is still in flight: each record is reported as undeliverable. Blocks until that is done."""
        self._abandoned = True
        self._producers.purge()
        self._serve_all_reports()
        self._take_back_held()
        while self._waiting:
            shipment = self._waiting.popleft()
            self.dead += 1
            verdict = in_doubt(NEVER_HANDED_OVER) if shipment.maybe_written else NEVER_HANDED_OVER
            self._observer.undeliverable(shipment.record, verdict, TIME_WAS_UP, shipment.attempts)

    def _serve_all_reports(self) -> None:
        reported_before = -1
        while self.reported not in {self.accepted, reported_before}:
            reported_before = self.reported
            self._producers.flush(REPORTS_WAIT_S)

    def _broke(self, error: KafkaError) -> None:
        """The producer takes nothing any more: plan a new one, or say that there were too many."""
        if self._broken is not None:
            return
        self._broken, self._must_wait = error, True
        renew_at_ns = self.renewals.next_at_ns(error.name(), self._clock_ns())
        if renew_at_ns is None:
            self._became_fatal(error)
            return
        self.held_code, self._renew_at_ns = error.name(), renew_at_ns

    def _renew(self, error: KafkaError) -> None:
        """Take back what the broken producer held, and give it to a new one. Blocks for some hundredths of a second."""
        self._producers.purge()
        self._serve_all_reports()
        if self.reported != self.accepted:
            self._became_fatal(error)  # records that nobody reports on can be neither kept nor sent again
            return
        self._producers.renew()
        self._produce = self._producers.produce
        self.renewals.count += 1
        self._broken, self._retry_at_ns = None, 0
        self._observer.renewed(error.name(), error.str(), self.overflow)

    def _became_fatal(self, error: KafkaError) -> None:
        self._fatal = f"{error.name()}: {error.str()}"
        self._observer.fatal_error(error.name(), error.str())

    def _on_client_error(self, error: KafkaError) -> None:
        code = error.name()
        self.error_codes[code] += 1
        if error.fatal():
            self._broke(error)
        if code == "_ALL_BROKERS_DOWN":
            self._broker.disconnected(self.now_ns)
        self._observer.client_error(code, error.str())

    def _on_statistics(self, text: str) -> None:
        self.statistics = read_statistics(text)
        if self.statistics.any_broker_up:
            self._broker.connected()
        else:
            self._broker.disconnected(self.now_ns)
