"""The producer between the pure core and the broker: order, room, refusal, the end."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from faults.harness import FIRST_TIME_MS, LOGGER, TOPIC, Bench, Observer, product_config
from k2.errors import EXIT_CONFIGURATION, ConfigurationError
from k2.ingestion.adapters.kafka import KafkaSink
from k2.ingestion.adapters.kafka_faults import BrokerUnavailableError, ClientFaults
from k2.ingestion.adapters.kafka_producers import PERMISSION_DELAY_NS, RENEWAL_DELAYS_NS, Renewals
from k2.ingestion.adapters.kafka_reports import Read, Report
from k2.ingestion.adapters.kafka_statistics import read_statistics
from k2.ingestion.core.outcome import Reason, Record, WriteOutcome
from kit.mock_kafka import INIT_PRODUCER_ID, MockKafka
from kit.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND_NS = 1_000_000_000


@pytest.fixture
def mock() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        cluster.create_topic(TOPIC)
        yield cluster


@pytest.fixture
def bench(mock: MockKafka) -> Bench:
    return Bench(mock.bootstrap)


def outcomes(bench: Bench) -> list[tuple[WriteOutcome, Reason]]:
    return [(verdict.written, verdict.reason) for _, verdict in bench.observer.letters]


class TestDelivery:
    def test_records_arrive_as_they_were_sent(self, bench: Bench) -> None:
        """Order, key, value, the exchange's time and headers of every record are in the topic; live ones carry no header."""
        bench.send(200)
        bench.send(1, headers=[("k2-source", b"late")])
        bench.drain()
        stored = bench.stored()
        assert [record.payload for record in stored] == [record.value for record in bench.sent]
        assert [record.timestamp_ms for record in stored] == list(range(FIRST_TIME_MS, FIRST_TIME_MS + 201))
        assert {record.key for record in stored} == {"BTCUSDT"}
        assert [record.headers for record in stored] == [*([{}] * 200), {"k2-source": b"late"}]

    def test_the_ledger_is_settled(self, bench: Bench) -> None:
        """When all is acknowledged nothing is in flight, nothing has failed, and each acknowledgement was timed."""
        bench.send(50)
        assert (bench.sink.in_flight, bench.sink.delivered) == (50, 0)
        bench.drain()
        sink = bench.sink
        assert (sink.delivered, sink.dead, sink.in_flight, sink.overflow, sink.latency.count) == (50, 0, 0, 0, 50)
        assert not bench.observer.failures

    def test_the_stages_add_up(self, bench: Bench) -> None:
        """A read's way through us and its wait for Kafka are sampled, and together they are no longer than the whole."""
        read = bench.sink.begin_read()
        record = Record(bench.topic, b"BTCUSDT", b"1", FIRST_TIME_MS, None)
        bench.sent.append(record)
        bench.sink.send(record, read)
        bench.sink.end_read(read)
        bench.drain()
        processing, acknowledging, whole = bench.sink.processing, bench.sink.acknowledging, bench.sink.latency
        assert (processing.count, acknowledging.count, whole.count) == (1, 1, 1)
        assert processing.sum_ns > 0
        assert acknowledging.sum_ns > 0
        assert processing.sum_ns + acknowledging.sum_ns == whole.sum_ns

    def test_the_sample_of_a_poll_is_its_first_record(self, bench: Bench) -> None:
        """It waited longest for its batch to fill: the last one would tell a wait without that."""
        sink, reads = bench.sink, [Read(1_000, 2_000), Read(8_000, 9_000)]
        for read in reads:
            Report(sink, 0, read, FIRST_TIME_MS, None, False, 1, False)(None, cast("Message", None))
        assert sink.read_acknowledged is reads[0]

    def test_a_read_that_goes_on_is_no_sample(self, bench: Bench) -> None:
        """What is acknowledged before its read has ended tells nothing of how long Kafka took."""
        bench.send(1)
        bench.drain()
        assert (bench.sink.latency.count, bench.sink.acknowledging.count) == (1, 0)

    def test_a_record_larger_than_the_client_takes_is_dead(self, bench: Bench) -> None:
        """librdkafka refuses it before it is sent: a dead letter that says so, and its neighbours are unharmed."""
        bench.send(2)
        bench.send(1, size=1_100_000)
        bench.send(2)
        bench.drain()
        assert outcomes(bench) == [(WriteOutcome.NOT_WRITTEN, Reason.TOO_LARGE)]
        assert [int(value or b"") for value in bench.stored_values()] == [0, 1, 3, 4]

    def test_a_full_queue_overflows_in_order(self, mock: MockKafka) -> None:
        """What librdkafka has no room for waits with us, counted, and follows in order when the broker is back."""
        mock.set_down()
        bench = Bench(mock.bootstrap, batch_num_messages=10, queue_buffering_max_messages=10)
        bench.send(50)
        bench.poll()
        assert (bench.sink.overflow, bench.sink.in_flight) == (40, 50)
        mock.set_up()
        bench.drain()
        assert bench.stored_values() == [record.value for record in bench.sent]

    def test_nothing_passes_what_waits(self, mock: MockKafka) -> None:
        """A record that comes when there is room again still goes behind those that wait."""
        mock.set_down()
        bench = Bench(mock.bootstrap, batch_num_messages=10, queue_buffering_max_messages=10)
        bench.send(15)
        mock.set_up()
        time.sleep(0.1)  # room comes with the acknowledgements, which nobody has polled for yet
        bench.send(5)
        bench.drain()
        assert bench.stored_values() == [record.value for record in bench.sent]


