"""Servers that misbehave to order, on a thread of their own, and the good ones beside them that a client needs to come up."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from k2.simulator.registry import EmbeddedRegistry
from unit.feed.servers import Handler, Peer, listening

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

PATIENCE_S = 10.0
HTML = b"<html><body>\r\nPlease log in\x1b[31m</body></html>"
DRIP_EVERY_S = 0.05
FOREVER = 1 << 40  # bytes


class Servers:
    """Serves until the end of its `with` block. What it serves with runs on its own event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._stack = AsyncExitStack()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    def serve(self, handler: Handler, tls: ssl.SSLContext | None = None) -> int:
        """Answer every connection with the handler. Returns the port."""
        return self.run(self._stack.enter_async_context(listening(handler, tls)))

    def registry(self) -> EmbeddedRegistry:
        """A schema registry that behaves."""
        return self.run(self._stack.enter_async_context(EmbeddedRegistry()))


class Switch:
    """A handler whose behaviour can be changed while it serves: what comes next is treated as the latest one says."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.connected_at_s: list[float] = []

    async def __call__(self, peer: Peer) -> None:
        self.connected_at_s.append(time.monotonic())
        await self.handler(peer)


def answers(status: str, body: bytes = b"", *headers: str) -> Handler:
    """An HTTP answer to whatever is asked."""

    async def handler(peer: Peer) -> None:
        await read_whole_request(peer)
        await peer.answer(status, *headers, body=body)

    return handler


def refuses(status: str, code: int, message: str = "no") -> Handler:
    """A refusal in the words of a schema registry."""
    return answers(status, json.dumps({"error_code": code, "message": message}).encode())


def by_target(special: dict[str, Handler], otherwise: Handler) -> Handler:
    """Answer by the method and the beginning of the path, "POST /subjects" and the like; the first that fits counts."""

    async def handler(peer: Peer) -> None:
        await peer.read_request()
        target = peer.request.decode("latin-1")
        found = next((answer for beginning, answer in special.items() if target.startswith(beginning)), otherwise)
        await found(Reread(peer))

    return handler


class Reread(Peer):
    """A connection whose request was read already, and is found again by whoever reads it next."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer.reader, peer.writer)
        self.request = peer.request

    async def read_request(self) -> None:
        """It is here already."""


async def read_whole_request(peer: Peer) -> None:
    """Body included: a connection that is closed with bytes unread breaks off the answer as well."""
    await peer.read_request()
    lengths = [line.split(b":")[1] for line in peer.request.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await peer.reader.readexactly(int(lengths[0]) if lengths else 0)


def passes_on_to(port: int) -> Handler:
    """What comes goes to another server of this machine, and back."""

    async def handler(peer: Peer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.wait(
                {asyncio.ensure_future(_pump(peer.reader, writer)), asyncio.ensure_future(_pump(reader, peer.writer))},
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            writer.close()

    return handler


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while block := await source.read(65_536):
            sink.write(block)
            await sink.drain()


async def accepts_and_drops(peer: Peer) -> None:
    """Grant the upgrade to a WebSocket, and close the connection without a close frame."""
    await peer.accept()
    await peer.writer.drain()


async def never_answers(peer: Peer) -> None:
    await peer.until_gone()


async def hangs_up(peer: Peer) -> None:
    """Accept and close, without a word."""


async def talks_nonsense(peer: Peer) -> None:
    await peer.read_request()
    peer.writer.write(b"220 mail.example ESMTP\r\n\r\n")


async def never_stops(peer: Peer) -> None:
    """A body without end, as fast as it is taken."""
    await read_whole_request(peer)
    peer.writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {FOREVER}\r\n\r\n".encode())
    while True:
        peer.writer.write(b" " * 65_536)
        await peer.writer.drain()


async def drips_its_body(peer: Peer) -> None:
    """A byte now and then, so that no wait for one is ever long."""
    await read_whole_request(peer)
    peer.writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {FOREVER}\r\n\r\n".encode())
    await _drip(peer, lambda: b" ")


async def drips_its_head(peer: Peer) -> None:
    await read_whole_request(peer)
    peer.writer.write(b"HTTP/1.1 200 OK\r\nX-Filler: ")
    await _drip(peer, lambda: b"x")


async def _drip(peer: Peer, more: Callable[[], bytes]) -> None:
    while True:
        peer.writer.write(more())
        await peer.writer.drain()
        await asyncio.sleep(DRIP_EVERY_S)
