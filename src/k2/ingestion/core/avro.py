"""
Compile an Avro record schema into a Python function that writes one record.

The generated function takes the record's varying fields by position and joins ready bytes: names, constants and lengths are
worked out when it is compiled, so a trade costs about a microsecond where fastavro takes twenty from a dict. fastavro is the
oracle of its tests (byte for byte) and its fallback for schemas outside what it compiles.

How values are given, by the field's type: text and bytes as UTF-8 `bytes`, decimals as the exchange's number text, enum
values as `str`, integers as `int`; a nullable field takes None as well. Arrays, maps and records inside take plain Python
values with `str`. A map whose keys are known beforehand (a `MapShape`) takes one `bytes` value a key, None for an optional
key that is absent.

Source: Avro 1.12 specification, "Binary encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from k2.ingestion.core.avro_names import inlined
from k2.ingestion.core.decimals import DecimalMemo
from k2.ingestion.core.varint import EVEN_BITS, EVEN_PAIRS, LENGTHS, REST, TIMES, encode_long

Schema = Any  # a parsed .avsc: str, list or dict
Encoder = Callable[..., bytes]
ValueEncoder = Callable[[Any], bytes]


class UnsupportedSchemaError(Exception):
    """The schema uses a type that the compiler does not know. fastavro encodes it instead."""


class MapShape(Struct, frozen=True):
    """The keys that a map field always has, those that it may have, and the values that never change."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    constants: tuple[tuple[str, str], ...] = ()


FRAME_BYTES = 5  # of Confluent's framing, in front of every value


def frame_prefix(schema_id: int) -> bytes:
    """Confluent's framing: a zero byte and the schema id, four bytes big-endian, in front of every value."""
    return struct.pack(">bI", 0, schema_id)


def parameters(schema: Schema, constants: Mapping[str, Any], maps: Mapping[str, MapShape]) -> list[str]:
    """Names of the generated function's arguments, in their order: `field`, or `field.key` for a map of known keys."""
    names: list[str] = []
    for field in schema["fields"]:
        name = field["name"]
        if name in maps:
            names += [f"{name}.{key}" for key in (*maps[name].required, *maps[name].optional)]
        elif name not in constants:
            names.append(name)
    return names


def compile_encoder(
    schema: Schema,
    *,
    prefix: bytes = b"",
    constants: Mapping[str, Any] | None = None,
    maps: Mapping[str, MapShape] | None = None,
) -> Encoder:
    """
    Build the function that writes one record of `schema` behind `prefix`.

    Args:
        constants: Fields that have the same value in every record, as plain Python values.
        maps: Map fields whose keys are known.

    Raises:
        UnsupportedSchemaError: `schema` is outside what is compiled here.
    """
    return _Compiler(inlined(schema), prefix, constants or {}, maps or {}).compile()


