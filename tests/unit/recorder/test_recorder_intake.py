"""What belongs into a recording, and how it gets there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.core.outcome import Control, ControlKind
from k2.recorder.counts import Count
from k2.recorder.intake import CHUNK_BYTES, MOST_UNASKED, NAMELESS, OTHERS, Chunk, Intake
from k2.recorder.pressure import Room
from unit.recorder.recording_parts import FIRST_NS, STREAM, frame

if TYPE_CHECKING:
    from collections.abc import Callable

ALL_MARKET = "!markPrice@arr@1s"


class Bench:
    """An intake whose surroundings are lists."""

    def __init__(self, most_bytes: int = 10**9) -> None:
        self.chunks: list[Chunk] = []
        self.controls: list[Control] = []
        self.scheduled: list[Callable[[], None]] = []
        self.turns_ended = self.waiting_bytes = 0
        self.now_s = 100.0
        self.intake = Intake(
            [STREAM, ALL_MARKET], self.chunks.append, lambda: self.waiting_bytes, self.controls.append, self._turn_ended,
            self.scheduled.append, room=Room(most_bytes=most_bytes), clock_ns=lambda: FIRST_NS, steady_s=lambda: self.now_s,
        )  # fmt: skip

    def _turn_ended(self) -> None:
        self.turns_ended += 1

    def take(self, *frames: bytes) -> list[bytes]:
        """The lines that these frames become."""
        for one in frames:
            self.intake.on_frame(one)
        self.intake.flush()
        return [line for chunk in self.chunks for line in chunk.lines]

    @property
    def counts(self) -> dict[str, Count]:
        return {stream: count for chunk in self.chunks for stream, count in chunk.counts.items()}


@pytest.mark.parametrize(
    ("given_frame", "stream"),
    [
        pytest.param(frame(1), STREAM, id="asked-for"),
        pytest.param(b'{"stream":"!markPrice@arr@1s","data":[{"s":"A"},{"s":"B"}]}', ALL_MARKET, id="all-market"),
        pytest.param(b'{"stream":"btcusdt@trade","data":', STREAM, id="truncated"),
        pytest.param(b'{"stream":"btcusdt@trade","data":"\xff\xfe"}', STREAM, id="not-utf8"),
        pytest.param(b'{ "data": {}, "stream": "btcusdt@trade" }', STREAM, id="another-order"),
        pytest.param(b'{"stream":"ethusdt@news","data":{}}', "ethusdt@news", id="not-asked-for"),
        pytest.param('{"stream":"币安人生usdt@trade","data":{}}'.encode(), "币安人生usdt@trade", id="unicode"),
        pytest.param(b'{"e":"trade","s":"BTCUSDT"}', NAMELESS, id="bare-event"),
        pytest.param(b"[]", NAMELESS, id="bare-array"),
    ],
)
def test_market_data_is_recorded_byte_for_byte(given_frame: bytes, stream: str) -> None:
    """Whatever the stream, the line is the time and the frame as it came, and the frame counts for its stream."""
    bench = Bench()
    assert bench.take(given_frame) == [b"%d %b\n" % (FIRST_NS, given_frame)]
    assert bench.counts == {stream: Count(1, len(given_frame))}
    assert (bench.intake.received, bench.intake.odd, bench.controls) == (1, 0, [])


@pytest.mark.parametrize(
    ("given_frame", "kind"),
    [
        pytest.param(b'{"result":null,"id":1}', ControlKind.ACKNOWLEDGED, id="acknowledgement"),
        pytest.param(b'{"error":{"code":2,"msg":"no"},"id":1}', ControlKind.REFUSED, id="refusal"),
        pytest.param(b'{"stream":"x","data":{"e":"serverShutdown","E":1}}', ControlKind.SERVER_SHUTDOWN, id="shutdown"),
    ],
)
def test_the_protocol_is_left_out(given_frame: bytes, kind: ControlKind) -> None:
    """It goes to the feeds, and is neither recorded nor counted as market data."""
    bench = Bench()
    assert bench.take(given_frame) == []
    assert [control.kind for control in bench.controls] == [kind]
    assert (bench.intake.received, bench.intake.odd) == (0, 0)


@pytest.mark.parametrize("given_frame", [b"", b"garbage", b"42", b"null", bytes(range(256))])
def test_what_is_no_market_data_is_left_out_and_counted(given_frame: bytes) -> None:
    """Neither an object nor an array: the beginning of the first such frame is kept for the summary."""
    bench = Bench()
    assert bench.take(given_frame, b"false") == []
    assert bench.intake.odd == 2
    assert bench.intake.first_odd == repr(given_frame[:100])


@given(st.binary(max_size=80), st.booleans())
def test_any_frame_is_one_line_or_none(content: bytes, usual: bool) -> None:
    """Never raises, and never makes two lines of a frame."""
    bench = Bench()
    given_frame = b'{"stream":"btcusdt@trade","data":' + content + b"}" if usual else content
    made = bench.take(given_frame)
    assert len(made) == bench.intake.received
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in made)
    assert usual <= (made == [b"%d %b\n" % (FIRST_NS, given_frame.replace(b"\n", b" "))])


def test_a_line_feed_in_a_frame_becomes_a_space_and_is_counted() -> None:
    """White space is white space in JSON, and a line is a line."""
    bench = Bench()
    [line] = bench.take(b'{"stream":"btcusdt@trade",\n"data":{}}')
    assert line.endswith(b'{"stream":"btcusdt@trade", "data":{}}\n')
    assert bench.intake.joined == 1


def test_a_full_chunk_is_handed_on_at_once() -> None:
    """Not only when its time has come."""
    bench = Bench()
    large = b'{"stream":"btcusdt@trade","data":"' + b"x" * CHUNK_BYTES + b'"}'
    bench.intake.on_frame(large)
    assert [chunk.counts for chunk in bench.chunks] == [{STREAM: Count(1, len(large))}]
    assert bench.intake.waiting_bytes == 0


def test_lines_are_handed_on_once_the_oldest_is_old_enough() -> None:
    """The age counts from the chunk's first line."""
    bench = Bench()
    bench.intake.on_frame(frame(1))
    bench.now_s += 0.5
    bench.intake.on_frame(frame(2))
    bench.intake.flush(0.7)
    assert bench.chunks == []
    bench.now_s += 0.25
    bench.intake.flush(0.7)
    assert [len(chunk.lines) for chunk in bench.chunks] == [2]
    bench.intake.flush()
    assert len(bench.chunks) == 1


