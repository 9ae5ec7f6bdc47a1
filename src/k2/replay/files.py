"""The dead-letter files of one directory, and the letters in them. Reads only, in constant memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from k2.errors import ConfigurationError
from k2.ingestion.adapters.journal import LONGEST_LINE_BYTES, read_lines, size_now
from k2.ingestion.adapters.logs import printable
from k2.ingestion.core.letter_reader import Letter, UnreadableLetterError, read_letter

CHUNK_BYTES = 16 * 1024 * 1024
PATTERN = "binance-*.jsonl"
LONGEST_WHY = 300  # characters; a complaint may quote the line, and a line may be of any length


class LetterFile(Struct, frozen=True):
    """A file and how far it is read: to where it went when it was found, so that nobody meets what he appends himself."""

    path: Path
    end: int


class Unreadable(Struct, frozen=True):
    """A line that is no letter that we can read."""

    path: Path
    offset: int
    why: str

    def __str__(self) -> str:
        return f"{self.path.name} at byte {self.offset}: {self.why}"


class Found(Struct, frozen=True):
    """A line of a file: a letter, or why it is none. `next_offset` is where the reading of its file stands."""

    content: Letter | Unreadable
    next_offset: int


def find_files(directory: Path, names: Sequence[str] = ()) -> list[LetterFile]:
    """
    The files named, or all of the directory in the order of their days.

    Raises:
        ConfigurationError: with every name that is not a plain file inside the directory: links, devices and other places are
            refused, for whoever may write into a directory could otherwise have us publish anything.
    """
    files, faults = [], []
    everything = _all_of(directory)
    for path in [_path_of(directory, name) for name in names] or everything:
        try:
            files.append(_file_in(directory, path))
        except _RefusedError as refusal:
            faults.append(f"{printable(str(path))} is refused: {refusal}")
    if faults:
        raise ConfigurationError(*faults)
    return files


def letters_in(file: LetterFile) -> Iterator[Found]:
    """
    Every line of the file that is not blank, as a letter or as why it is none.

    Raises:
        ConfigurationError: the file cannot be read any more.
    """
    try:
        for offset, line in read_lines(file.path, file.end):
            yield Found(_read(file.path, offset, line), offset + len(line) + 1)
    except OSError as error:
        raise ConfigurationError(f"{printable(str(file.path))} cannot be read: {_reason(error)}") from error


def chunks(letters: Iterable[Letter], at_most: int, at_most_bytes: int = CHUNK_BYTES) -> Iterator[list[Letter]]:
    """The letters in lists, each bounded in number and in the bytes of its payloads, so that memory is as well."""
    chunk: list[Letter] = []
    chunk_bytes = 0
    for letter in letters:
        chunk.append(letter)
        chunk_bytes += len(letter.payload)
        if len(chunk) >= at_most or chunk_bytes >= at_most_bytes:
            yield chunk
            chunk, chunk_bytes = [], 0
    if chunk:
        yield chunk


def _read(path: Path, offset: int, line: bytes) -> Letter | Unreadable:
    if len(line) > LONGEST_LINE_BYTES:
        return Unreadable(path, offset, f"a line of more than {LONGEST_LINE_BYTES} bytes")
    try:
        return read_letter(line)
    except UnreadableLetterError as error:
        return Unreadable(path, offset, str(error)[:LONGEST_WHY])


class _RefusedError(Exception):
    """Why a path is none of our files."""


def _path_of(directory: Path, name: str) -> Path:
    """The path of a file named by itself or by its whole path."""
    return Path(name) if "/" in name else directory / name


def _all_of(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.match(PATTERN))
    except OSError as error:
        why = f"{printable(str(directory))} cannot be read: {_reason(error)}"
        raise ConfigurationError(f"--dead-letter-dir: {why}; name the one that the client writes to") from error


def _file_in(directory: Path, path: Path) -> LetterFile:
    try:
        if path.parent.resolve() != directory.resolve() or path.name in {"", ".."}:
            raise _RefusedError(f"it does not lie in --dead-letter-dir {printable(str(directory))}")
        return LetterFile(path, size_now(path))
    except OSError as error:
        raise _RefusedError(_reason(error)) from error
    except RuntimeError as error:  # as pathlib says that links lead in a circle
        raise _RefusedError(os.strerror(errno.ELOOP)) from error


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "it is a symbolic link, which is never followed here"
    return error.strerror or str(error)
