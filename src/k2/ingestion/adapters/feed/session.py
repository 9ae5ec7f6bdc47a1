"""One open link, from its first subscription to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from k2.ingestion.adapters.feed.policy import Cause, FeedObserver, FeedPolicy
from k2.ingestion.adapters.feed.port import ABNORMAL_CODE, FrameSink, Link, LinkClosed
from k2.ingestion.adapters.feed.subscriptions import Subscriptions
from k2.ingestion.adapters.feed.watch import Verdict, Watch
from k2.ingestion.core.outcome import Control, ControlKind

BREATH_TURNS = 5  # an HTTP request is accepted, read, handled and answered within these

_FATAL_VERDICTS = {Verdict.DEAD: Cause.PONG_TIMEOUT, Verdict.SILENT: Cause.SILENCE}

# Ends that we choose while the server is well get a closing handshake; the others have nobody to shake hands with.
_IN_GOOD_ORDER = frozenset({Cause.STOPPING, Cause.HOLD, Cause.SERVER_SHUTDOWN})


class Session:
    """
    Subscribes, watches, and ends a link once.

    One loop does all of it, about once a second: nothing here runs per frame. `data_frames` tells how many frames of data the
    engine has seen.
    """

    def __init__(
        self,
        link: Link,
        subscriptions: Subscriptions,
        watch: Watch,
        observer: FeedObserver,
        policy: FeedPolicy,
        data_frames: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._link, self._subscriptions, self._watch = link, subscriptions, watch
        self._observer, self._policy, self._data_frames, self._clock = observer, policy, data_frames, clock
        self._reading = True
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Future[Cause] = self._loop.create_future()
        self._changed: asyncio.Future[None] = self._loop.create_future()

    @property
    def subscribed(self) -> bool:
        """Every subscription was answered, and nothing has ended the link yet. See `Subscriptions.complete`."""
        return self._subscriptions.complete and not self._ending.done()

    @property
    def leaving(self) -> frozenset[str]:
        """Streams that are not wanted any more and may still arrive."""
        return self._subscriptions.leaving

    def change(self, streams: Sequence[str]) -> None:
        """From now on these streams are wanted on the link, and no others. What is to be said about it is said soon."""
        self._subscriptions.change(streams)
        if not self._changed.done():
            self._changed.set_result(None)

    def hand_to(self, sink: FrameSink) -> None:
        self._link.hand_to(sink)

    def pause(self) -> None:
        self._reading = False
        self._link.pause()

    def resume(self) -> None:
        self._reading = True
        self._link.resume()

    def breathe(self, turns: int = BREATH_TURNS) -> None:
        """Leave the socket alone for some turns of the loop, so that others get theirs before the next full buffer."""
        if self._reading:
            self._link.pause()
            self._loop.call_soon(self._read_on, turns)

    def _read_on(self, turns: int) -> None:
        if turns:
            self._loop.call_soon(self._read_on, turns - 1)
        elif self._reading:
            self._link.resume()

    def end(self, cause: Cause) -> None:
        """End the link soon. The first cause given counts."""
        if not self._ending.done():
            self._ending.set_result(cause)

    def on_control(self, control: Control) -> None:
        """Take an answer to a subscription, or the server's announcement that it goes down."""
        if control.kind is ControlKind.SERVER_SHUTDOWN:
            self.end(Cause.SERVER_SHUTDOWN)
            return
        if control.kind is ControlKind.ACKNOWLEDGED:
            if streams := self._subscriptions.answered(control.request_id):
                self._observer.subscribed(streams)
        elif streams := self._subscriptions.refused(control.request_id, self._clock()):
            self._observer.subscription_refused(streams, control.error)

    async def run(self) -> tuple[Cause, LinkClosed]:
        """Serve the link until its end. Raises only what the sink raised."""
        closed = asyncio.ensure_future(self._link.wait_closed())
        try:
            cause = await self._serve(closed)
            self.end(cause)
            await self._part(cause, closed)
            return cause, await closed
        finally:
            if not closed.done():
                self._link.abort()
                await asyncio.wait({closed}, timeout=1.0)

    async def _serve(self, closed: asyncio.Future[LinkClosed]) -> Cause:
        while True:
            if self._ending.done():
                return self._ending.result()
            if closed.done():
                return _cause_of(closed.result())
            cause = self._step(self._clock())
            if cause is not None:
                return cause
            if self._changed.done():
                self._changed = self._loop.create_future()
            waiting_for: set[asyncio.Future[Any]] = {closed, self._ending, self._changed}
            await asyncio.wait(waiting_for, timeout=self._next_step_in_s(), return_when=asyncio.FIRST_COMPLETED)

    def _next_step_in_s(self) -> float:
        if self._subscriptions.sending:
            return min(self._policy.tick_s, 1 / self._policy.requests_per_s)
        return self._policy.tick_s

    def _step(self, now_s: float) -> Cause | None:
        if not self._reading:
            self._subscriptions.excuse(now_s)
        if self._subscriptions.overdue(now_s):
            return Cause.ACK_TIMEOUT
        request = self._subscriptions.due(now_s)
        if request is not None:
            self._link.send(request.text)
        return self._look(now_s)

    def _look(self, now_s: float) -> Cause | None:
        verdict = self._watch.tick(now_s, heard=self._link.heard, data_frames=self._data_frames(), reading=self._reading)
        self._link.clear_heard()
        if verdict is Verdict.PING:
            self._link.ping()
            self._subscriptions.take_turn(now_s)
        return _FATAL_VERDICTS.get(verdict)

    async def _part(self, cause: Cause, closed: asyncio.Future[LinkClosed]) -> None:
        if closed.done():
            return
        if cause in _IN_GOOD_ORDER:
            await self._link.close()
        else:
            self._link.abort()


def _cause_of(closed: LinkClosed) -> Cause:
    if closed.code == ABNORMAL_CODE:
        return Cause.RESET
    return Cause.PROTOCOL if closed.by_us else Cause.CLOSED_BY_SERVER