class TestFatal:
    @pytest.fixture
    def now_ns(self) -> list[int]:
        """The sink's clock, which the test sets."""
        return [0]

    @pytest.fixture
    def bench(self, mock: MockKafka, now_ns: list[int]) -> Bench:
        bench = Bench(
            mock.bootstrap,
            clock_ns=lambda: now_ns[0],
            batch_num_messages=10,
            queue_buffering_max_messages=40,
            max_in_flight=1,
        )
        bench.send(1)
        bench.drain()
        return bench

    def break_it(self, mock: MockKafka, bench: Bench, records: int = 60) -> None:
        """The producer loses its sequence with one batch in flight, records in its queue and more in the overflow."""
        mock.set_delay(50)
        mock.answer_with("OUT_OF_ORDER_SEQUENCE_NUMBER")
        met = len(bench.observer.renewals), bench.sink.fatal
        bench.send(records)
        bench.poll_until(lambda: bench.sink._broken is not None or (len(bench.observer.renewals), bench.sink.fatal) != met)
        mock.set_delay(0)

    def test_a_new_producer_sends_what_the_broken_one_held(self, mock: MockKafka, bench: Bench) -> None:
        """After a fatal error everything arrives, in order, and what may have been written before says that it comes late."""
        self.break_it(mock, bench)
        bench.send(5)
        bench.drain()
        assert bench.stored_values() == [record.value for record in bench.sent]
        [(code, carried_over)] = bench.observer.renewals
        assert code == "OUT_OF_ORDER_SEQUENCE_NUMBER"
        assert 60 <= carried_over <= 65
        assert (bench.sink.renewals.count, bench.sink.dead, bench.sink.fatal, bench.observer.fatal) == (1, 0, "", [])
        headers = [record.headers for record in bench.stored()]
        assert headers == [{}] + [{"k2-source": b"late"}] * 40 + [{}] * 25
        assert [record.timestamp_ms for record in bench.stored()] == [record.timestamp_ms for record in bench.sent]

    def test_too_many_in_a_short_time_are_the_end(self, mock: MockKafka, bench: Bench, now_ns: list[int]) -> None:
        """Each further new producer is longer in coming; after three of them the error is told once, and stays to be read."""
        for _ in RENEWAL_DELAYS_NS:
            self.break_it(mock, bench, records=10)
            now_ns[0] += RENEWAL_DELAYS_NS[-1]
            bench.drain()
        assert (bench.sink.fatal, len(bench.observer.renewals)) == ("", len(RENEWAL_DELAYS_NS))
        self.break_it(mock, bench, records=10)
        bench.send(1)
        bench.poll()
        assert bench.observer.fatal == ["OUT_OF_ORDER_SEQUENCE_NUMBER"]
        assert bench.sink.fatal.startswith("OUT_OF_ORDER_SEQUENCE_NUMBER: ")

    def test_nothing_is_lost_at_the_end_either(self, mock: MockKafka, bench: Bench, now_ns: list[int]) -> None:
        """What the last producer had is letters of unknown outcome, what waited with us never written; sending raises nothing."""
        for _ in RENEWAL_DELAYS_NS:
            bench.sink.renewals.next_at_ns("_FATAL", now_ns[0])
        self.break_it(mock, bench)
        bench.send(5)
        bench.sink.abandon()
        bench.assert_balanced()
        unknown = [record.value for record, verdict in bench.observer.letters if verdict.written is WriteOutcome.UNKNOWN]
        assert sorted(bench.observer.dead_values) == [record.value for record in bench.sent[1:]]
        assert sorted(unknown) == [record.value for record in bench.sent[1:41]]
        assert (bench.sink.in_flight, bench.sink.delivered) == (0, 1)

    def test_a_missing_permission_is_waited_for(self, mock: MockKafka, now_ns: list[int]) -> None:
        """The brokers refuse the producer its id, which is fatal to it: the records wait, and go when the brokers give one."""
        mock.answer_with(*["CLUSTER_AUTHORIZATION_FAILED"] * 3, request=INIT_PRODUCER_ID)
        bench = Bench(mock.bootstrap, clock_ns=lambda: now_ns[0])
        bench.send(5)
        for renewals in range(1, 4):
            bench.poll_until(lambda: bench.sink._broken is not None)
            assert (bench.sink.held_code, bench.sink.fatal) == ("CLUSTER_AUTHORIZATION_FAILED", "")
            now_ns[0] += PERMISSION_DELAY_NS
            bench.poll()
            assert bench.sink.renewals.count == renewals
        bench.drain()
        assert bench.stored_values() == [record.value for record in bench.sent]
        assert (bench.sink.held_code, bench.sink.dead) == ("", 0)

    def test_an_end_while_a_new_producer_is_awaited_loses_nothing(self, mock: MockKafka, bench: Bench, now_ns: list[int]) -> None:
        """Told to stop between a fatal error and the new producer, every record becomes a letter."""
        bench.sink.renewals.next_at_ns("_FATAL", now_ns[0])
        self.break_it(mock, bench)
        assert (bench.observer.renewals, bench.sink.fatal) == ([], "")
        bench.sink.abandon()
        bench.assert_balanced()
        assert sorted(bench.observer.dead_values) == [record.value for record in bench.sent[1:]]


