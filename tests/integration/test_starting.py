"""How the client starts: from flags and variables, on parts that come late or not at all, and what it refuses in one line."""

from __future__ import annotations

import socket
import statistics
import sys
import threading
import time
import urllib.request
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integration.support import SYMBOLS, Rig, RunningClient, assert_complete, generated, ids_by_symbol, wait_until
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.pin_watch import ASK_EVERY_S
from k2.simulator.faults import Close, Refuse
from kit.kafka import KafkaBroker
from kit.ports import free_port
from kit.registry import SchemaRegistry
from kit.verify import read_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(__file__).parents[2] / "src" / "k2" / "ingestion" / "binance_client.py"
CONFIGURATION, UNAVAILABLE = 2, 69
OLD_TRADE = (
    '{"type": "record", "name": "TradeV2", "namespace": "com.k2.marketdata", "fields": [{"name": "price", "type": "int"}]}'
)


def last_words(client: RunningClient, exit_code: int) -> str:
    """The one line on stderr that a client leaves behind when it ends by itself with this exit code."""
    assert client.wait(30) == exit_code, client.output
    [line] = client.stderr.splitlines()
    assert line.startswith("binance_client: ")
    assert "Traceback" not in client.output
    return line


def nowhere() -> str:
    """An address at which nobody listens."""
    return f"127.0.0.1:{free_port()}"


class TestCommandLine:
    def test_the_documented_command_streams_within_ten_seconds(self, rig: Rig) -> None:
        """Run by its path with the documented flags it streams these symbols within 10 s; a flag beats its variable."""
        exchange, port = rig.exchange(generated(200)), free_port()
        environment = {
            "BINANCE_WS_URL": exchange.ws_url,
            "BINANCE_SYMBOLS": "DOGEUSDT",
            "KAFKA_TOPIC_PREFIX": rig.prefix,
            "K2_HTTP_PORT": str(port),
            "K2_DEAD_LETTER_DIR": "dlq",
        }
        flags = ["--symbols", *SYMBOLS, "--kafka-bootstrap", rig.bootstrap, "--schema-registry", rig.registry_url]
        began_s = time.monotonic()
        client = rig.start(flags, port, environment=environment, command=[sys.executable, str(SCRIPT)])
        client.wait_for_produced(1)
        assert time.monotonic() - began_s < 10
        [connection] = exchange.connections
        assert set(connection.subscriptions.streams) == {f"{symbol.lower()}@aggTrade" for symbol in SYMBOLS}
        assert "binance_client" in Path(f"/proc/{client.pid}/cmdline").read_text(encoding="ascii")

    def test_the_configuration_is_shown_with_its_sources(self, rig: Rig) -> None:
        """`--print-config` names each value and where it came from, and needs none of the parts."""
        flags = ["--print-config", "--symbols", "btcusdt"]
        client = rig.start(flags, 0, environment={"KAFKA_TOPIC_PREFIX": "my.trades"})
        assert client.wait() == 0
        lines = [line.split() for line in client.stdout.splitlines()]
        assert ["--symbols", "BTCUSDT", "flag", "--symbols"] in lines
        assert ["--topic-prefix", "my.trades", "variable", "KAFKA_TOPIC_PREFIX"] in lines
        assert ["--kafka-bootstrap", "localhost:9092", "default"] in lines
        assert ["topic", "my.trades.binance", "worked", "out"] in lines

    def test_every_fault_is_reported_at_once(self, rig: Rig) -> None:
        """Wrong options end the start with 2 and a line for each, named as they were given."""
        client = rig.start(["--symbols", "BTC/USDT", "--http-port", "none"], 0, environment={"KAFKA_BOOTSTRAP": "nowhere"})
        assert client.wait() == CONFIGURATION
        faults = client.stderr.splitlines()
        assert len(faults) == 3
        for name in ("--symbols", "--http-port", "KAFKA_BOOTSTRAP"):
            assert any(name in fault for fault in faults)


