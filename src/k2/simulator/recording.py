"""
Reads recordings of real connections. Two formats, told apart by their first bytes:

- gzip, one frame a line: `<local nanoseconds> <frame>`; a line may hold a REST order-book snapshot instead;
- plain text: the first line is the URL that was dialled, then `<local seconds>: <frame>`.

Frames stay the bytes that were received. What is neither a frame nor a snapshot is counted and left out.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from k2.errors import ConfigurationError
from k2.simulator.market import TRADE_KINDS, Frame, Venue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK_BYTES = 1 << 16  # what a block holds of later members is copied: a recorder makes more than one a second
_FRAME_HEAD = b'{"stream":'
_URL = re.compile(rb"wss?://")
_SNAPSHOT_HEAD = b'{"lastUpdateId":'
_FUTURES_SIGNS = (b'"pu":', b'"e":"bookTicker"', b'"X":', b'"nq":', b'"st":')  # fields that spot never sends
_FRAMES_TO_JUDGE = 200


class RecordedFrame(Struct, frozen=True, gc=False):
    """A frame with its time since the first one, and the id where it is a trade or an aggregated trade (else -1)."""

    offset_s: float
    frame: Frame
    trade_id: int = -1


class Recording(Struct, frozen=True):
    """
    A recording in memory.

    Attributes:
        first_event_ms: The exchange's time of the first frame that has one, or the local time without any.
        snapshots: Order books as REST answered them, by symbol.
        odd_lines: How many lines were neither a frame nor a snapshot.
    """

    venue: Venue
    frames: tuple[RecordedFrame, ...]
    first_event_ms: int
    snapshots: dict[str, bytes]
    odd_lines: int

    @property
    def streams(self) -> list[str]:
        return list(dict.fromkeys(recorded.frame.stream for recorded in self.frames))

    @property
    def symbols(self) -> list[str]:
        named = (stream.partition("@")[0].upper() for stream in self.streams)
        return list(dict.fromkeys(symbol for symbol in named if not symbol.startswith("!")))


class _Id(Struct, gc=False):
    a: int = -1
    t: int = -1


class _Line(Struct, gc=False):
    at_s: float
    body: bytes


_decode_id = msgspec.json.Decoder(_Id).decode


def load(path: Path, venue: Venue | None = None, *, option: str = "--recording") -> Recording:
    """
    Read a recording whole.

    Args:
        venue: Which market it is of; judged by its frames where None.
        option: What named the file, for complaints about it.

    Raises:
        ConfigurationError: the file cannot be read or holds no frame.
    """
    lines = [line for line in _bytes_of(path, option).split(b"\n") if line.strip() and not _URL.match(line)]
    parsed = [parsed for line in lines if (parsed := _parse(line)) is not None]
    frames = tuple(_recorded(parsed))
    if not frames:
        raise ConfigurationError(f"{option} {path}: no frames in it; expected lines of `<ns> <frame>` or `<s>: <frame>`")
    snapshots = [line.body for line in parsed if line.body.startswith(_SNAPSHOT_HEAD)]
    judged = venue or _judge([recorded.frame for recorded in frames[:_FRAMES_TO_JUDGE]])
    first_event_ms = _first_event_ms(frames) or int(parsed[0].at_s * 1_000)
    return Recording(judged, frames, first_event_ms, _by_symbol(snapshots, frames), len(lines) - len(parsed))


def _bytes_of(path: Path, option: str) -> bytes:
    try:
        content = path.read_bytes()
        return _unpacked(content) if content.startswith(_GZIP_MAGIC) else content
    except (OSError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{option} {path}: cannot be read: {why}") from error


def _unpacked(content: bytes) -> bytes:
    """What a file of gzip members holds. One that was torn off is read as far as it goes: its writer was killed."""
    text, at = bytearray(), 0
    while content.startswith(_GZIP_MAGIC, at):
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        while not member.eof and at < len(content):
            block = content[at : at + _BLOCK_BYTES]
            text += member.decompress(block)
            at += len(block) - len(member.unused_data)
    return bytes(text)


def _parse(line: bytes) -> _Line | None:
    """Time and content of a line, or None for one that has not the form of either."""
    time, _, body = line.partition(b" ")
    if not body.startswith((_FRAME_HEAD, _SNAPSHOT_HEAD)) or not body.rstrip().endswith(b"}"):
        return None
    try:
        return _Line(float(time[:-1]) if time.endswith(b":") else int(time) / 1e9, body.rstrip(b"\r"))
    except ValueError:
        return None


def _recorded(lines: Iterable[_Line]) -> Iterator[RecordedFrame]:
    first_s: float | None = None
    for line in lines:
        first_s = line.at_s if first_s is None else first_s
        if (frame := _frame(line.body)) is not None:
            yield RecordedFrame(line.at_s - first_s, frame, trade_id(frame))


def _frame(body: bytes) -> Frame | None:
    """The frame in a line; None for a snapshot, or for an envelope without its parts."""
    if not body.startswith(_FRAME_HEAD):
        return None
    opening = body.find(b'"', len(_FRAME_HEAD))
    closing = body.find(b'"', opening + 1)
    data_key = body.find(b'"data":', closing)
    if min(opening, closing, data_key) < 0:
        return None
    return Frame(body[opening + 1 : closing].decode(errors="replace"), body, data_key + len(b'"data":'))


def trade_id(frame: Frame) -> int:
    """The exchange's id of a trade or an aggregated trade; -1 for every other frame."""
    if frame.stream.partition("@")[2] not in TRADE_KINDS:
        return -1
    try:
        ids = _decode_id(frame.raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return -1
    return max(ids.a, ids.t)


def _judge(frames: list[Frame]) -> Venue:
    return "usdm" if any(sign in frame.combined for frame in frames for sign in _FUTURES_SIGNS) else "spot"


def _first_event_ms(frames: Iterable[RecordedFrame]) -> int | None:
    for recorded in frames:
        _, found, rest = recorded.frame.combined.partition(b'"E":')
        if found and (digits := rest.partition(b",")[0].rstrip(b"}")).isdigit():
            return int(digits)
    return None


def _by_symbol(snapshots: list[bytes], frames: Iterable[RecordedFrame]) -> dict[str, bytes]:
    """A snapshot does not name its symbol: it belongs to the one whose order book is recorded. The first one counts."""
    if not snapshots:
        return {}
    streams = [recorded.frame.stream for recorded in frames]
    owner = next((stream for stream in streams if "@depth" in stream), streams[0])
    return {owner.partition("@")[0].upper(): snapshots[0]}
