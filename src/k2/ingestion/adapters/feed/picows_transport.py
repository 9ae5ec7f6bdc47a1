"""The fast transport: picows, whose parser runs in C and calls us once a frame. The only importer of picows."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Callable
from typing import Any, ClassVar, Final

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSProtocolError,
    WSTransport,
    ws_connect,
)
from python_socks import ProxyError

from k2.ingestion.adapters.feed.dial import SILENT, USER_AGENT, dial, endpoint, system_tls
from k2.ingestion.adapters.feed.faults import describe, excerpt, failure_kind, retry_after_s
from k2.ingestion.adapters.feed.port import (
    ABNORMAL_CODE,
    NO_STATUS_CODE,
    ConnectFailedError,
    FrameSink,
    HandshakeRefusedError,
    LinkClosed,
    LinkOptions,
)

_TEXT: Final = WSMsgType.TEXT
_SETTLE_S = 1.0  # for picows to notice that its socket was shut; a turn of the loop is enough

_STATUS_LINE = re.compile(rb"HTTP/\d\.\d (\d{3})")
_RETRY_AFTER = re.compile(rb"^retry-after:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


class PicowsTransport:
    """Opens links on picows. Compression is never offered: picows would hand over the compressed bytes."""

    name = "picows"

    async def open(self, url: str, sink: FrameSink, options: LinkOptions) -> PicowsLink:
        """See `Transport.open`."""
        try:
            return await _open(url, sink, options)
        except WSHandshakeError as refusal:
            raise _as_refusal(refusal) from refusal
        except (OSError, WSError, ProxyError, ValueError) as fault:
            raise ConnectFailedError(failure_kind(fault), describe(fault, options.proxy)) from fault


class PicowsLink(WSListener):
    """One connection: picows calls the three `on_ws_` methods, the feed calls the rest."""

    __slots__ = ("_aborted", "_fragments", "_on_frame", "_options", "_paused", "_transport", "heard")

    def __init__(self, sink: FrameSink, options: LinkOptions) -> None:
        self.heard = False
        self._on_frame: Callable[[bytes], None] = sink.on_frame
        self._options = options
        self._transport: WSTransport | None = None
        self._fragments: list[bytes] = []
        self._paused = False
        self._aborted = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002 - picows' signature
        # The hot path: nearly every frame is a whole text message. `msg_type` costs 64 ns, so it is read once.
        self.heard = True
        if frame.msg_type is _TEXT and frame.fin:
            self._on_frame(frame.get_payload_as_bytes())
        else:
            self._seldom[frame.msg_type](self, frame)

    @property
    def opened(self) -> bool:
        return self._transport is not None

    @property
    def transport(self) -> WSTransport:
        if self._transport is None:
            raise RuntimeError("the link has not been opened")
        return self._transport

    def clear_heard(self) -> None:
        self.heard = False

    def hand_to(self, sink: FrameSink) -> None:
        if not self._aborted:
            self._on_frame = sink.on_frame

    def send(self, text: str) -> None:
        self.transport.send(WSMsgType.TEXT, text)

    def ping(self) -> None:
        self.transport.send_ping()

    def pause(self) -> None:
        self._paused = True
        self.transport.underlying_transport.pause_reading()

    def resume(self) -> None:
        self._paused = False
        self.transport.underlying_transport.resume_reading()

    def abort(self) -> None:
        self._aborted = True
        self._on_frame = _discard  # picows goes on with what it has already read
        self.transport.disconnect(graceful=False)

    async def close(self) -> None:
        self.transport.send_close(WSCloseCode.OK)
        if self._paused:
            self.transport.disconnect()
        try:
            async with asyncio.timeout(self._options.close_timeout_s):
                await self.wait_closed()
        except TimeoutError:
            self.abort()
            await self.wait_closed()

    async def wait_closed(self) -> LinkClosed:
        with contextlib.suppress(WSProtocolError):  # its code is in the close frame that picows sent
            await self.transport.wait_disconnected()
        return self._end()

    def _end(self) -> LinkClosed:
        handshake = self.transport.close_handshake
        if handshake is None:
            return LinkClosed(ABNORMAL_CODE, "", by_us=self._aborted)
        first = handshake.recv if handshake.recv_then_sent else handshake.sent
        if first is None:
            return LinkClosed(ABNORMAL_CODE, "", by_us=self._aborted)
        return LinkClosed(_as_code(first.code), first.reason or "", by_us=not handshake.recv_then_sent)

    def _answer_ping(self, frame: WSFrame) -> None:
        self.transport.send_pong(frame.get_payload_as_bytes())

    def _note_pong(self, frame: WSFrame) -> None:
        """That it was heard is all there is to a pong."""

    def _answer_close(self, frame: WSFrame) -> None:
        code = frame.get_close_code()
        self.transport.send_close(code if _as_code(code) != NO_STATUS_CODE else WSCloseCode.OK)
        self.transport.disconnect()

    def _begin(self, frame: WSFrame) -> None:
        """A binary message, or the first fragment of any."""
        if frame.fin:
            self._on_frame(frame.get_payload_as_bytes())
        elif self._fragments:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a message began before the last one ended")
        else:
            self._collect(frame)

    def _continue(self, frame: WSFrame) -> None:
        if not self._fragments:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a continuation of nothing")
        self._collect(frame)
        if frame.fin:
            message, self._fragments = b"".join(self._fragments), []
            self._on_frame(message)

    def _collect(self, frame: WSFrame) -> None:
        self._fragments.append(frame.get_payload_as_bytes())
        if sum(map(len, self._fragments)) > self._options.max_frame_bytes:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, "the fragments together exceed the largest message")

    _seldom: ClassVar[dict[WSMsgType, Callable[[PicowsLink, WSFrame], None]]] = {
        WSMsgType.PING: _answer_ping,
        WSMsgType.PONG: _note_pong,
        WSMsgType.CLOSE: _answer_close,
        WSMsgType.TEXT: _begin,
        WSMsgType.BINARY: _begin,
        WSMsgType.CONTINUATION: _continue,
    }


class _HandshakeFilter:
    """
    The loop's exception handler, less one kind of complaint.

    aiofastnet, under picows, reports a TLS handshake that the peer broke off to the loop as well as raising it, and does so with
    an exception's class in place of one, which Python's own handler prints as a crash. The raised one is enough.
    """

    def __init__(self, inner: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None) -> None:
        self._inner = inner

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), type):
            return
        if self._inner is not None:
            self._inner(loop, context)
        else:
            loop.default_exception_handler(context)

    @classmethod
    def install(cls) -> None:
        loop = asyncio.get_running_loop()
        inner = loop.get_exception_handler()
        if not isinstance(inner, cls):
            loop.set_exception_handler(cls(inner))


def _discard(_: bytes) -> None:
    """Where the frames of an aborted link go."""


def _as_code(code: WSCloseCode | int) -> int:
    number = code.value if isinstance(code, WSCloseCode) else code
    return number or NO_STATUS_CODE


async def _open(url: str, sink: FrameSink, options: LinkOptions) -> PicowsLink:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + options.open_timeout_s
    endpoint(url)  # a malformed URL is found before anything is open
    host, port = endpoint(options.proxy or url)
    async with asyncio.timeout_at(deadline):
        sock = await dial(host, port, options.receive_buffer_bytes)
    link = PicowsLink(sink, options)
    await _settle(asyncio.ensure_future(_handshake(url, link, sock, options)), sock, deadline)
    if not link.opened:  # picows returns as if all were well
        raise ConnectionResetError("the server closed the connection before it answered the upgrade")
    return link


async def _handshake(url: str, link: PicowsLink, sock: socket.socket, options: LinkOptions) -> None:
    tls: dict[str, Any] = {}
    if url.startswith("wss:"):
        # A peer that answers neither must not keep a closed link alive for asyncio's 30 s.
        _HandshakeFilter.install()
        tls = {"ssl_context": options.tls or system_tls(), "ssl_shutdown_timeout": options.close_timeout_s}
    await ws_connect(
        lambda _request, _response: link,
        url,
        websocket_handshake_timeout=None,  # it would cover neither TCP nor TLS; `_settle` covers all
        logger_name=SILENT,
        enable_auto_pong=False,  # ours marks the link as heard
        max_frame_size=options.max_frame_bytes,
        extra_headers={"User-Agent": USER_AGENT},
        max_redirects=0,
        proxy=options.proxy,
        socket_factory=lambda _url: sock,
        **tls,
    )


async def _settle(handshake: asyncio.Future[None], sock: socket.socket, deadline: float) -> None:
    """
    Wait for the handshake until `deadline`.

    One that hangs is ended by shutting its socket, on which picows closes everything in good order. Cancelling it would leave
    the connection open, and an exception that nobody retrieves.
    """
    try:
        await _result_by(handshake, deadline)
    except BaseException:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        await asyncio.wait({handshake}, timeout=_SETTLE_S)
        if handshake.done() and not handshake.cancelled():
            handshake.exception()
        raise


async def _result_by(handshake: asyncio.Future[None], deadline: float) -> None:
    now = asyncio.get_running_loop().time()
    await asyncio.wait({handshake}, timeout=max(0.0, deadline - now))
    if not handshake.done():
        raise TimeoutError("no answer to the upgrade within the time to open a connection")
    handshake.result()


def _as_refusal(refusal: WSHandshakeError) -> HandshakeRefusedError | ConnectFailedError:
    """Read the status from the raw answer: picows knows no status that Python's `http` does not name (Cloudflare's 52x)."""
    header = refusal.raw_header or b""
    status = _STATUS_LINE.match(header)
    if status is None or status[1] == b"101":
        return ConnectFailedError(failure_kind(refusal), describe(refusal))
    retry_after = _RETRY_AFTER.search(header)
    wait_s = retry_after_s(retry_after[1].decode("latin-1")) if retry_after else None
    return HandshakeRefusedError(int(status[1]), wait_s, excerpt(refusal.raw_body))