class TestEnvironment:
    def test_all_documented_variables_take_effect(self, rig: Rig) -> None:
        """Started with nothing but variables, the client does what each of them says."""
        exchange, port = rig.exchange(generated(600), messages_per_s=None), free_port()
        client = rig.start([], port, environment={
            "BINANCE_WS_URL": f"{exchange.ws_url}/ws",
            "BINANCE_SYMBOLS": "BTCUSDT, ethusdt",
            "KAFKA_BOOTSTRAP": rig.bootstrap,
            "KAFKA_TOPIC_PREFIX": rig.prefix,
            "SCHEMA_REGISTRY_URL": rig.registry_url,
            "BINANCE_RECONNECT_DELAY_MIN": "0.1",
            "BINANCE_RECONNECT_DELAY_MAX": "0.2",
            "BINANCE_HEARTBEAT_INTERVAL": "1",
            "BINANCE_BATCH_SIZE": "10",
            "BINANCE_BATCH_TIMEOUT": "0.5",
            "K2_HTTP_PORT": str(port),
            "K2_DEAD_LETTER_DIR": "dlq",
        })  # fmt: skip
        client.wait_for_produced(100)
        [connection] = exchange.connections
        assert connection.handshake.target == "/stream"
        assert set(connection.subscriptions.streams) == {"btcusdt@aggTrade", "ethusdt@aggTrade"}
        assert set(ids_by_symbol(rig.records())) == {"BTCUSDT", "ETHUSDT"}

        # Some 120 records would come together in half a second, were it not for the batch size.
        assert client.wait_for_metric("k2_producer_batch_records", 1)("k2_producer_batch_records") <= 10

        # While data flows, the only ping within 10 s is the heartbeat.
        wait_until(lambda: len(connection.pings) >= 2, "two heartbeats", timeout_s=8)

        exchange.inject(Refuse(status=503, count=8), Close())
        client.wait_for_metric("binance_reconnections_total", 1)
        gaps_s = [later - earlier for earlier, later in pairwise(exchange.handshake_times_s[1:])]
        assert len(gaps_s) == 8
        assert min(gaps_s) >= 0.1
        assert statistics.median(gaps_s) < 0.6  # 1 s at least by default, and growing

    def test_the_batch_timeout_is_how_long_a_lone_record_waits(self, rig: Rig) -> None:
        """With few records each one waits for its batch, for the time that BINANCE_BATCH_TIMEOUT gives."""
        exchange = rig.exchange(generated(3))
        client = rig.client(exchange.ws_url, environment={"BINANCE_BATCH_TIMEOUT": "0.5"})
        metrics = client.wait_for_produced(5)
        mean_s = metrics("binance_message_latency_seconds_sum") / metrics("binance_message_latency_seconds_count")
        assert mean_s > 0.1  # some 10 ms by default


class TestWaiting:
    @pytest.fixture
    def own_kafka(self) -> Iterator[KafkaBroker]:
        with closing(KafkaBroker()) as broker:
            yield broker

    @pytest.fixture
    def own_registry(self) -> Iterator[SchemaRegistry]:
        with closing(SchemaRegistry()) as server:
            yield server

    def test_what_comes_late_is_waited_for_and_what_goes_again_is_done_without(
        self, rig: Rig, own_kafka: KafkaBroker, own_registry: SchemaRegistry
    ) -> None:
        """
        Broker and registry may come after the client, and the registry may go for good.

        A client that runs does not miss it, and one that starts takes the schema id from the disk and says so, until the registry
        is there again and confirms it.
        """
        exchange = rig.exchange(generated(200))
        addresses = ("--kafka-bootstrap", own_kafka.bootstrap, "--schema-registry", own_registry.url)
        client = rig.client(exchange.ws_url, *addresses)
        assert client.get_json("/readyz") == (503, {"ready": False, "waiting_for": ["broker", "registry", "exchange"]})
        assert client.get("/livez")[0] == 200
        own_registry.launch()  # both come up side by side, and which is first must not matter
        own_kafka.start()
        own_registry.wait_until_ready()
        first = client.wait_for_produced(1, timeout_s=30)
        assert client.get_json("/readyz") == (200, {"ready": True, "waiting_for": []})
        assert client.get_json("/health")[1]["schema_source"] == "registry"
        schema = first.series("k2_schema_info")

        written = read_topic(own_kafka.bootstrap, own_registry.url, rig.topic, count=1)
        own_registry.kill()
        client.wait_for_produced(client.metrics.received + 100)
        client.stopped()

        again = rig.client(exchange.ws_url, *addresses)
        metrics = again.wait_for_produced(1)
        assert metrics("k2_schema_pinned") == 1
        assert metrics.series("k2_schema_info") == schema
        status, health = again.get_json("/health")
        assert (status, health["status"], health["schema_source"]) == (200, "degraded", "pinned")
        assert any("registry" in reason for reason in health["reasons"])
        own_registry.start()
        own_registry.request(
            "POST", f"/subjects/{rig.topic}-value/versions", {"schemaType": "AVRO", "schema": load_schema("trade_v2").text}
        )
        wait_until(lambda: again.metrics("k2_schema_pinned") == 0, "the registry's confirmation", 4 * ASK_EVERY_S)
        assert again.get_json("/health")[1]["schema_source"] == "registry"
        again.stopped()
        headers = {record.payload[:5] for record in read_topic(own_kafka.bootstrap, "", rig.topic, raw=True) if record.payload}
        assert headers == {record.payload[:5] for record in written if record.payload}

    @pytest.mark.parametrize(
        ("flag", "prefix", "part"),
        [pytest.param("--kafka-bootstrap", "", "broker", id="broker"),
         pytest.param("--schema-registry", "http://", "registry", id="registry")],
    )  # fmt: skip
    def test_what_does_not_come_ends_the_start(self, rig: Rig, flag: str, prefix: str, part: str) -> None:
        """After the start-up timeout the client ends with 69 and names the part and its address."""
        address = prefix + nowhere()
        client = rig.client(rig.exchange(generated(10)).ws_url, flag, address, "--startup-timeout", 2)
        wait_until(lambda: client.get_json("/readyz")[1]["waiting_for"][0] == part, f"a start that waits for the {part}")
        line = last_words(client, UNAVAILABLE)
        assert part in line
        assert address in line

    def test_an_exchange_that_stays_away_is_given_up_where_told_to(self, rig: Rig) -> None:
        """After `--give-up-after` failures in a row the client ends with 69, and what it had is in the topic."""
        exchange = rig.exchange(generated(200))
        often = ("--reconnect-delay-min", 0.1, "--reconnect-delay-max", 0.2)
        client = rig.client(exchange.ws_url, "--give-up-after", 3, *often)
        client.wait_for_produced(50)
        exchange.inject(Refuse(status=503), Close())
        line = last_words(client, UNAVAILABLE)
        assert "gave up after 3 failures in a row" in line
        assert exchange.ws_url in line
        sheet = client.balance_sheet
        assert sheet["balanced"]
        assert sheet["delivered"] == sheet["published"] == len(rig.records())

    def test_a_stop_while_waiting_is_obeyed(self, rig: Rig) -> None:
        """SIGTERM ends a client that still waits for its parts, in good order."""
        client = rig.client(rig.exchange(generated(10)).ws_url, "--kafka-bootstrap", nowhere())
        client.wait_for_event("Serving health and metrics")
        sheet = client.stopped(timeout_s=15)
        assert (sheet["balanced"], sheet["received"]) == (True, 0)


