"""Compatibility: what a newer schema may change while it still reads what the older one wrote."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest

from k2.ingestion.core.compatibility import differences, violations


def record(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "T", "namespace": "a.b", "fields": list(fields), **more}


def field(kind: Any, name: str = "f", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


def decimal(scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": scale}


TREE = record(field("string", "label"), field({"type": "array", "items": "a.b.T"}, "children"))

ALLOWED = [
    pytest.param(record(), record(field("string", default="")), id="new-field-with-default"),
    pytest.param(record(field("string")), record(), id="field-removed"),
    pytest.param(record(field("int")), record(field("long")), id="widened"),
    pytest.param(record(field("string")), record(field(["null", "string"])), id="made-nullable"),
    pytest.param(record(field(enum("A"))), record(field(enum("A", "B"))), id="symbol-added"),
    pytest.param(record(field(enum("A", "B"))), record(field(enum("A", default="A"))), id="symbol-removed-with-default"),
    pytest.param(record(field("string", "old")), record(field("string", "new", aliases=["old"])), id="renamed-with-alias"),
    pytest.param(record(field("string")), record(field("string", doc="Words."), doc="Words."), id="documented"),
    pytest.param(TREE, TREE, id="recursive"),
]
REFUSED = [
    pytest.param(
        record(), record(field("string")), "f: the field has no default and is missing in what was written before", id="new"
    ),
    pytest.param(record(field("long")), record(field("int")), "f: the type was long and is int", id="narrowed"),
    pytest.param(record(field("string")), record(field("long")), "f: the type was string and is long", id="type"),
    pytest.param(
        record(field(["null", "string"])), record(field("string")), "f: the type was null and is string", id="not-nullable"
    ),
    pytest.param(
        record(field("long")), record(field(["null", "string"])), "f: long fits no branch of the union [null, string]", id="union"
    ),
    pytest.param(record(field(enum("A", "B"))), record(field(enum("A"))), "f: the enum lost B and has no default", id="symbol"),
    pytest.param(
        record(field(decimal(8))),
        record(field(decimal(9))),
        "f: the logical type was decimal(38,8) and is decimal(38,9)",
        id="scale",
    ),
    pytest.param(
        record(field("bytes")), record(field(decimal(8))), "f: the logical type was none and is decimal(38,8)", id="logical"
    ),
    pytest.param(record(), record(name="U"), "the name was a.b.T and is a.b.U", id="record-name"),
    pytest.param(
        record(field({"type": "array", "items": "string"})),
        record(field({"type": "array", "items": "long"})),
        "f[]: the type was string and is long",
        id="items",
    ),
    pytest.param(
        record(field({"type": "map", "values": "string"})),
        record(field({"type": "map", "values": "long"})),
        "f{}: the type was string and is long",
        id="values",
    ),
    pytest.param(
        record(field({"type": "fixed", "name": "F", "size": 8})),
        record(field({"type": "fixed", "name": "F", "size": 9})),
        "f: the size was 8 and is 9",
        id="fixed",
    ),
    pytest.param(
        record(field(record(field("string", "in"), name="U"))),
        record(field(record(field("long", "in"), name="U"))),
        "f.in: the type was string and is long",
        id="nested",
    ),
]
EXAMPLES: dict[str, Any] = {"string": "text", "int": 7, "long": 7, "null": None, "bytes": b"\x01"}


@pytest.mark.parametrize(("old", "new"), ALLOWED)
def test_a_compatible_change(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Nothing keeps the new schema from reading the old one's records."""
    assert differences(new, old) == []


@pytest.mark.parametrize(("old", "new", "said"), REFUSED)
def test_an_incompatible_change(old: dict[str, Any], new: dict[str, Any], said: str) -> None:
    """Each change that breaks a reader is named with its field, and is the only one named."""
    assert differences(new, old) == [said]


@pytest.mark.parametrize(("old", "new"), [case for case in ALLOWED if case.id != "recursive"])
def test_fastavro_agrees_on_compatible_changes(old: dict[str, Any], new: dict[str, Any]) -> None:
    """What is called compatible, fastavro reads."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, old, {part["name"]: _example(part["type"]) for part in old["fields"]})
    buffer.seek(0)
    assert isinstance(fastavro.schemaless_reader(buffer, old, new), dict)


def _example(kind: Any) -> Any:
    return kind["symbols"][-1] if isinstance(kind, dict) else EXAMPLES[kind]


@pytest.mark.parametrize(
    ("level", "count"),
    [
        ("NONE", 0),
        ("BACKWARD", 0),
        ("BACKWARD_TRANSITIVE", 1),
        ("FORWARD", 1),
        ("FORWARD_TRANSITIVE", 1),
        ("FULL", 1),
        ("FULL_TRANSITIVE", 2),
    ],
)
def test_levels(level: str, count: int) -> None:
    """A level says which versions count, and in which direction: here the oldest cannot be read, and the latest cannot read."""
    oldest, latest, new = record(), record(field("int")), record(field("long"))
    assert len(violations(level, new, [oldest, latest])) == count
