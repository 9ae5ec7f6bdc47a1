"""One error code after another, as they reach the producer's callbacks: what becomes of the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.harness import FIRST_TIME_MS, TOPIC, Bench
from k2.ingestion.core.outcome import Reason, WriteOutcome
from kit.mock_kafka import MockKafka

if TYPE_CHECKING:
    from collections.abc import Iterator

LATE = {"k2-source": b"late"}
COUNT = 8

REFUSES_THE_BATCH = {
    "INVALID_RECORD": Reason.DELIVERY_REJECTED,
    "INVALID_TIMESTAMP": Reason.DELIVERY_REJECTED,
    "MSG_SIZE_TOO_LARGE": Reason.TOO_LARGE,
    "RECORD_LIST_TOO_LARGE": Reason.TOO_LARGE,
}
HANDED_OVER = [  # librdkafka gives up on these at once
    "TOPIC_AUTHORIZATION_FAILED",
    "CLUSTER_AUTHORIZATION_FAILED",
    "SASL_AUTHENTICATION_FAILED",
    "POLICY_VIOLATION",
    "THROTTLING_QUOTA_EXCEEDED",
    "NETWORK_EXCEPTION",
    "INVALID_PRODUCER_EPOCH",
]
RETRIED_BY_LIBRDKAFKA = [
    "UNKNOWN_TOPIC_OR_PART",
    "NOT_LEADER_FOR_PARTITION",
    "LEADER_NOT_AVAILABLE",
    "NOT_ENOUGH_REPLICAS",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    "KAFKA_STORAGE_ERROR",
    "REQUEST_TIMED_OUT",
    "_TRANSPORT",
]
DEADLY = {
    "UNKNOWN": (WriteOutcome.UNKNOWN, Reason.DELIVERY_UNKNOWN),
    "TOPIC_EXCEPTION": (WriteOutcome.NOT_WRITTEN, Reason.DELIVERY_REJECTED),
    "UNSUPPORTED_COMPRESSION_TYPE": (WriteOutcome.NOT_WRITTEN, Reason.DELIVERY_REJECTED),
    "UNSUPPORTED_FOR_MESSAGE_FORMAT": (WriteOutcome.NOT_WRITTEN, Reason.DELIVERY_REJECTED),
}


@pytest.fixture(scope="module")
def mock() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        cluster.create_topic(TOPIC)
        yield cluster


@pytest.fixture(scope="module")
def warm_bench(mock: MockKafka) -> Bench:
    return Bench(mock.bootstrap)


@pytest.fixture
def bench(mock: MockKafka, warm_bench: Bench, topic: str) -> Bench:
    mock.forgive()
    mock.create_topic(topic)
    warm_bench.renew(topic)
    return warm_bench


@pytest.fixture
def small_batches(mock: MockKafka, topic: str) -> Bench:
    """Five records at most to a batch, and so several batches under way at once."""
    mock.forgive()
    mock.create_topic(topic)
    return Bench(mock.bootstrap, topic, batch_num_messages=5)


@pytest.mark.parametrize("code", REFUSES_THE_BATCH)
def test_a_refused_batch_is_produced_once_more_one_by_one(mock: MockKafka, bench: Bench, code: str) -> None:
    """Records whose only fault was their company all arrive, marked as late, with the times and keys that they had."""
    mock.answer_with(code)
    bench.send(COUNT)
    bench.drain()
    stored = bench.stored()
    assert [record.payload for record in stored] == [record.value for record in bench.sent]
    assert [record.timestamp_ms for record in stored] == [FIRST_TIME_MS + number for number in range(COUNT)]
    assert {record.key for record in stored} == {"BTCUSDT"}
    assert all(record.headers == LATE for record in stored)
    assert (bench.sink.retried_alone, bench.sink.dead, bench.observer.failures) == (COUNT, 0, {code: COUNT})


@pytest.mark.parametrize(("code", "reason"), REFUSES_THE_BATCH.items())
def test_what_is_refused_alone_is_dead(mock: MockKafka, bench: Bench, code: str, reason: Reason) -> None:
    """One record fails alone: it becomes a dead letter, surely unwritten, and the others arrive."""
    mock.answer_with(code, code)
    sent = bench.send(COUNT)
    bench.drain()
    [(letter, verdict)] = bench.observer.letters
    assert (verdict.written, verdict.reason) == (WriteOutcome.NOT_WRITTEN, reason)
    assert (letter.topic, letter.key) == (bench.topic, b"BTCUSDT")
    assert letter.timestamp_ms == FIRST_TIME_MS + int(letter.value)
    assert code in bench.observer.texts[0]
    assert bench.stored_values() == [record.value for record in sent if record.value != letter.value]


def test_a_retried_record_keeps_its_own_origin(mock: MockKafka, bench: Bench) -> None:
    """A backfilled record that is produced once more still says that it is one."""
    mock.answer_with("INVALID_RECORD")
    bench.send(COUNT, headers=[("k2-source", b"backfill")])
    bench.drain()
    assert [record.headers for record in bench.stored()] == [{"k2-source": b"backfill"}] * COUNT


@pytest.mark.parametrize("code", [*HANDED_OVER, *RETRIED_BY_LIBRDKAFKA])
def test_what_nothing_is_wrong_with_is_delivered_in_order(mock: MockKafka, bench: Bench, code: str) -> None:
    """A fault that is not the records' own costs none of them, neither order nor time, however often it comes."""
    mock.answer_with(code, code)
    bench.send(COUNT)
    bench.drain()
    assert bench.stored_values() == [record.value for record in bench.sent]
    assert [record.timestamp_ms for record in bench.stored()] == [record.timestamp_ms for record in bench.sent]
    assert (bench.sink.dead, bench.sink.retried_alone) == (0, 0)


