"""How many frames of which stream, and how many bytes they had."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct


class Count(Struct):
    frames: int = 0
    bytes: int = 0


Counts = dict[str, Count]


def count(counts: Counts, stream: str, frame_bytes: int) -> None:
    """Count one frame."""
    counted = counts.get(stream)
    if counted is None:
        counted = counts[stream] = Count()
    counted.frames += 1
    counted.bytes += frame_bytes


def add(counts: Counts, others: Counts) -> None:
    """Count all of `others` as well."""
    for stream, other in others.items():
        counted = counts.setdefault(stream, Count())
        counted.frames += other.frames
        counted.bytes += other.bytes


def total(counts: Iterable[Count]) -> Count:
    listed = list(counts)
    return Count(sum(one.frames for one in listed), sum(one.bytes for one in listed))
