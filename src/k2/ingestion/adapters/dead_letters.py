"""
The box that the event loop drops dead letters into: it takes a line in microseconds, a thread of its own makes it durable.

One worker writes everything that is queued as one block with one fsync (group commit). When the file cannot be written the
lines wait in bounded memory, the worker keeps trying, and the box says so: dead letters that cannot be kept make the client
unhealthy, and a full box ends it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from k2.ingestion.adapters.journal import DailyJournal, JournalUnwritableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_VOLATILE_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})
_VOLATILE_DIRECTORIES = (Path("/tmp"), Path("/run"), Path("/var/run"), Path("/dev/shm"))  # noqa: S108 - named to warn of them


class BoxLimits(Struct, frozen=True):
    """How much waits in memory, how much goes into one write, and how often writing is tried and its failure reported."""

    max_lines: int = 10_000
    max_bytes: int = 64 * 1024 * 1024
    batch_lines: int = 1_000
    batch_bytes: int = 1024 * 1024  # a batch is written whole or not at all, so a nearly full disk takes small ones only
    first_retry_s: float = 0.5
    longest_retry_s: float = 5.0
    report_every_s: float = 60.0


class BoxState(Struct, frozen=True):
    """What is reported when writing begins to fail, once a minute while it fails (`writable` False), and when it works again."""

    writable: bool
    error: str
    pending: int
    write_failures: int


class DeadLetterBox:
    """
    Keeps dead letters. `put`, the counters and `flush` belong to the event loop; `on_change` is called on the writer's thread.

    `written` counts lines that are on the disk, `pending` those that are not yet, `refused` those that found the box full and
    went to stderr instead. `warnings` are sentences for the operator about the directory.
    """

    def __init__(self, journal: DailyJournal, *, on_change: Callable[[BoxState], None], limits: BoxLimits | None = None) -> None:
        self.written = self.refused = self.write_failures = 0
        self.last_error = ""
        self.warnings = storage_warnings(journal.directory)
        self._journal, self._on_change, self._limits = journal, on_change, limits or BoxLimits()
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._waiters: list[Callable[[], object]] = []
        self._changed = threading.Condition()
        self._closing = self._hurry = False
        self._failures_in_a_row = 0
        self._reported_at_s = 0.0
        # A daemon: a write that hangs in the kernel must not keep the process from ending.
        self._writer = threading.Thread(target=self._write_all, name="dead-letters", daemon=True)

    def start(self) -> None:
        """
        Open today's file and start the writer.

        Raises:
            JournalUnwritableError: the directory or the file cannot be used.
        """
        self._journal.prepare()
        self._writer.start()

    @property
    def pending(self) -> int:
        """Lines accepted and not yet on the disk."""
        return len(self._queue)

    @property
    def writable(self) -> bool:
        """False from the first failed write to the next that succeeds, and when the writer is gone."""
        return self._failures_in_a_row == 0 and self._writer.is_alive()

    def stored_bytes(self) -> int:
        """The size of the dead-letter files, read from the directory."""
        return self._journal.stored_bytes()

    def put(self, line: bytes) -> bool:
        """
        Take a line (without its line feed). Returns at once.

        False means that the box is full: the line went to stderr, and the caller must stop taking in events.
        """
        with self._changed:
            accepted = self._has_room_for(line)
            if accepted:
                self._queue.append(line)
                self._queued_bytes += len(line)
                self._changed.notify_all()
        if not accepted:
            self.refused += 1
            _print_lines([line])
        return accepted

    async def flush(self, timeout_s: float) -> bool:
        """Wait until everything is on the disk, trying again at once. False when the time was over first."""
        loop, emptied = asyncio.get_running_loop(), asyncio.Event()
        waiter = partial(loop.call_soon_threadsafe, emptied.set)
        with self._changed:
            if not self._queue:
                return True
            self._waiters.append(waiter)
            self._hurry = True
            self._changed.notify_all()
        await _wait_at_most(emptied, timeout_s)
        with self._changed:
            self._waiters.remove(waiter)
            return not self._queue

    def close(self, timeout_s: float = 2.0) -> int:
        """Write what is left, once; print to stderr what could not be written, and return how many lines those were."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._writer.ident is not None:
            self._writer.join(timeout_s)
        if not self._writer.is_alive():
            self._journal.close()
        return self._print_unwritten()

    def _has_room_for(self, line: bytes) -> bool:
        limits = self._limits
        fits = len(self._queue) < limits.max_lines and self._queued_bytes + len(line) <= limits.max_bytes
        return fits or not self._queue  # a single line larger than the whole box is still taken

    def _print_unwritten(self) -> int:
        with self._changed:
            lines = list(self._queue)
        if lines:
            _print_lines([f"{len(lines)} dead letters could not be written ({self.last_error}); here they are:".encode(), *lines])
        return len(lines)

    def _write_all(self) -> None:
        while batch := self._next_batch():
            try:
                self._journal.append(batch)
            except JournalUnwritableError as error:
                self._on_failure(error)
                if not self._wait_to_retry():
                    return
            else:
                self._on_success(batch)

    def _next_batch(self) -> list[bytes]:
        """The head of the queue, left in the queue until it is on the disk; empty only when closing."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            return _within(islice(self._queue, self._limits.batch_lines), self._limits.batch_bytes)

    def _on_success(self, batch: list[bytes]) -> None:
        with self._changed:
            for line in batch:
                self._queue.popleft()
                self._queued_bytes -= len(line)
            self.written += len(batch)
            had_failed, self._failures_in_a_row = self._failures_in_a_row > 0, 0
            if not self._queue:
                self._wake_waiters()
        if had_failed:
            self._report()

    def _wake_waiters(self) -> None:
        for wake in self._waiters:
            wake()

    def _on_failure(self, error: JournalUnwritableError) -> None:
        self.last_error = str(error)
        self.write_failures += 1
        self._failures_in_a_row += 1
        first = self._failures_in_a_row == 1
        if first or time.monotonic() - self._reported_at_s >= self._limits.report_every_s:
            self._report()

    def _report(self) -> None:
        self._reported_at_s = time.monotonic()
        self._on_change(BoxState(self._failures_in_a_row == 0, self.last_error, self.pending, self.write_failures))

    def _wait_to_retry(self) -> bool:
        """Back off. False when closing: then there is no other try."""
        limits = self._limits
        delay_s = min(limits.first_retry_s * 2 ** min(self._failures_in_a_row - 1, 16), limits.longest_retry_s)
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._hurry, delay_s)
            self._hurry = False
            return not self._closing


def storage_warnings(directory: Path) -> tuple[str, ...]:
    """What an operator should know about a directory that is to keep things: sentences, none if all is well."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        mounts = ""
    reason = volatile_reason(directory.resolve(), mounts)
    text = f"dead letters in {directory} may not survive a reboot ({reason}); name a lasting directory to keep them"
    return (text,) if reason else ()


