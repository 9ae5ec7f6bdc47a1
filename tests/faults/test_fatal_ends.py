"""States in which running on would make things worse: the client says so, ends with 70, and leaves nothing unaccounted for."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, cast

import pytest

from integration.support import FIRST_ID, Rig, RunningClient, generated, wait_until
from k2.simulator.faults import Garbage
from kit.mock_kafka import MockKafka

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kit.kafka import KafkaBroker
    from kit.registry import SchemaRegistry

CONFIGURATION, FATAL = 2, 70
BOX_LINES = 10_000  # what the box for dead letters keeps while they cannot be written
PARTITIONS = 3
RATE = 500


@pytest.fixture
def mock_rig(registry: SchemaRegistry, tmp_path: Path) -> Iterator[tuple[Rig, MockKafka]]:
    with MockKafka() as mock, Rig(cast("KafkaBroker", mock), registry, tmp_path) as rig:
        mock.create_topic(rig.topic, PARTITIONS)
        yield rig, mock


@pytest.fixture
def rig(kafka: KafkaBroker, registry: SchemaRegistry, tmp_path: Path) -> Iterator[Rig]:
    with Rig(kafka, registry, tmp_path) as rig:
        yield rig


def letters_of(client: RunningClient) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.dead_letter_lines]


class TestProducer:
    def test_a_fatal_producer_error_is_survived(self, mock_rig: tuple[Rig, MockKafka]) -> None:
        """librdkafka lost its sequence: a new producer sends what the old one held, nothing is lost, and the log says so."""
        rig, mock = mock_rig
        exchange = rig.exchange(generated(RATE, symbols=("BTCUSDT",)))
        client = rig.client(exchange.ws_url, symbols=("BTCUSDT",))
        client.wait_for_produced(RATE)
        mock.set_delay(200)  # so that there is something in flight
        mock.answer_with("OUT_OF_ORDER_SEQUENCE_NUMBER")
        renewed = client.wait_for_event("Producer made anew after a fatal error: what it held is sent again")
        assert (renewed["code"], renewed["level"]) == ("OUT_OF_ORDER_SEQUENCE_NUMBER", "error")
        mock.set_delay(0)
        metrics = client.wait_for_metric("k2_producer_renewals_total", 1)
        client.wait_for_produced(metrics.produced + RATE)
        sheet = client.stopped()
        assert sheet["balanced"]
        assert (sheet["dead_lettered_records"], sheet["delivered"]) == (0, sheet["received"])
        stored = {record.value["source_sequence"] for record in rig.records()}
        assert stored == set(range(FIRST_ID, FIRST_ID + sheet["received"]))

    def test_a_producer_that_breaks_again_and_again_ends_the_client(self, mock_rig: tuple[Rig, MockKafka]) -> None:
        """
        Where new producers break as well, the client ends with one line on stderr and exit code 70, so that it is restarted.

        What was in flight is dead letters, and those of records that librdkafka had taken are of unknown outcome.
        """
        rig, mock = mock_rig
        exchange = rig.exchange(generated(RATE, symbols=("BTCUSDT",)))
        client = rig.client(exchange.ws_url, symbols=("BTCUSDT",))
        client.wait_for_produced(RATE)
        mock.answer_with(*["OUT_OF_ORDER_SEQUENCE_NUMBER"] * 1_000)
        assert client.wait(120) == FATAL
        [line] = client.stderr.splitlines()
        assert "OUT_OF_ORDER_SEQUENCE_NUMBER" in line
        assert "Traceback" not in client.output
        [sheet], letters = client.events_named("Shutdown complete"), letters_of(client)
        assert sheet["balanced"]
        assert (sheet["in_flight"], sheet["dead_lettered_records"]) == (0, len(letters))
        assert {(letter["reason"], letter["outcome"]) for letter in letters} <= {
            ("delivery_unknown", "unknown"),
            ("not_delivered_at_shutdown", "unknown"),
            ("not_delivered_at_shutdown", "not_written"),
        }
        assert "unknown" in {letter["outcome"] for letter in letters}
        dead = sorted(letter["original_message"]["a"] for letter in letters)
        assert len(dead) == sheet["published"] - sheet["delivered"]
        assert dead[-1] == FIRST_ID + sheet["published"] - 1

    def test_a_topic_that_is_made_anew_is_survived(self, rig: Rig, kafka: KafkaBroker) -> None:
        """A topic is deleted and created again under the client: it goes on by itself, and all that is new is there in order."""
        exchange = rig.exchange(generated(RATE, symbols=("BTCUSDT",)))
        client = rig.client(exchange.ws_url, symbols=("BTCUSDT",))
        client.wait_for_produced(RATE)
        kafka.delete_topic(rig.topic)
        kafka.create_topic(rig.topic, PARTITIONS)
        metrics = client.metrics
        client.wait_for_produced(metrics.produced + 4 * RATE, timeout_s=60)
        sheet = client.stopped()
        assert sheet["balanced"]
        assert sheet["dead_lettered_records"] == 0
        records = rig.records()
        unmarked = [record.value["source_sequence"] for record in records if not record.headers]
        assert unmarked == sorted(set(unmarked))
        ids = {record.value["source_sequence"] for record in records}
        assert ids == set(range(min(ids), FIRST_ID + sheet["received"]))

    def test_an_unknown_property_is_a_fault_of_the_configuration(self, rig: Rig) -> None:
        """librdkafka's properties pass through; one that it does not know is named, before anything is opened."""
        client = rig.client("ws://127.0.0.1:1", "--kafka-property", "no.such.property=1")
        assert client.wait(30) == CONFIGURATION
        [line] = client.stderr.splitlines()
        assert "no.such.property" in line


