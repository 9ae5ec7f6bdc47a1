"""
fastavro behind the compiled encoder's interface: slower, and good for every schema that Avro has.

It checks what fastavro does not: that a decimal fits its precision (fastavro writes 49 digits under precision 38 without a
word) and that it needs no rounding.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import fastavro

from k2.ingestion.core.avro import Encoder, MapShape, Schema, UnsupportedSchemaError, compile_encoder, parameters
from k2.ingestion.core.decimals import DecimalMemo


def best_encoder(
    schema: Schema,
    *,
    prefix: bytes = b"",
    constants: Mapping[str, Any] | None = None,
    maps: Mapping[str, MapShape] | None = None,
) -> Encoder:
    """The compiled encoder where the schema can be compiled, else fastavro under the same arguments."""
    try:
        return compile_encoder(schema, prefix=prefix, constants=constants, maps=maps)
    except UnsupportedSchemaError:
        return fastavro_encoder(schema, prefix=prefix, constants=constants, maps=maps)


def fastavro_encoder(
    schema: Schema,
    *,
    prefix: bytes = b"",
    constants: Mapping[str, Any] | None = None,
    maps: Mapping[str, MapShape] | None = None,
) -> Encoder:
    """Like `compile_encoder`, for any schema, by way of a dict."""
    constants, maps = constants or {}, maps or {}
    parsed = fastavro.parse_schema(schema)
    names = parameters(schema, constants, maps)
    readers = {field["name"]: _reader(field["type"]) for field in schema["fields"]}

    def encode(*values: Any) -> bytes:
        record: dict[str, Any] = dict(constants)
        record.update({name: dict(shape.constants) for name, shape in maps.items()})
        for name, value in zip(names, values, strict=True):
            field, _, key = name.partition(".")
            if not key:
                record[field] = readers[field](value)
            elif value is not None:
                record[field][key] = value.decode()
        buffer = io.BytesIO()
        buffer.write(prefix)
        fastavro.schemaless_writer(buffer, parsed, record, strict=True)
        return buffer.getvalue()

    return encode


def _reader(schema: Schema) -> Callable[[Any], Any]:
    """Turn what the compiled encoder would take into what fastavro takes."""
    if isinstance(schema, list):
        branch = next((option for option in schema if option != "null"), "null")
        inner = _reader(branch)
        return lambda value: None if value is None else inner(value)
    if schema == "string":
        return lambda value: value.decode() if isinstance(value, bytes) else value
    if isinstance(schema, dict) and schema.get("logicalType") == "decimal":
        return _decimal_reader(DecimalMemo(schema["precision"], schema.get("scale", 0)))
    return lambda value: value


def _decimal_reader(memo: DecimalMemo) -> Callable[[str], Decimal]:
    def read(text: str) -> Decimal:
        _ = memo[text]  # raises for what does not fit
        return Decimal(text)

    return read
