"""The journal against real files: whole lines, shared by processes, durable, and honest when the disk refuses."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from k2.ingestion.adapters import journal as journal_module
from k2.ingestion.adapters.journal import DailyJournal, JournalUnwritableError, read_lines, size_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY_S = 86_400.0
THREE_LINES = b'{"n":1}\n{"n":22}\n{"n":333}\n'

WRITER = """
import json, sys
from pathlib import Path
from k2.ingestion.adapters.journal import DailyJournal

journal = DailyJournal(Path(sys.argv[1]), "binance", clock=lambda: 0.0)
for n in range(int(sys.argv[3])):
    journal.append([json.dumps({"writer": sys.argv[2], "n": n, "pad": "x" * 5000}).encode()] * 2)
    if n == 0:
        print("writing", flush=True)
"""

NEARLY_FULL = """
import resource, signal, sys
from pathlib import Path
from k2.ingestion.adapters.journal import DailyJournal, JournalUnwritableError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = DailyJournal(Path(sys.argv[1]), "binance", clock=lambda: 0.0)
journal.append([b"kept"])
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    journal.append([b"fits", b"y" * 200])
except JournalUnwritableError as error:
    print(error.cause)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append([b"after"])
"""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[DailyJournal]:
    with_a_fixed_day = DailyJournal(tmp_path / "dlq", "binance", clock=lambda: 0.0, lock_timeout_s=0.05)
    yield with_a_fixed_day
    with_a_fixed_day.close()


def lines_of(path: Path) -> list[bytes]:
    return [line for _, line in read_lines(path)]


def test_name_carries_the_utc_day(tmp_path: Path) -> None:
    """Lines of one UTC day share a file, and the first one after midnight opens the next."""
    now_s = [DAY_S - 0.001]
    journal = DailyJournal(tmp_path, "binance", clock=lambda: now_s[0])
    journal.append([b"old"])
    now_s[0] = DAY_S
    journal.append([b"new"])
    journal.close()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "binance-19700101.jsonl": b"old\n",
        "binance-19700102.jsonl": b"new\n",
    }


def test_only_the_owner_may_read(journal: DailyJournal) -> None:
    """The directory is made with 0700 and its files with 0600."""
    journal.append([b"a"])
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (journal.directory, journal.path)]
    assert modes == [0o700, 0o600]


def test_append_syncs_once_per_batch(journal: DailyJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many lines a batch has, it is made durable with one fsync."""
    journal.prepare()
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    journal.append([b"a"] * 100)
    assert len(synced) == 1


def test_line_feed_inside_a_line_is_refused(journal: DailyJournal) -> None:
    """A line that would become two is the caller's mistake, and nothing is written."""
    with pytest.raises(ValueError, match="line feed"):
        journal.append([b"good", b"ba\nd"])
    assert not journal.directory.exists()


@pytest.mark.parametrize("cut_at", range(len(THREE_LINES) + 1))
def test_torn_tail_is_ended_and_never_cut(journal: DailyJournal, cut_at: int) -> None:
    """Wherever a crash cut the file, its bytes stay, and the next line begins on a line of its own."""
    torn = THREE_LINES[:cut_at]
    journal.directory.mkdir()
    journal.path.write_bytes(torn)
    journal.append([b'{"n":4}'])
    content = journal.path.read_bytes()
    assert content.startswith(torn)
    assert content.split(b"\n")[-2:] == [b'{"n":4}', b""]
    assert len(content.splitlines()) == len(torn.splitlines()) + 1


def test_torn_tail_appearing_between_appends_is_ended(journal: DailyJournal) -> None:
    """A neighbour killed in mid-write does not spoil our next line."""
    journal.append([b"one"])
    with journal.path.open("ab") as neighbour:
        neighbour.write(b'{"tor')
    journal.append([b"two"])
    assert lines_of(journal.path) == [b"one", b'{"tor', b"two"]


def test_prepare_ends_a_torn_tail(journal: DailyJournal) -> None:
    """A tail left by the last run is ended at the start."""
    journal.directory.mkdir()
    journal.path.write_bytes(b"torn")
    journal.prepare()
    assert journal.path.read_bytes() == b"torn\n"


