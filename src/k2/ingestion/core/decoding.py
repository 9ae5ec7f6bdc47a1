"""
From a record's bytes back to its fields: for the tools that look into a topic, never on the way into it.

fastavro decodes, with the schema that the record was written with. Nothing is lost on the way to JSON: decimals become their
exact text, times RFC 3339 with microseconds, bytes base64.
"""

from __future__ import annotations

import base64
import io
import math
from datetime import datetime
from decimal import Decimal
from typing import Any

import fastavro

from k2.ingestion.core.avro import FRAME_BYTES
from k2.ingestion.core.times import rfc3339

DECODE_ERRORS = (EOFError, ValueError, IndexError, TypeError, KeyError, OverflowError, RecursionError)

ParsedSchema = Any  # what fastavro.parse_schema makes
Fields = dict[str, Any]


class UndecodableError(ValueError):
    """A value that is no Avro record in Confluent's framing, or does not fit its schema. The text says which."""


def schema_id_of(value: bytes | None) -> int:
    """
    The schema id in front of a value.

    Raises:
        UndecodableError: there is none.
    """
    if value is None:
        raise UndecodableError("no value (a tombstone)")
    if len(value) < FRAME_BYTES or value[0] != 0:
        raise UndecodableError(f"not in Confluent's framing: {len(value)} bytes that begin with {value[:8]!r}")
    return int.from_bytes(value[1:FRAME_BYTES], "big")


def decode_framed(value: bytes, schema: ParsedSchema) -> Fields:
    """
    The fields of a framed value that was written with `schema`.

    Raises:
        UndecodableError: it was not, or has bytes left over.
    """
    stream = io.BytesIO(value)
    stream.seek(FRAME_BYTES)
    try:
        fields = fastavro.schemaless_reader(stream, schema, None)
    except DECODE_ERRORS as error:
        raise UndecodableError(f"does not fit its schema: {str(error) or type(error).__name__}") from error
    if not isinstance(fields, dict):
        raise UndecodableError("its schema is not that of a record")
    if rest := len(value) - stream.tell():
        raise UndecodableError(f"{rest} bytes are left over behind the record")
    return fields


def json_ready(value: Any) -> Any:
    """The same value in what JSON can say, exactly."""
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no number for it
    return value if isinstance(value, str | int | float | bool | None) else str(value)
