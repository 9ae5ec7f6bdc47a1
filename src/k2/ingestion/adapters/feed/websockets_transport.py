"""The portable transport, and the one that can decompress: websockets. The only importer of websockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import broadcast
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.protocol import State

from k2.ingestion.adapters.feed.dial import SILENT, USER_AGENT, dial, endpoint, system_tls
from k2.ingestion.adapters.feed.faults import describe, excerpt, failure_kind, retry_after_s
from k2.ingestion.adapters.feed.port import (
    ABNORMAL_CODE,
    ConnectFailedError,
    FrameSink,
    HandshakeRefusedError,
    LinkClosed,
    LinkOptions,
)

_MAX_QUEUE_FRAMES = 256  # beyond it websockets stops reading; one read of 256 KiB may overshoot it
_FRAMES_PER_TURN = 256  # then the loop gets its turn: /health must answer under load


class WebsocketsTransport:
    """Opens links on websockets. Its own keepalive is off: the feed has one, the same for every transport."""

    name = "websockets"

    async def open(self, url: str, sink: FrameSink, options: LinkOptions) -> WebsocketsLink:
        """See `Transport.open`."""
        try:
            async with asyncio.timeout(options.open_timeout_s):
                connection = await _open(url, options)
        except InvalidStatus as refusal:
            raise _as_refusal(refusal) from refusal
        except TimeoutError as fault:
            raise ConnectFailedError(failure_kind(fault), "no connection within the time to open one") from fault
        except (OSError, EOFError, WebSocketException, ImportError, ValueError) as fault:
            raise ConnectFailedError(failure_kind(fault), describe(fault, options.proxy)) from fault
        return WebsocketsLink(connection, sink)


class _Connection(ClientConnection):
    """Notes that something arrived, which websockets tells nobody about pings, and bounds the server's side of a close."""

    heard = False
    _closing = False

    def data_received(self, data: bytes) -> None:
        self.heard = True
        super().data_received(data)
        # After the close frames it is the server that ends the TCP connection; one that does not would hang us for ever.
        if self.state is State.CLOSING and not self._closing:
            self._closing = True
            self.loop.call_later(self.close_timeout or 0.0, self.transport.abort)


class _Connect(connect):
    """Follows no redirect: a market-data server that redirects is a portal in between, which is to be seen."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class WebsocketsLink:
    """One connection. A task of its own takes the messages out of websockets' queue."""

    def __init__(self, connection: _Connection, sink: FrameSink) -> None:
        self._connection = connection
        self._on_frame: Callable[[bytes], None] = sink.on_frame
        self._aborted = False
        self._reading = asyncio.Event()
        self._reading.set()
        self._pings: set[asyncio.Task[None]] = set()
        self._pump = asyncio.create_task(self._hand_over(), name="websockets-pump")

    @property
    def heard(self) -> bool:
        return self._connection.heard

    def clear_heard(self) -> None:
        self._connection.heard = False

    def hand_to(self, sink: FrameSink) -> None:
        if not self._aborted:
            self._on_frame = sink.on_frame

    def send(self, text: str) -> None:
        broadcast([self._connection], text)  # the library's way of sending without waiting

    def ping(self) -> None:
        ping = asyncio.create_task(self._send_ping(), name="websockets-ping")
        self._pings.add(ping)  # the loop itself holds tasks weakly
        ping.add_done_callback(self._pings.discard)

    def pause(self) -> None:
        self._reading.clear()  # the queue then fills, and websockets stops reading the socket

    def resume(self) -> None:
        self._reading.set()

    def abort(self) -> None:
        self._aborted = True
        self._on_frame = _discard
        self._connection.transport.abort()

    async def close(self) -> None:
        if not self._reading.is_set():
            asyncio.get_running_loop().call_soon(self._connection.transport.close)
        await self._connection.close()
        await self.wait_closed()

    async def wait_closed(self) -> LinkClosed:
        await self._connection.wait_closed()
        self._reading.set()  # what had arrived before the end is still handed over
        await asyncio.shield(self._pump)
        return self._end()

    def _end(self) -> LinkClosed:
        protocol = self._connection.protocol
        by_server = bool(protocol.close_rcvd_then_sent) or protocol.close_sent is None
        first = protocol.close_rcvd if by_server else protocol.close_sent
        if first is None:
            return LinkClosed(ABNORMAL_CODE, "", by_us=self._aborted)
        return LinkClosed(first.code, first.reason, by_us=not by_server)

    async def _hand_over(self) -> None:
        count = 0
        try:
            while True:
                frame = await self._connection.recv(decode=False)
                await self._reading.wait()
                self._on_frame(frame)
                count += 1
                if count % _FRAMES_PER_TURN == 0:
                    await asyncio.sleep(0)
        except ConnectionClosed:
            pass
        finally:
            self._connection.transport.abort()  # where the sink raised, nobody would read on

    async def _send_ping(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self._connection.ping()


def _discard(_: bytes) -> None:
    """Where the frames of an aborted link go."""


async def _open(url: str, options: LinkOptions) -> _Connection:
    host, port = endpoint(url)
    extra: dict[str, Any] = {}
    if url.startswith("wss:"):
        extra |= {"ssl": options.tls or system_tls(), "ssl_shutdown_timeout": options.close_timeout_s}
    if options.proxy is None:
        extra["sock"] = await dial(host, port, options.receive_buffer_bytes)
    connecting = _Connect(
        url,
        compression="deflate" if options.compression else None,
        user_agent_header=USER_AGENT,
        proxy=options.proxy,
        open_timeout=None,  # the caller's covers the name resolution too
        ping_interval=None,
        close_timeout=options.close_timeout_s,
        max_size=options.max_frame_bytes,
        max_queue=_MAX_QUEUE_FRAMES,
        logger=SILENT,
        create_connection=_Connection,
        **extra,
    )
    return cast("_Connection", await connecting)


def _as_refusal(refusal: InvalidStatus) -> HandshakeRefusedError:
    response = refusal.response
    wait_s = retry_after_s(response.headers.get("Retry-After"))
    return HandshakeRefusedError(response.status_code, wait_s, excerpt(bytes(response.body or b"")))
