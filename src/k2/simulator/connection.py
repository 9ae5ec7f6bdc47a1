"""One client's WebSocket: what it asked, what it was sent, how it ended. Also the record that tests assert on."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from aiohttp import WSMsgType
from msgspec import Struct

from k2.simulator import framing, protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import WSMessage, web
    from aiohttp.abc import AbstractStreamWriter

    from k2.simulator.market import Frame
    from k2.simulator.options import ExchangeOptions
    from k2.simulator.streams import PathKind

POLICY_VIOLATION = 1008
GOING_AWAY = 1001
_REMEMBERED = 10_000  # messages, pings and pongs of one connection
_LINGER_ZERO = struct.pack("ii", 1, 0)  # on, 0 s: closing sends a reset
_COUNTED = frozenset({WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG})

EndedBy = Literal["client", "server", "lost"]


class Handshake(Struct, frozen=True):
    """An attempt to open a WebSocket and the HTTP status that answered it. Header names are lower case."""

    at_s: float
    target: str
    headers: dict[str, str]
    status: int


class Heard(Struct, frozen=True):
    """A control frame from the client, at `at_s` of the monotonic clock."""

    at_s: float
    payload: bytes


class Ending(Struct, frozen=True):
    """How a connection ended. The code is 1006 where no close frame was exchanged."""

    by: EndedBy
    code: int
    reason: str


class Connection:
    """
    An accepted WebSocket.

    Attributes:
        number: Counts from 1 in the order of acceptance.
        sent: Market frames handed to the operating system, by stream. What a reset destroyed on its way is included.
        messages: Texts that the client sent.
        pings: The client's own pings; `pongs` its answers to ours.
        silent: Nothing is sent any more, not even a pong; the connection stays open.
    """

    def __init__(
        self,
        number: int,
        handshake: Handshake,
        path: PathKind,
        subscriptions: protocol.Subscriptions,
        options: ExchangeOptions,
        on_change: Callable[[Connection], None],
    ) -> None:
        self.number, self.handshake, self.path, self.subscriptions = number, handshake, path, subscriptions
        self.opened_at_s = time.monotonic()
        self.closed_at_s: float | None = None
        self.ending: Ending | None = None
        self.sent: Counter[str] = Counter()
        self.messages: deque[str] = deque(maxlen=_REMEMBERED)
        self.pings: deque[Heard] = deque(maxlen=_REMEMBERED)
        self.pongs: deque[Heard] = deque(maxlen=_REMEMBERED)
        self.silent = False
        self._options, self._on_change = options, on_change
        self._pending: list[Frame] = []
        self._awaited_pongs: dict[bytes, float] = {}
        self._heard_at_s: deque[float] = deque()
        self._close_done: asyncio.Event | None = None

    @property
    def open(self) -> bool:
        return self.closed_at_s is None

    def summary(self) -> dict[str, object]:
        """What happened on this connection, for a report."""
        return {
            "number": self.number,
            "target": self.handshake.target,
            "open": self.open,
            "ending": self.ending,
            "streams": list(self.subscriptions.streams),
            "sent": self.sent,
            "pings": len(self.pings),
            "pongs": len(self.pongs),
        }

    async def serve(self, ws: web.WebSocketResponse, writer: AbstractStreamWriter, transport: asyncio.Transport) -> None:
        """Talk to the client until either side ends it."""
        self._ws, self._writer, self._transport = ws, writer, transport
        self._framer = framing.framer(int(ws.compress), ws.headers.get("Sec-WebSocket-Extensions", ""))
        self._on_change(self)
        keeper = asyncio.create_task(self._keep())
        try:
            while await self._on_message(await ws.receive()):
                pass
            if self._close_done:
                await self._close_done.wait()
        finally:
            keeper.cancel()
            self.closed_at_s = time.monotonic()
            self.ending = self.ending or Ending("lost", 1006, "")

    def enqueue(self, frame: Frame) -> None:
        """Take a frame for the next `flush`."""
        self._pending.append(frame)

    def flush(self, *, bounded: bool) -> None:
        """Send what was enqueued. `bounded` cuts off a client that lets too much pile up."""
        pending, self._pending = self._pending, []
        if self.send([f.combined for f in pending] if self.subscriptions.combined else [f.raw for f in pending]):
            self.sent.update(f.stream for f in pending)
        if bounded and self._transport.get_write_buffer_size() > self._options.backlog_bytes:
            self.reset("too slow")

    def send(self, payloads: Sequence[bytes], opcode: int = framing.TEXT) -> bool:
        """Send messages without waiting; False when the connection is silent or ending."""
        if self.silent or self._close_done or self._transport.is_closing():
            return False
        self._transport.write(self._framer.frames(payloads, opcode))
        return True

    async def drain(self) -> None:
        """Wait until the client has taken most of what was sent."""
        with suppress(ConnectionError):
            await self._writer.drain()

    async def close(self, code: int, reason: str) -> None:
        """Close with a closing handshake; the client's answer is waited for within the close timeout."""
        if self._close_done or not self.open:
            return
        self._close_done = asyncio.Event()
        self.ending = self.ending or Ending("server", code, reason)
        try:
            # The library's own timeout leaves out a client that reads nothing, and with it our close frame.
            async with asyncio.timeout(self._options.close_timeout_s):
                await self._ws.close(code=code, message=reason.encode())
        except (TimeoutError, ConnectionError):
            self._transport.abort()
        except asyncio.CancelledError:
            # All writers of a connection wait on one future in aiohttp: whoever is cancelled there cancels the others' wait.
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            self._transport.abort()
        finally:
            self._close_done.set()

    def reset(self, reason: str = "reset") -> None:
        """Break the connection with a TCP reset."""
        if connection := self._transport.get_extra_info("socket"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.abort(reason)

    def abort(self, reason: str) -> None:
        """Drop the connection without a closing handshake."""
        self.ending = self.ending or Ending("server", 1006, reason)
        self._transport.abort()

    async def _on_message(self, message: WSMessage) -> bool:
        """Deal with one message; False when it was the last."""
        if message.type in _COUNTED and self._too_many():
            await self.close(POLICY_VIOLATION, "Too many requests")
            return False
        match message.type:
            case WSMsgType.TEXT | WSMsgType.BINARY:
                return await self._on_request(message.data)
            case WSMsgType.PING:
                await self._on_ping(bytes(message.data))
            case WSMsgType.PONG:
                self._on_pong(bytes(message.data))
            case WSMsgType.CLOSE:
                await self._on_close(message)
                return False
            case _:
                return False
        return True

    async def _on_request(self, request: str | bytes) -> bool:
        self.messages.append(request if isinstance(request, str) else request.decode(errors="replace"))
        try:
            reply = protocol.answer(request, self.subscriptions, self._options.error_shape)
        except protocol.NotJsonError:
            await self.close(POLICY_VIOLATION, "Invalid request")
            return False
        self.send([reply])
        self._on_change(self)
        return True

    async def _on_ping(self, payload: bytes) -> None:
        self.pings.append(Heard(time.monotonic(), payload))
        if not self.silent:
            with suppress(ConnectionError):
                await self._ws.pong(payload)

    def _on_pong(self, payload: bytes) -> None:
        self.pongs.append(Heard(time.monotonic(), payload))
        if payload in self._awaited_pongs:
            # An answer to a later ping is an answer to the earlier ones too.
            sent_at_s = self._awaited_pongs[payload]
            self._awaited_pongs = {p: at_s for p, at_s in self._awaited_pongs.items() if at_s > sent_at_s}

    async def _on_close(self, message: WSMessage) -> None:
        self.ending = self.ending or Ending("client", message.data or 1005, message.extra or "")
        if not self.silent:
            await self._ws.close(code=message.data or 1000, drain=False)
        else:
            await asyncio.get_running_loop().create_future()  # the server cancels us when the client hangs up

    def _too_many(self) -> bool:
        """Whether this message is one too many within a second."""
        if self._options.messages_per_s is None:
            return False
        now_s = time.monotonic()
        self._heard_at_s.append(now_s)
        while self._heard_at_s[0] <= now_s - 1.0:
            self._heard_at_s.popleft()
        return len(self._heard_at_s) > self._options.messages_per_s

    async def _keep(self) -> None:
        """Ping, watch for the pongs, and end the connection when it is too old."""
        interval_s = self._options.ping_interval_s or float("inf")
        end_s, ping_s = self.opened_at_s + self._options.lifetime_s, self.opened_at_s + interval_s
        while True:
            now_s = time.monotonic()
            if now_s >= end_s:
                return await self.close(GOING_AWAY, "Connection lifetime reached")
            if now_s >= self._pong_deadline_s():
                return await self.close(POLICY_VIOLATION, "Pong timeout")
            if now_s >= ping_s:
                ping_s = now_s + interval_s
                await self._ping(now_s)
            await asyncio.sleep(max(0.0, min(end_s, ping_s, self._pong_deadline_s()) - time.monotonic()))

    def _pong_deadline_s(self) -> float:
        return min(self._awaited_pongs.values(), default=float("inf")) + self._options.pong_timeout_s

    async def _ping(self, now_s: float) -> None:
        if self.silent:
            return
        payload = b"%d" % int(time.time() * 1_000)
        self._awaited_pongs[payload] = now_s
        with suppress(ConnectionError):
            await self._ws.ping(payload)
