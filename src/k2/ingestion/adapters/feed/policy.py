"""What a feed is told and what it tells: its policy, its states, the causes of an end, its observer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from k2.ingestion.adapters.feed.port import ConnectFailure, LinkClosed


def never_silent(_stream: str) -> bool:
    """Of most streams something is heard every few seconds."""
    return False


class FeedPolicy(Struct, frozen=True):
    """
    How a feed behaves. All times in seconds; 0 switches an idle ping, a heartbeat or the silence limit off.

    `idle_ping_after_s` plus `pong_timeout_s` bound how long a half-open connection stays unnoticed. `give_up_after` is the
    number of failures in a row that ends the feed, 0 for never. `tick_s` is how often the watch looks. `may_be_silent` tells of a
    stream whether its silence says nothing; a connection that begins with such streams only has no silence limit.
    """

    reconnect_min_s: float = 1.0
    reconnect_max_s: float = 60.0
    heartbeat_interval_s: float = 180.0
    idle_ping_after_s: float = 10.0
    pong_timeout_s: float = 5.0
    silence_timeout_s: float = 120.0
    streams_per_request: int = 100  # 437 in one frame have failed silently
    requests_per_s: float = 4.0  # the exchange allows 5 messages a second, our pongs included
    ack_timeout_s: float = 10.0
    refused_retry_s: float = 5.0  # a refused request is made again, at first after this long, then twice as long each time
    refused_retry_max_s: float = 60.0
    give_up_after: int = 0
    tick_s: float = 1.0
    may_be_silent: Callable[[str], bool] = never_silent


class FeedState(StrEnum):
    """Where a feed stands."""

    IDLE = "idle"
    WAITING = "waiting"
    HELD = "held"
    CONNECTING = "connecting"
    SUBSCRIBING = "subscribing"
    STREAMING = "streaming"
    STOPPED = "stopped"


class Cause(StrEnum):
    """Why a connection ended. A closed set, fit for a metric's label."""

    CLOSED_BY_SERVER = "closed_by_server"  # with a close frame
    RESET = "reset"  # without one
    PROTOCOL = "protocol"  # we closed, because the server broke the protocol or sent too large a message
    PONG_TIMEOUT = "pong_timeout"
    SILENCE = "silence"
    ACK_TIMEOUT = "ack_timeout"
    HOLD = "hold"
    SERVER_SHUTDOWN = "server_shutdown"
    STOPPING = "stopping"


class FeedObserver(Protocol):
    """Hears of every step of a feed, or of all feeds of a group, on the loop's thread. Must be quick and must not raise."""

    def connecting(self, attempt: int) -> None:
        """Dialling; `attempt` counts from 1 since data last came."""

    def connected(self, url: str) -> None:
        """The WebSocket is open; nothing is subscribed yet."""

    def subscribed(self, streams: Sequence[str]) -> None:
        """The exchange acknowledged these streams. It acknowledges unknown ones too: only data proves one."""

    def subscription_refused(self, streams: Sequence[str], error: str) -> None:
        """The exchange refused to send these streams; they are asked for again."""

    def disconnected(self, cause: Cause, closed: LinkClosed) -> None: ...

    def connect_failed(self, kind: ConnectFailure, detail: str, retry_in_s: float) -> None: ...

    def refused(self, status: int, detail: str, retry_in_s: float) -> None:
        """The handshake was answered with an HTTP status."""
