"""
What comes from the exchange, made into lines: which frames belong into a recording, when each came, how many of each stream.

Market data of any stream does, byte for byte. The exchange's own protocol (answers to requests, announcements) does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from msgspec import Struct, field

from k2.ingestion.core.outcome import Control, DeadLetter, Stage
from k2.ingestion.core.pipeline import Pipeline, name_at_head
from k2.recorder.counts import Counts, count
from k2.recorder.pressure import Room

CHUNK_BYTES = 1024 * 1024  # compresses as well as any larger piece
MOST_UNASKED = 1_000  # beyond these, streams that nobody asked for are counted together
OTHERS, NAMELESS = "(others)", "(no name)"
_SHOWN_BYTES = 100
_OPENINGS = (b"{", b"[")


class Chunk(Struct):
    """Some lines on their way to the disk, and what they hold. `began_s` is when the first one came, by a steady clock."""

    began_s: float = 0.0
    lines: list[bytes] = field(default_factory=list)
    bytes: int = 0
    counts: Counts = field(default_factory=dict)


class Intake:
    """
    The feed's sink. Lines gather in a chunk, and whole chunks are handed on.

    Args:
        streams: What was asked for, by name.
        hand_on: Takes a chunk on its way. Must not wait.
        waiting_bytes: How much of what was handed on is not written yet.
        on_control: Hears of the exchange's protocol.
        at_turn_end: Is called after every read of a socket.
        schedule: Puts a call at the end of the loop's turn (`loop.call_soon`).
        clock_ns: Local time since the Unix epoch. `steady_s` is any steady clock, in seconds.
    """

    def __init__(
        self,
        streams: Iterable[str],
        hand_on: Callable[[Chunk], None],
        waiting_bytes: Callable[[], int],
        on_control: Callable[[Control], None],
        at_turn_end: Callable[[], None],
        schedule: Callable[[Callable[[], None]], object],
        *,
        room: Room,
        clock_ns: Callable[[], int] = time.time_ns,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = {stream.encode(): stream for stream in streams}
        self._most_names = len(self._names) + MOST_UNASKED
        self._hand_on, self._waiting_bytes, self._on_control = hand_on, waiting_bytes, on_control
        self._at_turn_end, self._schedule = at_turn_end, schedule
        self._most_bytes, self._clock_ns, self._steady_s = room.most_bytes, clock_ns, steady_s
        self._protocol = Pipeline({})
        self._in_turn = False
        self._chunk = Chunk()
        self.received = self.odd = self.joined = 0
        self.first_odd = ""
        self.dropped: Counts = {}

    @property
    def waiting_bytes(self) -> int:
        """How much is not on the disk yet."""
        return self._waiting_bytes() + self._chunk.bytes

    def on_frame(self, frame: bytes, /) -> None:
        """Take one frame: into the recording, or to those whom it concerns."""
        at_ns = self._clock_ns()
        if not self._in_turn:
            self._in_turn = True
            self._schedule(self._end_turn)
        stream = self._names.get(name_at_head(frame)) or self._judge(frame)
        if stream:
            self.received += 1
            self._take(stream, at_ns, frame)

    def flush(self, younger_than_s: float = 0.0) -> None:
        """Hand on what has gathered, unless the oldest of it is younger than this."""
        chunk = self._chunk
        if chunk.lines and self._steady_s() - chunk.began_s >= younger_than_s:
            self._chunk = Chunk()
            self._hand_on(chunk)

    def _end_turn(self) -> None:
        self._in_turn = False
        self._at_turn_end()

    def _take(self, stream: str, at_ns: int, frame: bytes) -> None:
        if self.waiting_bytes + len(frame) > self._most_bytes:
            count(self.dropped, stream, len(frame))
            return
        if b"\n" in frame:  # a frame is a line; in JSON a line feed is but white space
            frame = frame.replace(b"\n", b" ")
            self.joined += 1
        chunk = self._chunk
        if not chunk.lines:
            chunk.began_s = self._steady_s()
        line = b"%d %b\n" % (at_ns, frame)
        chunk.lines.append(line)
        chunk.bytes += len(line)
        count(chunk.counts, stream, len(frame))
        if chunk.bytes >= CHUNK_BYTES:
            self.flush()

    def _judge(self, frame: bytes) -> str:
        """The slow way: the stream of a frame that is not of the usual kind; empty for one that does not belong here."""
        for outcome in self._protocol.process(frame, 0):
            if isinstance(outcome, Control):
                self._on_control(outcome)
                return ""
            if isinstance(outcome, DeadLetter) and (outcome.stage is Stage.DECODE or frame.lstrip()[:1] not in _OPENINGS):
                self.odd += 1
                self.first_odd = self.first_odd or repr(frame[:_SHOWN_BYTES])
                return ""
            if isinstance(outcome, DeadLetter) and outcome.stream:
                return self._admit(outcome.stream)
        return NAMELESS

    def _admit(self, stream: str) -> str:
        """A stream that nobody asked for. Its name is learnt, within bounds."""
        name = stream.encode(errors="replace")
        if name not in self._names and len(self._names) >= self._most_names:
            return OTHERS
        return self._names.setdefault(name, stream)
