"""Every error code that a broker can answer with, one after another: what becomes of the records."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError

from faults.harness import FIRST_TIME_MS, TOPIC, Bench
from k2.ingestion.core.delivery import Concern, concern_of
from k2.ingestion.core.outcome import Reason, WriteOutcome
from k2.ingestion.delivery_reference import Course, course_of
from kit.mock_kafka import INIT_PRODUCER_ID, MockKafka

if TYPE_CHECKING:
    from collections.abc import Iterator

LATE = {"k2-source": b"late"}
COUNT = 8

NUMBERS = {name: value for name, value in vars(KafkaError).items() if isinstance(value, int)}
# Negative numbers are librdkafka's own, but for a broker's UNKNOWN; the mock cluster breaks the connection for _TRANSPORT.
BROKER_CODES = [*sorted(name for name in NUMBERS if not name.startswith("_") and name != "NO_ERROR"), "_TRANSPORT"]
REFUSES_THE_BATCH = {
    "INVALID_MSG_SIZE": Reason.DELIVERY_REJECTED,
    "INVALID_RECORD": Reason.DELIVERY_REJECTED,
    "INVALID_TIMESTAMP": Reason.DELIVERY_REJECTED,
    "MSG_SIZE_TOO_LARGE": Reason.TOO_LARGE,
    "RECORD_LIST_TOO_LARGE": Reason.TOO_LARGE,
}
OF_ALL_RECORDS = ["TOPIC_AUTHORIZATION_FAILED", "UNKNOWN", "UNSUPPORTED_VERSION", "GROUP_MAX_SIZE_REACHED"]


@pytest.fixture(scope="module")
def mock() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        cluster.create_topic(TOPIC)
        yield cluster


@pytest.fixture(scope="module")
def warm_bench(mock: MockKafka) -> Bench:
    """Its clock runs so fast that what is held is tried again at once: there are many codes."""
    return Bench(mock.bootstrap, clock_ns=lambda: time.monotonic_ns() * 1_000)


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


class TestEveryCode:
    @pytest.mark.parametrize("code", [code for code in BROKER_CODES if course_of(code) is not Course.MADE_ANEW])
    def test_becomes_of_the_records_what_the_table_says(self, mock: MockKafka, bench: Bench, code: str) -> None:
        """
        Each code takes the course that the reference gives it, and costs no record.

        What is not the record's own fault is answered three times over, and leaves order and times as they were.
        """
        expected = course_of(code)
        times = 3 if expected in {Course.RETRIED, Course.HELD} else 1
        requests_before = mock.produce_requests
        mock.answer_with(*[code] * times)
        bench.send(COUNT)
        bench.drain()
        assert (bench.sink.delivered, bench.sink.dead) == (COUNT, 0)
        assert observed_course(bench, mock.produce_requests - requests_before) is expected
        if expected is not Course.DELIVERED:  # which the mock, by now, has not stored
            stored = bench.stored()
            assert [record.payload for record in stored] == [record.value for record in bench.sent]
            assert [record.timestamp_ms for record in stored] == [record.timestamp_ms for record in bench.sent]

    @pytest.mark.parametrize("code", [code for code in BROKER_CODES if course_of(code) is Course.MADE_ANEW])
    def test_that_is_fatal_to_the_producer_is_not_to_the_records(self, mock: MockKafka, cold_bench: Bench, code: str) -> None:
        """The producer is made anew, and the new one delivers what the old one held."""
        mock.answer_with(code)
        cold_bench.send(COUNT)
        cold_bench.drain()
        assert observed_course(cold_bench, 2) is Course.MADE_ANEW
        assert set(cold_bench.stored_values()) >= {record.value for record in cold_bench.sent}

    @pytest.fixture
    def cold_bench(self, mock: MockKafka, topic: str) -> Bench:
        mock.forgive()
        mock.create_topic(topic)
        return Bench(mock.bootstrap, topic)


def observed_course(bench: Bench, requests: int) -> Course:
    """What became of the records, read off what the sink did and told."""
    if bench.observer.renewals:
        return Course.MADE_ANEW
    if bench.sink.retried_alone:
        return Course.ALONE
    if bench.observer.failures:
        return Course.HELD
    return Course.RETRIED if requests > 1 else Course.DELIVERED


class TestBlame:
    def test_is_laid_by_these_codes_only(self) -> None:
        """The broker's codes that can make a dead letter of a record are few, and each of them is tested below."""
        blaming = {code for code in BROKER_CODES if concern_of(code) is Concern.RECORD}
        assert blaming == {*REFUSES_THE_BATCH, "INVALID_MSG"}, "librdkafka retries INVALID_MSG itself"

    @pytest.mark.parametrize("code", REFUSES_THE_BATCH)
    def test_company_costs_a_record_nothing(self, mock: MockKafka, bench: Bench, code: str) -> None:
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
        assert bench.sink.error_codes[code] == COUNT

    @pytest.mark.parametrize(("code", "reason"), REFUSES_THE_BATCH.items())
    def test_what_is_refused_alone_is_dead(self, mock: MockKafka, bench: Bench, code: str, reason: Reason) -> None:
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

    def test_a_record_keeps_its_own_origin(self, mock: MockKafka, bench: Bench) -> None:
        """A backfilled record that is produced once more still says that it is one."""
        mock.answer_with("INVALID_RECORD")
        bench.send(COUNT, headers=[("k2-source", b"backfill")])
        bench.drain()
        assert [record.headers for record in bench.stored()] == [{"k2-source": b"backfill"}] * COUNT

    def test_doubt_stays(self, mock: MockKafka, bench: Bench) -> None:
        """Held after a time-out of the broker's and refused for sure later, a record is still filed as possibly written."""
        mock.answer_with("NETWORK_EXCEPTION", "INVALID_RECORD", *["INVALID_RECORD"] * COUNT)
        bench.send(COUNT)
        bench.drain()
        assert bench.observer.dead_values == [record.value for record in bench.sent]
        assert {(verdict.written, verdict.reason) for _, verdict in bench.observer.letters} == {
            (WriteOutcome.UNKNOWN, Reason.DELIVERY_UNKNOWN)
        }