def test_what_finds_no_room_is_dropped_and_counted_by_stream() -> None:
    """Older frames are kept, and new ones are taken again once there is room."""
    size = len(frame(1))
    bench = Bench(most_bytes=1_000)
    bench.waiting_bytes = 1_000 - size + 1
    bench.intake.on_frame(frame(1))
    bench.waiting_bytes = 0
    assert bench.take(frame(2)) == [b"%d %b\n" % (FIRST_NS, frame(2))]
    assert bench.intake.dropped == {STREAM: Count(1, size)}
    assert bench.intake.received == 2  # the connection brings data, whatever becomes of it


def test_names_that_nobody_asked_for_are_bounded() -> None:
    """A server that makes up names does not fill the memory; its frames are recorded all the same."""
    bench = Bench()
    made = bench.take(*(frame(0, f"s{number}@x") for number in range(MOST_UNASKED + 5)))
    assert len(made) == MOST_UNASKED + 5
    assert len(bench.counts) == MOST_UNASKED + 1
    assert bench.counts[OTHERS].frames == 5


def test_a_read_ends_once_however_many_frames_it_brought() -> None:
    """The end of the turn is scheduled with its first frame."""
    bench = Bench()
    bench.take(frame(1), frame(2), b"garbage")
    [end] = bench.scheduled
    end()
    assert bench.turns_ended == 1
    bench.take(frame(3))
    assert len(bench.scheduled) == 2
