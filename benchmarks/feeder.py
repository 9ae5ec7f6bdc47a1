"""
The exchange of the benchmark: a process of its own that writes ready frames into a WebSocket on loopback.

It is told what to do by lines on its standard input, and answers each with a line:

    send FILE        write the file's frames as fast as the socket takes them     -> sent
    pace COUNT RATE  print and write COUNT trades, RATE a second, stamped now     -> sent

Beforehand it says `port N`, and `subscribed` for every client that has been answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from benchmarks.frames import Market
from k2.simulator.framing import PlainFramer

CHUNK_BYTES = 256 * 1024
TICK_S = 0.001


class Connection(WSListener):
    """One client. Answers its requests at once; frames are written by `Feeder`."""

    def __init__(self) -> None:
        self._writable = asyncio.Event()
        self._writable.set()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            request = json.loads(frame.get_payload_as_bytes())
            transport.send(WSMsgType.TEXT, json.dumps({"result": None, "id": request["id"]}))
            say("subscribed")
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def write(self, frames: bytes | memoryview) -> None:
        """Write whole frames, or a piece of a run of them. Waits while the client is slower."""
        await self._writable.wait()
        self._transport.underlying_transport.write(frames)


class Feeder:
    """Carries out the commands on the latest connection."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._market = Market()
        self._commands: dict[str, Callable[[Connection, list[str]], Awaitable[None]]] = {"send": self._send, "pace": self._pace}

    def accept(self, _request: object) -> Connection:
        # A new client begins with the first trade again.
        self._connection, self._market = Connection(), Market()
        return self._connection

    async def obey(self, line: str) -> None:
        command, *arguments = line.split()
        if self._connection is None:
            raise RuntimeError(f"{command}: nobody has connected")
        await self._commands[command](self._connection, arguments)
        say("sent")

    async def _send(self, connection: Connection, arguments: list[str]) -> None:
        frames = memoryview(await asyncio.to_thread(Path(arguments[0]).read_bytes))
        for at in range(0, len(frames), CHUNK_BYTES):
            await connection.write(frames[at : at + CHUNK_BYTES])

    async def _pace(self, connection: Connection, arguments: list[str]) -> None:
        count, rate = map(int, arguments)
        framer, began_s, written = PlainFramer(), time.monotonic(), 0
        while written < count:
            due = min(count, int((time.monotonic() - began_s) * rate))
            now_ms = time.time_ns() // 1_000_000
            await connection.write(framer.frames(self._market.frame(now_ms) for _ in range(due - written)))
            written = due
            await asyncio.sleep(TICK_S)


def say(line: str) -> None:
    print(line, flush=True)


async def main() -> None:
    feeder, loop = Feeder(), asyncio.get_running_loop()
    server = await ws_create_server(feeder.accept, "127.0.0.1", 0)
    say(f"port {server.sockets[0].getsockname()[1]}")
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await feeder.obey(line)


if __name__ == "__main__":
    asyncio.run(main())