class TestRenewals:
    @pytest.mark.parametrize(
        ("met_at_s", "next_at_s"),
        [
            pytest.param([7], 7, id="the-first-at-once"),
            pytest.param([0, 7], 12, id="the-second-later"),
            pytest.param([0, 5, 40], 70, id="the-third-much-later"),
            pytest.param([0, 5, 70, 100], None, id="the-fourth-never"),
            pytest.param([0, 5, 70, 601], 631, id="what-is-long-past-does-not-count"),
            pytest.param([0, 5, 70, 700], 700, id="nor-do-all"),
        ],
    )
    def test_when(self, met_at_s: list[int], next_at_s: int | None) -> None:
        """How soon a producer is made anew depends on how many fatal errors there were in the last ten minutes."""
        renewals = Renewals()
        planned = [renewals.next_at_ns("_FATAL", at_s * SECOND_NS) for at_s in met_at_s]
        assert planned[-1] == (None if next_at_s is None else next_at_s * SECOND_NS)

    def test_a_permission_is_waited_for(self) -> None:
        """An operator can give it at any time, so there is no end to the tries."""
        renewals = Renewals()
        planned = [renewals.next_at_ns("CLUSTER_AUTHORIZATION_FAILED", at_s * SECOND_NS) for at_s in range(0, 100, 10)]
        assert planned == [at_s * SECOND_NS + PERMISSION_DELAY_NS for at_s in range(0, 100, 10)]
        assert renewals.next_at_ns("_FATAL", 100 * SECOND_NS) == 100 * SECOND_NS