class CountingRelay(ThreadingHTTPServer):
    """Passes requests on to a server and remembers them."""

    def __init__(self, target: str) -> None:
        self.target, self.requests = target, list[str]()
        super().__init__(("127.0.0.1", 0), _Relayed)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Relayed(BaseHTTPRequestHandler):
    server: CountingRelay

    def _pass_on(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
        request = urllib.request.Request(self.server.target + self.path, body or None, headers, method=self.command)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - always http
                self._answer(response.status, response.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                self._answer(refusal.code, refusal.read())

    do_GET = do_POST = do_PUT = _pass_on  # noqa: N815 - the names that the library looks for

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing to stderr."""


@contextmanager
def relay_to(url: str) -> Iterator[CountingRelay]:
    with CountingRelay(url) as relay:
        thread = threading.Thread(target=relay.serve_forever)
        thread.start()
        yield relay
        relay.shutdown()
        thread.join()


class TestRegistry:
    def test_a_running_client_asks_the_registry_nothing(self, rig: Rig) -> None:
        """All requests to the registry are made before the first frame, and few."""
        with relay_to(rig.registry_url) as relay:
            client = rig.client(rig.exchange(generated(2_000)).ws_url, "--schema-registry", relay.url)
            client.wait_for_event("Subscribed")
            asked = list(relay.requests)
            assert 0 < len(asked) < 10
            client.wait_for_produced(2_000)
            client.stopped()
            assert relay.requests == asked

    def test_the_schema_is_registered_under_the_topics_name(self, rig: Rig, registry: SchemaRegistry) -> None:
        """The subject is the topic with `-value`, its compatibility is BACKWARD, and a second start registers nothing."""
        exchange = rig.exchange(generated(100))
        for _ in range(2):
            client = rig.client(exchange.ws_url)
            client.wait_for_produced(1)
            client.stopped()
        subject = f"{rig.topic}-value"
        assert registry.request("GET", f"/subjects/{subject}/versions") == [1]
        assert registry.request("GET", f"/config/{subject}?defaultToGlobal=true")["compatibilityLevel"] == "BACKWARD"

    def test_an_incompatible_schema_is_refused(self, rig: Rig, registry: SchemaRegistry) -> None:
        """Where the subject holds what ours may not follow, the start ends and names subject and field."""
        subject = f"{rig.topic}-value"
        registry.request("POST", f"/subjects/{subject}/versions", {"schema": OLD_TRADE})
        line = last_words(rig.client(rig.exchange(generated(10)).ws_url), CONFIGURATION)
        assert subject in line
        assert "price" in line

    def test_without_leave_to_register_the_command_is_told(self, rig: Rig, registry: SchemaRegistry) -> None:
        """With --no-register a missing schema ends the start with the command that registers it."""
        line = last_words(rig.client(rig.exchange(generated(10)).ws_url, "--no-register"), CONFIGURATION)
        assert f"k2 schemas register --schema trade_v2 --subject {rig.topic}-value" in line
        assert f"{rig.topic}-value" not in registry.subjects()


class TestTopic:
    def test_a_missing_topic_is_made_as_asked(self, rig: Rig, kafka: KafkaBroker) -> None:
        """It is created with the partitions asked for, and a start that finds it differently takes it as it is."""
        exchange = rig.exchange(generated(100))
        client = rig.client(exchange.ws_url, "--partitions", 5)
        client.wait_for_produced(1)
        client.stopped()
        assert kafka.partitions(rig.topic) == 5
        again = rig.client(exchange.ws_url, "--partitions", 7)
        assert "5 partitions, not 7" in again.wait_for_event("Topic differs from the settings")["detail"]
        again.wait_for_produced(1)
        assert kafka.partitions(rig.topic) == 5

    def test_without_leave_to_create_the_command_is_told(self, rig: Rig, kafka: KafkaBroker) -> None:
        """With --no-create-topic a missing topic ends the start with the command that creates it."""
        line = last_words(rig.client(rig.exchange(generated(10)).ws_url, "--no-create-topic"), CONFIGURATION)
        assert f"kafka-topics --bootstrap-server {rig.bootstrap} --create --topic {rig.topic} --partitions 3" in line
        assert rig.topic not in kafka.topics()

    def test_a_topic_of_another_stream_is_refused(self, rig: Rig) -> None:
        """Where single trades are, aggregated ones are not mixed in."""
        exchange = rig.exchange(generated(100))
        client = rig.client(exchange.ws_url, "--stream", "trade")
        client.wait_for_produced(10)
        sheet = client.stopped()
        line = last_words(rig.client(exchange.ws_url), CONFIGURATION)
        assert f"topic {rig.topic} carries binance.spot.trade" in line
        assert len(rig.records()) == sheet["delivered"]


class TestSymbols:
    def test_an_unknown_symbol_does_not_keep_the_others_from_streaming(self, rig: Rig) -> None:
        """The known ones stream; log, metric and health name the unknown one."""
        exchange = rig.exchange(generated(200))
        client = rig.client(exchange.ws_url, "--rest-url", exchange.rest_url, symbols=(*SYMBOLS, "NOSUCHUSDT"))
        metrics = client.wait_for_produced(30)
        assert metrics("k2_unknown_symbols") == 1
        health = client.get_json("/health")[1]
        assert (health["status"], health["symbols"]) == ("degraded", list(SYMBOLS))
        assert any("NOSUCHUSDT" in reason for reason in health["reasons"])
        assert client.wait_for_event("The exchange does not know these symbols; the others stream")["unknown"] == ["NOSUCHUSDT"]
        sheet = client.stopped()
        assert_complete(rig.records(), sheet["received"])

    def test_unknown_symbols_alone_are_refused(self, rig: Rig) -> None:
        """Where the exchange knows none of the symbols there is nothing to stream."""
        exchange = rig.exchange(generated(10))
        client = rig.client(exchange.ws_url, "--rest-url", exchange.rest_url, symbols=("NOSUCHUSDT", "NORTHISUSDT"))
        line = last_words(client, CONFIGURATION)
        assert "NOSUCHUSDT" in line
        assert "NORTHISUSDT" in line

    def test_quote_assets_come_from_the_exchange(self, rig: Rig) -> None:
        """The currency of a trade is what the exchange's metadata say, where the symbol's ending would mislead."""
        quotes: dict[str, Any] = {"ODDUSDT": "DUSDT", "BTCUSDT": "USDT"}
        exchange = rig.exchange(generated(100, symbols=tuple(quotes), quotes=quotes))
        client = rig.client(exchange.ws_url, "--rest-url", exchange.rest_url, symbols=tuple(quotes))
        client.wait_for_produced(20)
        client.stopped()
        assert {(record.key, record.value["currency"]) for record in rig.records()} == set(quotes.items())


def test_a_port_in_use_is_refused(rig: Rig) -> None:
    """A port that another process has ends the start with the option to change."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = last_words(rig.client(rig.exchange(generated(10)).ws_url, "--http-port", port), CONFIGURATION)
    assert f"--http-port: port {port} on 127.0.0.1 is in use" in line
