"""Whose frame it is, and who is credited with its events."""

from __future__ import annotations

from typing import Any, cast

from k2.ingestion.adapters.feed.intake import Inlet, Intake


class FakeFeed:
    data_frames = 0


class CountingSink:
    """Takes a frame for as many events as it is long, and notes who spoke."""

    def __init__(self) -> None:
        self.received = 7  # it was in use before
        self.intake: Intake
        self.speakers: list[object] = []

    def on_frame(self, frame: bytes, /) -> None:
        self.received += len(frame)
        self.speakers.append(self.intake.speaker)


def rig() -> tuple[Intake, CountingSink, FakeFeed, FakeFeed]:
    sink = CountingSink()
    sink.intake = Intake(sink, lambda: sink.received)
    return sink.intake, sink, FakeFeed(), FakeFeed()


def test_each_feed_is_credited_with_its_own_events() -> None:
    """Frames of two connections in one turn of the loop are told apart, whatever the number of their events."""
    intake, sink, one, other = rig()
    first, second = (Inlet(intake, cast("Any", feed)) for feed in (one, other))
    for inlet, frame in ((first, b"1"), (first, b"1"), (second, b"333"), (first, b"22"), (second, b"")):
        inlet.on_frame(frame)
    intake.settle()
    assert sink.speakers == [one, one, other, one, other]
    assert (one.data_frames, other.data_frames) == (4, 3)


def test_a_feed_on_its_own_is_credited_with_everything() -> None:
    """Where frames go straight to the sink, all events since the last settling are the one feed's."""
    intake, sink, one, _ = rig()
    intake.turn_to(cast("Any", one))
    sink.on_frame(b"333")
    intake.settle()
    intake.settle()
    assert one.data_frames == 3


def test_events_of_before_are_nobody_s() -> None:
    """What the engine had taken in before is credited to no feed."""
    intake, _, one, _ = rig()
    Inlet(intake, cast("Any", one)).on_frame(b"")
    intake.settle()
    assert one.data_frames == 0