def test_renamed_file_is_left_alone(journal: DailyJournal) -> None:
    """After logrotate renamed the file, lines go to a new one under the old name."""
    journal.append([b"before"])
    rotated = journal.path.rename(journal.directory / "rotated")
    journal.append([b"after"])
    assert (rotated.read_bytes(), journal.path.read_bytes()) == (b"before\n", b"after\n")


@pytest.mark.parametrize("whole_directory", [False, True])
def test_removed_file_is_made_again(journal: DailyJournal, *, whole_directory: bool) -> None:
    """A cleaner that removes the file, or the directory with it, costs no line written afterwards."""
    journal.append([b"before"])
    journal.path.unlink()
    if whole_directory:
        journal.directory.rmdir()
    journal.append([b"after"])
    assert journal.path.read_bytes() == b"after\n"


def test_truncated_file_goes_on_at_its_new_end(journal: DailyJournal) -> None:
    """After logrotate's copytruncate no hole of zero bytes appears."""
    journal.append([b"before"])
    os.truncate(journal.path, 0)
    journal.append([b"after"])
    assert journal.path.read_bytes() == b"after\n"


def test_symbolic_link_is_refused(journal: DailyJournal, tmp_path: Path) -> None:
    """A link planted under the file's name is not followed, and the error says what it is."""
    journal.directory.mkdir()
    target = tmp_path / "precious"
    target.write_bytes(b"mine")
    journal.path.symlink_to(target)
    with pytest.raises(JournalUnwritableError, match="symbolic link"):
        journal.append([b"a"])
    assert target.read_bytes() == b"mine"


def test_fifo_is_refused(journal: DailyJournal) -> None:
    """A FIFO under the file's name neither blocks nor swallows lines."""
    journal.directory.mkdir()
    os.mkfifo(journal.path)
    with pytest.raises(JournalUnwritableError, match="not a regular file"):
        journal.append([b"a"])


def test_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """Where no directory can be, the error names the path."""
    (tmp_path / "dlq").write_bytes(b"")
    journal = DailyJournal(tmp_path / "dlq" / "deeper", "binance")
    with pytest.raises(JournalUnwritableError, match=r"dlq/deeper/binance-\d{8}\.jsonl"):
        journal.prepare()


def test_lock_held_by_a_stopped_neighbour_is_reported(journal: DailyJournal) -> None:
    """A lock that is never given back ends in an error instead of hanging us, and the line can be written later."""
    journal.prepare()
    with journal.path.open("rb") as neighbour:
        fcntl.flock(neighbour, fcntl.LOCK_EX)
        with pytest.raises(JournalUnwritableError, match="held its lock"):
            journal.append([b"a"])
    journal.append([b"a"])
    assert lines_of(journal.path) == [b"a"]


def test_full_device_refuses_with_the_systems_reason() -> None:
    """ENOSPC comes out of the append, which then takes nothing for written."""
    full = os.open("/dev/full", os.O_RDWR | os.O_APPEND)
    try:
        with pytest.raises(OSError, match="No space left") as caught:
            journal_module._append_durably(full, b"line\n")
    finally:
        os.close(full)
    assert caught.value.errno == errno.ENOSPC