class TestDeadLetters:
    @pytest.fixture
    def client(self, rig: Rig) -> RunningClient:
        """A client whose directory for dead letters was replaced by a file while it ran: not even root can write there."""
        exchange = rig.exchange(generated(RATE))
        self.exchange = exchange
        client = rig.client(exchange.ws_url)
        client.wait_for_produced(1)
        shutil.rmtree(client.home / "dlq")
        (client.home / "dlq").write_bytes(b"")
        exchange.inject(Garbage(frames=(b"{",)))
        client.wait_for_metric("k2_dead_letter_write_failures_total", 1)
        return client

    def test_letters_that_cannot_be_written_are_no_secret(self, client: RunningClient) -> None:
        """Health, metric and log say so while the client goes on; when the directory is back nothing is missing."""
        status, health = client.get_json("/health")
        assert (status, health["status"], health["reasons"]) == (503, "unhealthy", ["dead letters cannot be written"])
        metrics = client.metrics
        assert (metrics("k2_dead_letters_writable"), metrics("k2_dead_letters_pending")) == (0, 1)
        assert client.wait_for_event("Dead letters cannot be written")["level"] == "critical"
        client.wait_for_produced(metrics.produced + 1)

        (client.home / "dlq").unlink()
        client.wait_for_event("Dead letters can be written again")
        wait_until(lambda: client.get_json("/health")[0] == 200, "good health")
        assert client.stopped()["dead_lettered"] == 1
        [letter] = letters_of(client)
        assert (letter["reason"], letter["payload"]) == ("not_json", "{")

    def test_a_full_box_ends_the_client(self, client: RunningClient) -> None:
        """When no more letters can be kept either, the client stops; every letter is on stderr, and the exit code is 70."""
        self.exchange.inject(Garbage(frames=tuple(b'{"broken":%d' % number for number in range(BOX_LINES + 50))))
        assert client.wait(60) == FATAL
        [sheet] = client.events_named("Shutdown complete")
        lines = [json.loads(line) for line in client.stderr.splitlines() if line.startswith("{")]
        assert len(lines) == sheet["dead_lettered"] > BOX_LINES
        assert sheet["balanced"]
        [last_words] = [line for line in client.stderr.splitlines() if line.startswith("binance_client: ")]
        assert "dead letters" in last_words
        assert "Traceback" not in client.output
