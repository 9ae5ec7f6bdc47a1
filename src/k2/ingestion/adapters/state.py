"""
The state directory: small JSON documents that survive a restart, owned by one running instance at a time.

What is lost or damaged here costs time and never correctness, so a document that cannot be used counts as absent and leaves a
warning. A write is all or nothing: a new file is written and flushed beside the old one and then takes its name.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self

from k2.errors import ConfigurationError, K2Error

LOCK_NAME = "lock"
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class StateWriteError(K2Error):
    """A document could not be written: a full or read-only disk. The document from before is still there."""


class StateStore(Protocol):
    """What users of the state directory need of it."""

    def read(self, name: str, version: int) -> Any | None: ...

    def write(self, name: str, version: int, data: Any) -> None: ...


class StateDirectory:
    """
    A locked directory of versioned JSON documents.

    Args:
        path: Created, readable by its owner only, where it does not exist.

    Raises:
        ConfigurationError: the directory cannot be used, or another process uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._warnings: list[str] = []
        self._lock = _lock(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the directory free for another instance. May be called twice."""
        if self._lock is not None:
            os.close(self._lock)  # the lock goes with the descriptor; the file stays, or two could lock two files of one name
            self._lock = None

    def take_warnings(self) -> list[str]:
        """What `read` had to report since the last call: one readable line for each document that could not be used."""
        warnings, self._warnings = self._warnings, []
        return warnings

    def read(self, name: str, version: int) -> Any | None:
        """The data last written under this name; None where there is none, or none of this version that can be read."""
        path = self._document(name)
        try:
            return _unwrap(path.read_bytes(), version)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            self._warnings.append(f"{path} is ignored: {error}")
            return None

    def write(self, name: str, version: int, data: Any) -> None:
        """
        Replace a document, durably: once this returns, a power cut does not bring the old one back.

        Args:
            data: Anything JSON can express.

        Raises:
            StateWriteError: the disk did not take it.
        """
        path = self._document(name)
        content = json.dumps({"version": version, "data": data}, allow_nan=False).encode()
        try:
            _replace(path, content)
        except OSError as error:
            raise StateWriteError(f"{path} could not be written: {error.strerror or error}") from error

    def _document(self, name: str) -> Path:
        return _document_path(self.path, name)


def peek(directory: Path, name: str, version: int) -> Any | None:
    """A document of a state directory that may be in use by a running instance; None where none can be read."""
    try:
        return _unwrap(_document_path(directory, name).read_bytes(), version)
    except (OSError, ValueError, RecursionError):
        return None


def _document_path(directory: Path, name: str) -> Path:
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name for a document: lower-case letters, digits, _ and - only")
    return directory / f"{name}.json"


def lock_holder(directory: Path) -> str | None:
    """
    Who uses a state directory now: a process id, "" where that is not told, None where nobody does.

    Looks only: what it must lock for that is given back at once.

    Raises:
        OSError: the lock file cannot be read.
    """
    try:
        descriptor = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _written_by(descriptor)
    finally:
        os.close(descriptor)
    return None


def _unwrap(content: bytes, version: int) -> Any:
    envelope = json.loads(content)
    if not isinstance(envelope, dict) or "data" not in envelope:
        raise ValueError("it is no document of ours")
    if envelope.get("version") != version:
        raise ValueError(f"it has the format version {envelope.get('version')!r}, this program reads {version}")
    return envelope["data"]


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(directory: Path) -> int | None:
    """Descriptor of the locked lock file, which holds our process id for the next one to name."""
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, FILE_MODE)
    except OSError as error:
        fault = f"the state directory {directory} cannot be used ({error.strerror or error}); name another with --state-dir"
        raise ConfigurationError(fault) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = _written_by(descriptor)
        os.close(descriptor)
        raise _lock_refused(directory, holder, error) from error
    with suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _written_by(descriptor: int) -> str:
    """The process id in a lock file; "" where there is none, as between locking and writing."""
    text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    return text if text.isdigit() else ""


def _lock_refused(directory: Path, holder: str, error: OSError) -> ConfigurationError:
    if isinstance(error, BlockingIOError):
        who = f"process {holder}" if holder else "another process"
        return ConfigurationError(
            f"the state directory {directory} is in use by {who}; give each instance its own with --state-dir"
        )
    reason = error.strerror or error
    return ConfigurationError(f"the state directory {directory} cannot be locked ({reason}); name another with --state-dir")
