"""The thread that writes."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING

import pytest

from k2.recorder.counts import Count
from k2.recorder.outputs import open_output
from k2.recorder.writer import Writer
from k2.simulator.recording import load
from unit.recorder.recording_parts import STREAM, ScriptedOutput, chunk, frame, lines

if TYPE_CHECKING:
    from pathlib import Path

FULL = OSError(errno.ENOSPC, "No space left on device")


def run(output: ScriptedOutput) -> tuple[Writer, list[str]]:
    """Hand on three chunks of two frames each, and finish. Returns the writer and how often it said that it is over."""
    ends: list[str] = []
    writer = Writer(output, lambda: ends.append("over"))
    for first in (0, 2, 4):
        writer.hand_on(chunk([first, first + 1]))
    assert writer.finish(10)
    return writer, ends


def test_everything_is_written_in_order() -> None:
    """Counted by stream, and the output is closed."""
    output = ScriptedOutput()
    writer, ends = run(output)
    assert b"".join(output.taken) == lines(range(6))
    assert writer.written == {STREAM: Count(6, sum(len(frame(number)) for number in range(6)))}
    assert (writer.unwritten, writer.waiting_bytes, ends, output.is_closed) == (Count(), 0, [], True)


@pytest.mark.parametrize("answer", [FULL, False])
def test_nothing_is_written_after_what_could_not_be(answer: bool | OSError) -> None:
    """No hole in the recording; what is missing at its end is counted, and the recorder is told once."""
    output = ScriptedOutput(True, answer)
    writer, ends = run(output)
    assert b"".join(output.taken) == lines(range(2))
    assert writer.written[STREAM].frames == 2
    assert writer.unwritten.frames == 4
    assert (writer.fault, writer.is_full) == ((FULL, False) if answer else (None, True))
    assert (ends, output.is_closed) == (["over"], True)


def test_a_fault_at_the_end_is_a_fault() -> None:
    """The system may say only then that it could not keep what it took."""
    writer, _ = run(ScriptedOutput(closing=FULL))
    assert writer.fault is FULL


def test_an_output_that_hangs_is_given_up() -> None:
    """What it did not take counts as not written, and meanwhile as waiting."""
    output = ScriptedOutput()
    output.may_go_on.clear()
    writer = Writer(output, lambda: None)
    writer.hand_on(chunk([1, 2]))
    assert writer.waiting_bytes == len(lines([1, 2]))
    assert not writer.finish(0.01)
    assert writer.unwritten.frames == 2
    output.may_go_on.set()
    assert writer.finish(10)


def test_the_simulator_plays_what_was_written(tmp_path: Path) -> None:
    """Every frame as it came, also of a file that was written in several pieces."""
    path = tmp_path / "new.gz"
    writer = Writer(open_output(path, append=False, most_bytes=None)[0], threading.Event().set)
    for first in range(0, 30, 10):
        writer.hand_on(chunk(range(first, first + 10)))
    assert writer.finish(10)
    recording = load(path)
    assert [recorded.frame.combined for recorded in recording.frames] == [frame(number) for number in range(30)]
    assert recording.odd_lines == 0
