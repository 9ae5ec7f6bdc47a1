"""
One plain Python value to its Avro bytes, by the type's schema: what the compiled encoder uses for constants, and for what stands
inside arrays, maps and records.

Source: Avro 1.12 specification, "Binary encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from k2.ingestion.core.decimals import decimal_memo
from k2.ingestion.core.varint import LENGTHS, encode_long

Schema = Any  # a parsed .avsc: str, list or dict
ValueEncoder = Callable[[Any], bytes]


class UnsupportedSchemaError(Exception):
    """The schema uses a type that the compiler does not know. fastavro encodes it instead."""


def optional_branch(schema: Schema) -> tuple[Schema, int] | None:
    """For a union of null and one other type: that type, and the index of null."""
    if not isinstance(schema, list):
        return None
    if len(schema) != 2 or schema.count("null") != 1:  # noqa: PLR2004
        raise UnsupportedSchemaError(f"union {schema}")
    null_index = schema.index("null")
    return schema[1 - null_index], null_index


def kind_of(schema: Schema) -> str:
    """A type's name in the tables of encoders, for a schema in canonical form."""
    if isinstance(schema, list):
        return "union"
    if isinstance(schema, str):
        return schema
    if schema.get("logicalType") == "decimal" and schema["type"] == "bytes":
        return "decimal"
    if schema["type"] == "long" and str(schema.get("logicalType", "")).startswith("timestamp-"):
        return "timestamp"
    return str(schema["type"])


def text_bytes(text: str) -> bytes:
    """An Avro string: its length, then UTF-8."""
    encoded = text.encode()
    return encode_long(len(encoded)) + encoded


def enum_table(schema: Schema) -> dict[str, bytes]:
    """The bytes of each symbol."""
    return {symbol: encode_long(index) for index, symbol in enumerate(schema["symbols"])}


def _encode_int(number: int) -> bytes:
    if not -(1 << 31) <= number < 1 << 31:
        raise OverflowError("does not fit an Avro int of 32 bits")
    return encode_long(number)


_FLOAT, _DOUBLE = struct.Struct("<f").pack, struct.Struct("<d").pack
_PRIMITIVES: dict[str, ValueEncoder] = {
    "null": lambda _: b"",
    "boolean": lambda value: b"\1" if value else b"\0",
    "int": _encode_int,
    "long": encode_long,
    "timestamp": encode_long,
    "float": _FLOAT,
    "double": _DOUBLE,
    "string": lambda value: text_bytes(value if isinstance(value, str) else value.decode()),
    "bytes": lambda value: LENGTHS[len(value)] + value,
}


def value_encoder(schema: Schema) -> ValueEncoder:
    """
    The encoder of one plain Python value: for constants, and for what stands inside arrays, maps and records.

    Raises:
        UnsupportedSchemaError: a type that is not compiled here (fixed, recursive names, unions of more than null and one type).
    """
    kind = kind_of(schema)
    if kind in _PRIMITIVES:
        return _PRIMITIVES[kind]
    builder = _BUILDERS.get(kind)
    if builder is None:
        raise UnsupportedSchemaError(f"type {kind!r}")
    return builder(schema)


def _optional_encoder(schema: Schema) -> ValueEncoder:
    branch, null_index = optional_branch(schema) or ("null", 0)
    present, absent, inner = encode_long(1 - null_index), encode_long(null_index), value_encoder(branch)
    return lambda value: absent if value is None else present + inner(value)


def _array_encoder(schema: Schema) -> ValueEncoder:
    item = value_encoder(schema["items"])

    def encode(values: Sequence[Any]) -> bytes:
        return b"".join((encode_long(len(values)), *map(item, values), b"\0")) if values else b"\0"

    return encode


def _map_encoder(schema: Schema) -> ValueEncoder:
    item = value_encoder(schema["values"])

    def encode(values: Mapping[str, Any]) -> bytes:
        entries = (text_bytes(key) + item(value) for key, value in values.items())
        return b"".join((encode_long(len(values)), *entries, b"\0")) if values else b"\0"

    return encode


def _record_encoder(schema: Schema) -> ValueEncoder:
    fields = [(field["name"], value_encoder(field["type"])) for field in schema["fields"]]

    def encode(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
        values = [value[name] for name, _ in fields] if isinstance(value, Mapping) else value
        return b"".join([encode_field(item) for (_, encode_field), item in zip(fields, values, strict=True)])

    return encode


_BUILDERS: dict[str, Callable[[Schema], ValueEncoder]] = {
    "union": _optional_encoder,
    "decimal": lambda schema: decimal_memo(schema).__getitem__,
    "enum": lambda schema: enum_table(schema).__getitem__,
    "array": _array_encoder,
    "map": _map_encoder,
    "record": _record_encoder,
}
