"""
An append-only file of JSON lines per UTC day, shared by any number of processes and lasting through power loss.

`append` returns after the lines are on the disk (fsync), and writes all of them or none: what a full disk cut short is taken
back while the lock is still held, so that no reader ever sees half a line of ours. A torn tail that somebody else left behind
(a neighbour killed in the middle of its write) is ended with a line feed and never cut: its bytes may be all that is left of
an event.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from k2.errors import K2Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DIRECTORY_MODE = 0o700  # market data is public, but what a peer sent us unasked need not be readable by all
FILE_MODE = 0o600
# O_NOFOLLOW: the default directory lies in the world-writable /tmp, where anybody may plant a link under tomorrow's name.
# O_NONBLOCK: opening a planted FIFO must not wait for its other end.
_READ_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_APPEND_FLAGS = _READ_FLAGS | os.O_RDWR | os.O_APPEND

LONGEST_LINE_BYTES = 64 * 1024 * 1024  # a frame has 10 MiB at most; it is in its letter twice, once perhaps as base64
_SKIP_BYTES = 1024 * 1024

_LOCK_TIMEOUT_S = 5.0  # a neighbour stopped while it holds the lock must not hang us for ever
_LOCK_POLL_S = 0.005
_REOPEN_LIMIT = 10


class JournalUnwritableError(K2Error):
    """Lines could not be made durable; none of them is in the file. The same `append` may succeed later."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"cannot write {path}: {cause}; check the disk space and the permissions of its directory")
        self.path, self.cause = path, cause


class DailyJournal:
    """
    Appends lines to `{directory}/{prefix}-YYYYMMDD.jsonl`, the day being UTC. For one thread at a time.

    The file may be renamed, removed or truncated by others (logrotate) at any time: the next append goes to the file that then
    bears the name. `clock` gives seconds since the Unix epoch.
    """

    def __init__(
        self,
        directory: Path,
        prefix: str,
        *,
        clock: Callable[[], float] = time.time,
        lock_timeout_s: float = _LOCK_TIMEOUT_S,
    ) -> None:
        self.directory, self.prefix = directory, prefix
        self._clock, self._lock_timeout_s = clock, lock_timeout_s
        self._fd, self._fd_path = -1, Path()

    @property
    def path(self) -> Path:
        """The file that an append at this moment goes to."""
        day = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y%m%d")
        return self.directory / f"{self.prefix}-{day}.jsonl"

    def prepare(self) -> None:
        """
        Make the directory and today's file and end a torn tail, so that a fault shows at the start and not at the first line.

        Raises:
            JournalUnwritableError: this cannot be done.
        """
        self.append(())

    def append(self, lines: Sequence[bytes]) -> None:
        """
        Append `lines`, each without its line feed, as one block, and wait until the disk has them.

        Raises:
            JournalUnwritableError: nothing was appended.
            ValueError: a line contains a line feed.
        """
        block, path = _block(lines), self.path
        try:
            with self._locked(path) as fd:
                _append_durably(fd, block)
        except OSError as error:
            self.close()
            raise JournalUnwritableError(path, _cause(error)) from error

    def stored_bytes(self) -> int:
        """The size of all files of this journal together, read from the directory."""
        sizes = (_size_of(path) for path in self.directory.glob(f"{self.prefix}-*.jsonl"))
        return sum(sizes)

    def close(self) -> None:
        """Give the file back. A later append opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @contextmanager
    def _locked(self, path: Path) -> Iterator[int]:
        fd = self._open_and_lock(path)
        try:
            yield fd
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)

    def _open_and_lock(self, path: Path) -> int:
        for _ in range(_REOPEN_LIMIT):
            fd = self._open(path)
            _lock(fd, fcntl.LOCK_EX, self._lock_timeout_s)
            if _is_still_named(fd, path):
                return fd
            self.close()
        raise OSError(errno.ESTALE, "it is renamed faster than it can be opened")

    def _open(self, path: Path) -> int:
        if self._fd >= 0 and self._fd_path == path:
            return self._fd
        self.close()
        self._fd, self._fd_path = _open_for_append(path), path
        return self._fd


def size_now(path: Path) -> int:
    """
    How far the file goes between two appends.

    Raises:
        OSError: no such file, a symbolic link, or not a regular file.
    """
    fd = _checked_regular(os.open(path, _READ_FLAGS | os.O_RDONLY))
    try:
        return _durable_size(fd)
    finally:
        os.close(fd)


def read_lines(path: Path, end: int | None = None, longest: int = LONGEST_LINE_BYTES) -> Iterator[tuple[int, bytes]]:
    """
    Yield each line that is not blank with the byte offset it begins at, in constant memory.

    Line feeds are taken off. Lines are not checked: a torn tail that was ended later comes as a line of its own, one that was
    not ended as the last line, and of a line longer than `longest` the beginning, one byte more than `longest`.

    Args:
        end: Where to stop, in bytes; by default as far as the file goes at the first step.

    Raises:
        OSError: no such file, a symbolic link, or not a regular file.
    """
    fd = _checked_regular(os.open(path, _READ_FLAGS | os.O_RDONLY))
    with os.fdopen(fd, "rb") as file:
        stop, offset = _durable_size(fd) if end is None else end, 0
        while offset < stop and (line := file.readline(min(stop - offset, longest + 1))):
            if line.strip():
                yield offset, line.removesuffix(b"\n")
            offset += len(line)
            if len(line) > longest and not line.endswith(b"\n"):
                offset += _skip_line(file, stop - offset)


def _skip_line(file: IO[bytes], at_most: int) -> int:
    """Read on to the line's end and say how far that was."""
    skipped = 0
    while skipped < at_most and (part := file.readline(min(at_most - skipped, _SKIP_BYTES))):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def _block(lines: Sequence[bytes]) -> bytes:
    if any(b"\n" in line for line in lines):
        raise ValueError("a journal line must not contain a line feed")
    return b"".join(line + b"\n" for line in lines)


