"""The parts around the client that this process plays itself, all on loopback, and where they may write."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from confluent_kafka import KafkaException, Producer
from msgspec.structs import replace

from k2.demo.malformed import malformed_frames, target
from k2.demo.market import market_for
from k2.demo.options import DemoOptions
from k2.errors import ConfigurationError, FatalError
from k2.simulator.exchange import Exchange
from k2.simulator.faults import Garbage, Silence
from k2.simulator.options import Start, options_for

PARTITIONS = 4  # what librdkafka's mock cluster gives a topic that it makes
START_TIMEOUT_S = 10.0
HEALTH_TIMEOUT_S = 1.0


class EmbeddedBroker:
    """librdkafka's own mock cluster: it speaks Kafka's protocol on loopback for as long as this object lives."""

    def __init__(self, topics: Iterable[str]) -> None:
        """
        Start it and let it make the topics. Blocks for some 100 ms.

        Raises:
            FatalError: it did not come up.
        """
        self._owner = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "embedded", "log_level": 0})
        self.address = ""
        for topic in topics:
            try:
                found = self._owner.list_topics(topic, timeout=START_TIMEOUT_S)
            except KafkaException as failure:
                raise FatalError(f"the embedded broker did not start: {failure.args[0]}") from failure
            broker = next(iter(found.brokers.values()))
            self.address = f"{broker.host}:{broker.port}"


class SimulatedExchange:
    """The simulated exchange, with what the demo asks of it."""

    def __init__(self, options: DemoOptions) -> None:
        pace = options.pace(_now_ms())
        self.speed = pace.speed
        self._market = market_for(options, pace)
        # A market of its own time waits for its reader, so that the candles that close first are seen.
        start: Start | None = "subscribed" if pace.began_at_ms is not None else None
        self._exchange = Exchange(self._market, replace(options_for(options.venue), start=start))
        self._streams = tuple(stream.name for stream in options.streams)
        self._decoded = frozenset(stream.name for stream in options.decoded)

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
        """Well-formed frames handed to the operating system."""
        return self._exchange.sent.total()

    @property
    def events(self) -> int:
        """How many events they hold."""
        return self._market.events_in(self._exchange.sent)

    @property
    def malformed(self) -> int:
        """Frames sent broken on purpose. Each is one event."""
        return self._exchange.garbage_sent.total()

    async def send_malformed(self) -> None:
        """Send some broken frames over each connection."""
        venue = self._market.venue
        for connection in self._exchange.open_connections:
            stream = target(name for name in connection.subscriptions.streams if name in self._decoded)
            frames = malformed_frames(venue, stream, _now_ms())
            await self._exchange.inject(Garbage(frames=frames, connection=connection.number))

    async def fall_silent(self) -> None:
        """Send nothing more; connections stay open, so that what was sent can still be read."""
        await self._exchange.inject(Silence(streams=self._streams))


def _now_ms() -> int:
    return int(time.time() * 1000)


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