class _Compiler:
    """Collects the pieces of the joined record: literal bytes, merged where they touch, and expressions between them."""

    def __init__(self, schema: Schema, prefix: bytes, constants: Mapping[str, Any], maps: Mapping[str, MapShape]) -> None:
        self._schema, self._constants, self._maps = schema, constants, maps
        self._pieces: list[bytes | str] = [prefix]
        self._scope: dict[str, Any] = {
            "join": b"".join, "EVEN_PAIRS": EVEN_PAIRS, "REST": REST, "LENGTHS": LENGTHS, "TIMES": TIMES,
            "encode_long": encode_long,
        }  # fmt: skip
        self._arguments: dict[str, str] = {}

    def compile(self) -> Encoder:
        names = parameters(self._schema, self._constants, self._maps)
        self._arguments = {name: f"value_{index}" for index, name in enumerate(names)}
        for field in self._schema["fields"]:
            self._field(field["name"], field["type"])
        source = f"def encode({', '.join(self._arguments.values())}):\n    return join([{', '.join(self._merged())}])"
        exec(source, self._scope)  # noqa: S102 - the source is made here, from field types alone: no name or value of a schema is in it
        encoder: Encoder = self._scope["encode"]
        return encoder

    def _field(self, name: str, schema: Schema) -> None:
        if name in self._constants:
            self._pieces.append(value_encoder(schema)(self._constants[name]))
        elif name in self._maps:
            self._known_map(name, schema)
        else:
            self._pieces += self._expressions(schema, self._arguments[name])

    def _expressions(self, schema: Schema, argument: str) -> list[bytes | str]:
        optional = _optional_branch(schema)
        if optional is not None:
            branch, null_index = optional
            present, absent = encode_long(1 - null_index), encode_long(null_index)
            inner = _as_one(self._expressions(branch, argument))
            return [f"({absent!r} if {argument} is None else {present!r} + {inner})"]
        kind = kind_of(schema)
        if kind == "timestamp":
            return [f"TIMES[{argument}]"]
        if kind == "long":
            return [_long_expression(argument)]
        if kind in ("string", "bytes"):
            return [f"LENGTHS[len({argument})]", argument]
        if kind == "decimal":
            return [f"{self._bind(DecimalMemo(schema['precision'], schema.get('scale', 0)))}[{argument}]"]
        if kind == "enum":
            return [f"{self._bind(_enum_table(schema))}[{argument}]"]
        return [f"{self._bind(value_encoder(schema))}({argument})"]

    def _known_map(self, name: str, schema: Schema) -> None:
        branch, null_index = _optional_branch(schema) or (schema, None)
        if kind_of(branch) != "map" or kind_of(branch["values"]) != "string":
            raise UnsupportedSchemaError(f"{name} is no map of strings")
        if null_index is not None:
            self._pieces.append(encode_long(1 - null_index))
        shape = self._maps[name]
        self._pieces.append(self._entry_count(name, shape))
        for key, text in shape.constants:
            self._pieces.append(_string(key) + _string(text))
        for key in shape.required:
            argument = self._arguments[f"{name}.{key}"]
            self._pieces += [_string(key), f"LENGTHS[len({argument})]", argument]
        for key in shape.optional:
            argument = self._arguments[f"{name}.{key}"]
            self._pieces.append(f"(b'' if {argument} is None else {_string(key)!r} + LENGTHS[len({argument})] + {argument})")
        self._pieces.append(b"\0")

    def _entry_count(self, name: str, shape: MapShape) -> bytes | str:
        always = len(shape.required) + len(shape.constants)
        if not always:
            raise UnsupportedSchemaError(f"{name}: a map of known keys needs one that is always there")
        if not shape.optional:
            return encode_long(always)
        present = " + ".join(f"({self._arguments[f'{name}.{key}']} is not None)" for key in shape.optional)
        return f"LENGTHS[{always} + {present}]"

    def _bind(self, value: object) -> str:
        name = f"bound_{len(self._scope)}"
        self._scope[name] = value
        return name

    def _merged(self) -> list[str]:
        merged: list[str] = []
        literal = b""
        for piece in [*self._pieces, ""]:
            if isinstance(piece, bytes):
                literal += piece
                continue
            if literal:
                merged.append(repr(literal))
                literal = b""
            if piece:
                merged.append(piece)
        return merged


def _long_expression(argument: str) -> str:
    # The common case, an id, is inlined: a call costs as much as both look-ups.
    largest_small = (1 << EVEN_BITS) - 1
    inlined = f"EVEN_PAIRS[{argument} & {largest_small}] + REST[{argument} >> {EVEN_BITS}]"
    return f"({inlined} if {argument} > {largest_small} else encode_long({argument}))"


def _as_one(pieces: Sequence[bytes | str]) -> str:
    return " + ".join(repr(piece) if isinstance(piece, bytes) else piece for piece in pieces)


def _optional_branch(schema: Schema) -> tuple[Schema, int] | None:
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


def _string(text: str) -> bytes:
    encoded = text.encode()
    return encode_long(len(encoded)) + encoded


def _enum_table(schema: Schema) -> dict[str, bytes]:
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
    "string": lambda value: _string(value if isinstance(value, str) else value.decode()),
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
    branch, null_index = _optional_branch(schema) or ("null", 0)
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
        entries = (_string(key) + item(value) for key, value in values.items())
        return b"".join((encode_long(len(values)), *entries, b"\0")) if values else b"\0"

    return encode


def _record_encoder(schema: Schema) -> ValueEncoder:
    fields = [(field["name"], value_encoder(field["type"])) for field in schema["fields"]]
    return lambda value: b"".join([encode(value[name]) for name, encode in fields])


_BUILDERS: dict[str, Callable[[Schema], ValueEncoder]] = {
    "union": _optional_encoder,
    "decimal": lambda schema: DecimalMemo(schema["precision"], schema.get("scale", 0)).__getitem__,
    "enum": lambda schema: _enum_table(schema).__getitem__,
    "array": _array_encoder,
    "map": _map_encoder,
    "record": _record_encoder,
}
