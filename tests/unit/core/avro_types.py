"""Hypothesis strategies for record schemas of every type that is compiled, with values as fastavro takes them and as we do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from k2.ingestion.core.avro import MapShape, holds_only_decimals

INT = (-(2**31), 2**31 - 1)
LONG = (-(2**63), 2**63 - 1)
YEARS_1_TO_9999_US = (-62_135_596_800_000_000, 253_402_300_799_999_999)  # what a datetime holds, and fastavro decodes into

Convert = Callable[[Any], Any]


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class AvroType:
    """
    A type with its values.

    Attributes:
        plain: Values as fastavro takes them.
        nested: Turns one into what we take inside arrays, maps and records, and for constants.
        given: Turns one into what we take as an argument.
    """

    schema: Any
    plain: st.SearchStrategy[Any]
    nested: Convert = _as_it_is
    given: Convert = _as_it_is


@dataclass(frozen=True)
class Case:
    """A record schema and one record of it."""

    schema: dict[str, Any]
    constants: dict[str, Any]
    maps: dict[str, MapShape]
    record: dict[str, Any]
    arguments: list[Any]


def _decimal_text(number: Decimal) -> str:
    return f"{number:f}"


def _integers(bounds: tuple[int, int]) -> st.SearchStrategy[int]:
    return st.one_of(st.integers(*bounds), st.sampled_from([bounds[0], bounds[1], -1, 0, 1, 63, 64, 2**27 - 1, 2**27, 2**28]))


PRIMITIVES = {
    "null": AvroType("null", st.none()),
    "boolean": AvroType("boolean", st.booleans()),
    "int": AvroType("int", _integers(INT)),
    "long": AvroType("long", _integers(LONG)),
    "float": AvroType("float", st.floats(width=32)),
    "double": AvroType("double", st.floats()),
    "string": AvroType("string", st.text(max_size=20) | st.just("牛" * 70), given=str.encode),
    "bytes": AvroType("bytes", st.binary(max_size=200)),
    "time": AvroType({"type": "long", "logicalType": "timestamp-micros"}, _integers(YEARS_1_TO_9999_US)),
}


@st.composite
def _decimals(draw: st.DrawFn) -> AvroType:
    precision = draw(st.integers(1, 50))
    scale = draw(st.integers(0, precision))
    unscaled = st.integers(0, 10**precision - 1) | st.sampled_from([0, 1, 127 % 10**precision, 10**precision - 1])
    numbers = unscaled.map(lambda number: Decimal((0, tuple(map(int, str(number))), -scale)))
    schema = {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
    return AvroType(schema, numbers, _decimal_text, _decimal_text)


@st.composite
def _enums(draw: st.DrawFn, names: Iterator[int]) -> AvroType:
    symbols = draw(st.lists(st.from_regex(r"[A-Z]{1,4}", fullmatch=True), min_size=1, max_size=5, unique=True))
    return AvroType({"type": "enum", "name": f"Enum{next(names)}", "symbols": symbols}, st.sampled_from(symbols))


@st.composite
def _containers(draw: st.DrawFn, inner: st.SearchStrategy[AvroType], names: Iterator[int]) -> AvroType:
    kind = draw(st.sampled_from(["array", "map", "record"]))
    if kind == "record":
        return _record(draw(st.lists(inner, max_size=3)), names)
    return _array(draw(inner)) if kind == "array" else _map(draw(inner))


def _array(item: AvroType) -> AvroType:
    def convert(values: list[Any]) -> list[Any]:
        # Levels of an order book and their like are given by position.
        by_position = isinstance(item.schema, dict) and holds_only_decimals(item.schema)
        return [list(item.nested(value).values()) if by_position else item.nested(value) for value in values]

    return AvroType({"type": "array", "items": item.schema}, st.lists(item.plain, max_size=3), convert, convert)


def _map(item: AvroType) -> AvroType:
    def convert(values: dict[str, Any]) -> dict[str, Any]:
        return {key: item.nested(value) for key, value in values.items()}

    plain = st.dictionaries(st.text(max_size=3), item.plain, max_size=3)
    return AvroType({"type": "map", "values": item.schema}, plain, convert, convert)


def _record(fields: list[AvroType], names: Iterator[int]) -> AvroType:
    listed = [{"name": f"field{index}", "type": field.schema} for index, field in enumerate(fields)]
    schema = {"type": "record", "name": f"Record{next(names)}", "fields": listed}
    plain = st.fixed_dictionaries({f"field{index}": field.plain for index, field in enumerate(fields)})

    def convert(value: dict[str, Any]) -> dict[str, Any]:
        return {f"field{index}": field.nested(value[f"field{index}"]) for index, field in enumerate(fields)}

    return AvroType(schema, plain, convert, convert)


@st.composite
def _nullables(draw: st.DrawFn, inner: st.SearchStrategy[AvroType]) -> AvroType:
    branch = draw(inner.filter(lambda chosen: chosen.schema != "null"))
    schema = ["null", branch.schema] if draw(st.booleans()) else [branch.schema, "null"]
    return AvroType(
        schema,
        st.none() | branch.plain,
        lambda value: None if value is None else branch.nested(value),
        lambda value: None if value is None else branch.given(value),
    )


def avro_types(names: Iterator[int]) -> st.SearchStrategy[AvroType]:
    """Any type that is compiled, three levels deep at most. `names` numbers the named types of one schema."""
    leaves = st.sampled_from(list(PRIMITIVES.values())) | _decimals() | _enums(names)
    once = leaves | _containers(leaves, names) | _nullables(leaves)
    return once | _containers(once, names) | _nullables(_containers(once, names))


@st.composite
def _known_maps(draw: st.DrawFn) -> tuple[Any, MapShape, dict[str, str], list[bytes | None]]:
    """Schema, shape, value, and the arguments of a map field whose keys are known."""
    schema: Any = {"type": "map", "values": "string"}
    schema = draw(st.sampled_from([schema, ["null", schema], [schema, "null"]]))
    keys = draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6, unique=True))
    always = draw(st.integers(1, len(keys)))
    constant = draw(st.integers(0, always))
    texts = st.text(max_size=8)
    constants = {key: draw(texts) for key in keys[:constant]}
    required = {key: draw(texts) for key in keys[constant:always]}
    optional = {key: draw(st.none() | texts) for key in keys[always:]}
    shape = MapShape(tuple(required), tuple(optional), tuple(constants.items()))
    value = constants | required | {key: text for key, text in optional.items() if text is not None}
    return schema, shape, value, [None if text is None else text.encode() for text in (*required.values(), *optional.values())]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A record schema whose fields are arguments, constants or maps of known keys, with one record of it."""
    names = itertools.count()
    case = Case({"type": "record", "name": "Generated", "namespace": "com.k2.test", "fields": []}, {}, {}, {}, [])
    for index in range(draw(st.integers(0, 6))):
        name, role = f"field{index}", draw(st.sampled_from(["argument", "argument", "constant", "map"]))
        if role == "map":
            schema, case.maps[name], case.record[name], arguments = draw(_known_maps())
            case.arguments.extend(arguments)
        else:
            chosen = draw(avro_types(names))
            schema, value = chosen.schema, draw(chosen.plain)
            case.record[name] = value
            if role == "constant":
                case.constants[name] = chosen.nested(value)
            else:
                case.arguments.append(chosen.given(value))
        case.schema["fields"].append({"name": name, "type": schema})
    return case
