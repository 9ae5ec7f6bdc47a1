"""The group: spreads any number of streams over as many connections as they need, and changes them while it runs."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from k2.errors import ConfigurationError
from k2.ingestion.adapters.feed.attempts import Shared
from k2.ingestion.adapters.feed.backoff import AttemptBudget
from k2.ingestion.adapters.feed.feed import Endpoint, Feed
from k2.ingestion.adapters.feed.intake import Inlet, Intake
from k2.ingestion.adapters.feed.placement import Load, place
from k2.ingestion.adapters.feed.policy import FeedObserver, FeedPolicy
from k2.ingestion.adapters.feed.port import FrameSink
from k2.ingestion.core.outcome import Control
from k2.ingestion.exchanges.binance.requests import STREAMS_PER_CONNECTION

DIALLED_AT_ONCE = 2  # futures have two branches; what comes after them follows by twos


class Connections(Struct, frozen=True):
    """How many connections are open, and how many the streams need."""

    open: int
    wanted: int


class _Member(Struct, eq=False):
    """A feed of the group; one that is parting has nothing to carry any more and says good-bye."""

    feed: Feed
    task: asyncio.Task[None] | None = None
    parting: bool = False


class FeedGroup:
    """
    Any number of streams over any number of connections, which come and go with the streams.

    Streams with the same address share connections. With one connection its frames go straight to `sink`; with several, each
    frame is marked on its way. The engine calls `turn_ended` after every read and passes the exchange's answers to `on_control`
    while it processes the frame that brought them. All methods belong to the loop's thread.

    Args:
        endpoint_of: Where the connection for a stream leads, by the stream's name.
        streams: Names such as "btcusdt@aggTrade" or "!bookTicker".
        observer: Hears of every connection's steps.
        received: How many market events the sink has ever taken in; tells which connections bring data.
        streams_per_connection: From 1 to the exchange's 1,024.
        clock: Seconds, steady. `uniform` draws the jitter.

    Raises:
        ConfigurationError: `streams_per_connection` is out of its range.
    """

    def __init__(
        self,
        endpoint_of: Callable[[str], Endpoint],
        streams: Sequence[str],
        sink: FrameSink,
        observer: FeedObserver,
        policy: FeedPolicy,
        *,
        received: Callable[[], int],
        streams_per_connection: int = STREAMS_PER_CONNECTION,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        if not 1 <= streams_per_connection <= STREAMS_PER_CONNECTION:
            text = f"{streams_per_connection} streams per connection; the exchange allows 1 to {STREAMS_PER_CONNECTION}"
            raise ConfigurationError(text)
        self._endpoint_of, self._observer, self._policy = endpoint_of, observer, policy
        self._limit = streams_per_connection
        self._shared = Shared(AttemptBudget(at_once=DIALLED_AT_ONCE), clock=clock, uniform=uniform)
        self._intake = Intake(sink, received)
        self._members: list[_Member] = []
        self._streams: tuple[str, ...] = ()
        self._paused = self._begun = self._running = False
        self._held_for: str | None = None
        self._fault: BaseException | None = None
        self._over, self._done = asyncio.Event(), asyncio.Event()
        self.change(streams)

    @property
    def streams(self) -> tuple[str, ...]:
        """What is wanted."""
        return self._streams

    @property
    def leaving(self) -> frozenset[str]:
        """Streams that are not wanted any more and may still arrive, until the exchange has answered."""
        let_go = [frozenset(member.feed.streams) if member.parting else member.feed.leaving for member in self._members]
        return frozenset[str]().union(*let_go).difference(self._streams)

    @property
    def connected(self) -> bool:
        """Every stream has its connection, and every subscription that it began with was answered. False without streams."""
        carrying = self._carrying
        return bool(carrying) and all(feed.connected for feed in carrying)

    @property
    def listening(self) -> frozenset[str]:
        """The streams whose connection is there, with every subscription answered."""
        return frozenset(stream for feed in self._carrying if feed.connected for stream in feed.streams)

    @property
    def connections(self) -> Connections:
        carrying = self._carrying
        return Connections(sum(feed.open for feed in carrying), len(carrying))

    @property
    def held_for(self) -> str | None:
        """Why the group stays away on purpose; None where it does not."""
        return self._held_for

    async def run(self) -> None:
        """
        Run until stopped. What ends one feed ends them all.

        Raises:
            UnavailableError: one connection failed `give_up_after` times in a row.
            Exception: what the sink raised.
        """
        self._begun = self._running = True
        try:
            for member in self._members:
                self._start(member)
            await self._over.wait()
        except asyncio.CancelledError:
            for task in self._tasks:
                task.cancel()
            raise
        finally:
            self._running = False
            for member in self._members:
                member.feed.ask_to_stop()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._done.set()
        if self._fault is not None:
            raise self._fault

    async def stop(self) -> None:
        """End for good: closing handshakes within the close timeout. Returns when `run` is done."""
        self._over.set()
        if self._begun:
            await self._done.wait()

    def change(self, streams: Sequence[str]) -> None:
        """
        From now on these streams are wanted, and no others.

        What stays is not interrupted, and stays on its connection. New streams fill connections with room, then open further
        ones. A connection with nothing left is closed. Streams that are gone may still arrive while they are in `leaving`.
        """
        self._streams = tuple(dict.fromkeys(streams))
        members = [member for member in self._members if not member.parting]
        before = [Load(member.feed.url, member.feed.streams, member.feed.leaving) for member in members]
        after = place(self._streams, before, lambda stream: self._endpoint_of(stream).url, self._limit)
        for member, load in zip(members, after, strict=False):
            if not load.streams:
                member.parting = True
                member.feed.ask_to_stop()
            elif load.streams != member.feed.streams:
                member.feed.change(load.streams)
        for load in after[len(members) :]:
            self._join(load)
        self._find_ways()

    def pause(self) -> None:
        """Stop reading on all connections. Links that drop meanwhile are not dialled again before `resume`."""
        self._paused = True
        for feed in self._feeds:
            feed.pause()

    def resume(self) -> None:
        self._paused = False
        for feed in self._feeds:
            feed.resume()

    def breathe(self) -> None:
        """After a read that took long: let the rest of the loop have its turn before the next one."""
        for feed in self._feeds:
            feed.breathe()

    def hold(self, reason: str) -> None:
        """Close all connections on purpose and stay away until `release`."""
        self._held_for = reason
        for feed in self._feeds:
            feed.hold(reason)

    def release(self) -> None:
        """Dial again at once, as far as the attempt budget allows."""
        self._held_for = None
        for feed in self._feeds:
            feed.release()

    def on_control(self, control: Control) -> None:
        """Take a frame of the exchange's own protocol, for the connection whose frame is being processed."""
        if self._intake.speaker is not None:
            self._intake.speaker.on_control(control)

    def turn_ended(self) -> None:
        """A read of the sockets was processed: tell the connections what data they brought."""
        self._intake.settle()

    @property
    def _feeds(self) -> list[Feed]:
        return [member.feed for member in self._members]

    @property
    def _carrying(self) -> list[Feed]:
        return [member.feed for member in self._members if not member.parting]

    @property
    def _tasks(self) -> list[asyncio.Task[None]]:
        return [member.task for member in self._members if member.task is not None]

    def _join(self, load: Load) -> None:
        endpoint = self._endpoint_of(load.streams[0])
        feed = Feed(endpoint, load.streams, self._intake.sink, self._observer, self._policy, self._shared)
        if self._paused:
            feed.pause()
        if self._held_for is not None:
            feed.hold(self._held_for)
        member = _Member(feed)
        self._members.append(member)
        if self._running:
            self._start(member)

    def _start(self, member: _Member) -> None:
        member.task = asyncio.create_task(member.feed.run(), name=f"feed {member.feed.url}")
        member.task.add_done_callback(lambda task: self._forget(member, task))

    def _forget(self, member: _Member, task: asyncio.Task[None]) -> None:
        self._members.remove(member)
        self._find_ways()
        if not task.cancelled() and (fault := task.exception()):
            self._fault = self._fault or fault
            self._over.set()

    def _find_ways(self) -> None:
        """One feed speaks for itself alone, and then nothing need stand between its link and the sink."""
        if len(self._members) == 1:
            feed = self._members[0].feed
            self._intake.turn_to(feed)
            feed.hand_to(self._intake.sink)
            return
        for feed in self._feeds:
            feed.hand_to(Inlet(self._intake, feed))
