"""The events of a recording that a topic is to be compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from msgspec import Struct

from k2.audit.oracle import Expected, NoRecordError, expected_record, is_no_trade, message_in

if TYPE_CHECKING:
    from k2.simulator.market import Frame
    from k2.simulator.recording import Recording


class RecordedEvents(Struct, frozen=True):
    """
    The events of one market and stream, each once.

    Attributes:
        events: The frames as they were sent, by the message_id of their record, in the order of the recording.
        symbols: What they are of.
        unpublishable: How many others there were that no record can be made of.
    """

    market: str
    stream: str
    events: dict[str, bytes]
    symbols: frozenset[str]
    unpublishable: int

    def expected(self, message_id: str) -> Expected:
        """The record of one of the events."""
        return expected_record(message_in(self.events[message_id])[1], self.market, self.stream)


def recorded_events(recording: Recording, market: str, stream: str, symbols: Collection[str] = ()) -> RecordedEvents:
    """The events of a recording that belong to this market and stream, of all symbols or of these."""
    events: dict[str, bytes] = {}
    found: set[str] = set()
    unpublishable = 0
    for recorded in recording.frames:
        frame = recorded.frame
        try:
            expected = _expected(frame.combined, market, stream) if _may_be_of(stream, frame) else None
        except NoRecordError:
            unpublishable += 1
            continue
        if expected is not None and (not symbols or expected.fields["symbol"] in symbols):
            events.setdefault(expected.message_id, frame.combined)  # what comes again is not published again
            found.add(expected.fields["symbol"])
    return RecordedEvents(market, stream, events, frozenset(found), unpublishable)


def stream_counts(recording: Recording) -> Counter[str]:
    """How many frames there are of each kind of stream, such as `trade` and `depth@100ms`."""
    return Counter(kind_of(recorded.frame.stream) for recorded in recording.frames)


def kind_of(stream_name: str) -> str:
    return stream_name.partition("@")[2]


def _may_be_of(stream: str, frame: Frame) -> bool:
    """Whether a closer look is worth it: the name was cut from the frame as it stands there, and letters may be escaped."""
    return kind_of(frame.stream) == stream or "\\" in frame.stream


def _expected(frame: bytes, market: str, stream: str) -> Expected | None:
    """The record of a frame; None for one of another stream, and for an event that is to make none."""
    name, event = message_in(frame)
    if kind_of(name) != stream or is_no_trade(event, market):
        return None
    expected = expected_record(event, market, stream)
    symbol = expected.fields["symbol"]
    if name != f"{symbol.lower()}@{stream}" or symbol != symbol.upper():
        raise NoRecordError(f"an event of {symbol} on the stream {name}")
    return expected
