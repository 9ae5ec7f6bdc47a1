"""Recordings whose end is missing."""

from __future__ import annotations

import gzip
import io
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from k2.recorder.outputs import open_output
from k2.recorder.torn import Ending, ending_of, whole_lines_of
from unit.recorder.recording_parts import line, lines, member

MEMBERS = [member(lines(range(first, first + 40))) for first in range(0, 160, 40)]
WHOLE = b"".join(MEMBERS)
ENDS = [0, *accumulate(map(len, MEMBERS))]


@given(st.integers(0, len(WHOLE)), st.integers(0, 50))
def test_the_last_whole_member_is_found_wherever_a_file_was_cut(cut: int, zeros: int) -> None:
    """Also where a file system put zeros behind it, which belong to what is torn."""
    whole = max(end for end in ENDS if end <= cut)
    content = WHOLE[:cut] + b"\0" * (zeros if cut == whole else 0)
    assert ending_of(io.BytesIO(content)) == Ending(whole, len(content) - whole, ends_line=True)


@given(st.integers(0, len(MEMBERS[0])))
def test_the_lines_of_a_torn_member_are_whole_ones(cut: int) -> None:
    """From its beginning, without the one that was cut."""
    found = whole_lines_of(MEMBERS[0][:cut])
    assert found == lines(range(found.count(b"\n")))


@settings(max_examples=40)
@given(st.integers(0, len(WHOLE)))
def test_a_file_cut_anywhere_can_be_added_to(cut: int) -> None:
    """What could be read before can be read after, in order, and the new lines behind it."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "cut.gz")
        path.write_bytes(WHOLE[:cut])
        output, _ = open_output(path, append=True, most_bytes=None)
        output.write(line(9_999))
        output.close()
        content = gzip.decompress(path.read_bytes())
    kept = content.count(b"\n") - 1
    assert content == lines(range(kept)) + line(9_999)
    assert kept >= 40 * sum(end <= cut for end in ENDS[1:])
