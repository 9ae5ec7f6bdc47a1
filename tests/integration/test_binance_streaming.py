"""The promise of the product, on real parts: what was received is in Kafka, once and in order, or accounted for otherwise."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from integration.support import FIRST_ID, SYMBOLS, Rig, RunningClient, assert_complete, generated, ids_by_symbol, wait_until
from k2.simulator.faults import Garbage
from kit.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kit.registry import SchemaRegistry

FULL_RATE = 15_000.0


@pytest.fixture
def frail_rig(own_kafka: KafkaBroker, registry: SchemaRegistry, tmp_path: Path) -> Iterator[Rig]:
    """Surroundings with that broker, which runs again when they end."""
    with Rig(own_kafka, registry, tmp_path) as rig:
        yield rig
    if own_kafka.is_running:
        own_kafka.resume()
    else:
        own_kafka.start()


class TestEndingInGoodOrder:
    @pytest.mark.parametrize("transport", ["picows", "websockets"])
    def test_a_stop_at_full_rate_loses_nothing(self, rig: Rig, transport: str) -> None:
        """SIGTERM amid thousands of trades a second: exit 0, balanced books, every trade that was received is in the topic."""
        exchange = rig.exchange(generated(FULL_RATE))
        client = rig.client(exchange.ws_url, "--transport", transport)
        client.wait_for_produced(20_000)
        sheet = client.stopped()
        received = sheet["received"]
        assert sheet["balanced"]
        assert (sheet["published"], sheet["delivered"], sheet["in_flight"]) == (received, received, 0)
        assert exchange.sent >= received >= 20_000
        assert_complete(rig.records(), received)
        assert "Shutdown complete" in client.log_text.splitlines()[-1]

    @pytest.mark.parametrize("end", [RunningClient.terminate, RunningClient.interrupt], ids=["SIGTERM", "SIGINT"])
    def test_both_signals_end_it(self, rig: Rig, end: Callable[[RunningClient], None]) -> None:
        """The connection is closed with a closing handshake, the exit code is 0, and the books are printed and balanced."""
        exchange = rig.exchange(generated(200))
        client = rig.client(exchange.ws_url)
        client.wait_for_produced(50)
        end(client)
        assert client.wait() == 0
        assert client.balance_sheet["balanced"]
        assert_complete(rig.records(), client.balance_sheet["received"])
        ending = wait_until(lambda: exchange.connections[0].ending, "the end of the connection")
        assert (ending.by, ending.code) == ("client", 1000)


class TestBrokerOutage:
    def test_nothing_is_lost_when_the_broker_goes_and_comes_back(self, frail_rig: Rig, own_kafka: KafkaBroker) -> None:
        """While the broker is down trades are received and wait, and metrics and health say so; then all arrive, in order."""
        exchange = frail_rig.exchange(generated(1_000))
        client = frail_rig.client(exchange.ws_url)
        before = client.wait_for_produced(500)
        assert client.get_json("/health")[1]["status"] == "healthy"

        own_kafka.stop()
        lost = client.wait_for_metric("kafka_produce_errors_total", _errors(before) + 1, exchange="BINANCE")
        wait_until(lambda: client.metrics("k2_kafka_up") == 0, "a broker that counts as lost")
        status, health = client.get_json("/health")
        assert (status, health["status"]) == (200, "degraded")
        assert "broker lost" in health["reasons"]
        assert client.get_json("/readyz") == (503, {"ready": False, "waiting_for": ["broker"]})
        later = client.wait_for_metric("binance_messages_received_total", lost.received + 500)
        assert later.produced == lost.produced
        assert later("k2_records_in_flight") == later.received - later.produced

        own_kafka.start()
        wait_until(lambda: client.get_json("/health")[1]["status"] == "healthy", "health after the outage")
        wait_until(lambda: client.metrics("k2_records_in_flight") < 500, "an empty queue")
        assert client.metrics.produced > later.received
        sheet = client.stopped()
        assert (sheet["balanced"], sheet["delivered"]) == (True, sheet["received"])
        assert_complete(frail_rig.records(), sheet["received"])

    def test_what_cannot_be_delivered_in_time_becomes_dead_letters(self, frail_rig: Rig, own_kafka: KafkaBroker) -> None:
        """With the broker hanging at the end, each undelivered trade is a dead letter under the exchange's own keys."""
        exchange = frail_rig.exchange(generated(500))
        client = frail_rig.client(exchange.ws_url, "--shutdown-timeout", 1)
        client.wait_for_produced(100)
        own_kafka.pause()
        client.wait_for_metric("k2_records_in_flight", 200)
        sheet = client.stopped()
        letters = list(map(json.loads, client.dead_letter_lines))
        assert sheet["balanced"]
        assert sheet["dead_lettered_records"] == len(letters) > 0
        assert sheet["delivered"] + len(letters) == sheet["received"]
        assert {letter["reason"] for letter in letters} == {"not_delivered_at_shutdown"}
        own_kafka.resume()
        _assert_everything_is_somewhere(frail_rig, letters, sheet["received"])

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_second_signal_ends_it_at_once(self, frail_rig: Rig, own_kafka: KafkaBroker, number: signal.Signals) -> None:
        """A client that still waits for the broker at its end is ended by the same signal again, without further waiting."""
        send = RunningClient.terminate if number is signal.SIGTERM else RunningClient.interrupt
        client = frail_rig.client(frail_rig.exchange(generated(500)).ws_url)
        client.wait_for_produced(1)
        own_kafka.pause()
        client.wait_for_metric("k2_records_in_flight", 100)
        send(client)
        client.wait_for_event("Shutting down")
        assert client.is_running
        send(client)
        assert client.wait(5) == -number


