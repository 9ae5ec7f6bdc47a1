"""The kit of real parts does what the other tests take for granted."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from kit.client import ClientProcess
from kit.kafka import KafkaBroker
from kit.ports import free_port
from kit.registry import SchemaRegistry
from kit.server import ServerFailedError
from kit.verify import read_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRADE_SCHEMA = (Path(__file__).parents[2] / "schemas" / "trade_v2.avsc").read_text(encoding="utf-8")

TRADE: dict[str, Any] = {
    "message_id": "binance.spot.aggTrade.BTCUSDT.26129",
    "trade_id": "BINANCE-26129",
    "symbol": "BTCUSDT",
    "exchange": "BINANCE",
    "asset_class": "crypto",
    "timestamp": datetime(2024, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC),
    "price": Decimal("42000.12000000"),
    "quantity": Decimal("0.00100000"),
    "currency": "USDT",
    "side": "SELL",
    "trade_conditions": [],
    "source_sequence": 26129,
    "ingestion_timestamp": datetime(2024, 1, 2, 3, 4, 5, 700_001, tzinfo=UTC),
    "platform_sequence": None,
    "vendor_data": {"event_type": "aggTrade"},
}
TRADED_AT_MS = 1_704_164_645_678


def produce(bootstrap: str, topic: str, *values: bytes, partition: int = 0, **options: Any) -> None:
    """Produce and wait until the broker has acknowledged every value."""
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    for value in values:
        producer.produce(topic, value, partition=partition, **options)
    assert producer.flush(20) == 0


def values_of(kafka: KafkaBroker, topic: str, **options: Any) -> list[bytes | None]:
    return [record.payload for record in read_topic(kafka.bootstrap, "", topic, raw=True, **options)]


@pytest.fixture
def registry_client(registry: SchemaRegistry) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": registry.url, "timeout": 15}) as client:
        yield client


class TestKafka:
    def test_records_come_back_as_they_were_produced(self, kafka: KafkaBroker, topic: str) -> None:
        """Key, value, partition, timestamp and headers of a record arrive unchanged."""
        kafka.create_topic(topic, partitions=3)
        options = {"key": b"BTCUSDT", "timestamp": TRADED_AT_MS, "headers": [("k2-source", b"backfill")]}
        produce(kafka.bootstrap, topic, b"one", partition=2, **options)
        [record] = read_topic(kafka.bootstrap, "", topic, raw=True)
        assert (record.partition, record.offset, record.key, record.payload) == (2, 0, "BTCUSDT", b"one")
        assert (record.timestamp_ms, record.headers) == (TRADED_AT_MS, {"k2-source": b"backfill"})

    def test_all_partitions_are_read_to_their_ends(self, kafka: KafkaBroker, topic: str) -> None:
        """Without a count, reading ends by itself with everything that was there, ordered by partition and offset."""
        kafka.create_topic(topic, partitions=3)
        produce(kafka.bootstrap, topic, b"c", b"d", partition=1)
        produce(kafka.bootstrap, topic, b"a", b"b", partition=0)
        assert values_of(kafka, topic) == [b"a", b"b", b"c", b"d"]

    def test_reading_waits_for_the_count(self, kafka: KafkaBroker, topic: str) -> None:
        """With a count, reading gives up after its time-out only, and says how many records there were."""
        kafka.create_topic(topic)
        produce(kafka.bootstrap, topic, b"one")
        with pytest.raises(AssertionError, match="1 records came, 2 were waited for"):
            values_of(kafka, topic, count=2, timeout_s=0.5)

    def test_an_unknown_topic_is_named(self, kafka: KafkaBroker, topic: str) -> None:
        """Neither producing nor reading creates a topic on the quiet."""
        with pytest.raises(AssertionError, match=topic):
            values_of(kafka, topic)
        assert topic not in kafka.topics()

    def test_topics_grow_and_go(self, kafka: KafkaBroker, topic: str) -> None:
        """Partitions can be added, and a deleted topic is gone."""
        kafka.create_topic(topic, config={"max.message.bytes": "2000"})
        kafka.add_partitions(topic, 2)
        assert kafka.partitions(topic) == 2
        kafka.delete_topic(topic)
        assert kafka.partitions(topic) == 0

    @pytest.mark.parametrize("end", [KafkaBroker.stop, KafkaBroker.kill], ids=["stopped", "killed"])
    def test_data_and_address_outlive_the_process(
        self, own_kafka: KafkaBroker, topic: str, end: Callable[[KafkaBroker], None]
    ) -> None:
        """What was acknowledged before the broker went is at the same address when it is back."""
        own_kafka.create_topic(topic)
        produce(own_kafka.bootstrap, topic, b"before")
        address = own_kafka.bootstrap
        end(own_kafka)
        assert not own_kafka.is_running
        own_kafka.start()
        produce(address, topic, b"after")
        assert values_of(own_kafka, topic) == [b"before", b"after"]

    def test_a_paused_broker_is_silent_until_it_is_resumed(self, own_kafka: KafkaBroker) -> None:
        """While paused the broker answers nothing; resumed, it serves again."""
        consumer = Consumer({"bootstrap.servers": own_kafka.bootstrap, "group.id": "pause", "log_level": 0})
        own_kafka.pause()
        with pytest.raises(KafkaException):
            consumer.list_topics(timeout=0.5)
        own_kafka.resume()
        assert consumer.list_topics(timeout=15).brokers
        consumer.close()

    def test_a_broker_that_cannot_start_shows_its_log(self) -> None:
        """The error of a failed start holds what the broker had to say."""
        with (
            closing(KafkaBroker(extra_properties={"log.retention.bytes": "many"})) as broker,
            pytest.raises(ServerFailedError, match=r"log\.retention\.bytes"),
        ):
            broker.start()


class TestRegistry:
    def test_a_schema_comes_back_by_its_id(self, registry_client: SchemaRegistryClient, topic: str) -> None:
        """The trade schema is taken as it is, and registering it twice gives the same id."""
        schema = Schema(TRADE_SCHEMA, "AVRO")
        schema_id = registry_client.register_schema(f"{topic}-value", schema)
        assert registry_client.register_schema(f"{topic}-value", schema) == schema_id
        assert json.loads(registry_client.get_schema(schema_id).schema_str or "") == json.loads(TRADE_SCHEMA)

    def test_records_decode_with_confluents_deserializer(
        self, kafka: KafkaBroker, registry: SchemaRegistry, registry_client: SchemaRegistryClient, topic: str
    ) -> None:
        """A trade written by Confluent's serializer is read back equal."""
        kafka.create_topic(topic)
        serialize = AvroSerializer(registry_client, TRADE_SCHEMA, conf={"subject.name.strategy.type": "TOPIC"})
        payload = serialize(TRADE, SerializationContext(topic, MessageField.VALUE))
        assert payload is not None
        produce(kafka.bootstrap, topic, payload)
        [record] = read_topic(kafka.bootstrap, registry.url, topic, count=1)
        assert record.value == TRADE

    def test_schemas_and_compatibility_outlive_the_process(self, own_registry: SchemaRegistry) -> None:
        """A registry that was killed knows its schemas when it is back."""
        own_registry.request("POST", "/subjects/kept-value/versions", {"schema": TRADE_SCHEMA})
        own_registry.kill()
        own_registry.start()
        assert own_registry.subjects() == ["kept-value"]

    def test_reset_empties_it(self, own_registry: SchemaRegistry) -> None:
        """After a reset no subject is left, and the compatibility is BACKWARD."""
        own_registry.request("POST", "/subjects/gone-value/versions", {"schema": TRADE_SCHEMA})
        own_registry.set_compatibility("NONE")
        own_registry.reset()
        assert own_registry.request("GET", "/subjects?deleted=true") == []
        assert own_registry.request("GET", "/config")["compatibilityLevel"] == "BACKWARD"


