"""What a recording came to: for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, to_builtins

from k2.recorder.counts import Count, Counts, total


class EndedBy(StrEnum):
    """What ended a recording."""

    SIGNAL = "signal"
    DURATION = "duration"
    MAX_SIZE = "max_size"
    OUTPUT = "output"  # it cannot be written any more
    EXCHANGE = "exchange"  # given up after too many failures


class Summary(Struct, frozen=True):
    """
    A recording as it ended.

    Attributes:
        output: The file, or `-`.
        output_bytes: Its size, with what was in it before.
        streams: What is in it of each stream, those that brought nothing included.
        dropped: What found no room because the output was too slow.
        unwritten: What had come and could not be written any more.
        odd: Frames that are neither JSON objects nor arrays, and the beginning of the first of them.
        joined: Frames that had line feeds, which became spaces.
        interruptions: How many connections were lost, by cause.
        refusals: The exchange's words by stream, where it refused to send one.
    """

    output: str
    ended_by: EndedBy
    duration_s: float
    output_bytes: int
    streams: Counts
    dropped: Counts
    unwritten: Count
    odd: int
    first_odd: str
    joined: int
    connections: int
    reconnections: int
    interruptions: Mapping[str, int]
    refusals: Mapping[str, str]

    @property
    def recorded(self) -> Count:
        return total(self.streams.values())

    @property
    def is_complete(self) -> bool:
        """Nothing is known to be missing."""
        return not (self.dropped or self.unwritten.frames or self.odd or self.interruptions or self.refusals)


def as_json(summary: Summary) -> dict[str, Any]:
    """All of it, with the sums."""
    fields: dict[str, Any] = to_builtins(summary)
    fields["duration_s"] = round(summary.duration_s, 3)
    fields["dropped"] = to_builtins(total(summary.dropped.values()))
    fields["dropped_streams"] = to_builtins(summary.dropped)
    recorded = summary.recorded
    return {"frames": recorded.frames, "frame_bytes": recorded.bytes, "complete": summary.is_complete, **fields}


def as_lines(summary: Summary) -> list[str]:
    """The sums, a line for each stream, and what is missing."""
    recorded = summary.recorded
    came = f"Recorded {recorded.frames:,} frames ({recorded.bytes:,} bytes) in {summary.duration_s:,.1f} s"
    return [
        f"{came}: {summary.output} has {summary.output_bytes:,} bytes.",
        *_stream_lines(summary.streams),
        *_missing(summary),
    ]


def _stream_lines(streams: Counts) -> Iterator[str]:
    for stream, counted in sorted(streams.items()):
        yield f"  {counted.frames:>12,}  {counted.bytes:>15,} bytes  {stream}"


def _missing(summary: Summary) -> Iterator[str]:
    if summary.interruptions:
        causes = ", ".join(f"{cause} {times}" for cause, times in sorted(summary.interruptions.items()))
        yield (
            f"Missing: what was sent while a connection was lost: {sum(summary.interruptions.values())} interruptions "
            f"({causes}), {summary.reconnections} reconnections."
        )
    if summary.dropped:
        dropped = total(summary.dropped.values())
        yield f"Missing: {dropped.frames:,} frames ({dropped.bytes:,} bytes) were dropped because the output was too slow."
    if summary.unwritten.frames:
        yield f"Missing: {summary.unwritten.frames:,} frames ({summary.unwritten.bytes:,} bytes) had come and were not written."
    if summary.odd:
        yield f"Left out: {summary.odd:,} frames that are no market data; the first one: {summary.first_odd}"
    if summary.joined:
        yield f"Changed: {summary.joined:,} frames had line feeds, which became spaces."
    for stream, error in sorted(summary.refusals.items()):
        yield f"Refused: {stream}: {error}"
