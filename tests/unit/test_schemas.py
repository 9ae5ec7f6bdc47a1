"""Schemas: found where they are installed, one fingerprint for one contract, and the house rules."""

from __future__ import annotations

import json
from typing import Any

import fastavro
import pytest

from k2.errors import ConfigurationError
from k2.ingestion.adapters import schema_files
from k2.ingestion.adapters.schema_files import load_schema, schema_directory, schema_names
from k2.ingestion.core.schemas import Schema, SchemaSyntaxError, canonical_form, fingerprint, lint, parse_schema

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 8}


def record(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "T", "namespace": "com.k2.test", "doc": "A test.", "fields": list(fields), **more}


def field(name: str = "price", kind: Any = "string", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "doc": "A field.", **more}


def schema(parsed: dict[str, Any]) -> Schema:
    return parse_schema("t_v1", json.dumps(parsed))


def test_a_schema_is_loaded_as_it_stands() -> None:
    """What is registered is the file's own text, its documentation included."""
    loaded = load_schema("trade_v2")
    assert loaded.text == (schema_directory() / "trade_v2.avsc").read_text(encoding="utf-8")
    assert (loaded.name, loaded.full_name) == ("trade_v2", "com.k2.marketdata.TradeV2")
    assert loaded.parsed == json.loads(loaded.text)


@pytest.mark.parametrize("name", schema_names())
def test_our_schemas_keep_the_house_rules(name: str) -> None:
    """Every schema of ours parses, has no lint fault and begins with the message id."""
    loaded = load_schema(name)
    assert lint(loaded) == []
    assert loaded.parsed["fields"][0] == {**loaded.parsed["fields"][0], "name": "message_id", "type": "string"}


@pytest.mark.parametrize("name", ["nope", "../trade_v2", "trade_v2.avsc", ""])
def test_a_schema_that_is_not_there(name: str) -> None:
    """The error lists what there is."""
    with pytest.raises(ConfigurationError, match=r"there are: .*trade_v2"):
        load_schema(name)


@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b'{"type": "record", "name": "T", "fields": [{"name": "a", "type": "strin"}]}']
)
def test_a_file_that_is_no_schema(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """A broken installation is reported with the file's path."""
    (tmp_path / "broken_v1.avsc").write_bytes(content)
    monkeypatch.setattr(schema_files, "schema_directory", lambda: tmp_path)
    with pytest.raises(ConfigurationError, match=r"broken_v1\.avsc cannot be used"):
        load_schema("broken_v1")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[" * 100_000, id="nested-without-end"),
        pytest.param('"string"', id="no-record"),
        pytest.param('{"type": "record", "fields": []}', id="no-name"),
        pytest.param('{"type": "record", "name": "T"}', id="no-fields"),
        pytest.param('{"type": "record", "name": "T", "fields": 7}', id="fields-of-another-type"),
        pytest.param('{"type": "record", "name": "T", "fields": [{"name": "a", "type": "Missing"}]}', id="unknown-type"),
    ],
)
def test_text_that_is_no_schema(text: str) -> None:
    """Whatever the text, the answer is one readable error."""
    with pytest.raises(SchemaSyntaxError, match="t_v1"):
        parse_schema("t_v1", text)


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(record(field(doc="Other words."), doc="Other."), id="documentation"),
        pytest.param(record(field(order="ignore", owner="us")), id="properties-without-effect"),
        pytest.param(record(field(kind={"type": "string"})), id="wrapped-primitive"),
        pytest.param({**record(field()), "name": "com.k2.test.T", "namespace": "ignored.then"}, id="full-name"),
        pytest.param(dict(reversed(record(field()).items())), id="order-of-attributes"),
    ],
)
def test_spelling_does_not_count(variant: dict[str, Any]) -> None:
    """Two spellings of one contract have one fingerprint."""
    assert fingerprint(variant) == fingerprint(record(field()))


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(record(field("cost")), id="name"),
        pytest.param(record(field(kind="bytes")), id="type"),
        pytest.param(record(field(kind=DECIMAL)), id="logical-type"),
        pytest.param(record(field(kind={**DECIMAL, "scale": 9})), id="scale"),
        pytest.param(record(field(default="")), id="default"),
        pytest.param(record(field(aliases=["cost"])), id="alias"),
        pytest.param(record(field(), namespace="com.k2.other"), id="namespace"),
        pytest.param(record(field(), field("more")), id="field"),
        pytest.param(record(field(kind=["null", "string"])), id="nullable"),
        pytest.param(record(field(kind={"type": "array", "items": "string"})), id="array"),
    ],
)
def test_what_changes_a_readers_result_counts(variant: dict[str, Any]) -> None:
    """A change of bytes or of their meaning is another fingerprint."""
    others = [record(field()), record(field(kind={**DECIMAL, "scale": 10}))]
    assert fingerprint(variant) not in {fingerprint(other) for other in others}


def test_names_are_written_out_inside_too() -> None:
    """A named type is defined and referred to by its full name."""
    enum = {"type": "enum", "name": "Side", "symbols": ["BUY"]}
    form = canonical_form(record(field("a", enum), field("b", "Side"), field("c", ["null", "Side"])))
    assert form.count('"com.k2.test.Side"') == 3


def test_without_our_additions_it_is_avros_canonical_form() -> None:
    """For a schema without logical types, defaults and aliases the form is the one that fastavro makes."""
    plain = record(
        field("a", {"type": "enum", "name": "Side", "symbols": ["BUY"]}), field("b", {"type": "map", "values": "long"})
    )
    assert canonical_form(plain) == fastavro.schema.to_parsing_canonical_form(plain)


@pytest.mark.parametrize(
    ("parsed", "fault"),
    [
        pytest.param(record(field(), doc=""), "T: the record has no doc", id="record-doc"),
        pytest.param(record(field(doc="")), "price: the field has no doc", id="field-doc"),
        pytest.param(record(field(), namespace=""), "the record has no dotted lower-case namespace", id="namespace"),
        pytest.param(record(field("Price")), "Price: field names are snake_case", id="camel-case"),
        pytest.param(record(field(kind="double")), "price: double is not exact; use a decimal", id="float"),
        pytest.param(
            record(field(kind={"type": "array", "items": "float"})), "price: float is not exact; use a decimal", id="items"
        ),
        pytest.param(
            record(field(kind={"type": "enum", "name": "E", "symbols": []})), "price: the enum has no symbols", id="enum"
        ),
        pytest.param(
            record(field(kind={**DECIMAL, "precision": 39})),
            "price: a decimal needs 0 <= scale <= precision <= 38",
            id="precision",
        ),
        pytest.param(
            record(field(kind=["null", {**DECIMAL, "scale": 39}])),
            "price: a decimal needs 0 <= scale <= precision <= 38",
            id="scale",
        ),
        pytest.param(
            record(field(kind={"type": "int", "logicalType": "timestamp-micros"})),
            "price: timestamp-micros is not known on int",
            id="base",
        ),
        pytest.param(
            record(field(kind="long", logicalType="timestamp-micros")),
            "price: the logicalType stands on the field, where Avro ignores it; put it inside the type",
            id="misplaced",
        ),
        pytest.param(
            record(field("inner", record(field("deep", doc=""), name="U"))), "inner.deep: the field has no doc", id="nested"
        ),
    ],
)
def test_lint_finds(parsed: dict[str, Any], fault: str) -> None:
    """Each house rule has its one line, led by the field's path."""
    loose = Schema("t_v1", f"{parsed['namespace']}.T".lstrip("."), "", parsed, "")  # some of these no parser takes
    assert lint(loose) == [fault]
