"""
Where a recording that was written before ends, and what its writer left unfinished.

A recording is a row of gzip members, each with whole lines. What a power failure cuts short is the last of them.
"""

from __future__ import annotations

import re
import zlib
from typing import IO

from msgspec import Struct

LONGEST_TORN_BYTES = 64 * 1024 * 1024  # a member of ours is made of about a megabyte
_READ_BYTES = 1024 * 1024
_WITH_HEADER = 31  # zlib's word for gzip
_FIRST_LINE = re.compile(rb"\d+ \{")
_JUDGED_BYTES = 21  # the digits of a time until the year 2286, a space and a brace


class NoRecordingError(ValueError):
    """The file is something else than a recording, or broken elsewhere than at its end. The text says which."""


class Ending(Struct, frozen=True):
    """
    How a file ends.

    Attributes:
        whole_bytes: Up to where it consists of whole members.
        torn_bytes: What lies behind them.
        ends_line: The last whole member ends with a line feed.
    """

    whole_bytes: int
    torn_bytes: int
    ends_line: bool


def ending_of(file: IO[bytes]) -> Ending:
    """
    Read a file once through, from where it stands.

    Raises:
        NoRecordingError: it is no recording of the compressed form.
    """
    whole = seen = 0
    member, head, last, last_whole = None, b"", b"", b"\n"
    while data := file.read(_READ_BYTES):
        while data:
            if member is None and data.startswith(b"\0"):  # what a file system may leave behind that lost power
                return Ending(whole, seen - whole + _length_of_zeros(data, file), last_whole == b"\n")
            member = member or zlib.decompressobj(_WITH_HEADER)
            text = _decompressed(member, data, seen)
            head, last = (head + text[:_JUDGED_BYTES])[:_JUDGED_BYTES], text[-1:] or last
            _judge(head)
            seen += len(data) - len(member.unused_data)
            data = member.unused_data
            if member.eof:
                whole, last_whole, member = seen, last, None
    return Ending(whole, seen - whole, last_whole == b"\n")


def whole_lines_of(torn: bytes) -> bytes:
    """The lines that can still be read of a member whose end is missing."""
    member = zlib.decompressobj(_WITH_HEADER)
    try:
        text = member.decompress(torn)
    except zlib.error:  # zeros
        return b""
    return text[: text.rfind(b"\n") + 1]


def _decompressed(member: zlib._Decompress, data: bytes, at: int) -> bytes:
    try:
        return member.decompress(data)
    except zlib.error as error:
        raise NoRecordingError(f"from byte {at} on it is not what gzip writes ({error})") from error


def _judge(head: bytes) -> None:
    if len(head) == _JUDGED_BYTES and not _FIRST_LINE.match(head):
        raise NoRecordingError("its lines are not `<nanoseconds> <frame>`")


def _length_of_zeros(data: bytes, file: IO[bytes]) -> int:
    length = 0
    while data:
        if data.strip(b"\0"):
            raise NoRecordingError("there are zeros in the middle of it")
        length += len(data)
        data = file.read(_READ_BYTES)
    return length