class TestHolding:
    @pytest.mark.parametrize("code", OF_ALL_RECORDS)
    def test_a_closed_topic_keeps_everything_in_order(self, mock: MockKafka, small_batches: Bench, code: str) -> None:
        """
        While no record at all gets in, whatever the code that says so, everything is held and nothing becomes a dead letter.

        Opened again, all of it arrives in order.
        """
        mock.answer_with(*[code] * 1_000)
        small_batches.send(20)
        small_batches.poll_until(lambda: small_batches.sink.overflow == 20)
        small_batches.send(20)
        assert small_batches.sink.overflow == 40
        small_batches.poll_until(lambda: small_batches.observer.failures[code] >= 3 * 20)
        mock.forgive()
        small_batches.drain()
        assert small_batches.stored_values() == [record.value for record in small_batches.sent]
        assert small_batches.sink.dead == 0

    def test_what_surely_is_not_there_comes_unmarked(self, mock: MockKafka, small_batches: Bench) -> None:
        """Held records that nothing overtook, and that no earlier try wrote, are in their order and carry no mark."""
        mock.answer_with(*["TOPIC_AUTHORIZATION_FAILED"] * 1_000)
        small_batches.send(20)
        small_batches.poll_until(lambda: small_batches.sink.overflow == 20)
        mock.forgive()
        small_batches.drain()
        assert not any(record.headers for record in small_batches.stored())

    def test_held_records_that_were_overtaken_say_so(self, mock: MockKafka, small_batches: Bench) -> None:
        """Where the fault struck one batch of several, its records come after younger ones: only they break the order, marked."""
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


class TestIntroduction:
    def test_a_producer_without_an_id_waits_for_one(self, mock: MockKafka, topic: str) -> None:
        """An idempotent producer asks the brokers for its id first; while they give none, records wait, and all arrive."""
        mock.forgive()
        mock.create_topic(topic)
        mock.answer_with("COORDINATOR_LOAD_IN_PROGRESS", "UNKNOWN", request=INIT_PRODUCER_ID)
        bench = Bench(mock.bootstrap, topic)
        bench.send(COUNT)
        bench.drain()
        assert bench.stored_values() == [record.value for record in bench.sent]
        assert not bench.observer.renewals
