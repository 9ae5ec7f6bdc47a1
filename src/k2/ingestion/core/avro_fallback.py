"""
fastavro behind the compiled encoder's interface: slower, and good for every schema that Avro has.

It checks what fastavro does not: that a decimal fits its precision (fastavro writes 49 digits under precision 38 without a
word) and needs no rounding, and that numbers fit an Avro int or float.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import fastavro

from k2.ingestion.core.avro import Encoder, MapShape, compile_encoder, parameters
from k2.ingestion.core.avro_names import inlined
from k2.ingestion.core.avro_values import Schema, UnsupportedSchemaError, kind_of
from k2.ingestion.core.decimals import decimal_memo

Reader = Callable[[Any], Any]


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
    maps = maps or {}
    parsed = fastavro.parse_schema(schema)
    names = parameters(schema, constants or {}, maps)
    readers = {field["name"]: _reader(field["type"]) for field in inlined(schema)["fields"]}
    always = {name: readers[name](value) for name, value in (constants or {}).items()}

    def encode(*values: Any) -> bytes:
        record = always | {name: dict(shape.constants) for name, shape in maps.items()}
        for name, value in zip(names, values, strict=True):
            field, is_entry, key = name.partition(".")
            if not is_entry:
                record[field] = readers[field](value)
            elif value is not None:
                record[field][key] = value.decode()
        buffer = io.BytesIO()
        buffer.write(prefix)
        fastavro.schemaless_writer(buffer, parsed, record, strict=True)
        return buffer.getvalue()

    return encode


def _reader(schema: Schema) -> Reader:
    """Turns what the compiled encoder would take into what fastavro takes; `schema` has its names inlined."""
    builder = _BUILDERS.get(kind_of(schema))
    return builder(schema) if builder else _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _int_in_range(number: int) -> int:
    if not -(1 << 31) <= number < 1 << 31:
        raise OverflowError("does not fit an Avro int of 32 bits")
    return number


def _float_in_range(number: float) -> float:
    struct.pack("<f", number)  # raises OverflowError, where fastavro writes infinity
    return number


def _union_reader(schema: Schema) -> Reader:
    """With several types besides null, fastavro finds the one that a plain value fits; text may still be given as bytes."""
    branches = [branch for branch in schema if branch != "null"]
    if len(branches) > 1:
        return _text if "string" in branches and "bytes" not in branches else _as_it_is
    read = _reader(branches[0])
    return lambda value: None if value is None else read(value)


def _decimal_reader(schema: Schema) -> Reader:
    memo, scale = decimal_memo(schema), schema.get("scale", 0)

    def read(text: str) -> Decimal:
        # With exactly `scale` decimals: fastavro refuses more, be they zeros.
        unscaled = memo.unscaled(text)
        return Decimal((int(unscaled < 0), tuple(map(int, str(abs(unscaled)))), -scale))

    return read


def _array_reader(schema: Schema) -> Reader:
    read = _reader(schema["items"])
    return lambda values: [read(value) for value in values]


def _map_reader(schema: Schema) -> Reader:
    read = _reader(schema["values"])
    return lambda values: {key: read(value) for key, value in values.items()}


def _record_reader(schema: Schema) -> Reader:
    readers = {field["name"]: _reader(field["type"]) for field in schema["fields"]}

    def read(record: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
        named = record if isinstance(record, Mapping) else dict(zip(readers, record, strict=True))
        return {name: readers.get(name, _as_it_is)(value) for name, value in named.items()}

    return read


_BUILDERS: dict[str, Callable[[Schema], Reader]] = {
    "string": lambda _: _text,
    "int": lambda _: _int_in_range,
    "float": lambda _: _float_in_range,
    "union": _union_reader,
    "decimal": _decimal_reader,
    "fixed": lambda schema: _decimal_reader(schema) if schema.get("logicalType") == "decimal" else _as_it_is,
    "array": _array_reader,
    "map": _map_reader,
    "record": _record_reader,
}
