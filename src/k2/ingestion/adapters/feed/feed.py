"""The feed: keeps one connection alive for a set of streams, and says what happens to it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from msgspec import Struct

from k2.errors import ConfigurationError
from k2.ingestion.adapters.feed.attempts import Attempts, Shared
from k2.ingestion.adapters.feed.backoff import meaning_of
from k2.ingestion.adapters.feed.policy import Cause, FeedObserver, FeedPolicy, FeedState
from k2.ingestion.adapters.feed.port import (
    ConnectFailedError,
    FrameSink,
    HandshakeRefusedError,
    Link,
    LinkOptions,
    Transport,
)
from k2.ingestion.adapters.feed.session import Session
from k2.ingestion.adapters.feed.subscriptions import Subscriptions
from k2.ingestion.adapters.feed.watch import Watch
from k2.ingestion.core.outcome import Control
from k2.ingestion.exchanges.binance.requests import STREAMS_PER_CONNECTION


class Endpoint(Struct, frozen=True):
    """Where a feed connects to, and how."""

    url: str
    transport: Transport
    options: LinkOptions = LinkOptions()


class Feed:
    """
    One connection, for ever: wait for its turn, dial, subscribe, watch, and again when it ends.

    The engine hands in a sink for the frames, adds to `data_frames` for every frame that carried market data, and passes the
    exchange's answers to `on_control`. All methods belong to the loop's thread.

    Args:
        streams: Names such as "btcusdt@aggTrade", at most 1,024.
        shared: What the feeds of a process have in common; something of its own where left out.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        streams: Sequence[str],
        sink: FrameSink,
        observer: FeedObserver,
        policy: FeedPolicy,
        shared: Shared | None = None,
    ) -> None:
        self.data_frames = 0
        self._endpoint, self._streams, self._sink = endpoint, _checked(streams), sink
        self._observer, self._policy, self._shared = observer, policy, shared or Shared()
        self._attempts = Attempts(endpoint.url, policy, self._shared)
        self._paused = self._stopping = False
        self._held_for: str | None = None
        self._state = FeedState.IDLE
        self._session: Session | None = None
        self._wake: asyncio.Future[None] | None = None
        self._stopped = asyncio.Event()

    @property
    def state(self) -> FeedState:
        if self._session is None:
            return self._state
        return FeedState.STREAMING if self._session.subscribed else FeedState.SUBSCRIBING

    @property
    def connected(self) -> bool:
        """The link is open and every subscription was answered."""
        return self.state is FeedState.STREAMING

    @property
    def open(self) -> bool:
        """The link is open, subscribed or not."""
        return self._session is not None

    @property
    def url(self) -> str:
        return self._endpoint.url

    @property
    def streams(self) -> tuple[str, ...]:
        """What is wanted."""
        return self._streams

    @property
    def leaving(self) -> frozenset[str]:
        """Streams that are not wanted any more and may still arrive."""
        return self._session.leaving if self._session is not None else frozenset()

    @property
    def held_for(self) -> str | None:
        """Why the feed stays away on purpose; None where it does not."""
        return self._held_for

    async def run(self) -> None:
        """
        Run until stopped.

        Raises:
            UnavailableError: `give_up_after` failures in a row.
            Exception: what the sink raised.
        """
        try:
            while await self._may_dial():
                await self._connect_once()
        finally:
            self._state = FeedState.STOPPED
            self._stopped.set()

    def change(self, streams: Sequence[str]) -> None:
        """
        From now on these streams are wanted, at most 1,024, and no others.

        An open connection stays: what is gone is unsubscribed from, what is new subscribed to, at the exchange's message rate.
        The next connection subscribes what is wanted then.
        """
        self._streams = _checked(streams)
        if self._session is not None:
            self._session.change(self._streams)

    def hand_to(self, sink: FrameSink) -> None:
        """Hand all further frames to this sink."""
        self._sink = sink
        if self._session is not None:
            self._session.hand_to(sink)

    async def stop(self) -> None:
        """End for good: a closing handshake within the close timeout. Returns when `run` is done."""
        self.ask_to_stop()
        if self._wake is not None:
            await self._stopped.wait()

    def ask_to_stop(self) -> None:
        """Begin to end for good; see `stop`."""
        self._stopping = True
        self._interrupt(Cause.STOPPING)

    def pause(self) -> None:
        """Stop reading. A link that drops meanwhile is not dialled again before `resume`."""
        self._paused = True
        if self._session is not None:
            self._session.pause()

    def resume(self) -> None:
        self._paused = False
        if self._session is not None:
            self._session.resume()
        self._rouse()

    def breathe(self) -> None:
        """After a read that took long: let the rest of the loop have its turn before the next one."""
        if self._session is not None:
            self._session.breathe()

    def hold(self, reason: str) -> None:
        """Close the connection on purpose and stay away until `release`."""
        self._held_for = reason
        self._interrupt(Cause.HOLD)

    def release(self) -> None:
        """Dial again at once, if the attempt budget allows."""
        self._held_for = None
        self._rouse()

    def on_control(self, control: Control) -> None:
        """Take a frame of the exchange's own protocol: an answer to a subscription, or the announcement of a shutdown."""
        if self._session is not None:
            self._session.on_control(control)

    def _interrupt(self, cause: Cause) -> None:
        if self._session is not None:
            self._session.end(cause)
        self._rouse()

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _fresh_wake(self) -> asyncio.Future[None]:
        if self._wake is None or self._wake.done():
            self._wake = asyncio.get_running_loop().create_future()
        return self._wake

    async def _may_dial(self) -> bool:
        """Wait for the next attempt's turn. False when stopped."""
        while not self._stopping:
            wake, wait_s = self._fresh_wake(), self._wait_s()
            if wait_s <= 0:
                return True
            self._state = FeedState.HELD if self._held_for is not None else FeedState.WAITING
            await asyncio.wait({wake}, timeout=None if math.isinf(wait_s) else wait_s)
        return False

    def _wait_s(self) -> float:
        if self._held_for is not None or self._paused:
            return math.inf
        return self._attempts.wait_s()

    async def _connect_once(self) -> None:
        self._state = FeedState.CONNECTING
        self._observer.connecting(self._attempts.begin())
        try:
            link = await self._open()
        except HandshakeRefusedError as refusal:
            detail = "; ".join(filter(None, (meaning_of(refusal.status), refusal.detail)))
            self._observer.refused(refusal.status, detail, self._attempts.refused(refusal))
        except ConnectFailedError as failure:
            self._observer.connect_failed(failure.kind, failure.detail, self._attempts.failed(failure))
        else:
            if link is not None:
                await self._serve(link)

    async def _open(self) -> Link | None:
        """Dial. None where a stop or a hold came first."""
        endpoint = self._endpoint
        opening = asyncio.ensure_future(endpoint.transport.open(endpoint.url, self._sink, endpoint.options))
        try:
            while not (opening.done() or self._stopping or self._held_for is not None):
                waiting_for: set[asyncio.Future[Link] | asyncio.Future[None]] = {opening, self._fresh_wake()}
                await asyncio.wait(waiting_for, return_when=asyncio.FIRST_COMPLETED)
            return opening.result() if opening.done() else None
        finally:
            if not opening.done():
                await _abandon(opening)

    async def _serve(self, link: Link) -> None:
        self._observer.connected(self._endpoint.url)
        frames_before = self.data_frames
        self._session = self._session_on(link)
        try:
            cause, closed = await self._session.run()
        finally:
            self._session, self._state = None, FeedState.WAITING
        self._observer.disconnected(cause, closed)
        self._attempts.ended(cause, brought_data=self.data_frames != frames_before)

    def _session_on(self, link: Link) -> Session:
        clock, policy = self._shared.clock, self._policy
        link.hand_to(self._sink)  # it may be another one than when the dialling began
        subscriptions = Subscriptions(self._streams, policy, self._shared.request_ids)
        limit_s = 0.0 if all(map(policy.may_be_silent, self._streams)) else self._attempts.silence_limit_s
        watch = Watch(policy, limit_s, self.data_frames, clock())
        session = Session(link, subscriptions, watch, self._observer, policy, lambda: self.data_frames, clock)
        if self._paused:
            session.pause()
        # Either may have come after the link opened and before there was a session to tell.
        if self._stopping:
            session.end(Cause.STOPPING)
        elif self._held_for is not None:
            session.end(Cause.HOLD)
        return session


def _checked(streams: Sequence[str]) -> tuple[str, ...]:
    if len(streams) > STREAMS_PER_CONNECTION:
        raise ConfigurationError(f"{len(streams)} streams on one connection; the exchange allows {STREAMS_PER_CONNECTION}")
    return tuple(streams)


async def _abandon(opening: asyncio.Future[Link]) -> None:
    """Stop dialling, and drop the link that may have come about at the last moment."""
    opening.cancel()
    await asyncio.wait({opening})
    if not opening.cancelled() and opening.exception() is None:
        opening.result().abort()
        await opening.result().wait_closed()
