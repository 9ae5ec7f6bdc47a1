"""Feeds that are listened to for a moment, through the client's own pipeline: what came, and what would have become of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct, field

from k2.ingestion.adapters.feed.feed import Endpoint
from k2.ingestion.adapters.feed.group import FeedGroup
from k2.ingestion.adapters.feed.policy import Cause, FeedPolicy
from k2.ingestion.adapters.feed.port import ConnectFailure, LinkClosed
from k2.ingestion.core.outcome import Control, DeadLetter, Ignored, Publish, Reason
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.core.rows import Row
from k2.ingestion.exchanges.binance.requests import STREAMS_PER_CONNECTION


class Heard(Struct):
    """
    What was heard so far.

    Attributes:
        silent: Streams that brought nothing yet, in order.
        quiet: Those that brought nothing yet of which that says nothing: their events are rare, or unknown to us.
        unanswered: Streams whose subscription was not answered yet.
        letters: Dead letters by reason, and the text of the first one.
        refusal: The exchange's words where it refused to subscribe.
        ended: How the connection ended, where it did.
        lag_ms: The least time from the exchange's clock to ours; negative where ours is behind. None without any event.
    """

    silent: dict[str, None]
    quiet: dict[str, None] = field(default_factory=dict)
    unanswered: dict[str, None] = field(default_factory=dict)
    published: int = 0
    ignored: int = 0
    letters: Counter[Reason] = field(default_factory=Counter)
    first_error: str = ""
    refusal: str = ""
    ended: str = ""
    lag_ms: int | None = None
    first_after_ms: int | None = None

    @property
    def acknowledged(self) -> bool:
        return not self.unanswered

    @property
    def events(self) -> int:
        return self.published + self.ignored + self.letters.total()


class _Event(Struct):
    event_time_ms: int = field(name="E")


class _Frame(Struct):
    """As much of a frame as tells the time of an event that the pipeline does not take."""

    data: _Event


class Listener:
    """
    The feeds' sink and their observer in one. `done` is set when every stream was heard, or nothing more can be expected.

    Sparse streams may well bring nothing while we listen.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        rows = {row.stream: row for row in pipeline.rows}
        quiet = dict.fromkeys(name for name, row in rows.items() if row.sparse)
        self.heard = Heard({name: None for name in rows if name not in quiet}, quiet, dict.fromkeys(rows))
        self.done = asyncio.Event()
        self._process = pipeline.process
        self._unheard: dict[str, Row] = rows
        self._decoder = msgspec.json.Decoder(_Frame)
        self._feeds: FeedGroup | None = None
        self._began_s = time.monotonic()

    async def listen(
        self, endpoint_of: Callable[[str], Endpoint], timeout_s: float, streams_per_connection: int = STREAMS_PER_CONNECTION
    ) -> Heard:
        """
        Subscribe to the pipeline's streams and listen for so long at most.

        Args:
            endpoint_of: Where the connection for a stream leads, by the stream's name.
        """
        policy = FeedPolicy(ack_timeout_s=timeout_s, silence_timeout_s=0)
        feeds = self._feeds = FeedGroup(
            endpoint_of, list(self._unheard), self, self, policy,
            received=lambda: self.heard.events, streams_per_connection=streams_per_connection,
        )  # fmt: skip
        running = asyncio.ensure_future(feeds.run())
        waiting = asyncio.ensure_future(self.done.wait())
        try:
            await asyncio.wait({running, waiting}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            await feeds.stop()
            await running
        return self.heard

    def on_frame(self, frame: bytes, /) -> None:
        now_ms = time.time_ns() // 1_000_000
        for outcome in self._process(frame, now_ms * 1_000):
            match outcome:
                case Control():
                    self._on_control(outcome)
                case Publish():
                    self._note_lag(now_ms - outcome.event_time_ms if outcome.event_time_ms else None)
                    self.heard.published += 1
                case DeadLetter():
                    self._note_lag(self._lag_of(frame, now_ms))
                    self.heard.letters[outcome.reason] += 1
                    self.heard.first_error = self.heard.first_error or f"{outcome.reason}: {outcome.error}"
                    self._hear(outcome.stream)
                case Ignored():
                    self.heard.ignored += 1
        for name in [name for name, row in self._unheard.items() if row.published or row.ignored]:
            self._hear(name)

    def _on_control(self, control: Control) -> None:
        if self._feeds is not None:
            self._feeds.on_control(control)

    def _hear(self, stream: str) -> None:
        """A stream is heard whatever becomes of its event: a candle that is still open tells as much as a closed one."""
        heard = self.heard
        self._unheard.pop(stream, None)
        heard.silent.pop(stream, None)
        heard.quiet.pop(stream, None)
        if heard.first_after_ms is None:
            heard.first_after_ms = round((time.monotonic() - self._began_s) * 1000)
        self._end_if_complete()

    def _end_if_complete(self) -> None:
        if not self.heard.silent and self.heard.acknowledged:
            self.done.set()

    def _note_lag(self, lag_ms: int | None) -> None:
        heard = self.heard
        if lag_ms is not None:
            heard.lag_ms = lag_ms if heard.lag_ms is None else min(heard.lag_ms, lag_ms)

    def _lag_of(self, frame: bytes, now_ms: int) -> int | None:
        try:
            return now_ms - self._decoder.decode(frame).data.event_time_ms
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    # What the feed tells

    def connecting(self, attempt: int) -> None: ...

    def connected(self, url: str) -> None: ...

    def subscribed(self, streams: Sequence[str]) -> None:
        for stream in streams:
            self.heard.unanswered.pop(stream, None)
        self._end_if_complete()

    def subscription_refused(self, streams: Sequence[str], error: str) -> None:  # noqa: ARG002 - the observer's form
        self._end(refusal=error)

    def disconnected(self, cause: Cause, closed: LinkClosed) -> None:
        if cause is not Cause.STOPPING:
            self._end(ended=f"{cause}, code {closed.code}{f': {closed.reason}' if closed.reason else ''}")

    def connect_failed(self, kind: ConnectFailure, detail: str, retry_in_s: float) -> None:  # noqa: ARG002 - as above
        self._end(ended=f"{kind}: {detail}")

    def refused(self, status: int, detail: str, retry_in_s: float) -> None:  # noqa: ARG002 - as above
        self._end(ended=f"HTTP {status}: {detail}")

    def _end(self, *, refusal: str = "", ended: str = "") -> None:
        self.heard.refusal, self.heard.ended = refusal, ended
        self.done.set()
