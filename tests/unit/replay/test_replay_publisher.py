"""A batch is sent whole and waited for, and what keeps it from ending is told."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from faults.assembly import make_record
from k2.errors import UnavailableError
from k2.ingestion.adapters.kafka_reports import Read
from k2.ingestion.core.delivery import verdict_on
from k2.ingestion.core.outcome import Record
from k2.replay import publisher as publisher_module
from k2.replay.publisher import InterruptedReplayError, Publisher, Refusal

PATIENCE_S = 30.0
TOO_LARGE = verdict_on("MSG_SIZE_TOO_LARGE", alone=True)


class Sink:
    """A sink that is told what happens at each poll. Time passes while somebody naps."""

    def __init__(self) -> None:
        self.sent: list[Record] = []
        self.delivered = self.dead = self.now_s = 0
        self.fatal = ""
        self.at_each_poll: Callable[[], None] = self.deliver_all

    @property
    def in_flight(self) -> int:
        return len(self.sent) - self.delivered - self.dead

    def begin_read(self) -> Read:
        return Read(0)

    def send(self, record: Record, _read: Read) -> None:
        self.sent.append(record)

    def poll(self) -> None:
        self.at_each_poll()

    def deliver_all(self) -> None:
        self.delivered += self.in_flight

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, _seconds: float) -> None:
        self.now_s += 1


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Sink:
    made = Sink()
    monkeypatch.setattr(publisher_module, "KafkaSink", lambda *_: made)
    monkeypatch.setattr(publisher_module, "time", made)
    return made


def publisher(stop_signal: Callable[[], int] = lambda: 0) -> Publisher:
    return Publisher({}, logging.getLogger("test"), patience_s=PATIENCE_S, stop_signal=stop_signal)


RECORDS = [make_record(number) for number in range(3)]


def test_a_batch_that_is_acknowledged_has_no_refusals(sink: Sink) -> None:
    """Its records leave in their order."""
    assert publisher().publish(RECORDS) == []
    assert sink.sent == RECORDS


def test_refusals_are_those_of_the_batch(sink: Sink) -> None:
    """What Kafka would not take comes back with what it said, once."""
    sends = publisher()

    def refuse_the_last() -> None:
        sink.delivered += 2
        sink.dead += 1
        sends.undeliverable(RECORDS[2], TOO_LARGE, "MSG_SIZE_TOO_LARGE: no", 1)

    sink.at_each_poll = refuse_the_last
    assert sends.publish(RECORDS) == [Refusal(RECORDS[2], TOO_LARGE, "MSG_SIZE_TOO_LARGE: no")]
    sink.at_each_poll = sink.deliver_all
    assert sends.publish(RECORDS) == []


def test_nothing_for_too_long_ends_the_run(sink: Sink) -> None:
    """With the latest that was heard of, which is what the operator can act upon; exit 69."""
    sends = publisher()
    sink.at_each_poll = lambda: sends.client_error("_ALL_BROKERS_DOWN", "1/1 brokers are down")
    with pytest.raises(UnavailableError, match="_ALL_BROKERS_DOWN: 1/1 brokers are down") as caught:
        sends.publish(RECORDS)
    assert caught.value.exit_code == 69
    assert PATIENCE_S < sink.now_s < PATIENCE_S + 3


@pytest.mark.parametrize("told", ["delivery_failed", "client_error", "fatal_error"])
def test_whatever_was_told_last_is_the_reason(sink: Sink, told: str) -> None:
    """All that the producer reports is heard."""
    sends = publisher()
    sink.at_each_poll = lambda: getattr(sends, told)("CODE", "text")
    with pytest.raises(UnavailableError, match="CODE: text"):
        sends.publish(RECORDS)


def test_a_new_producer_is_a_reason_too(sink: Sink) -> None:
    """One that keeps breaking is told of with what it broke of."""
    sends = publisher()
    sink.at_each_poll = lambda: sends.renewed("_FATAL", "epoch", 3)
    with pytest.raises(UnavailableError, match="_FATAL: epoch"):
        sends.publish(RECORDS)


def test_patience_begins_anew_with_every_acknowledgement(sink: Sink) -> None:
    """A broker that is slow is no broker that is away."""
    naps_between = int(PATIENCE_S) - 2

    def deliver_now_and_then() -> None:
        if sink.now_s % naps_between == 0:
            sink.delivered += 1

    sink.at_each_poll = deliver_now_and_then
    sink.now_s = 1
    assert publisher().publish(RECORDS) == []
    assert sink.now_s > 2 * PATIENCE_S - 10


def test_a_producer_that_broke_for_good_ends_the_run_at_once(sink: Sink) -> None:
    """There is nothing to wait for."""
    sink.fatal = "_FATAL: fenced"
    sink.at_each_poll = lambda: None
    with pytest.raises(UnavailableError, match="_FATAL: fenced"):
        publisher().publish(RECORDS)
    assert sink.now_s < 3


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_ends_the_wait(sink: Sink, number: int) -> None:
    """With the exit code that shells expect of it."""
    sink.at_each_poll = lambda: None
    with pytest.raises(InterruptedReplayError, match="looked up in the topic by the next run") as caught:
        publisher(lambda: number if sink.now_s > 3 else 0).publish(RECORDS)
    assert caught.value.exit_code == 128 + number


def test_a_batch_that_is_done_is_not_interrupted(sink: Sink) -> None:
    """A signal that comes with the last acknowledgement leaves nothing in doubt."""
    assert publisher(lambda: 15).publish([]) == []
    assert sink.sent == []
