"""The compiled encoder and its fallback against fastavro, the oracle: the same bytes, or an error, never other bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings

from k2.ingestion.core.avro import Encoder, MapShape, compile_encoder, frame_prefix, parameters
from k2.ingestion.core.avro_fallback import best_encoder, fastavro_encoder
from k2.ingestion.core.avro_values import UnsupportedSchemaError
from k2.ingestion.core.decimals import NumberError
from unit.core.avro_types import Case, cases

MakeEncoder = Callable[..., Encoder]
ENCODERS = [pytest.param(compile_encoder, id="compiled"), pytest.param(fastavro_encoder, id="fallback")]
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 8}
FIXED_DECIMAL = {"type": "fixed", "name": "Money", "size": 16, "logicalType": "decimal", "precision": 38, "scale": 8}
LEVEL = {
    "type": "record",
    "name": "Level",
    "fields": [{"name": "price", "type": DECIMAL}, {"name": "size", "type": ["null", DECIMAL]}],
}
CHAIN = {
    "type": "record",
    "name": "Chain",
    "fields": [{"name": "at", "type": "long"}, {"name": "next", "type": ["null", "Chain"]}],
}


def _record_of(*types: Any) -> dict[str, Any]:
    fields = [{"name": f"field{index}", "type": type_} for index, type_ in enumerate(types)]
    return {"type": "record", "name": "Example", "namespace": "com.k2.test", "fields": fields}


def _fastavro_bytes(schema: Any, record: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), record, strict=True)
    return buffer.getvalue()


def _decoded(schema: Any, value: bytes) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(value), fastavro.parse_schema(schema), None)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_compiled_bytes_are_those_of_fastavro(case: Case) -> None:
    """Whatever the schema and the record, the compiled function writes what fastavro writes, and it can be read back."""
    encode = compile_encoder(case.schema, prefix=b"\0head", constants=case.constants, maps=case.maps)
    expected = _fastavro_bytes(case.schema, case.record)
    assert encode(*case.arguments) == b"\0head" + expected
    assert _fastavro_bytes(case.schema, _decoded(case.schema, expected)) == expected


@settings(max_examples=150, deadline=None)
@given(cases())
def test_fallback_takes_the_same_arguments(case: Case) -> None:
    """The fallback stands in for the compiled function: same arguments, same bytes."""
    encode = fastavro_encoder(case.schema, constants=case.constants, maps=case.maps)
    assert encode(*case.arguments) == _fastavro_bytes(case.schema, case.record)


def test_parameters_are_what_varies_in_the_order_of_the_schema() -> None:
    """Constants are no arguments, and a map of known keys has one argument for each key that varies."""
    schema = _record_of("long", "string", {"type": "map", "values": "string"}, "long")
    maps = {"field2": MapShape(("needed",), ("extra",), (("fixed", "x"),))}
    assert parameters(schema, {"field1": "always"}, maps) == ["field0", "field2.needed", "field2.extra", "field3"]


def test_schema_without_anything_to_write_gives_the_prefix_alone() -> None:
    """A record of nothing is zero bytes in Avro."""
    assert compile_encoder(_record_of("null"), prefix=frame_prefix(258))(None) == b"\0\0\0\1\2"
    assert compile_encoder(_record_of("null"), constants={"field0": None})() == b""


EDGES = [sign * 2**bits + nudge for bits in range(63) for sign in (1, -1) for nudge in (-1, 0, 1)] + [2**63 - 1, -(2**63)]


@pytest.mark.parametrize("type_", ["long", ["null", "long"], {"type": "long", "logicalType": "timestamp-micros"}])
def test_integers_at_every_power_of_two_are_those_of_fastavro(type_: Any) -> None:
    """Where the number of bytes changes, and where the generated code takes another way."""
    schema = _record_of(type_, type_)
    encode = compile_encoder(schema)
    for number, other in zip(EDGES, reversed(EDGES), strict=True):
        assert encode(number, other) == _fastavro_bytes(schema, {"field0": number, "field1": other})


@pytest.mark.parametrize("make", ENCODERS)
@pytest.mark.parametrize(
    ("type_", "value", "error"),
    [
        pytest.param("int", 2**31, OverflowError, id="int-above"),
        pytest.param("int", -(2**31) - 1, OverflowError, id="int-below"),
        pytest.param("int", 2**100, OverflowError, id="int-far-above"),
        pytest.param("long", 2**63, OverflowError, id="long-above"),
        pytest.param("long", 2**64, OverflowError, id="long-above-64-bits"),
        pytest.param("long", 2**100, OverflowError, id="long-far-above"),
        pytest.param("long", -(2**63) - 1, OverflowError, id="long-below"),
        pytest.param("long", -(2**100), OverflowError, id="long-far-below"),
        pytest.param({"type": "long", "logicalType": "timestamp-micros"}, 2**63, OverflowError, id="time-above"),
        pytest.param("float", 1e39, OverflowError, id="float-above"),
        pytest.param(DECIMAL, "1" + 30 * "0", NumberError, id="decimal-above"),
        pytest.param(DECIMAL, "0.000000001", NumberError, id="decimal-too-fine"),
        pytest.param(DECIMAL, "-1", NumberError, id="decimal-negative"),
        pytest.param(DECIMAL, "NaN", NumberError, id="decimal-nan"),
        pytest.param(FIXED_DECIMAL, "NaN", NumberError, id="fixed-decimal-nan"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda type_: type_, lambda type_: ["null", type_], lambda type_: [type_, "null"]])
def test_value_that_does_not_fit_is_an_error(
    make: MakeEncoder, type_: Any, value: Any, error: type[Exception], wrap: Callable[[Any], Any]
) -> None:
    """A number outside its type is refused, alone and inside a nullable field: never other bytes."""
    schema = _record_of(wrap(type_))
    if make is compile_encoder and type_ is FIXED_DECIMAL:
        make = best_encoder
    with pytest.raises((error, ValueError)):  # fastavro finds no branch of the union for a number that fits none
        make(schema)(value)


@pytest.mark.parametrize("make", ENCODERS)
@pytest.mark.parametrize(
    ("type_", "value", "error"),
    [
        pytest.param({"type": "array", "items": "int"}, [1, 2**31], OverflowError, id="int-in-array"),
        pytest.param({"type": "array", "items": "long"}, [2**63], OverflowError, id="long-in-array"),
        pytest.param({"type": "map", "values": "float"}, {"a": 1e39}, OverflowError, id="float-in-map"),
        pytest.param({"type": "array", "items": LEVEL}, [{"price": "1e5", "size": None}], NumberError, id="decimal-in-record"),
        pytest.param({"type": "enum", "name": "Side", "symbols": ["BUY"]}, "SELL", (KeyError, ValueError), id="unknown-symbol"),
        pytest.param({"type": "array", "items": "string"}, ["\ud800"], UnicodeEncodeError, id="lone-surrogate"),
        pytest.param(LEVEL, {"size": "1"}, (KeyError, ValueError), id="field-left-out"),
    ],
)
def test_inner_value_that_does_not_fit_is_an_error(
    make: MakeEncoder, type_: Any, value: Any, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    """The same holds inside arrays, maps and records."""
    with pytest.raises(error):
        make(_record_of(type_))(value)


@pytest.mark.parametrize(
    ("types", "arguments", "record"),
    [
        pytest.param([{"type": "fixed", "name": "Hash", "size": 4}], [b"abcd"], [b"abcd"], id="fixed"),
        pytest.param([FIXED_DECIMAL], ["12.5"], [Decimal("12.50000000")], id="fixed-decimal"),
        pytest.param([["null", "long", "string"]], [b"text"], ["text"], id="three-branches-text"),
        pytest.param([["null", "long", "string"]], [7], [7], id="three-branches-number"),
        pytest.param([["null", "long", "bytes"]], [b"raw"], [b"raw"], id="three-branches-bytes"),
        pytest.param([["long", "double"]], [0.5], [0.5], id="no-null"),
        pytest.param(
            [CHAIN], [{"at": 1, "next": {"at": 2, "next": None}}], [{"at": 1, "next": {"at": 2, "next": None}}], id="recursive"
        ),
        pytest.param(
            [{"type": "fixed", "name": "Hash", "size": 2}, {"type": "array", "items": LEVEL}, {"type": "map", "values": "Level"}],
            [b"ab", [{"price": "1.000000000", "size": None}], {"a": {"price": "3", "size": "4.50"}}],
            [
                b"ab",
                [{"price": Decimal("1.00000000"), "size": None}],
                {"a": {"price": Decimal("3.00000000"), "size": Decimal("4.50000000")}},
            ],
            id="decimals-inside-beside-a-fixed",
        ),
    ],
)
def test_what_is_not_compiled_is_written_by_fastavro(types: list[Any], arguments: list[Any], record: list[Any]) -> None:
    """A schema outside the compiler costs speed and nothing else."""
    schema = _record_of(*types)
    with pytest.raises(UnsupportedSchemaError):
        compile_encoder(schema)
    expected = _fastavro_bytes(schema, {f"field{index}": value for index, value in enumerate(record)})
    assert best_encoder(schema, prefix=b"!")(*arguments) == b"!" + expected


def test_constants_of_the_fallback_are_plain_values_too() -> None:
    """A constant is given alike to both encoders: decimals as text, also beside a type that only fastavro writes."""
    schema = _record_of({"type": "fixed", "name": "Hash", "size": 1}, DECIMAL, {"type": "array", "items": "string"})
    encode = best_encoder(schema, constants={"field1": "2.5", "field2": ["a"]})
    assert encode(b"#") == _fastavro_bytes(schema, {"field0": b"#", "field1": Decimal("2.50000000"), "field2": ["a"]})


@pytest.mark.parametrize("make", ENCODERS)
def test_named_type_may_be_used_again_by_its_name(make: MakeEncoder) -> None:
    """The second use of a record or an enum names it, in short or in full, as in the two sides of an order book."""
    side = {"type": "enum", "name": "Side", "namespace": "com.k2.other", "symbols": ["BUY", "SELL"]}
    schema = _record_of(
        {"type": "array", "items": LEVEL}, {"type": "array", "items": "Level"}, side, ["null", "com.k2.other.Side"]
    )
    bids, asks = [{"price": "1.5", "size": "2"}], [{"price": "1.6", "size": None}, {"price": "2", "size": "0"}]
    record = {
        "field0": [{"price": Decimal("1.50000000"), "size": Decimal("2.00000000")}],
        "field1": [
            {"price": Decimal("1.60000000"), "size": None},
            {"price": Decimal("2.00000000"), "size": Decimal("0.00000000")},
        ],
        "field2": "SELL",
        "field3": "BUY",
    }
    assert make(schema)(bids, asks, "SELL", "BUY") == _fastavro_bytes(schema, record)


@pytest.mark.parametrize("make", ENCODERS)
def test_type_may_be_wrapped_in_an_object(make: MakeEncoder) -> None:
    """`{"type": "long"}` is another spelling of `"long"`, and what else the object says changes nothing."""
    schema = _record_of({"type": "long"}, {"type": "array", "items": {"type": "string"}}, {"type": "string", "note": "kept"})
    record = {"field0": 2**40, "field1": ["a"], "field2": "b"}
    assert make(schema)(2**40, ["a"], b"b") == _fastavro_bytes(schema, record)


@pytest.mark.parametrize(
    ("type_", "shape"),
    [
        pytest.param({"type": "map", "values": "long"}, MapShape(("a",)), id="map-of-longs"),
        pytest.param("string", MapShape(("a",)), id="no-map"),
        pytest.param({"type": "map", "values": "string"}, MapShape((), ("a",)), id="nothing-always-there"),
    ],
)
def test_map_shape_that_cannot_be_compiled_says_so(type_: Any, shape: MapShape) -> None:
    """Known keys are for maps of strings with at least one key that is always there: an empty map has another form."""
    with pytest.raises(UnsupportedSchemaError):
        compile_encoder(_record_of(type_), maps={"field0": shape})


def test_map_whose_optional_keys_are_all_absent_is_written_by_the_fallback() -> None:
    """What the compiler refuses, an empty map among it, the fallback writes."""
    schema = _record_of({"type": "map", "values": "string"})
    encode = best_encoder(schema, maps={"field0": MapShape((), ("a", "b.c"))})
    assert encode(None, None) == _fastavro_bytes(schema, {"field0": {}})
    assert encode(None, b"x") == _fastavro_bytes(schema, {"field0": {"b.c": "x"}})


def test_names_and_values_of_a_schema_are_not_executed() -> None:
    """The generated source holds nothing that a schema could bring in."""
    hostile = "x')]); raise SystemExit(1) #"
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "a", "type": {"type": "map", "values": "string"}}, {"name": "b", "type": "string"}],
    }
    encode = compile_encoder(schema, constants={"b": hostile}, maps={"a": MapShape((hostile,), (), ((hostile + "2", hostile),))})
    assert encode(b"v") == _fastavro_bytes(schema, {"a": {hostile + "2": hostile, hostile: "v"}, "b": hostile})
