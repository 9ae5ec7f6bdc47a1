"""A feed with its surroundings, in the tests of the feed: a policy a hundred times as fast, an engine, an observer, servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from k2.errors import UnavailableError
from k2.ingestion.adapters.feed.attempts import Shared
from k2.ingestion.adapters.feed.backoff import AttemptBudget
from k2.ingestion.adapters.feed.feed import Endpoint, Feed
from k2.ingestion.adapters.feed.policy import Cause, FeedPolicy
from k2.ingestion.adapters.feed.port import ConnectFailure, LinkClosed, LinkOptions, Transport
from k2.ingestion.core.outcome import Control, ControlKind
from unit.feed.servers import Handler, Peer, eventually, listening

STREAMS = ["btcusdt@aggTrade", "ethusdt@aggTrade"]

# Ordinary times, a hundred times as fast.
POLICY = FeedPolicy(
    reconnect_min_s=0.01,
    reconnect_max_s=0.05,
    heartbeat_interval_s=0,
    idle_ping_after_s=0,
    pong_timeout_s=0.1,
    silence_timeout_s=0,
    ack_timeout_s=5.0,
    tick_s=0.02,
)


class Told:
    """An observer that writes everything down."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def connecting(self, attempt: int) -> None:
        self.events.append(("connecting", attempt))

    def connected(self, url: str) -> None:
        self.events.append(("connected", url))

    def subscribed(self, streams: Sequence[str]) -> None:
        self.events.append(("subscribed", *streams))

    def subscription_refused(self, streams: Sequence[str], error: str) -> None:
        self.events.append(("subscription_refused", *streams, error))

    def disconnected(self, cause: Cause, closed: LinkClosed) -> None:
        self.events.append(("disconnected", cause, closed.code, closed.reason))

    def connect_failed(self, kind: ConnectFailure, detail: str, retry_in_s: float) -> None:
        self.events.append(("connect_failed", kind, detail, retry_in_s))

    def refused(self, status: int, detail: str, retry_in_s: float) -> None:
        self.events.append(("refused", status, detail, retry_in_s))

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [event[1:] for event in self.events if event[0] == name]

    async def wait_for(self, name: str, count: int = 1) -> tuple[Any, ...]:
        """The `count`-th event of a name."""
        await eventually(lambda: len(self.named(name)) >= count)
        return self.named(name)[count - 1]


class Engine:
    """The part of the engine that a feed needs: sorts frames into data and control."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.feed: Feed

    def on_frame(self, frame: bytes, /) -> None:
        message = json.loads(frame)
        if "result" in message:
            self.feed.on_control(Control(ControlKind.ACKNOWLEDGED, message["id"]))
        elif "error" in message:
            self.feed.on_control(Control(ControlKind.REFUSED, message.get("id"), message["error"]["msg"]))
        elif message.get("e") == "serverShutdown":
            self.feed.on_control(Control(ControlKind.SERVER_SHUTDOWN))
        else:
            self.data.append(frame)
            self.feed.data_frames += 1


class Running:
    """A feed that runs against a server, with what it told and what it got."""

    def __init__(self, feed: Feed, told: Told, engine: Engine, task: asyncio.Task[None]) -> None:
        self.feed, self.told, self.engine, self.task = feed, told, engine, task

    async def streaming(self) -> None:
        await eventually(lambda: self.feed.connected)


@contextlib.asynccontextmanager
async def running(
    transport: Transport,
    handler: Handler,
    policy: FeedPolicy = POLICY,
    budget: AttemptBudget | None = None,
    streams: Sequence[str] = STREAMS,
) -> AsyncIterator[Running]:
    async with listening(handler) as port:
        told, engine = Told(), Engine()
        endpoint = Endpoint(f"ws://127.0.0.1:{port}/stream", transport, LinkOptions(open_timeout_s=5, close_timeout_s=0.3))
        engine.feed = Feed(endpoint, streams, engine, told, policy, Shared(budget or AttemptBudget()))
        task = asyncio.create_task(engine.feed.run())
        try:
            yield Running(engine.feed, told, engine, task)
        finally:
            async with asyncio.timeout(5):
                await engine.feed.stop()
            await asyncio.wait({task})
            if not task.cancelled() and not isinstance(task.exception(), UnavailableError):
                await task


async def behave(peer: Peer) -> None:
    """Acknowledge one request, send one trade, and answer pings from then on."""
    await peer.accept()
    await peer.acknowledge()
    peer.text(b'{"trade": 1}')
    await peer.serve_calmly()


def in_turn(*handlers: Handler) -> Handler:
    """Serve each connection with the next handler, and all further ones with the last."""
    left = list(handlers)

    async def handler(peer: Peer) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(peer)

    return handler


async def fall_silent(peer: Peer) -> None:
    await peer.accept()
    await peer.acknowledge()
    await peer.until_gone()


async def announce_shutdown(peer: Peer) -> None:
    await peer.accept()
    await peer.acknowledge()
    peer.text(b'{"e": "serverShutdown", "E": 1}')
    await peer.serve_calmly()
