"""Whose frame is it? How the frames of several connections reach one engine, and how many events each of them brought."""

from __future__ import annotations

from collections.abc import Callable

from k2.ingestion.adapters.feed.feed import Feed
from k2.ingestion.adapters.feed.port import FrameSink


class Intake:
    """
    Knows the feed that speaks: the one whose frame the engine is processing, or processed last.

    Args:
        received: How many market events the engine has ever taken in.
    """

    def __init__(self, sink: FrameSink, received: Callable[[], int]) -> None:
        self.sink, self._received = sink, received
        self._credited = received()
        self.speaker: Feed | None = None

    def turn_to(self, feed: Feed) -> None:
        """From now on it is this feed that speaks."""
        self.settle()
        self.speaker = feed

    def settle(self) -> None:
        """Credit the speaker with all events since the last time."""
        received = self._received()
        if self.speaker is not None:
            self.speaker.data_frames += received - self._credited
        self._credited = received


class Inlet:
    """One feed's own way into the intake, for where there is more than one feed. A sink."""

    __slots__ = ("_feed", "_intake", "_on_frame")

    def __init__(self, intake: Intake, feed: Feed) -> None:
        self._intake, self._feed = intake, feed
        self._on_frame = intake.sink.on_frame

    def on_frame(self, frame: bytes, /) -> None:
        # The hot path. A read brings many frames of one connection, so the speaker seldom changes.
        if self._intake.speaker is not self._feed:
            self._intake.turn_to(self._feed)
        self._on_frame(frame)
