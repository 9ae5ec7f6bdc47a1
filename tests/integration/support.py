"""What the tests of the client share: its surroundings, a simulated exchange to command, and what can be read off a client."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import uuid4

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from k2.simulator.exchange import Exchange
from k2.simulator.generated import GeneratedMarket, GeneratedOptions
from k2.simulator.options import options_for
from kit.client import CLIENT_COMMAND, ClientProcess
from kit.ports import free_port
from kit.verify import read_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from k2.simulator.connection import Connection
    from k2.simulator.faults import Fault
    from k2.simulator.market import Market
    from kit.kafka import KafkaBroker
    from kit.registry import SchemaRegistry
    from kit.verify import ReadRecord

T = TypeVar("T")

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
FIRST_ID = 1_000  # of every symbol of a generated market, so that what comes first in a topic is known
REQUEST_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 0.02
OUTPUT_SHOWN = 4_000


def wait_until(look: Callable[[], T | None], what: str, timeout_s: float = 20) -> T:
    """The first value of `look` that is true; AssertionError after `timeout_s`, naming `what` and the last value."""
    deadline = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{timeout_s:.0f} s went by without {what}; last seen: {seen!r}"
        time.sleep(POLL_INTERVAL_S)
    return seen


def generated(rate: float | None, *, symbols: Sequence[str] = SYMBOLS, **options: Any) -> GeneratedMarket:
    """A market of chance at `rate` trades a second (None: as many as are taken) whose ids begin with FIRST_ID."""
    return GeneratedMarket(GeneratedOptions(symbols=tuple(symbols), rate=rate, first_ids=FIRST_ID, **options))


class RunningExchange:
    """A simulated exchange on a thread of its own, so that a test that waits for the client does not hold it up."""

    def __init__(self, market: Market, **options: Any) -> None:
        chosen = msgspec.structs.replace(options_for(market.venue), **{"start": "subscribed", **options})
        self._exchange = Exchange(market, chosen)
        self._ready, self._thread = threading.Event(), threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(REQUEST_TIMEOUT_S), "the simulated exchange did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    @property
    def ws_url(self) -> str:
        return self._exchange.ws_url

    @property
    def rest_url(self) -> str:
        return self._exchange.rest_url

    @property
    def port(self) -> int:
        return int(self.ws_url.rpartition(":")[2])

    def inject(self, *faults: Fault) -> None:
        """Let faults happen, in this order; returns when they have struck."""
        for fault in faults:
            asyncio.run_coroutine_threadsafe(self._exchange.inject(fault), self._loop).result(REQUEST_TIMEOUT_S)

    def begin(self) -> None:
        """Let the market begin; needed with `start="called"` only."""
        self.read(lambda exchange: exchange.begin())

    def read(self, look: Callable[[Exchange], T]) -> T:
        """What `look` finds, read on the exchange's own thread, where nothing moves meanwhile."""

        async def on_the_loop() -> T:
            return look(self._exchange)

        return asyncio.run_coroutine_threadsafe(on_the_loop(), self._loop).result(REQUEST_TIMEOUT_S)

    @property
    def sent(self) -> int:
        """Market frames sent so far."""
        return self.read(lambda exchange: exchange.sent.total())

    @property
    def garbage_sent(self) -> int:
        return self.read(lambda exchange: exchange.garbage_sent.total())

    @property
    def connections(self) -> list[Connection]:
        return self.read(lambda exchange: list(exchange.connections))

    @property
    def handshake_times_s(self) -> list[float]:
        return self.read(lambda exchange: [handshake.at_s for handshake in exchange.handshakes])

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        await self._exchange.start()
        self._ready.set()
        await self._stopping.wait()
        await self._exchange.stop()


class Metrics:
    """One scrape."""

    def __init__(self, exposition: str) -> None:
        families = list(text_string_to_metric_families(exposition))
        self.kinds = {family.name: family.type for family in families}
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value for family in families for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        """The value of exactly this series; KeyError where there is none."""
        return self._samples[name, frozenset(labels.items())]

    def series(self, name: str) -> list[dict[str, str]]:
        """The labels of all series of this name."""
        return [dict(labels) for sampled, labels in self._samples if sampled == name]

    @property
    def received(self) -> int:
        return int(self("binance_messages_received_total"))

    @property
    def produced(self) -> int:
        return int(self("kafka_messages_produced_total", exchange="BINANCE"))