KILLED_TEST_RUN = """
import time
from kit.registry import SchemaRegistry
server = SchemaRegistry().launch()
print(server.port, flush=True)
time.sleep(60)
"""


class TestServer:
    def test_servers_do_not_outlive_a_killed_test_run(self) -> None:
        """When the process that started a server is killed, the server goes with it."""
        command = [sys.executable, "-c", KILLED_TEST_RUN]
        with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True) as run:
            assert run.stdout is not None
            port = int(run.stdout.readline())
            wait_until(lambda: listens(port))
            run.kill()
        wait_until(lambda: not listens(port))

    def test_free_ports_are_out_of_the_kernels_own_range(self) -> None:
        """No outgoing connection can take the port of a server that is down for a moment."""
        with socket.socket() as client:
            client.bind(("127.0.0.1", 0))
            assert free_port() < client.getsockname()[1]


FAKE_CLIENT = """
import json, os, signal, sys, time
def log(**line): print(json.dumps(line), flush=True)
def drain(*_): log(event="Shutdown complete", level="info"); sys.exit(0)
signal.signal(signal.SIGTERM, drain); signal.signal(signal.SIGINT, drain)
print("not a log line", file=sys.stderr, flush=True)
log(event="Started", arguments=sys.argv[1:], environment=dict(os.environ))
log(event="Connected", connection=1); log(event="Connected", connection=2)
time.sleep(60)
"""