@pytest.mark.parametrize(("code", "expected"), DEADLY.items())
def test_any_other_code_is_deadly(mock: MockKafka, bench: Bench, code: str, expected: tuple[WriteOutcome, Reason]) -> None:
    """A code that is in no table ends in dead letters that say whether the records may have been written."""
    mock.answer_with(code)
    bench.send(COUNT)
    bench.drain()
    assert bench.observer.dead_values == [record.value for record in bench.sent]
    assert {(verdict.written, verdict.reason) for _, verdict in bench.observer.letters} == {expected}
    bench.send(1)
    bench.drain()
    assert bench.sink.delivered == 1


def test_a_closed_topic_keeps_everything_in_order(mock: MockKafka, small_batches: Bench) -> None:
    """While a topic is closed to us everything is held; opened again, all of it arrives in order and without a mark."""
    mock.answer_with(*["TOPIC_AUTHORIZATION_FAILED"] * 1_000)
    small_batches.send(20)
    small_batches.poll_until(lambda: small_batches.sink.overflow == 20)
    small_batches.send(20)
    assert small_batches.sink.overflow == 40
    mock.forgive()
    small_batches.drain()
    assert small_batches.stored_values() == [record.value for record in small_batches.sent]
    assert not any(record.headers for record in small_batches.stored())


def test_held_records_that_were_overtaken_say_so(mock: MockKafka, small_batches: Bench) -> None:
    """Where the fault struck one batch of several, its records come after younger ones: only they break the order, and marked."""
    small_batches.send(1)
    small_batches.drain()
    mock.set_delay(30)  # so that all batches are under way before the first answer
    mock.answer_with("TOPIC_AUTHORIZATION_FAILED")
    small_batches.send(40)
    small_batches.drain()
    mock.set_delay(0)
    stored = small_batches.stored()
    assert sorted(record.payload or b"" for record in stored) == [record.value for record in small_batches.sent]
    unmarked = [record.payload for record in stored if not record.headers]
    assert unmarked == sorted(unmarked, key=lambda value: value or b"")
    assert [record.headers for record in stored if record.headers] == [LATE] * (len(stored) - len(unmarked))
    assert len(unmarked) < len(stored)


def test_a_record_that_may_be_written_stays_in_doubt(mock: MockKafka, bench: Bench) -> None:
    """Held after a time-out of the broker's and refused for sure later, a record is still filed as possibly written."""
    mock.answer_with("NETWORK_EXCEPTION", "TOPIC_EXCEPTION")
    bench.send(COUNT)
    bench.drain()
    assert {(verdict.written, verdict.reason) for _, verdict in bench.observer.letters} == {
        (WriteOutcome.UNKNOWN, Reason.DELIVERY_UNKNOWN)
    }


def test_codes_are_counted_by_name(mock: MockKafka, bench: Bench) -> None:
    """Every failed delivery counts under its code."""
    mock.answer_with("INVALID_RECORD")
    bench.send(COUNT)
    bench.drain()
    assert bench.sink.error_codes["INVALID_RECORD"] == COUNT