def _append_durably(fd: int, block: bytes) -> None:
    size = os.fstat(fd).st_size
    if size > 0 and os.pread(fd, 1, size - 1) != b"\n":
        block = b"\n" + block
    try:
        _write_whole(fd, block)
        os.fsync(fd)
    except OSError:
        _take_back(fd, size)
        raise


def _write_whole(fd: int, block: bytes) -> None:
    """One write, as a rule. After a short one the rest is tried, which brings either the rest or the reason."""
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _take_back(fd: int, size: int) -> None:
    # Only ever shorter: had the file been truncated meanwhile, cutting it "back" would fill it with zero bytes.
    with suppress(OSError):
        if os.fstat(fd).st_size > size:
            os.ftruncate(fd, size)


def _open_for_append(path: Path) -> int:
    try:
        return _checked_regular(os.open(path, _APPEND_FLAGS))
    except FileNotFoundError:
        return _create(path)


def _create(path: Path) -> int:
    directory = path.parent
    if not directory.is_dir():
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        _sync_directory(directory.parent)
    fd = os.open(path, _APPEND_FLAGS | os.O_CREAT, FILE_MODE)
    _sync_directory(directory)  # without it a power loss may take the name of a file whose content was synced
    return _checked_regular(fd)


def _checked_regular(fd: int) -> int:
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "it is not a regular file")


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock(fd: int, kind: int, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not _try_lock(fd, kind):
        if time.monotonic() >= deadline_s:
            raise TimeoutError(errno.ETIMEDOUT, f"another process has held its lock for {timeout_s:g} s")
        time.sleep(_LOCK_POLL_S)


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still_named(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def _durable_size(fd: int) -> int:
    """The size between two appends: what a writer may still take back is not counted."""
    with suppress(OSError):  # a file system without locks: then the size of this moment must do
        _lock(fd, fcntl.LOCK_SH, _LOCK_TIMEOUT_S)
    size = os.fstat(fd).st_size
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)
    return size


def _size_of(path: Path) -> int:
    try:
        return path.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def _cause(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "it is a symbolic link, which is never followed here"
    return error.strerror or str(error)
