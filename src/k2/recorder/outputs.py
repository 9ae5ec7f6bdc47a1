"""
Where a recording goes: a file of gzip members, or plain lines to standard output.

A member is written at a time, and taken back where only a part of it could be: the file is whole whenever one looks at it, also
after a kill. Nothing is overwritten, and two recorders do not share a file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from k2.errors import ConfigurationError
from k2.recorder.torn import LONGEST_TORN_BYTES, Ending, NoRecordingError, ending_of, whole_lines_of

_LEVEL, _WITH_HEADER = 6, 31  # 31 is zlib's word for gzip
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EROFS}


class Output(Protocol):
    """Where lines are written. Belongs to one thread at a time."""

    size_bytes: int

    def write(self, lines: bytes) -> bool:
        """
        Write whole lines, all or none.

        Returns:
            False where they would pass the largest size; none of them is written then.

        Raises:
            OSError: they cannot be written.
        """

    def close(self) -> None:
        """
        What was written is on the disk when this returns.

        Raises:
            OSError: nobody knows whether it is.
        """


class GzipFile:
    """A file that grows by whole members. `size_bytes` is its size."""

    def __init__(self, path: Path, descriptor: int, *, most_bytes: int | None = None, is_new: bool = True) -> None:
        self.path, self._descriptor, self._most_bytes, self._is_new = path, descriptor, most_bytes, is_new
        self.size_bytes = os.fstat(descriptor).st_size

    def write(self, lines: bytes) -> bool:
        member = zlib.compress(lines, _LEVEL, _WITH_HEADER)
        if self._most_bytes is not None and self.size_bytes + len(member) > self._most_bytes:
            return False
        try:
            _write_all(self._descriptor, member)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size_bytes)
            raise
        self.size_bytes += len(member)
        return True

    def close(self) -> None:
        """See `Output.close`. A file of our own that stayed empty goes away again."""
        try:
            if self._is_new and not self.size_bytes:
                self.path.unlink(missing_ok=True)
            else:
                _sync(self._descriptor)
        finally:
            os.close(self._descriptor)


class PlainLines:
    """Lines as they are, to standard output or whatever else the descriptor leads to."""

    def __init__(self, descriptor: int, *, most_bytes: int | None = None) -> None:
        self._descriptor, self._most_bytes = descriptor, most_bytes
        self.size_bytes = 0

    def write(self, lines: bytes) -> bool:
        if self._most_bytes is not None and self.size_bytes + len(lines) > self._most_bytes:
            return False
        _write_all(self._descriptor, lines)
        self.size_bytes += len(lines)
        return True

    def close(self) -> None:
        """Nothing is held back."""


def open_output(path: Path | None, *, append: bool, most_bytes: int | None) -> tuple[Output, str]:
    """
    The output, and what is to be told about it; empty for nothing.

    Args:
        path: None is standard output.

    Raises:
        ConfigurationError: it exists and is not to be added to, or cannot be written.
    """
    if path is None:
        return PlainLines(sys.stdout.fileno(), most_bytes=most_bytes), ""
    try:
        is_new = not path.exists()
        descriptor = _opened(path, append=append)
        try:
            mended = _locked_and_mended(path, descriptor)
            return GzipFile(path, descriptor, most_bytes=most_bytes, is_new=is_new), mended
        except BaseException:
            os.close(descriptor)
            raise
    except FileExistsError as error:
        text = f"--output {path}: the file exists already; name another one, or add to it with --append"
        raise ConfigurationError(text) from error
    except OSError as error:
        raise ConfigurationError(f"--output {path}: cannot be written: {error.strerror or error}") from error


def _opened(path: Path, *, append: bool) -> int:
    # O_NONBLOCK: opening a FIFO must not wait for its other end.
    added = os.O_NONBLOCK if append else os.O_EXCL
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | added, 0o666)


def _locked_and_mended(path: Path, descriptor: int) -> str:
    """What was done about an end that was torn; empty for nothing."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise ConfigurationError(f"--output {path}: not a file; `--output -` writes plain lines to standard output")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigurationError(f"--output {path}: another recorder is writing it") from error
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP}:  # a file system without locks
            raise
    try:
        with path.open("rb") as file:
            ending = ending_of(file)
    except NoRecordingError as error:
        raise ConfigurationError(f"--append: {path} is no recording that can be added to: {error}") from error
    return _mended(path, descriptor, ending)


def _mended(path: Path, descriptor: int, ending: Ending) -> str:
    """
    Make a file whole again, so that what is added to it can be read.

    The torn bytes are kept beside it before they are replaced by the lines that can still be read of them.
    """
    told = ""
    lines = b"" if ending.ends_line else b"\n"
    if ending.torn_bytes:
        torn = _torn_part(path, descriptor, ending)
        beside = _kept_beside(path, torn)
        os.ftruncate(descriptor, ending.whole_bytes)
        saved = whole_lines_of(torn)
        lines += saved
        count = saved.count(b"\n")
        told = f"{path} was torn at its end: {count:,} lines there can be read and are kept; the torn bytes are in {beside}"
    if lines:
        _write_all(descriptor, zlib.compress(lines, _LEVEL, _WITH_HEADER))
        _sync(descriptor)
    return told


def _torn_part(path: Path, descriptor: int, ending: Ending) -> bytes:
    if ending.torn_bytes > LONGEST_TORN_BYTES:
        text = f"--append: {path} is torn, and too much of it to mend it here; name another file, or `zcat {path} | gzip > NEW`"
        raise ConfigurationError(text)
    return os.pread(descriptor, ending.torn_bytes, ending.whole_bytes)


def _kept_beside(path: Path, torn: bytes) -> Path:
    beside = path.with_name(f"{path.name}.torn")
    try:
        with beside.open("xb") as file:
            file.write(torn)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        text = f"--append: {path} is torn, and {beside} from an earlier time is in the way: move it elsewhere"
        raise ConfigurationError(text) from error
    return beside


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # a standard output that somebody else made non-blocking
            select.select((), (descriptor,), ())


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