class TestAbandoning:
    def test_everything_in_flight_becomes_a_letter(self, mock: MockKafka) -> None:
        """What librdkafka had may have been sent before, so its outcome is unknown; what waited with us was never written."""
        bench = Bench(mock.bootstrap, batch_num_messages=10, queue_buffering_max_messages=40, max_in_flight=1)
        bench.send(1)
        bench.drain()
        mock.set_delay(5_000)
        bench.send(10)
        bench.poll_until(lambda: mock.produce_requests == 2)
        bench.send(60)
        bench.sink.abandon()
        bench.assert_balanced()
        assert bench.sink.in_flight == 0
        written = {record.value: verdict.written for record, verdict in bench.observer.letters}
        assert [written[record.value] for record in bench.sent[1:41]] == [WriteOutcome.UNKNOWN] * 40
        assert [written[record.value] for record in bench.sent[41:]] == [WriteOutcome.NOT_WRITTEN] * 30
        assert {verdict.reason for _, verdict in bench.observer.letters} == {Reason.NOT_DELIVERED_AT_SHUTDOWN}

    @pytest.mark.parametrize(
        ("code", "outcome"),
        [("TOPIC_AUTHORIZATION_FAILED", WriteOutcome.NOT_WRITTEN), ("NETWORK_EXCEPTION", WriteOutcome.UNKNOWN)],
    )
    def test_what_is_held_is_a_letter_too(self, mock: MockKafka, bench: Bench, code: str, outcome: WriteOutcome) -> None:
        """A record that waits for better times says in its letter whether the failed attempt may have written it."""
        mock.answer_with(*[code] * 1_000)
        bench.send(5)
        bench.poll_until(lambda: bench.sink.overflow == 5)
        bench.sink.abandon()
        bench.assert_balanced()
        assert outcomes(bench) == [(outcome, Reason.NOT_DELIVERED_AT_SHUTDOWN)] * 5
        assert [record.timestamp_ms for record, _ in bench.observer.letters] == [record.timestamp_ms for record in bench.sent]

    def test_a_batch_refused_at_the_end_is_not_tried_again(self, mock: MockKafka, bench: Bench) -> None:
        """Refusals that are heard of only while giving up end in letters as well, not in another attempt."""
        bench.send(1)
        bench.drain()
        mock.answer_with("INVALID_RECORD")
        bench.send(5)
        time.sleep(0.3)  # for the answer, which nobody polls for
        bench.sink.abandon()
        bench.assert_balanced()
        assert (bench.sink.in_flight, bench.sink.dead, bench.sink.retried_alone) == (0, 5, 0)

    def test_nothing_in_flight_is_nothing_to_give_up(self, bench: Bench) -> None:
        """Giving up with all delivered makes no letters."""
        bench.send(3)
        bench.drain()
        bench.sink.abandon()
        assert (bench.sink.delivered, bench.observer.letters) == (3, [])


class TestBrokerLost:
    def test_no_broker_at_all(self) -> None:
        """The time without a connection is counted from the moment librdkafka gave up on all brokers."""
        bench = Bench(f"127.0.0.1:{free_port()}")
        bench.poll_until(lambda: bench.sink.broker_lost_for_s > 1)
        assert bench.observer.errors["_ALL_BROKERS_DOWN"] >= 1
        assert bench.sink.error_codes["_ALL_BROKERS_DOWN"] >= 1

    def test_it_comes_back(self, mock: MockKafka) -> None:
        """With the first acknowledgement after an outage the broker is there again, or with the next statistics."""
        bench = Bench(mock.bootstrap)
        bench.send(1)
        bench.drain()
        mock.set_down()
        bench.poll_until(lambda: bench.sink.broker_lost_for_s > 1)
        mock.set_up()
        bench.send(1)
        bench.poll_until(lambda: bench.sink.broker_lost_for_s == 0)

    def test_a_broker_that_hangs(self, mock: MockKafka) -> None:
        """Connections are up and nothing is acknowledged: lost once the answer is three seconds late."""
        now_ns = [0]
        bench = Bench(mock.bootstrap, clock_ns=lambda: now_ns[0])
        bench.send(1)
        bench.drain()
        mock.set_delay(10_000)
        bench.send(1)
        seen = []
        for seconds in (0, 2, 3.5, 40):
            now_ns[0] = int(seconds * SECOND_NS)
            bench.poll()
            seen.append(bench.sink.broker_lost_for_s)
        assert seen == [0.0, 0.0, 3.5, 40.0]

    def test_silence_with_nothing_sent_is_no_loss(self, mock: MockKafka) -> None:
        """A quiet market is not taken for a broker that does not answer."""
        now_ns = [0]
        bench = Bench(mock.bootstrap, clock_ns=lambda: now_ns[0])
        bench.send(1)
        bench.drain()
        now_ns[0] = 60 * SECOND_NS
        bench.poll()
        assert bench.sink.broker_lost_for_s == 0


