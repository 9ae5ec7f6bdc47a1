"""The box between the event loop and the journal: nothing lost without a word, whatever the disk does."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from k2.ingestion.adapters.dead_letters import BoxLimits, BoxState, DeadLetterBox, storage_warnings, volatile_reason
from k2.ingestion.adapters.journal import DailyJournal, JournalUnwritableError, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

QUICK = BoxLimits(max_lines=5, max_bytes=100, batch_lines=3, first_retry_s=0.005, longest_retry_s=0.02)
PATIENT = BoxLimits(first_retry_s=60.0, longest_retry_s=60.0)


class FlakyJournal(DailyJournal):
    """A journal on a disk that refuses while `refusing` is set, and keeps the sizes of the batches it took."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "binance", clock=lambda: 0.0)
        self.refusing = threading.Event()
        self.refused = threading.Semaphore(0)
        self.batch_sizes: list[int] = []

    def append(self, lines: Sequence[bytes]) -> None:
        if self.refusing.is_set():
            self.refused.release()
            raise JournalUnwritableError(self.path, "No space left on device")
        super().append(lines)
        self.batch_sizes.append(len(lines))

    def lines(self) -> list[bytes]:
        return [line for _, line in read_lines(self.path)]


@pytest.fixture
def journal(tmp_path: Path) -> FlakyJournal:
    return FlakyJournal(tmp_path / "dlq")


@pytest.fixture
def states() -> list[BoxState]:
    return []


@pytest.fixture
def box(journal: FlakyJournal, states: list[BoxState]) -> Iterator[DeadLetterBox]:
    quick = DeadLetterBox(journal, on_change=states.append, limits=QUICK)
    quick.start()
    yield quick
    quick.close()


async def test_line_is_on_the_disk_after_flush(box: DeadLetterBox, journal: FlakyJournal) -> None:
    """A flush that answers True means that every line is in the file, in order."""
    assert [box.put(line) for line in (b"one", b"two")] == [True, True]
    assert await box.flush(10.0)
    assert journal.lines() == [b"one", b"two"]
    assert (box.written, box.pending, box.writable) == (2, 0, True)


async def test_empty_box_flushes_at_once(box: DeadLetterBox) -> None:
    """With nothing to write there is nothing to wait for."""
    assert await box.flush(0.0)


async def test_queued_lines_are_written_together(box: DeadLetterBox, journal: FlakyJournal) -> None:
    """What gathered while the writer was busy goes out in as few writes as the limits allow."""
    journal.refusing.set()
    for line in (b"1", b"2", b"3", b"4", b"5"):
        box.put(line)
    while journal.refused.acquire(blocking=False):
        pass
    for _ in range(2):  # the first may be of a batch that was taken before the last line was there
        assert await asyncio.to_thread(journal.refused.acquire, timeout=10.0)
    journal.refusing.clear()
    assert await box.flush(10.0)
    assert (journal.batch_sizes[-2:], journal.lines()) == ([3, 2], [b"1", b"2", b"3", b"4", b"5"])


async def test_lines_wait_for_the_disk(box: DeadLetterBox, journal: FlakyJournal, states: list[BoxState]) -> None:
    """Lines put while the disk is full are written once it is not, and the box reports the change both ways."""
    journal.refusing.set()
    box.put(b"patient")
    for _ in range(2):  # the first failure is accounted for before the second try
        assert await asyncio.to_thread(journal.refused.acquire, timeout=10.0)
    assert not await box.flush(0.0)
    assert (box.writable, box.pending, box.written, "No space left" in box.last_error) == (False, 1, 0, True)
    journal.refusing.clear()
    assert await box.flush(10.0)
    box.close()
    assert journal.lines() == [b"patient"]
    assert [state.writable for state in states] == [False, True]


async def test_failures_are_reported_once_and_counted_all(
    box: DeadLetterBox, journal: FlakyJournal, states: list[BoxState]
) -> None:
    """A disk that stays full is tried again and again, but reported no more often than once a minute."""
    journal.refusing.set()
    box.put(b"a")
    for _ in range(4):
        assert await asyncio.to_thread(journal.refused.acquire, timeout=10.0)
    assert box.write_failures >= 3
    assert [state.writable for state in states] == [False]


async def test_failing_disk_is_reported_again_after_the_interval(journal: FlakyJournal, states: list[BoxState]) -> None:
    """An operator who missed the first report gets another one."""
    limits = BoxLimits(first_retry_s=0.001, longest_retry_s=0.001, report_every_s=0.0)
    box = DeadLetterBox(journal, on_change=states.append, limits=limits)
    box.start()
    journal.refusing.set()
    box.put(b"a")
    for _ in range(3):
        assert await asyncio.to_thread(journal.refused.acquire, timeout=10.0)
    box.close()
    assert len(states) >= 2


