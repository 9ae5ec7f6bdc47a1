"""
The dead letter as one line of JSON: everything needed to understand, repair and replay an event that was not published.

A line is plain ASCII and strict JSON whatever the event contained, so that `jq` reads every line and no terminal obeys it.
`original_message` is there for people and always an object; the exact bytes are in `payload`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from typing import Any, NotRequired, TypedDict, Unpack

from msgspec import Struct

from k2.ingestion.core.outcome import DeadLetter, Reason, Record, Stage, WriteOutcome
from k2.ingestion.core.times import rfc3339_of_us

LETTER_VERSION = 1
MAX_ERROR_BYTES = 2048
MAX_DEPTH = 64  # jq 1.6 refuses a line nested deeper than 256
MAX_INTEGER_DIGITS = 4000  # Python converts no more than 4,300 digits between text and integer
TOO_DEEP = "<nested too deeply, see payload>"


class FailedRecord(Struct, gc=False):
    """A record that was encoded but not delivered. `original_message` is the event under the exchange's own keys."""

    record: Record
    stage: Stage
    reason: Reason
    error: str
    outcome: WriteOutcome
    original_message: dict[str, Any]
    stream: str = ""
    symbol: str = ""


class Circumstances(TypedDict):
    """
    What is known about a letter from outside it.

    `failed_at_us` and `received_at_us` are in microseconds since the Unix epoch; `received_at_us` is None where no frame brought
    the event. `attempts` says how often it was processed or produced so far, the last time included (1 if not given).
    `replay_of` is the id of the letter that was replayed in vain and that this one stands for from now on.
    """

    letter_id: str
    failed_at_us: int
    received_at_us: int | None
    market: str
    attempts: NotRequired[int]
    replay_of: NotRequired[str]


def encode_letter(letter: DeadLetter | FailedRecord, **known: Unpack[Circumstances]) -> bytes:
    """Write a letter as one line of strict ASCII JSON, without its line feed."""
    return json.dumps(letter_document(letter, **known), separators=(",", ":"), allow_nan=False, default=str).encode("ascii")


def letter_document(letter: DeadLetter | FailedRecord, **known: Unpack[Circumstances]) -> dict[str, Any]:
    """The object that `encode_letter` writes."""
    return {
        "version": LETTER_VERSION,
        "id": known["letter_id"],
        "failed_at": rfc3339_of_us(known["failed_at_us"]),
        "stage": letter.stage.value,
        "reason": letter.reason.value,
        "error": _bounded(letter.error),
        "outcome": (WriteOutcome.NOT_WRITTEN if isinstance(letter, DeadLetter) else letter.outcome).value,
        "attempts": known.get("attempts", 1),
        "market": known["market"],
        "stream": _valid(letter.stream),
        "symbol": _valid(letter.symbol),
        **(_frame_fields(letter) if isinstance(letter, DeadLetter) else _record_fields(letter)),
        "received_at_us": known["received_at_us"],
        **({"replay_of": known["replay_of"]} if "replay_of" in known else {}),
    }


def _frame_fields(letter: DeadLetter) -> dict[str, Any]:
    payload, encoding = _as_text(letter.payload)
    return {
        "topic": _valid(letter.topic),
        "original_message": original_message(letter.payload, letter.symbol),
        "payload_kind": "frame",
        "payload": payload,
        "payload_encoding": encoding,
        "payload_sha256": hashlib.sha256(letter.payload).hexdigest(),
    }


def _record_fields(failed: FailedRecord) -> dict[str, Any]:
    record = failed.record
    key, key_encoding = (None, "utf8") if record.key is None else _as_text(record.key)
    value = _base64(record.value)
    return {
        "topic": record.topic,
        "original_message": _strict(failed.original_message),
        "payload_kind": "record",
        "payload": value,
        "payload_encoding": "base64",
        "payload_sha256": hashlib.sha256(record.value).hexdigest(),
        "key": key,
        "key_encoding": key_encoding,
        "timestamp": record.timestamp_ms,
        "value": value,
        "headers": [{"name": _valid(name), "value": _header_text(value)} for name, value in record.headers or ()],
    }


def original_message(frame: bytes, symbol: str = "") -> dict[str, Any]:
    """
    The event inside `frame` as strict JSON: the inner object of a combined-stream frame, else the object itself, else {}.

    In an all-market array it is the element of `symbol`. What strict JSON cannot say (NaN, numbers beyond a double, lone
    surrogates, nesting beyond all reason) is said as text.
    """
    try:
        parsed = json.loads(frame.decode("utf-8"), parse_constant=str, parse_int=_integer, parse_float=_float)
    except (ValueError, RecursionError):
        return {}
    message = _strict(_inner(parsed, symbol))
    return message if isinstance(message, dict) else {}


def _inner(parsed: object, symbol: str) -> object:
    data = parsed["data"] if isinstance(parsed, dict) and "stream" in parsed and "data" in parsed else parsed
    if not isinstance(data, list):
        return data
    return next((event for event in data if isinstance(event, dict) and event.get("s") == symbol), None)


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= MAX_INTEGER_DIGITS else text


def _float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _strict(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return _valid(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if not isinstance(value, dict | list | tuple):
        return value
    if depth == MAX_DEPTH:
        return TOO_DEEP
    if isinstance(value, dict):
        return {_valid(str(key)): _strict(item, depth + 1) for key, item in value.items()}
    return [_strict(item, depth + 1) for item in value]


def _valid(text: str) -> str:
    """`text` with lone surrogates, which UTF-8 cannot hold and many JSON readers refuse, replaced by a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _bounded(text: str) -> str:
    encoded = text.encode("utf-8", "replace")
    return encoded[:MAX_ERROR_BYTES].decode("utf-8", "ignore")


def _as_text(raw: bytes) -> tuple[str, str]:
    try:
        return raw.decode("utf-8"), "utf8"
    except UnicodeDecodeError:
        return _base64(raw), "base64"


def _header_text(value: str | bytes | None) -> str | None:
    return None if value is None else _base64(value.encode("utf-8", "replace") if isinstance(value, str) else value)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
