"""
Whose records a topic holds, told from their bytes without a registry.

Every schema of ours begins with `message_id`, so it follows the framing at once: a zero byte, four bytes of schema id, then an
Avro string. It has the form `<exchange>.<market>.<stream>.<symbol>.<exchange id>`.
"""

from __future__ import annotations

import hashlib

from k2.ingestion.core.avro import FRAME_BYTES

LONGEST_IDENTITY = 256  # bytes; ours stay under 80
_PARTS = 5
_DIGEST_DIGITS = 32
_LENGTH_BYTES = 2  # a zigzag varint of two bytes reaches 8191, which is beyond LONGEST_IDENTITY


def message_identity(value: bytes | None) -> str | None:
    """The `message_id` of a record of ours; None for whatever else the bytes may be."""
    if value is None or len(value) <= FRAME_BYTES or value[0] != 0:
        return None
    length, start = _string_length(value)
    if not 0 < length <= LONGEST_IDENTITY or len(value) < start + length:
        return None
    try:
        text = value[start : start + length].decode()
    except UnicodeDecodeError:
        return None
    return text if _is_identity(text) else None


def record_name(value: bytes) -> str:
    """What a record is recognised by in its topic: its `message_id`, or where it has none its digest."""
    return message_identity(value) or f"sha256:{digest(value)}"


def digest(content: bytes) -> str:
    """What numbers a frame or a record that has no number: the first 128 bits of its SHA-256, in hex."""
    return hashlib.sha256(content).hexdigest()[:_DIGEST_DIGITS]


def _string_length(value: bytes) -> tuple[int, int]:
    """Length of the Avro string behind the framing, and where its text starts. -1 where there is no sensible one."""
    zigzagged = 0
    for index, byte in enumerate(value[FRAME_BYTES : FRAME_BYTES + _LENGTH_BYTES]):
        zigzagged |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004  # the varint's last byte has no high bit
            return (zigzagged >> 1 if zigzagged % 2 == 0 else -1), FRAME_BYTES + index + 1
    return -1, 0


def _is_identity(text: str) -> bool:
    parts = text.split(".")
    return len(parts) >= _PARTS and all(parts) and text.isprintable() and " " not in text