class TestConfiguration:
    def test_an_unknown_property_is_named(self, mock: MockKafka) -> None:
        """What librdkafka does not know is a fault of the configuration, told by the property's name."""
        config = product_config(mock.bootstrap) | {"no.such.property": "1"}
        with pytest.raises(ConfigurationError, match=r"no\.such\.property") as caught:
            KafkaSink(config, Observer(), LOGGER)
        assert caught.value.exit_code == EXIT_CONFIGURATION

    def test_a_value_out_of_range_is_named(self, mock: MockKafka) -> None:
        """So is a value that librdkafka does not take."""
        config = product_config(mock.bootstrap) | {"socket.timeout.ms": "many"}
        with pytest.raises(ConfigurationError, match=r"socket\.timeout\.ms"):
            KafkaSink(config, Observer(), LOGGER)

    @pytest.mark.parametrize(
        ("code", "text", "kind", "advice"),
        [
            pytest.param("_AUTHENTICATION", "wrong", ConfigurationError, "--kafka-sasl-username", id="credentials"),
            pytest.param("SASL_AUTHENTICATION_FAILED", "wrong", ConfigurationError, "K2_KAFKA_SASL_PASSWORD", id="sasl"),
            pytest.param("_SSL", "certificate verify failed", ConfigurationError, "--kafka-ca", id="certificate"),
            pytest.param("_SSL", "connection reset", BrokerUnavailableError, "h:1", id="tls-hiccup"),
            pytest.param("_TRANSPORT", "refused", BrokerUnavailableError, "gives no answer", id="no-broker"),
        ],
    )
    def test_errors_of_a_look_ahead(self, code: str, text: str, kind: type[Exception], advice: str) -> None:
        """What a client reports on the side explains the bare time-out of its request."""
        faults = ClientFaults({"bootstrap.servers": "h:1"})
        faults.append(KafkaError(getattr(KafkaError, code), text))
        explained = faults.explain(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
        assert type(explained) is kind
        assert advice in str(explained)


class TestStatistics:
    def test_what_we_export_is_read(self) -> None:
        """Queue, requests and batches come out of librdkafka's document, and what we do not name is skipped."""
        brokers = {"b:1/1": {"nodeid": 1, "state": "UP", "tx": 7, "rtt": {"avg": 3}}}
        topics = {"t": {"batchcnt": {"avg": 30, "p99": 40}, "batchsize": {"avg": 9_000}}}
        read = read_statistics(
            json.dumps({"brokers": brokers, "topics": topics, "tx": 9, "msg_cnt": 5, "msg_size": 400, "ts": 1})
        )
        assert (read.tx, read.msg_cnt, read.msg_size, read.any_broker_up) == (9, 5, 400, True)
        assert (read.topics["t"].batchcnt.avg, read.topics["t"].batchsize.avg) == (30, 9_000)

    @pytest.mark.parametrize(
        ("nodeid", "state", "up"), [(1, "UP", True), (1, "DOWN", False), (1, "CONNECT", False), (-1, "UP", False)]
    )
    def test_a_broker_is_up_when_it_is_known_and_connected(self, nodeid: int, state: str, up: bool) -> None:
        """An address that was not answered with a node's id yet is no broker."""
        read = read_statistics(json.dumps({"brokers": {"x": {"nodeid": nodeid, "state": state}}}))
        assert read.any_broker_up is up

    def test_they_arrive(self, mock: MockKafka) -> None:
        """librdkafka's own numbers reach us while it runs, in the form that we read."""
        bench = Bench(mock.bootstrap)
        bench.send(10)
        bench.poll_until(lambda: bench.sink.statistics.tx > 0)
        assert bench.sink.statistics.any_broker_up
        assert bench.sink.statistics.topics[TOPIC].batchcnt.avg > 0
