"""
A line of a dead-letter file, read back.

Whatever else may stand in such a file (a torn line, another program's text, a letter of a later version) is told apart here,
with the reason in words. What is read is whole: payload and checksum agree.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from k2.ingestion.core.letters import LETTER_VERSION, MAX_DEPTH
from k2.ingestion.core.outcome import Headers, Reason, Record, Stage, WriteOutcome

Encoding = Literal["utf8", "base64"]

_LATEST_MS = 253_402_300_799_999  # the end of 9999: what lies behind can neither be encoded nor shown
Id = Annotated[str, Meta(min_length=1, max_length=200)]
ZonedTime = Annotated[datetime, Meta(tz=True)]
MOST_ATTEMPTS = 2**31 - 1
Attempts = Annotated[int, Meta(ge=0, le=MOST_ATTEMPTS)]
Microseconds = Annotated[int, Meta(ge=-(2**63), le=_LATEST_MS * 1_000 + 999)]
Milliseconds = Annotated[int, Meta(ge=0, le=_LATEST_MS)]


class UnreadableLetterError(ValueError):
    """A line that is no letter of ours, or a damaged one. The text says why."""


class _Header(Struct, frozen=True):
    name: str
    value: str | None


class Letter(Struct, frozen=True, kw_only=True):
    """
    A dead letter as it stands in its file; the fields mean what docs/reference/dead-letters.md says.

    `payload` are the exact bytes of the frame, or of the record's value. `record` is set for the kind `record` only.
    """

    id: str
    failed_at: datetime
    stage: Stage
    reason: Reason
    error: str
    outcome: WriteOutcome
    attempts: int
    market: str
    stream: str
    symbol: str
    topic: str
    original_message: dict[str, Any]
    payload: bytes
    received_at_us: int | None
    record: Record | None = None

    @property
    def named_symbol(self) -> str:
        """The symbol that it belongs to, or that its event claims, or none."""
        claimed = self.original_message.get("s")
        return self.symbol or (claimed if isinstance(claimed, str) else "")


class _Line(Struct, frozen=True, kw_only=True):
    """What a line must have. Keys that a later version adds are passed over."""

    version: int
    id: Id
    failed_at: ZonedTime
    stage: Stage
    reason: Reason
    error: str
    outcome: WriteOutcome
    attempts: Attempts
    market: str
    stream: str
    symbol: str
    topic: str
    original_message: dict[str, Any]
    payload_kind: Literal["frame", "record"]
    payload: str
    payload_encoding: Encoding
    payload_sha256: str
    received_at_us: Microseconds | None
    key: str | None = ""
    key_encoding: Encoding = "utf8"
    timestamp: Milliseconds | None = None
    headers: list[_Header] = []


class _Version(Struct, frozen=True):
    version: int


_read_version = msgspec.json.Decoder(_Version).decode
_read_line = msgspec.json.Decoder(_Line).decode


def read_letter(line: bytes) -> Letter:
    """
    The letter that a line holds.

    Raises:
        UnreadableLetterError: none that this version can read.
    """
    try:
        version = _read_version(line).version
        if version != LETTER_VERSION:
            raise UnreadableLetterError(f"a letter of version {version}, this program reads {LETTER_VERSION}")
        found = _read_line(line)
        payload = _bytes(found.payload, found.payload_encoding)
        record = _record(found, payload) if found.payload_kind == "record" else None
        failed_at = found.failed_at.astimezone(UTC)
        _refuse_deep(found.original_message)
    except msgspec.ValidationError as error:
        raise UnreadableLetterError(f"no dead letter: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableLetterError(f"no JSON: {error}") from error
    except (ValueError, OverflowError) as error:
        raise UnreadableLetterError(f"a damaged letter: {error}") from error
    if hashlib.sha256(payload).hexdigest() != found.payload_sha256:
        raise UnreadableLetterError("a damaged letter: payload and payload_sha256 do not match")
    return Letter(
        id=found.id, failed_at=failed_at, stage=found.stage, reason=found.reason, error=found.error, outcome=found.outcome,
        attempts=found.attempts, market=found.market, stream=found.stream, symbol=found.symbol, topic=found.topic,
        original_message=found.original_message, payload=payload, received_at_us=found.received_at_us, record=record,
    )  # fmt: skip


def _record(line: _Line, payload: bytes) -> Record:
    if line.timestamp is None:
        raise ValueError("a record without its timestamp")
    if not line.topic:
        raise ValueError("a record without its topic")
    headers: Headers = [(header.name, _header_value(header.value)) for header in line.headers]
    key = None if line.key is None else _bytes(line.key, line.key_encoding)
    return Record(line.topic, key, payload, line.timestamp, headers or None)


def _refuse_deep(value: object, levels: int = MAX_DEPTH + 1) -> None:
    """No writer of ours nests deeper, and what does cannot be written again: that ends in a RecursionError somewhere."""
    if not isinstance(value, dict | list):
        return
    if not levels:
        raise ValueError(f"original_message is nested deeper than {MAX_DEPTH} levels")
    for inner in value.values() if isinstance(value, dict) else value:
        _refuse_deep(inner, levels - 1)


def _bytes(text: str, encoding: Encoding) -> bytes:
    return base64.b64decode(text, validate=True) if encoding == "base64" else text.encode("utf-8")


def _header_value(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
