"""
Compile an Avro record schema into a Python function that writes one record.

The generated function takes the record's varying fields by position and joins ready bytes: names, constants and lengths are
worked out when it is compiled, so a trade costs about a microsecond where fastavro takes twenty from a dict. fastavro is the
oracle of its tests (byte for byte) and its fallback for schemas outside what it compiles.

How values are given, by the field's type: text and bytes as UTF-8 `bytes`, decimals as the exchange's number text, enum
values as `str`, integers as `int`; a nullable field takes None as well. Arrays, maps and records inside take plain Python
values with `str`. A record may be a sequence of its fields' values, as the exchange sends the levels of an order book, and in an
array one that holds only decimals has to be. A map whose keys are known beforehand (a `MapShape`) takes one `bytes` value a key,
None for an optional key that is absent.

Source: Avro 1.12 specification, "Binary encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from k2.ingestion.core.avro_names import inlined
from k2.ingestion.core.avro_values import (
    Schema,
    UnsupportedSchemaError,
    enum_table,
    kind_of,
    optional_branch,
    text_bytes,
    value_encoder,
)
from k2.ingestion.core.decimals import decimal_memo
from k2.ingestion.core.varint import EVEN_BITS, EVEN_PAIRS, LENGTHS, REST, TIMES, encode_long

Encoder = Callable[..., bytes]


class MapShape(Struct, frozen=True):
    """The keys that a map field always has, those that it may have, and the values that never change."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    constants: tuple[tuple[str, str], ...] = ()


_END_OF_BLOCKS = b"\0"

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
        body = ", ".join(self._merged())
        source = (
            f"def bind({', '.join(self._scope)}):\n"
            f"    def encode({', '.join(self._arguments.values())}):\n"
            f"        return join([{body}])\n"
            "    return encode"
        )
        return _binder_of(source)(*self._scope.values())

    def _field(self, name: str, schema: Schema) -> None:
        if name in self._constants:
            self._pieces.append(value_encoder(schema)(self._constants[name]))
        elif name in self._maps:
            self._known_map(name, schema)
        else:
            self._pieces += self._expressions(schema, self._arguments[name])

    def _expressions(self, schema: Schema, argument: str) -> list[bytes | str]:
        optional = optional_branch(schema)
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
            return [f"{self._bind(decimal_memo(schema))}[{argument}]"]
        if kind == "enum":
            return [f"{self._bind(enum_table(schema))}[{argument}]"]
        if kind == "array" and holds_only_decimals(schema["items"]):
            return [self._records(schema["items"], argument)]
        return [f"{self._bind(value_encoder(schema))}({argument})"]

    def _records(self, schema: Schema, argument: str) -> str:
        """An array of records of numbers: one comprehension, as an order book has hundreds of levels."""
        names = [f"{argument}_{index}" for index in range(len(schema["fields"]))]
        fields = zip(schema["fields"], names, strict=True)
        item = _as_one([piece for field, name in fields for piece in self._expressions(field["type"], name)])
        items = f"join([{item} for {', '.join(names)}, in {argument}])"
        return f"(LENGTHS[len({argument})] + {items} + {_END_OF_BLOCKS!r} if {argument} else {_END_OF_BLOCKS!r})"

    def _known_map(self, name: str, schema: Schema) -> None:
        branch, null_index = optional_branch(schema) or (schema, None)
        if kind_of(branch) != "map" or kind_of(branch["values"]) != "string":
            raise UnsupportedSchemaError(f"{name} is no map of strings")
        if null_index is not None:
            self._pieces.append(encode_long(1 - null_index))
        shape = self._maps[name]
        self._pieces.append(self._entry_count(name, shape))
        for key, text in shape.constants:
            self._pieces.append(text_bytes(key) + text_bytes(text))
        for key in shape.required:
            argument = self._arguments[f"{name}.{key}"]
            self._pieces += [text_bytes(key), f"LENGTHS[len({argument})]", argument]
        for key in shape.optional:
            argument = self._arguments[f"{name}.{key}"]
            self._pieces.append(f"(b'' if {argument} is None else {text_bytes(key)!r} + LENGTHS[len({argument})] + {argument})")
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
                # By name, not in place: so the source is the same for all rows of a kind, and is compiled once for them all.
                merged.append(self._bind(literal))
                literal = b""
            if piece:
                merged.append(piece)
        return merged


def holds_only_decimals(schema: Schema) -> bool:
    """Whether it is a record of nothing but numbers, such as a level of an order book."""
    fields = schema["fields"] if kind_of(schema) == "record" else []
    return bool(fields) and all(kind_of(field["type"]) == "decimal" for field in fields)


@lru_cache(maxsize=256)
def _binder_of(source: str) -> Callable[..., Encoder]:
    """
    Makes encoders of one source, from what it refers to by name.

    All rows of a kind share their source, and so its compilation. Names are bound by closure: as globals, of which each row has
    others, they would defeat the interpreter's caches.
    """
    scope: dict[str, Any] = {}
    exec(compile(source, "<encoder>", "exec"), scope)  # noqa: S102 - made here, from field types: no name or value of a schema is in it
    binder: Callable[..., Encoder] = scope["bind"]
    return binder


def _long_expression(argument: str) -> str:
    # The common case, an id, is inlined: a call costs as much as both look-ups.
    largest_small = (1 << EVEN_BITS) - 1
    inlined = f"EVEN_PAIRS[{argument} & {largest_small}] + REST[{argument} >> {EVEN_BITS}]"
    return f"({inlined} if {argument} > {largest_small} else encode_long({argument}))"


def _as_one(pieces: Sequence[bytes | str]) -> str:
    return " + ".join(repr(piece) if isinstance(piece, bytes) else piece for piece in pieces)
