"""A transport without a network: its links take subscriptions as the exchange does, and deliver what a test tells them to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence

from k2.ingestion.adapters.feed.feed import Endpoint
from k2.ingestion.adapters.feed.group import FeedGroup
from k2.ingestion.adapters.feed.policy import FeedPolicy
from k2.ingestion.adapters.feed.port import ABNORMAL_CODE, ConnectFailedError, FrameSink, LinkClosed, LinkOptions
from k2.ingestion.core.outcome import Control, ControlKind
from unit.feed.running import Told
from unit.feed.servers import eventually

FAST = FeedPolicy(
    reconnect_min_s=0.01, reconnect_max_s=0.02, heartbeat_interval_s=0, idle_ping_after_s=0, silence_timeout_s=0,
    streams_per_request=10, requests_per_s=500, ack_timeout_s=5, tick_s=0.01,
)  # fmt: skip


class FakeLink:
    """One connection. `subscribed` is what the exchange sends on it; `asked` the requests as they came."""

    def __init__(self, url: str, sink: FrameSink, answers: Callable[[dict[str, object]], bytes | None]) -> None:
        self.url, self.sink, self.heard, self.paused, self.breaths = url, sink, False, False, 0
        self.subscribed: dict[str, None] = {}
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self._answers = answers
        self._closed: asyncio.Future[LinkClosed] = asyncio.get_running_loop().create_future()

    @property
    def open(self) -> bool:
        return not self._closed.done()

    def clear_heard(self) -> None:
        self.heard = False

    def hand_to(self, sink: FrameSink) -> None:
        self.sink = sink

    def send(self, text: str) -> None:
        request = json.loads(text)
        self.asked.append((request["method"], tuple(request["params"])))
        answer = self._answers(request)
        if answer is None:
            return
        if b"error" not in answer:
            self._take(request["method"], request["params"])
        asyncio.get_running_loop().call_soon(self.deliver, answer)

    def _take(self, method: str, streams: list[str]) -> None:
        for stream in streams:
            if method == "SUBSCRIBE":
                self.subscribed[stream] = None
            else:
                self.subscribed.pop(stream, None)

    def deliver(self, frame: bytes) -> None:
        if self.open:
            self.heard = True
            self.sink.on_frame(frame)

    def ping(self) -> None: ...

    def pause(self) -> None:
        self.paused, self.breaths = True, self.breaths + 1

    def resume(self) -> None:
        self.paused = False

    def abort(self) -> None:
        self.drop(LinkClosed(ABNORMAL_CODE, "", by_us=True))

    async def close(self) -> None:
        self.drop(LinkClosed(1000, "", by_us=True))

    def drop(self, closed: LinkClosed = LinkClosed(ABNORMAL_CODE, "", by_us=False)) -> None:  # noqa: B008 - it is frozen
        if not self._closed.done():
            self._closed.set_result(closed)

    async def wait_closed(self) -> LinkClosed:
        return await asyncio.shield(self._closed)


def acknowledge(request: dict[str, object]) -> bytes | None:
    return json.dumps({"result": None, "id": request["id"]}).encode()


class FakeTransport:
    """Opens fake links and keeps them all. While `refuses` is set, nobody takes a connection."""

    name = "fake"

    def __init__(self) -> None:
        self.links: list[FakeLink] = []
        self.answers: Callable[[dict[str, object]], bytes | None] = acknowledge
        self.refuses: ConnectFailedError | None = None

    @property
    def open_links(self) -> list[FakeLink]:
        return [link for link in self.links if link.open]

    async def open(self, url: str, sink: FrameSink, options: LinkOptions) -> FakeLink:  # noqa: ARG002 - the port's form
        if self.refuses is not None:
            raise self.refuses
        link = FakeLink(url, sink, self.answers)
        self.links.append(link)
        return link


class GroupEngine:
    """As much of the engine as a group needs. An array counts as one event for each of its elements."""

    def __init__(self) -> None:
        self.group: FeedGroup
        self.data: list[bytes] = []
        self.received = 0

    def on_frame(self, frame: bytes, /) -> None:
        message = json.loads(frame)
        if "result" in message:
            self.group.on_control(Control(ControlKind.ACKNOWLEDGED, message["id"]))
        elif "error" in message:
            self.group.on_control(Control(ControlKind.REFUSED, message.get("id"), message["error"]["msg"]))
        elif message.get("e") == "serverShutdown":
            self.group.on_control(Control(ControlKind.SERVER_SHUTDOWN))
        else:
            self.data.append(frame)
            self.received += len(message["data"]) if isinstance(message["data"], list) else 1


class GroupRun:
    """A group on a fake transport. "p…" streams lead to one address, all others to another."""

    def __init__(self, streams: Sequence[str], limit: int = 1024, policy: FeedPolicy = FAST) -> None:
        self.transport, self.told, self.engine = FakeTransport(), Told(), GroupEngine()
        self.group = self.engine.group = FeedGroup(
            self._endpoint_of, streams, self.engine, self.told, policy,
            received=lambda: self.engine.received, streams_per_connection=limit,
        )  # fmt: skip
        self.task: asyncio.Task[None] | None = None

    def _endpoint_of(self, stream: str) -> Endpoint:
        return Endpoint("ws://h/public" if stream.startswith("p") else "ws://h/market", self.transport)

    def start(self) -> asyncio.Task[None]:
        self.task = asyncio.create_task(self.group.run())
        return self.task

    async def __aenter__(self) -> GroupRun:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        async with asyncio.timeout(5):
            await self.group.stop()
            if self.task is not None:
                await asyncio.wait({self.task})

    def carrier_of(self, stream: str) -> FakeLink:
        """The open link on which the exchange sends a stream."""
        (link,) = [link for link in self.transport.open_links if stream in link.subscribed]
        return link


def names(count: int, prefix: str = "m") -> list[str]:
    return [f"{prefix}{number}@trade" for number in range(count)]


def trade(link: FakeLink, events: int = 1) -> None:
    """Let a frame of market data come."""
    link.deliver(json.dumps({"stream": "x", "data": [{}] * events}).encode())


async def streaming(run: GroupRun) -> None:
    await eventually(lambda: run.group.connected)