def volatile_reason(directory: Path, mounts: str) -> str:
    """Why what lies in `directory`, an absolute path, may be gone after a reboot; "" if it lasts. `mounts` as in /proc/mounts."""
    point, kind = _mount_above(directory, mounts)
    for volatile in _VOLATILE_DIRECTORIES:
        # What is mounted below such a directory, a container's volume for example, is not emptied with it.
        if directory.is_relative_to(volatile) and not (point != volatile and point.is_relative_to(volatile)):
            return f"{volatile} is emptied at boot on many systems"
    return f"it is on {kind}, in memory" if kind in _VOLATILE_FILE_SYSTEMS else ""


def _mount_above(directory: Path, mounts: str) -> tuple[Path, str]:
    """Place and type of the file system mounted nearest above `directory`; of two at one place the later one hides the other."""
    nearest, kind = Path("/"), ""
    for fields in (line.split() for line in mounts.splitlines()):
        point = Path(fields[1].replace("\\040", " ")) if len(fields) > 2 else None  # noqa: PLR2004
        if point and directory.is_relative_to(point) and point.is_relative_to(nearest):
            nearest, kind = point, fields[2]
    return nearest, kind


def _within(lines: Iterable[bytes], max_bytes: int) -> list[bytes]:
    """As many of the first lines as fit, and always the first."""
    taken: list[bytes] = []
    size = 0
    for line in lines:
        size += len(line)
        if taken and size > max_bytes:
            break
        taken.append(line)
    return taken


async def _wait_at_most(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()


def _print_lines(lines: list[bytes]) -> None:
    with suppress(OSError, ValueError):  # stderr is closed: nothing is left to try
        sys.stderr.write("".join(line.decode("utf-8", "replace") + "\n" for line in lines))
        sys.stderr.flush()
