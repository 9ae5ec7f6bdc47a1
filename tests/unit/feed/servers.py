"""Servers of the tests' own: WebSocket and HTTP on loopback sockets, byte by byte, so that they can misbehave in every way."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.request = b""

    async def read_request(self) -> None:
        self.request = await self.reader.readuntil(b"\r\n\r\n")

    async def accept(self, *headers: str) -> None:
        """Read the upgrade request and grant it, with further headers."""
        await self.read_request()
        lines = self.request.decode().split("\r\n")
        key = next(line.split(": ", 1)[1] for line in lines if line.lower().startswith("sec-websocket-key:"))
        answer = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())  # noqa: S324
        granted = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", *headers]
        self.writer.write("\r\n".join([*granted, f"Sec-WebSocket-Accept: {answer.decode()}", "", ""]).encode())

    async def refuse(self, status: str, *headers: str, body: bytes = b"") -> None:
        """Read the request and answer it with an HTTP status."""
        await self.read_request()
        await self.answer(status, *headers, body=body)

    async def answer(self, status: str, *headers: str, body: bytes = b"") -> None:
        head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers])
        self.writer.write(head.encode() + b"\r\n\r\n" + body)
        await self.writer.drain()

    def send(self, opcode: int, payload: bytes, *, fin: bool = True) -> None:
        self.writer.write(frame(opcode, payload, fin=fin))

    def text(self, payload: bytes) -> None:
        self.send(TEXT, payload)

    async def receive(self) -> tuple[int, bytes]:
        """The client's next frame, unmasked."""
        first, second = await self.reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        mask = await self.reader.readexactly(4)
        masked = await self.reader.readexactly(length)
        return first & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))

    async def receive_kind(self, opcode: int) -> bytes:
        """The client's next frame of a kind; others are skipped."""
        while True:
            kind, payload = await self.receive()
            if kind == opcode:
                return payload

    async def acknowledge(self) -> list[str]:
        """Wait for a SUBSCRIBE and acknowledge it. Returns its streams."""
        request = json.loads(await self.receive_kind(TEXT))
        self.text(json.dumps({"result": None, "id": request["id"]}).encode())
        streams: list[str] = request["params"]
        return streams

    async def until_gone(self) -> None:
        """Read until the client hangs up, answering nothing."""
        while await self.reader.read(65536):
            pass

    async def serve_calmly(self) -> None:
        """Answer pings and the closing handshake until the client is gone."""
        while True:
            kind, payload = await self.receive()
            if kind == PING:
                self.send(PONG, payload)
            elif kind == CLOSE:
                self.send(CLOSE, payload)
                return

    def reset(self) -> None:
        """Drop the TCP connection with a RST."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A server's frame: not masked."""
    head = bytes([opcode | (0x80 if fin else 0)])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 65536:
        return head + b"\x7e" + struct.pack("!H", len(payload)) + payload
    return head + b"\x7f" + struct.pack("!Q", len(payload)) + payload


Handler = Callable[[Peer], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve every connection with `handler` and hang up after it. Yields the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(peer: Peer) -> None:
        try:
            with contextlib.suppress(ConnectionError, EOFError, asyncio.CancelledError):
                await handler(peer)
                await peer.writer.drain()
        finally:
            peer.writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await peer.writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(Peer(reader, writer))))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls, ssl_shutdown_timeout=0.2 if tls else None)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await server.wait_closed()


class Frames(list[bytes]):
    """A sink that keeps what it is given."""

    def on_frame(self, frame: bytes, /) -> None:
        self.append(frame)

    async def wait_for(self, count: int) -> None:
        await eventually(lambda: len(self) >= count)


async def eventually(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait until something holds; fail where it does not."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the conditions are many, and none of them has an event
            await asyncio.sleep(0.005)
