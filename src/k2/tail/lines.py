"""
A record as one line of JSON, for `jq` and for programs.

Nothing is lost: what is no UTF-8 becomes base64, and of what cannot be decoded the line holds the reason and the bytes. The
line is ASCII, so that no character in it can command a terminal.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from k2.ingestion.core.decoding import json_ready
from k2.ingestion.core.outcome import Headers
from k2.reading.decoded import Decoded
from k2.reading.text import text_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def json_lines(topic: str, batch: Iterable[Decoded]) -> str:
    """One line for each record."""
    return "".join(f"{json.dumps(as_json(topic, decoded))}\n" for decoded in batch)


def as_json(topic: str, decoded: Decoded) -> dict[str, Any]:
    """What a line holds. `error` and `raw` are there only where the value cannot be decoded."""
    record = decoded.record
    line = {
        "topic": topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": _timestamp(record.timestamp_ms),
        "key": _text_or_base64(record.key),
        "headers": _headers(record.headers),
        "schema_id": decoded.schema_id,
        "value": json_ready(decoded.fields),
    }
    if decoded.fields is None:
        line |= {"error": decoded.error, "raw": None if record.value is None else _base64(record.value)}
    return line


def moment_of(timestamp_ms: int) -> datetime | None:
    """A record's time; None where it has none, or one that no calendar reaches."""
    try:
        return _EPOCH + timedelta(milliseconds=timestamp_ms) if timestamp_ms >= 0 else None
    except OverflowError:
        return None


def _timestamp(timestamp_ms: int) -> str | None:
    moment = moment_of(timestamp_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


def _headers(headers: Headers) -> dict[str, Any]:
    """By name; a name that comes more than once has the list of its values."""
    values: dict[str, list[Any]] = defaultdict(list)
    for name, value in headers:
        values[name].append(_text_or_base64(value.encode() if isinstance(value, str) else value))
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def _text_or_base64(data: bytes | None) -> str | dict[str, str] | None:
    """Text, or an object that says that it is none."""
    if data is None:
        return None
    text = text_of(data)
    return {"base64": _base64(data)} if text is None else text


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