@pytest.fixture
def fake_client(start_client: Callable[..., ClientProcess], monkeypatch: pytest.MonkeyPatch) -> ClientProcess:
    monkeypatch.setenv("K2_CANARY", "from the developer's shell")
    return start_client("--symbols", "BTCUSDT", 7, environment={"GIVEN": "yes"}, command=[sys.executable, "-c", FAKE_CLIENT])


class TestClientProcess:
    def test_it_runs_in_a_clean_environment(self, fake_client: ClientProcess, tmp_path: Path) -> None:
        """Arguments and given variables arrive, the developer's own variables and home do not."""
        started = fake_client.wait_for_event("Started")
        assert started["arguments"] == ["--symbols", "BTCUSDT", "7"]
        assert started["environment"] | {"HOME": str(tmp_path), "GIVEN": "yes"} == started["environment"]
        assert "K2_CANARY" not in started["environment"]

    def test_events_are_found_by_name_number_and_field(self, fake_client: ClientProcess) -> None:
        """The nth event of a name and the event with a field are waited for."""
        assert fake_client.wait_for_event("Connected", nth=2)["connection"] == 2
        assert fake_client.wait_for_event("Connected", connection=1)["connection"] == 1
        fake_client.wait_for_output("not a log line")
        assert fake_client.stderr == "not a log line\n"

    @pytest.mark.parametrize("end", [ClientProcess.terminate, ClientProcess.interrupt], ids=["terminated", "interrupted"])
    def test_the_last_words_are_heard(self, fake_client: ClientProcess, end: Callable[[ClientProcess], None]) -> None:
        """What the process prints while it ends is there when its exit code is."""
        fake_client.wait_for_event("Connected")
        end(fake_client)
        assert fake_client.wait() == 0
        assert fake_client.events[-1]["event"] == "Shutdown complete"

    def test_a_killed_process_tells_the_signal(self, fake_client: ClientProcess) -> None:
        """Waiting for an event of a process that is gone fails at once, and its exit code names the signal."""
        fake_client.wait_for_event("Connected")
        fake_client.kill()
        with pytest.raises(AssertionError, match="the process ended without event 'Shutdown complete'"):
            fake_client.wait_for_event("Shutdown complete")
        assert fake_client.wait() == -signal.SIGKILL

    def test_an_event_that_does_not_come_shows_the_output(self, fake_client: ClientProcess) -> None:
        """The error of a wait in vain holds what the process printed."""
        fake_client.wait_for_event("Connected")
        with pytest.raises(AssertionError, match="not a log line"):
            fake_client.wait_for_event("Never", timeout=0.2)
        with pytest.raises(AssertionError, match="still running"):
            fake_client.wait(0.1)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
