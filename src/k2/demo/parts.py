"""The parts around the client that this process plays itself, all on loopback, and where they may write."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from confluent_kafka import KafkaException, Producer

from k2.demo.options import DemoOptions
from k2.errors import ConfigurationError, FatalError
from k2.simulator.exchange import Exchange
from k2.simulator.faults import Garbage, Silence
from k2.simulator.generated import GeneratedMarket, GeneratedOptions

PARTITIONS = 4  # what librdkafka's mock cluster gives a topic that it makes
START_TIMEOUT_S = 10.0
HEALTH_TIMEOUT_S = 1.0
# One frame for each of five reasons. Those that carry an id carry 1: with a valid rest they would count as seen before.
MALFORMED = ("not_json", "missing_price", "id_as_text", "unknown_stream", "time_far_future")


class EmbeddedBroker:
    """librdkafka's own mock cluster: it speaks Kafka's protocol on loopback for as long as this object lives."""

    def __init__(self, topic: str) -> None:
        """
        Start it and let it make the topic. Blocks for some 100 ms.

        Raises:
            FatalError: it did not come up.
        """
        self._owner = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "embedded", "log_level": 0})
        try:
            found = self._owner.list_topics(topic, timeout=START_TIMEOUT_S)
        except KafkaException as failure:
            raise FatalError(f"the embedded broker did not start: {failure.args[0]}") from failure
        broker = next(iter(found.brokers.values()))
        self.address = f"{broker.host}:{broker.port}"


class SimulatedExchange:
    """The simulated exchange, with what the demo asks of it."""

    def __init__(self, options: DemoOptions) -> None:
        self._exchange = Exchange(GeneratedMarket(_market_options(options)))
        self._streams = tuple(f"{symbol.lower()}@{options.stream}" for symbol in options.symbols)

    async def start(self) -> None:
        await self._exchange.start()

    async def stop(self) -> None:
        await self._exchange.stop()

    @property
    def ws_url(self) -> str:
        return self._exchange.ws_url

    @property
    def rest_url(self) -> str:
        return self._exchange.rest_url

    @property
    def sent(self) -> int:
        """Frames of trades handed to the operating system."""
        return self._exchange.sent.total()

    @property
    def malformed(self) -> int:
        """Frames sent broken on purpose."""
        return self._exchange.garbage_sent.total()

    async def send_malformed(self) -> None:
        await self._exchange.inject(Garbage(names=MALFORMED))

    async def fall_silent(self) -> None:
        """Send no more trades; connections stay open, so that what was sent can still be read."""
        await self._exchange.inject(Silence(streams=self._streams))


def _market_options(options: DemoOptions) -> GeneratedOptions:
    """The market counts its rate in aggregated trades, of which some are several single ones."""
    usual = GeneratedOptions(symbols=options.symbols, venue=options.market, rate=options.rate)
    if options.stream == "aggTrade":
        return usual
    return msgspec.structs.replace(usual, rate=options.rate * len(usual.fills) / sum(usual.fills))


@contextmanager
def scratch_directory(keep: Path | None) -> Iterator[Path]:
    """
    A new directory for everything that the run writes: under `keep`, or a temporary one that goes with the run.

    Raises:
        ConfigurationError: `keep` cannot be written to.
    """
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="k2-demo-", ignore_cleanup_errors=True) as path:
            yield Path(path)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        made = tempfile.mkdtemp(prefix="k2-demo-", dir=keep.resolve())  # an earlier run's letters must not be counted
    except OSError as error:
        raise ConfigurationError(f"--keep: {keep} cannot be used: {error.strerror or error}") from error
    yield Path(made)


async def fetch(session: ClientSession, url: str) -> bytes | None:
    """The body of an answer, whatever its status; None where there was no answer."""
    try:
        async with session.get(url) as response:
            return await response.read()
    except (ClientError, TimeoutError):
        return None


def http_session() -> ClientSession:
    """A session whose connections end with their answer: an idle one would hold up the client's end."""
    options: dict[str, Any] = {"connector": TCPConnector(force_close=True), "timeout": ClientTimeout(total=HEALTH_TIMEOUT_S)}
    return ClientSession(**options)
