"""A feed that is listened to for a moment, through the client's own pipeline: what came, and what would have become of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import msgspec
from msgspec import Struct, field

from k2.ingestion.adapters.feed.feed import Endpoint, Feed
from k2.ingestion.adapters.feed.policy import Cause, FeedPolicy
from k2.ingestion.adapters.feed.port import ConnectFailure, LinkClosed
from k2.ingestion.core.outcome import Control, DeadLetter, Ignored, Publish, Reason
from k2.ingestion.core.pipeline import Pipeline


class Heard(Struct):
    """
    What was heard so far.

    Attributes:
        silent: Streams that brought nothing yet, in order.
        letters: Dead letters by reason, and the text of the first one.
        refusal: The exchange's words where it refused to subscribe.
        ended: How the connection ended, where it did.
        lag_ms: The least time from the exchange's clock to ours; negative where ours is behind. None without any event.
    """

    silent: dict[str, None]
    acknowledged: bool = False
    published: int = 0
    ignored: int = 0
    letters: Counter[Reason] = field(default_factory=Counter)
    first_error: str = ""
    refusal: str = ""
    ended: str = ""
    lag_ms: int | None = None
    first_after_ms: int | None = None

    @property
    def events(self) -> int:
        return self.published + self.ignored + self.letters.total()


class _Event(Struct):
    event_time_ms: int = field(name="E")


class _Frame(Struct):
    """As much of a frame as tells the time of an event that the pipeline does not take."""

    data: _Event


class Listener:
    """The feed's sink and its observer in one. `done` is set when every stream was heard, or nothing more can be expected."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.heard = Heard(dict.fromkeys(row.stream for row in pipeline.rows))
        self.done = asyncio.Event()
        self._process = pipeline.process
        self._streams = {row.symbol.encode(): row.stream for row in pipeline.rows}
        self._decoder = msgspec.json.Decoder(_Frame)
        self._feed: Feed | None = None
        self._began_s = time.monotonic()

    async def listen(self, endpoint: Endpoint, timeout_s: float) -> Heard:
        """Subscribe to the pipeline's streams and listen for so long at most."""
        streams = list(self.heard.silent)
        policy = FeedPolicy(ack_timeout_s=timeout_s, silence_timeout_s=0)
        feed = self._feed = Feed(endpoint, streams, self, self, policy)
        running = asyncio.ensure_future(feed.run())
        waiting = asyncio.ensure_future(self.done.wait())
        try:
            await asyncio.wait({running, waiting}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            await feed.stop()
            await running
        return self.heard

    def on_frame(self, frame: bytes, /) -> None:
        now_ms = time.time_ns() // 1_000_000
        for outcome in self._process(frame, now_ms * 1_000):
            match outcome:
                case Control():
                    self._on_control(outcome)
                case Publish():
                    self._hear(self._streams[outcome.records[0].key], now_ms - outcome.event_time_ms)
                    self.heard.published += 1
                case DeadLetter():
                    self._hear(outcome.stream, self._lag_of(frame, now_ms))
                    self.heard.letters[outcome.reason] += 1
                    self.heard.first_error = self.heard.first_error or f"{outcome.reason}: {outcome.error}"
                case Ignored():
                    self.heard.ignored += 1

    def _on_control(self, control: Control) -> None:
        if self._feed is not None:
            self._feed.on_control(control)

    def _hear(self, stream: str, lag_ms: int | None) -> None:
        heard = self.heard
        heard.silent.pop(stream, None)
        if heard.first_after_ms is None:
            heard.first_after_ms = round((time.monotonic() - self._began_s) * 1000)
        if lag_ms is not None:
            heard.lag_ms = lag_ms if heard.lag_ms is None else min(heard.lag_ms, lag_ms)
        if not heard.silent:
            self.done.set()

    def _lag_of(self, frame: bytes, now_ms: int) -> int | None:
        try:
            return now_ms - self._decoder.decode(frame).data.event_time_ms
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    # What the feed tells

    def connecting(self, attempt: int) -> None: ...

    def connected(self, url: str) -> None: ...

    def subscribed(self, streams: Sequence[str]) -> None:  # noqa: ARG002 - the observer's form
        self.heard.acknowledged = True

    def subscription_refused(self, streams: Sequence[str], error: str) -> None:  # noqa: ARG002 - as above
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
