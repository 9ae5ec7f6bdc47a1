"""
The port between the feed and a WebSocket library: everything that the feed may ask of one, and nothing else.

A transport opens links. A link hands whole messages (text or binary, reassembled) to its sink on the event loop's thread,
answers the server's pings by itself, and says once why it ended. Nothing of the library shows through: its exceptions become
the two below, its close becomes a `LinkClosed`.
"""

from __future__ import annotations

import ssl
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

MAX_FRAME_BYTES = 10 * 1024 * 1024  # a larger message ends the link with 1009; the largest one recorded is 35 kB
RECEIVE_BUFFER_BYTES = 512 * 1024  # bounds the work of one turn of the loop

NO_STATUS_CODE = 1005  # RFC 6455, section 7.4.1: the close frame carried no code
ABNORMAL_CODE = 1006  # likewise: there was no close frame at all


class ConnectFailure(StrEnum):
    """Why no connection came about. A closed set, fit for a metric's label."""

    DNS = "dns"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TLS = "tls"
    RESET = "reset"
    PROTOCOL = "protocol"


class HandshakeRefusedError(Exception):
    """The server answered the upgrade with an HTTP status instead of 101. `retry_after_s` is what its Retry-After asks for."""

    def __init__(self, status: int, retry_after_s: float | None, detail: str = "") -> None:
        super().__init__(f"HTTP {status}{': ' + detail if detail else ''}")
        self.status, self.retry_after_s, self.detail = status, retry_after_s, detail


class ConnectFailedError(Exception):
    """No connection: name resolution, TCP, TLS, a time-out or a malformed upgrade answer."""

    def __init__(self, kind: ConnectFailure, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail = kind, detail


class LinkClosed(Struct, frozen=True):
    """
    How a link ended: the first close frame of the two sides, and whether it was ours.

    `code` is 1006 where no close frame came, and then `by_us` tells that we dropped the connection; 1005 where it had no code.
    """

    code: int
    reason: str
    by_us: bool


class LinkOptions(Struct, frozen=True):
    """
    What a transport needs to open a link.

    `tls` is for wss:// only; None there means the system's certificates. `proxy` is a URL or None, and never taken from the
    environment. `open_timeout_s` covers name resolution, TCP, TLS and the upgrade together.
    """

    open_timeout_s: float = 10.0
    close_timeout_s: float = 2.0
    tls: ssl.SSLContext | None = None
    proxy: str | None = None
    compression: bool = False
    max_frame_bytes: int = MAX_FRAME_BYTES
    receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES


class FrameSink(Protocol):
    """
    Where a link puts what it receives.

    Called on the loop's thread; must neither block nor raise. What it raises all the same ends the link, and comes out of
    `Link.wait_closed`: such an error is a defect of ours, which running on would hide.
    """

    def on_frame(self, frame: bytes, /) -> None: ...


class Link(Protocol):
    """An open WebSocket."""

    @property
    def heard(self) -> bool:
        """True when anything arrived, pongs and pings included, since `heard` was last cleared."""

    def clear_heard(self) -> None: ...

    def hand_to(self, sink: FrameSink) -> None:
        """Hand what comes from now on to this sink. After `abort` nobody gets anything."""

    def send(self, text: str) -> None:
        """Send one text message without waiting. On a link that is closing this does nothing."""

    def ping(self) -> None:
        """Send a ping; its pong counts as heard."""

    def pause(self) -> None:
        """Stop reading from the socket. What the process has already buffered may still arrive; pings wait unanswered."""

    def resume(self) -> None: ...

    def abort(self) -> None:
        """Drop the connection at once, without a closing handshake. No frame arrives after this."""

    async def close(self) -> None:
        """Closing handshake, bounded by the close timeout. A paused link says good-bye and does not wait for the answer."""

    async def wait_closed(self) -> LinkClosed:
        """
        Wait for the end of the link, however it comes; every open link must be waited for.

        Never raises for a broken connection, only what the sink raised.
        """


class Transport(Protocol):
    """A WebSocket library behind one method."""

    name: str

    async def open(self, url: str, sink: FrameSink, options: LinkOptions) -> Link:
        """
        Dial `url` and start handing frames to `sink`. Redirects are not followed. Cancelling leaves nothing open.

        Raises:
            HandshakeRefusedError: the server answered with another HTTP status than 101.
            ConnectFailedError: anything else that kept the link from opening within `options.open_timeout_s`.
        """