async def test_flush_does_not_wait_for_the_back_off(journal: FlakyJournal, states: list[BoxState]) -> None:
    """At the end of the program a line is tried again at once, however long the back-off still was."""
    box = DeadLetterBox(journal, on_change=states.append, limits=PATIENT)
    box.start()
    journal.refusing.set()
    box.put(b"a")
    assert await asyncio.to_thread(journal.refused.acquire, timeout=10.0)
    journal.refusing.clear()
    assert await box.flush(30.0)
    box.close()


@pytest.mark.parametrize(
    ("lines", "accepted"),
    [
        pytest.param([b"x"] * 6, [True] * 5 + [False], id="too-many-lines"),
        pytest.param([b"x" * 60, b"x" * 60], [True, False], id="too-many-bytes"),
        pytest.param([b"x" * 101, b"x"], [True, False], id="one-line-larger-than-the-box-is-taken"),
    ],
)
def test_full_box_says_so(
    lines: list[bytes], accepted: list[bool], box: DeadLetterBox, journal: FlakyJournal, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the memory is used up, put answers False, and the refused line goes to stderr instead of nowhere."""
    journal.refusing.set()
    assert [box.put(line) for line in lines] == accepted
    assert (box.pending, box.refused) == (sum(accepted), 1)
    assert capsys.readouterr().err == lines[-1].decode() + "\n"


def test_close_writes_what_is_left(box: DeadLetterBox, journal: FlakyJournal) -> None:
    """Closing without a flush still writes."""
    for line in (b"1", b"2", b"3", b"4"):
        box.put(line)
    assert box.close(10.0) == 0
    assert journal.lines() == [b"1", b"2", b"3", b"4"]


def test_close_prints_what_cannot_be_written(
    box: DeadLetterBox, journal: FlakyJournal, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last resort is stderr: every unwritten line, after a sentence that says why."""
    journal.refusing.set()
    box.put(b'{"n":1}')
    box.put(b'{"n":2}')
    assert box.close(10.0) == 2
    sentence, *lines = capsys.readouterr().err.splitlines()
    assert lines == ['{"n":1}', '{"n":2}']
    assert "2 dead letters could not be written" in sentence
    assert "No space left on device" in sentence


def test_closed_box_is_not_writable(box: DeadLetterBox) -> None:
    """Without its writer a box promises nothing."""
    box.close(10.0)
    assert not box.writable


def test_start_shows_an_unusable_directory(tmp_path: Path) -> None:
    """A directory that cannot be made ends the start, before the first letter."""
    (tmp_path / "file").write_bytes(b"")
    box = DeadLetterBox(DailyJournal(tmp_path / "file" / "dlq", "binance"), on_change=lambda _: None)
    with pytest.raises(JournalUnwritableError, match="Not a directory"):
        box.start()
    assert box.close() == 0


def test_stored_bytes_are_those_of_the_files(box: DeadLetterBox) -> None:
    """The gauge shows the size of what is on the disk."""
    box.put(b"12345")
    box.close(10.0)
    assert box.stored_bytes() == 6


MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /srv/my\\040memory tmpfs rw 0 0
/dev/vdb /srv/my\\040memory/disk ext4 rw 0 0
/dev/vdc /data ext4 rw 0 0
tmpfs /data tmpfs rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/vdd /tmp/volume ext4 rw 0 0
tmpfs /tmp/memory tmpfs rw 0 0
short
"""


@pytest.mark.parametrize(
    ("directory", "reason"),
    [
        ("/tmp/dlq", "/tmp is emptied at boot on many systems"),
        ("/run/k2", "/run is emptied at boot on many systems"),
        ("/var/lib/k2", ""),
        ("/var/tmp/dlq", ""),
        ("/tmpfoo", ""),
        ("/srv/my memory/dlq", "it is on tmpfs, in memory"),
        ("/srv/my memory/disk/dlq", ""),
        ("/data/dlq", "it is on tmpfs, in memory"),
        ("/tmp/volume/dlq", ""),
        ("/tmp/memory/dlq", "it is on tmpfs, in memory"),
    ],
)
def test_volatile_directories_are_known(directory: str, reason: str) -> None:
    """A directory is volatile by its name or by the file system mounted nearest above it."""
    assert volatile_reason(Path(directory), MOUNTS) == reason


def test_warning_names_the_directory() -> None:
    """The default directory of the runbook comes with a warning that an operator can act on."""
    assert [warning for warning in storage_warnings(Path("/tmp/dlq")) if "/tmp/dlq may not survive a reboot" in warning]
