"""Files and pipes that recordings go to."""

from __future__ import annotations

import errno
import gzip
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from k2.errors import ConfigurationError
from k2.recorder.outputs import Output, PlainLines, open_output
from unit.recorder.recording_parts import line, lines, member

if TYPE_CHECKING:
    from pathlib import Path


def test_the_file_is_whole_after_every_write(tmp_path: Path) -> None:
    """What was written can be read while the recorder goes on, and its size is told."""
    path = tmp_path / "new.gz"
    output, told = open_output(path, append=False, most_bytes=None)
    for number in range(3):
        assert output.write(line(number))
        assert gzip.decompress(path.read_bytes()) == lines(range(number + 1))
        assert output.size_bytes == path.stat().st_size
    output.close()
    assert told == ""


def test_a_file_that_stayed_empty_goes_away(tmp_path: Path) -> None:
    """The next attempt finds nothing in its way."""
    output, _ = open_output(tmp_path / "new.gz", append=False, most_bytes=None)
    output.close()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_of_somebody_else_stays(tmp_path: Path) -> None:
    """What was there before is not ours to remove."""
    path = tmp_path / "old.gz"
    path.touch()
    output, _ = open_output(path, append=True, most_bytes=None)
    output.close()
    assert path.exists()


def test_a_member_that_could_only_be_written_in_part_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves what was written before, whole."""
    path = tmp_path / "new.gz"
    output, _ = open_output(path, append=False, most_bytes=None)
    output.write(line(1))
    room, write = [10, 0], os.write

    def write_a_little(descriptor: int, data: bytes) -> int:
        if not (left := room.pop(0)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:left])

    monkeypatch.setattr(os, "write", write_a_little)
    with pytest.raises(OSError, match="No space left"):
        output.write(line(2))
    monkeypatch.undo()
    assert gzip.decompress(path.read_bytes()) == line(1)
    output.close()


@pytest.mark.parametrize("plain", [False, True])
def test_nothing_is_written_beyond_the_largest_size(tmp_path: Path, plain: bool) -> None:
    """The piece that would pass it is not written at all."""
    path = tmp_path / "new"
    most_bytes = len(line(1)) if plain else len(member(line(1)))
    if plain:
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
        output: Output = PlainLines(descriptor, most_bytes=most_bytes)
    else:
        output, _ = open_output(path, append=False, most_bytes=most_bytes)
    assert [output.write(line(number)) for number in (1, 2)] == [True, False]
    output.close()
    assert path.stat().st_size == most_bytes == output.size_bytes
    if plain:
        os.close(descriptor)


def test_plain_lines_go_through_a_pipe_that_does_not_wait() -> None:
    """Standard output may be non-blocking, and still takes everything."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    output, text = PlainLines(writing), lines(range(3_000))
    with ThreadPoolExecutor() as threads, os.fdopen(reading, "rb") as pipe:
        written = threads.submit(output.write, text)
        assert pipe.read(len(text)) == text
        assert written.result(10)
    os.close(writing)


def test_appending_goes_on_where_the_file_ended(tmp_path: Path) -> None:
    """Old lines and new ones are one recording."""
    path = tmp_path / "old.gz"
    path.write_bytes(member(lines([1, 2])))
    output, told = open_output(path, append=True, most_bytes=None)
    output.write(line(3))
    output.close()
    assert gzip.decompress(path.read_bytes()) == lines([1, 2, 3])
    assert told == ""


def test_a_file_that_does_not_end_its_line_gets_the_line_ended(tmp_path: Path) -> None:
    """Two frames never share a line."""
    path = tmp_path / "old.gz"
    path.write_bytes(member(line(1).rstrip()))
    output, _ = open_output(path, append=True, most_bytes=None)
    output.write(line(2))
    output.close()
    assert gzip.decompress(path.read_bytes()) == lines([1, 2])


def test_a_torn_end_is_mended_and_its_bytes_are_kept(tmp_path: Path) -> None:
    """The lines that can be read stay in the recording, and what is replaced lies beside it."""
    path = tmp_path / "old.gz"
    whole, torn = member(lines(range(5))), member(lines(range(5, 2_000)))[:-500]
    path.write_bytes(whole + torn)
    output, told = open_output(path, append=True, most_bytes=None)
    output.write(line(9_999))
    output.close()
    content = gzip.decompress(path.read_bytes())
    kept = content.count(b"\n") - 6
    assert kept > 1_000
    assert content == lines(range(5 + kept)) + line(9_999)
    assert (tmp_path / "old.gz.torn").read_bytes() == torn
    assert f"{kept:,} lines there can be read and are kept" in told


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(b"wss://x\n1.5: {}\n", "from byte 0 on it is not what gzip writes", id="plain"),
        pytest.param(gzip.compress(b"this is quite another sort of file"), "its lines are not", id="foreign"),
        pytest.param(member(line(1)) + b"\0\0" + member(line(2)), "there are zeros in the middle", id="zeros"),
        pytest.param(member(line(1)) + b"xyz", "from byte", id="garbage"),
    ],
)
def test_what_is_no_recording_is_not_added_to(tmp_path: Path, content: bytes, complaint: str) -> None:
    """It is refused, and stays as it was."""
    path = tmp_path / "other.gz"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="--append") as refusal:
        open_output(path, append=True, most_bytes=None)
    assert complaint in str(refusal.value)
    assert path.read_bytes() == content


def test_bytes_kept_from_an_earlier_time_are_not_overwritten(tmp_path: Path) -> None:
    """The recording is not touched either."""
    path, beside = tmp_path / "old.gz", tmp_path / "old.gz.torn"
    path.write_bytes(member(line(1)) + member(line(2))[:10])
    beside.write_bytes(b"earlier")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="in the way"):
        open_output(path, append=True, most_bytes=None)
    assert (path.read_bytes(), beside.read_bytes()) == (before, b"earlier")


@pytest.mark.parametrize(
    ("name", "append", "complaint"),
    [
        pytest.param("there.gz", False, "exists already", id="exists"),
        pytest.param("no/such.gz", False, "No such file or directory", id="directory"),
        pytest.param("directory", True, "Is a directory", id="is-directory"),
        pytest.param("fifo", True, "not a file", id="fifo"),
    ],
)
def test_an_output_that_cannot_be_is_a_line(tmp_path: Path, name: str, append: bool, complaint: str) -> None:
    """It names --output and the file."""
    (tmp_path / "there.gz").write_bytes(b"mine")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigurationError, match=f"--output {tmp_path / name}: .*{complaint}"):
        open_output(tmp_path / name, append=append, most_bytes=None)
    assert (tmp_path / "there.gz").read_bytes() == b"mine"


def test_two_recorders_do_not_share_a_file(tmp_path: Path) -> None:
    """The second one is told who is in the way."""
    path = tmp_path / "new.gz"
    output, _ = open_output(path, append=False, most_bytes=None)
    with pytest.raises(ConfigurationError, match="another recorder is writing it"):
        open_output(path, append=True, most_bytes=None)
    output.close()
