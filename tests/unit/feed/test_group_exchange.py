"""The group against the simulated exchange, which closes on whoever sends it more than five messages in a second."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from k2.ingestion.adapters.feed.feed import Endpoint
from k2.ingestion.adapters.feed.group import Connections, FeedGroup
from k2.ingestion.adapters.feed.policy import FeedPolicy
from k2.ingestion.adapters.feed.port import Transport
from k2.ingestion.core.outcome import Control, ControlKind
from k2.ingestion.exchanges.binance.urls import stream_url
from k2.simulator.connection import Connection
from k2.simulator.exchange import Exchange
from k2.simulator.faults import Reset
from k2.simulator.generated import GeneratedMarket, GeneratedOptions
from k2.simulator.options import USDM_OPTIONS, ExchangeOptions
from unit.feed.running import Told
from unit.feed.servers import eventually

SYMBOLS = tuple(f"S{number}USDT" for number in range(900))
ALL = [f"{symbol.lower()}@{kind}" for kind in ("aggTrade", "trade") for symbol in SYMBOLS]
POLICY = FeedPolicy(reconnect_min_s=0.05, reconnect_max_s=0.1)


class IdEngine:
    """Keeps the ids of the trades that came, by stream, in order."""

    def __init__(self) -> None:
        self.group: FeedGroup
        self.ids: dict[str, list[int]] = defaultdict(list)
        self.received = 0

    def on_frame(self, frame: bytes, /) -> None:
        message = json.loads(frame)
        if "data" in message:
            self.received += 1
            self.ids[message["stream"]].append(message["data"].get("a") or message["data"]["t"])
        elif "error" in message:
            self.group.on_control(Control(ControlKind.REFUSED, message["id"], message["error"]["msg"]))
        else:
            self.group.on_control(Control(ControlKind.ACKNOWLEDGED, message["id"]))


class Trading:
    """A group that runs against an exchange."""

    def __init__(self, exchange: Exchange, group: FeedGroup, engine: IdEngine, told: Told) -> None:
        self.exchange, self.group, self.engine, self.told = exchange, group, engine, told

    @property
    def subscribed(self) -> list[str]:
        """What the exchange counts as subscribed, over all open connections."""
        return sorted(stream for connection in self.exchange.open_connections for stream in connection.subscriptions.streams)

    def connection_of(self, stream: str) -> Connection:
        (connection,) = [c for c in self.exchange.open_connections if stream in c.subscriptions.streams]
        return connection

    async def settled(self, streams: Sequence[str]) -> None:
        await eventually(lambda: self.group.connected and self.subscribed == sorted(streams), within_s=30)


@contextlib.asynccontextmanager
async def trading(
    transport: Transport,
    streams: Sequence[str],
    limit: int,
    market: GeneratedOptions = GeneratedOptions(symbols=SYMBOLS, rate=2_000.0, fills=(1,)),  # noqa: B008 - it is frozen
    options: ExchangeOptions | None = None,
    host: str | None = None,
) -> AsyncIterator[Trading]:
    """`host` is the address whose paths are dialled, on the simulated exchange; its own where left out."""
    exchange = Exchange(GeneratedMarket(market), options)
    await exchange.start()
    engine, told = IdEngine(), Told()

    def endpoint_of(stream: str) -> Endpoint:
        return Endpoint(exchange.ws_url + urlsplit(stream_url(host or exchange.ws_url, stream)).path, transport)

    group = engine.group = FeedGroup(
        endpoint_of, streams, engine, told, POLICY,
        received=lambda: engine.received, streams_per_connection=limit,
    )  # fmt: skip
    task = asyncio.create_task(group.run())
    try:
        yield Trading(exchange, group, engine, told)
    finally:
        await group.stop()
        await task
        await exchange.stop()


async def test_many_streams_over_several_connections(transport: Transport) -> None:
    """All 1,800 are subscribed within the exchange's limits: no connection is closed, none has more than it may."""
    async with trading(transport, ALL, limit=700) as run:
        await run.settled(ALL)
        assert run.group.connections == Connections(3, 3)
        assert sorted(len(c.subscriptions.streams) for c in run.exchange.connections) == [400, 700, 700]
        await eventually(lambda: len(run.engine.ids) == len(ALL), within_s=30)
        run.group.turn_ended()
        assert all(feed.data_frames for feed in run.group._feeds)
        assert run.told.named("disconnected") == []


async def test_change_is_made_while_what_stays_goes_on(transport: Transport) -> None:
    """Hundreds go and hundreds come: nothing is closed for it, and no trade of a stream that stays is missing."""
    before, after = ALL[:900], ALL[300:1200]
    async with trading(transport, before, limit=500) as run:
        await run.settled(before)
        connections = list(run.exchange.open_connections)
        places = {stream: connection.number for connection in connections for stream in connection.subscriptions.streams}
        run.group.change(after)
        await run.settled(after)
        await eventually(lambda: not run.group.leaving)
        assert run.told.named("disconnected") == []
        assert run.exchange.open_connections == connections
        assert all(run.connection_of(stream).number == places[stream] for stream in before if stream in after)
        stayed = [run.engine.ids[stream] for stream in before if stream in after]
        assert all(ids == list(range(ids[0], ids[0] + len(ids))) for ids in stayed if ids)


async def test_dropped_connection_comes_back_with_its_own(transport: Transport) -> None:
    """Its streams are subscribed again on the new one; the other connection is not touched."""
    streams = ALL[:300]
    async with trading(transport, streams, limit=200) as run:
        await run.settled(streams)
        dropped, other = (run.connection_of(stream) for stream in (streams[0], streams[-1]))
        its, asked = list(dropped.subscriptions.streams), len(other.messages)
        await run.exchange.inject(Reset(connection=dropped.number))
        await run.told.wait_for("disconnected")
        await run.settled(streams)
        assert list(run.exchange.connections[-1].subscriptions.streams) == its
        assert (other.open, len(other.messages)) == (True, asked)


@pytest.mark.parametrize(
    ("host", "legacy_is_public", "targets"),
    [
        pytest.param(None, False, ["/stream"], id="simulator"),
        pytest.param("wss://fstream.binance.com", True, ["/market/stream", "/public/stream"], id="exchange"),
    ],
)
async def test_futures_of_both_branches_come(
    transport: Transport, host: str | None, legacy_is_public: bool, targets: list[str]
) -> None:
    """Streams of either branch bring events: over one connection to a simulator as it is, over two as the exchange has it."""
    market = GeneratedOptions(symbols=("BTCUSDT",), venue="usdm", rate=100.0)
    options = replace(USDM_OPTIONS, legacy_is_public=legacy_is_public)
    streams = ["btcusdt@aggTrade", "btcusdt@trade"]
    async with trading(transport, streams, 1024, market, options, host) as run:
        await eventually(lambda: run.engine.ids.keys() == set(streams))
        assert sorted(connection.handshake.target for connection in run.exchange.connections) == targets