def _errors(metrics: Any) -> float:
    return float(metrics("kafka_produce_errors_total", exchange="BINANCE"))


def _assert_everything_is_somewhere(rig: Rig, letters: list[dict[str, Any]], received: int) -> None:
    """Each trade is in the topic or a dead letter; in both only where its delivery was in doubt."""
    written = {symbol: set(ids) for symbol, ids in ids_by_symbol(rig.records()).items()}
    all_ids = 0
    for symbol in SYMBOLS:
        dead = {letter["original_message"]["a"]: letter["outcome"] for letter in letters if letter["symbol"] == symbol}
        together = written[symbol] | set(dead)
        assert together == set(range(FIRST_ID, FIRST_ID + len(together)))
        assert {dead[exchange_id] for exchange_id in written[symbol] & set(dead)} <= {"unknown"}
        all_ids += len(together)
    assert all_ids == received


class TestCrash:
    def test_a_crash_leaves_the_dead_letters_whole(self, rig: Rig) -> None:
        """After SIGKILL every letter that was written is whole, and the next start goes on in the same file."""
        exchange = rig.exchange(generated(100), messages_per_s=None)
        client = rig.client(exchange.ws_url)
        client.wait_for_produced(1)
        for _ in range(20):
            exchange.inject(Garbage())
        written = client.wait_for_metric("k2_dead_letters_written_total", 100)("k2_dead_letters_written_total")
        client.kill()
        assert client.wait() == -signal.SIGKILL
        whole = client.dead_letter_lines
        if not _is_json(whole[-1]):  # the kernel may cut the very last write short
            whole.pop()
        assert len(whole) >= written
        assert all(map(_is_json, whole))

        again = rig.client(exchange.ws_url)
        again.wait_for_event("Subscribed")
        exchange.inject(Garbage())
        again.wait_for_metric("k2_dead_letters_written_total", 10)
        again.stopped()
        lines = again.dead_letter_lines
        assert lines[: len(whole)] == whole
        assert sum(not _is_json(line) for line in lines) <= 1
        assert _is_json(lines[-1])

    def test_a_restart_brings_no_trade_twice_and_none_out_of_order(self, rig: Rig) -> None:
        """After SIGKILL the next client goes on: per symbol the ids of the topic only rise."""
        exchange = rig.exchange(generated(500))
        for _ in range(2):
            client = rig.client(exchange.ws_url)
            client.wait_for_produced(200)
            client.kill()
            client.wait()
        for ids in ids_by_symbol(rig.records()).values():
            assert ids == sorted(set(ids))


class TestIdentity:
    def test_two_clients_give_a_trade_the_same_identity(self, rig: Rig) -> None:
        """Whoever consumes two clients of the same symbols can drop what comes twice by its message_id."""
        exchange = rig.exchange(generated(1_000, count=600), start="called")
        clients = [rig.client(exchange.ws_url, home=home) for home in ("one", "two")]
        for client in clients:
            client.wait_for_event("Subscribed")
        exchange.begin()
        for client in clients:
            client.wait_for_produced(600)
            client.stopped()
        records = rig.records()
        by_identity = {record.value["message_id"]: record.value for record in records}
        assert (len(by_identity), len(records)) == (600, 1_200)
        for record in records:
            same = by_identity[record.value["message_id"]]
            assert {**record.value, "ingestion_timestamp": None} == {**same, "ingestion_timestamp": None}
        assert "binance.spot.aggTrade.BTCUSDT.1000" in by_identity


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