def test_failed_sync_takes_the_lines_back(journal: DailyJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that could not be made durable are not in the file, so that writing them again does not double them."""
    journal.append([b"durable"])
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _refuse)
        with pytest.raises(JournalUnwritableError, match="Input/output error"):
            journal.append([b"lost"])
    journal.append([b"lost"])
    assert lines_of(journal.path) == [b"durable", b"lost"]


def _refuse(_fd: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_short_write_leaves_no_part_of_the_batch(tmp_path: Path) -> None:
    """A batch that the disk takes half of is taken back whole, and the next append works."""
    run = subprocess.run([sys.executable, "-c", NEARLY_FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "File too large"
    assert (tmp_path / "binance-19700101.jsonl").read_bytes() == b"kept\nafter\n"


def test_two_processes_share_one_file(tmp_path: Path) -> None:
    """Lines of concurrent writers are all there, whole, and in each writer's order."""
    writers = [_start_writer(tmp_path, name, 100) for name in "ab"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    documents = [json.loads(line) for line in lines_of(tmp_path / "binance-19700101.jsonl")]
    for name in "ab":
        assert [document["n"] for document in documents if document["writer"] == name] == [n for n in range(100) for _ in "12"]


def test_killed_writer_leaves_whole_lines(tmp_path: Path) -> None:
    """After kill -9 in the middle of writing, at most the last line is torn, and the next append ends it."""
    path = tmp_path / "binance-19700101.jsonl"
    for _ in range(5):
        writer = _start_writer(tmp_path, "doomed", 1_000_000)
        time.sleep(0.02)
        writer.send_signal(signal.SIGKILL)
        writer.wait(timeout=10)
    journal = DailyJournal(tmp_path, "binance", clock=lambda: 0.0)
    journal.append([b'{"writer":"next"}'])
    journal.close()
    whole = [line for line in lines_of(path) if line.endswith(b"}")]
    assert json.loads(whole[-1]) == {"writer": "next"}
    assert all(json.loads(line) for line in whole)
    assert len(lines_of(path)) - len(whole) <= 5


def _start_writer(directory: Path, name: str, count: int) -> subprocess.Popen[str]:
    """Start a writer and return once its first batch is on the disk."""
    command = [sys.executable, "-c", WRITER, str(directory), name, str(count)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    with writer.stdout as output:
        assert output.readline() == "writing\n"
    return writer


def test_stored_bytes_counts_all_days(tmp_path: Path) -> None:
    """The gauge covers the files of earlier days, and no others."""
    (tmp_path / "binance-19691231.jsonl").write_bytes(b"12345")
    (tmp_path / "other-19691231.jsonl").write_bytes(b"123456789")
    journal = DailyJournal(tmp_path, "binance", clock=lambda: 0.0)
    journal.append([b"678"])
    journal.close()
    assert journal.stored_bytes() == 5 + 4


def test_stored_bytes_of_no_directory_is_zero(tmp_path: Path) -> None:
    """A directory that is not there yet holds nothing."""
    assert DailyJournal(tmp_path / "absent", "binance").stored_bytes() == 0


def test_lines_are_read_with_their_offsets(tmp_path: Path) -> None:
    """A line's offset is where it begins in the file; blank lines are passed over; an unended tail is a line."""
    path = tmp_path / "file"
    path.write_bytes(b"one\n\n  \nfour\ntail")
    assert list(read_lines(path)) == [(0, b"one"), (8, b"four"), (13, b"tail")]


def test_reading_refuses_a_symbolic_link(tmp_path: Path) -> None:
    """A reader is not led elsewhere either."""
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(OSError, match="symbolic"):
        next(read_lines(tmp_path / "link"))


def test_reading_ends_where_the_file_ended(tmp_path: Path) -> None:
    """What is appended while somebody reads is left for the next reading, so that reading comes to an end."""
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\n")
    lines = read_lines(path)
    assert next(lines) == (0, b"one")
    with path.open("ab") as file:
        file.write(b"three\n")
    assert list(lines) == [(4, b"two")]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        pytest.param(b"12345\n1\n", [(0, b"12345"), (6, b"1")], id="just-fits"),
        pytest.param(b"123456\n1\n", [(0, b"123456"), (7, b"1")], id="one-too-many"),
        pytest.param(b"1\n" + b"x" * 5_000_000 + b"\n2\n", [(0, b"1"), (2, b"xxxxxx"), (5_000_003, b"2")], id="far-too-long"),
        pytest.param(b"x" * 50, [(0, b"xxxxxx")], id="and-never-ended"),
    ],
)
def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, content: bytes, lines: list[tuple[int, bytes]]) -> None:
    """Of a line longer than the limit comes the beginning, recognisable by its length, and then the next line."""
    path = tmp_path / "file"
    path.write_bytes(content)
    assert list(read_lines(path, longest=5)) == lines


def test_reading_ends_where_it_is_told(tmp_path: Path) -> None:
    """A size taken before is a place to stop at, so that a reader does not meet what it appends itself."""
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\n")
    end = size_now(path)
    with path.open("ab") as file:
        file.write(b"three\n")
    assert list(read_lines(path, end)) == [(0, b"one"), (4, b"two")]