class RunningClient(ClientProcess):
    """The client with a home of its own and its HTTP side."""

    def __init__(self, home: Path, port: int, arguments: Iterable[object], **options: Any) -> None:
        self.home, self.port = home, port
        super().__init__(*arguments, cwd=home, **options)

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of one GET. A client that has only just been started is waited for."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_TIMEOUT_S)
        try:
            wait_until(lambda: _opened(connection) or not self.is_running, "an open HTTP port")
            assert self.is_running, f"the client has ended:\n{self.output[-OUTPUT_SHOWN:]}"
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def get_json(self, path: str) -> tuple[int, dict[str, Any]]:
        status, body = self.get(path)
        return status, json.loads(body)

    @property
    def metrics(self) -> Metrics:
        return Metrics(self.get("/metrics")[1].decode())

    @property
    def log_text(self) -> str:
        """The log file at its default place."""
        return (self.home / "logs" / "binance_client.log").read_text(encoding="utf-8")

    @property
    def dead_letter_lines(self) -> list[str]:
        files = sorted(self.home.glob("dlq/binance-*.jsonl"))
        return [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]

    def wait_for_metric(self, name: str, at_least: float, timeout_s: float = 20, **labels: str) -> Metrics:
        """The first scrape in which the series has reached this value."""

        def reached() -> Metrics | None:
            metrics = self.metrics
            return metrics if metrics(name, **labels) >= at_least else None

        return wait_until(reached, f"{name} {labels or ''} at {at_least:g}", timeout_s)

    def wait_for_produced(self, count: int, timeout_s: float = 20) -> Metrics:
        """Wait until Kafka has acknowledged so many records."""
        return self.wait_for_metric("kafka_messages_produced_total", count, timeout_s, exchange="BINANCE")

    def stopped(self, timeout_s: float = 30) -> dict[str, Any]:
        """SIGTERM, exit code 0, and the balance sheet that was printed."""
        self.terminate()
        assert self.wait(timeout_s) == 0, self.output[-OUTPUT_SHOWN:]
        return self.balance_sheet

    @property
    def balance_sheet(self) -> dict[str, Any]:
        """The log line "Shutdown complete"."""
        [sheet] = self.events_named("Shutdown complete")
        return sheet


def _opened(connection: http.client.HTTPConnection) -> bool:
    try:
        connection.connect()
    except ConnectionRefusedError:
        return False
    return True


class Rig:
    """The real parts, with names and ports that no other test uses. Exchanges and clients made here end with it."""

    def __init__(self, kafka: KafkaBroker, registry: SchemaRegistry, directory: Path) -> None:
        self.bootstrap, self.registry_url, self.directory = kafka.bootstrap, registry.url, directory
        self.prefix = f"test.{uuid4().hex[:12]}"
        self.topic = f"{self.prefix}.binance"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def exchange(self, market: Market, **options: Any) -> RunningExchange:
        return self._stack.enter_context(RunningExchange(market, **options))

    def client(
        self,
        ws_url: str,
        *arguments: object,
        symbols: Sequence[str] = SYMBOLS,
        home: str = "home",
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = CLIENT_COMMAND,
    ) -> RunningClient:
        """
        Start a client. `arguments` come last, so that they win over what is given here.

        Args:
            home: A client that is to be started anew gets the same one.
        """
        port = free_port()
        given: list[object] = ["--symbols", *symbols, "--ws-url", ws_url, "--kafka-bootstrap", self.bootstrap]
        given += ["--schema-registry", self.registry_url, "--topic-prefix", self.prefix, "--partitions", 3]
        given += ["--http-port", port, "--dead-letter-dir", "dlq"]
        return self.start([*given, *arguments], port, home=home, environment=environment, command=command)

    def start(self, arguments: Iterable[object], port: int, *, home: str = "home", **options: Any) -> RunningClient:
        """Start a client with nothing but these arguments."""
        directory = self.directory / home
        directory.mkdir(exist_ok=True)
        return self._stack.enter_context(RunningClient(directory, port, arguments, **options))

    def records(self, count: int = 0) -> list[ReadRecord]:
        """What Confluent's own consumer and deserializer find in the topic, in order of partition and offset."""
        return read_topic(self.bootstrap, self.registry_url, self.topic, count=count or None)


def ids_by_symbol(records: Iterable[ReadRecord]) -> dict[str, list[int]]:
    """The exchange's ids in the order of the topic, by symbol. Each symbol must have a partition and be the key."""
    ids: dict[str, list[int]] = defaultdict(list)
    partitions: dict[str, set[int]] = defaultdict(set)
    for record in records:
        symbol = record.value["symbol"]
        assert record.key == symbol
        ids[symbol].append(record.value["source_sequence"])
        partitions[symbol].add(record.partition)
    assert all(len(used) == 1 for used in partitions.values()), partitions
    return ids


def assert_complete(records: Sequence[ReadRecord], received: int, symbols: Sequence[str] = SYMBOLS) -> None:
    """Every trade of a generated market from its first one on is there once and in order, as many as were received."""
    ids = ids_by_symbol(records)
    assert set(ids) == set(symbols)
    for symbol, found in ids.items():
        assert found == list(range(FIRST_ID, FIRST_ID + len(found))), symbol
    assert len(records) == received
