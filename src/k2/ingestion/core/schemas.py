"""
What an Avro schema of ours is: its text, its canonical form, its fingerprint, and the house rules that it keeps.

Nothing here opens a file or asks a registry; `adapters.schema_files` reads the packaged texts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, cast

import fastavro
from fastavro.schema import SchemaParseException, UnknownType
from msgspec import Struct

Node = Any  # a piece of a parsed .avsc: str, list or dict

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
NAMED = frozenset({"record", "enum", "fixed"})
COMPLEX = NAMED | {"array", "map"}

# Avro's Parsing Canonical Form keeps these; what the second line adds changes what a reader gets from the same bytes.
_PARSING_KEYS = ("name", "type", "fields", "symbols", "items", "values", "size")
_CANONICAL_KEYS = (*_PARSING_KEYS, "logicalType", "precision", "scale", "signed", "default", "aliases")

MAX_PRECISION = 38  # digits that Spark, Iceberg and PostgreSQL hold alike

_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*")
_NAMESPACE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_INEXACT = frozenset({"float", "double"})
_LOGICAL_BASES = {
    "timestamp-micros": ("long",),
    "timestamp-millis": ("long",),
    "date": ("int",),
    "time-micros": ("long",),
    "time-millis": ("int",),
    "uuid": ("string", "fixed"),
    "decimal": ("bytes", "fixed"),
}


class SchemaSyntaxError(ValueError):
    """The text is no Avro record schema. The message says what is wrong with it."""


class Schema(Struct, frozen=True):
    """
    One record schema.

    Attributes:
        name: The file's name without its ending, for example trade_v2.
        full_name: Namespace and record name, for example com.k2.marketdata.TradeV2.
        text: The text as it stands in the file, which is also what is registered.
        parsed: The text's JSON.
        fingerprint: SHA-256 of the canonical form, in hex. Equal for schemas that write the same bytes and read them alike.
    """

    name: str
    full_name: str
    text: str
    parsed: dict[str, Any]
    fingerprint: str


def parse_schema(name: str, text: str) -> Schema:
    """
    Read the text of an .avsc file.

    Raises:
        SchemaSyntaxError: the text is not JSON, no valid Avro, or no record.
    """
    parsed = _json_object(name, text)
    try:
        fastavro.parse_schema(parsed)
    except (SchemaParseException, UnknownType, KeyError, TypeError, ValueError) as error:
        raise SchemaSyntaxError(f"{name} is no valid Avro schema: {error}") from error
    return Schema(name, full_name(parsed, ""), text, parsed, fingerprint(parsed))


def _json_object(name: str, text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaSyntaxError(f"{name} is not JSON: {error}") from error
    is_record = isinstance(parsed, dict) and parsed.get("type") == "record"
    if not is_record or not isinstance(parsed.get("name"), str) or not isinstance(parsed.get("fields"), list):
        raise SchemaSyntaxError(f"{name} is no Avro record with a name and fields")
    return cast("dict[str, Any]", parsed)


def full_name(node: dict[str, Any], namespace: str) -> str:
    """Name of a named type with its namespace; `namespace` is that of the type around it."""
    name: str = node["name"]
    space = node.get("namespace", namespace)
    return name if "." in name or not space else f"{space}.{name}"


def fingerprint(parsed: Node) -> str:
    """SHA-256 of `canonical_form`, in hex."""
    return hashlib.sha256(canonical_form(parsed).encode()).hexdigest()


def canonical_form(parsed: Node) -> str:
    """
    One text for all spellings of a schema: white space, order of attributes, short names and documentation do not count.

    It is Avro's Parsing Canonical Form with logical types (precision and scale included), defaults and aliases kept: a decimal
    of another scale has the same bytes and another meaning.

    Source: Avro 1.12 specification, "Transforming into Parsing Canonical Form".
    """
    return json.dumps(canonical(parsed), separators=(",", ":"), ensure_ascii=False)


def canonical(node: Node, namespace: str = "") -> Node:
    """The canonical form before it becomes text: every name in full, no needless wrapping, attributes in their order."""
    if isinstance(node, str):
        return node if node in PRIMITIVES or "." in node or not namespace else f"{namespace}.{node}"
    if isinstance(node, list):
        return [canonical(branch, namespace) for branch in node]
    if isinstance(node["type"], dict | list) or _says_only_its_type(node):
        return canonical(node["type"], namespace)
    return _canonical_object(node, namespace)


def _says_only_its_type(node: dict[str, Any]) -> bool:
    return node["type"] not in COMPLEX and "logicalType" not in node


def _canonical_object(node: dict[str, Any], namespace: str) -> dict[str, Any]:
    parts = dict(node)
    if node["type"] in NAMED:
        parts["name"] = full_name(node, namespace)
        namespace = parts["name"].rpartition(".")[0]
    if "fields" in node:
        parts["fields"] = [_canonical_field(field, namespace) for field in node["fields"]]
    for inner in ("items", "values"):
        if inner in node:
            parts[inner] = canonical(node[inner], namespace)
    return _ordered(parts)


def _canonical_field(field: dict[str, Any], namespace: str) -> dict[str, Any]:
    # What stands beside a field's type ({"type": "long", "logicalType": ...} on the field itself) is no logical type in Avro.
    kept: dict[str, Any] = {key: field[key] for key in ("name", "default", "aliases") if key in field}
    return _ordered(kept | {"type": canonical(field["type"], namespace)})


def _ordered(parts: dict[str, Any]) -> dict[str, Any]:
    return {key: sorted(parts[key]) if key == "aliases" else parts[key] for key in _CANONICAL_KEYS if key in parts}


def lint(schema: Schema) -> list[str]:
    """Where the schema breaks a house rule: one readable line each, empty when all is well."""
    namespace = schema.full_name.rpartition(".")[0]
    faults = [] if _NAMESPACE.fullmatch(namespace) else ["the record has no dotted lower-case namespace"]
    for path, node in _types(schema.parsed, ""):
        faults += [f"{path or node['name']}: {fault}" for fault in _type_faults(node)]
        for field in node.get("fields", ()):
            faults += [f"{_join(path, field)}: {fault}" for fault in _field_faults(field)]
    return faults


def _types(node: Node, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every type that a schema uses, as an object, with the dotted path of the fields that lead to it."""
    if isinstance(node, str):
        yield path, {"type": node}
    elif isinstance(node, list):
        for branch in node:
            yield from _types(branch, path)
    elif isinstance(node["type"], dict | list):
        yield from _types(node["type"], path)
    else:
        yield path, node
        for inner in ("items", "values"):
            if inner in node:
                yield from _types(node[inner], path)
        for field in node.get("fields", ()):
            yield from _types(field["type"], _join(path, field))


def _join(path: str, field: dict[str, Any]) -> str:
    return f"{path}.{field['name']}" if path else str(field["name"])


def _type_faults(node: dict[str, Any]) -> Iterator[str]:
    kind = node["type"]
    if kind == "record" and not node.get("doc"):
        yield "the record has no doc"
    elif kind == "enum" and not node["symbols"]:
        yield "the enum has no symbols"
    elif kind in _INEXACT:
        yield f"{kind} is not exact; use a decimal"
    if "logicalType" in node:
        yield from _logical_faults(node)


def _field_faults(field: dict[str, Any]) -> Iterator[str]:
    if not field.get("doc"):
        yield "the field has no doc"
    if not _FIELD_NAME.fullmatch(field["name"]):
        yield "field names are snake_case"
    if "logicalType" in field:
        yield "the logicalType stands on the field, where Avro ignores it; put it inside the type"


def _logical_faults(node: dict[str, Any]) -> Iterator[str]:
    logical = node["logicalType"]
    if node["type"] not in _LOGICAL_BASES.get(logical, ()):
        yield f"{logical} is not known on {node['type']}"
    elif logical == "decimal" and not 0 <= node.get("scale", 0) <= node.get("precision", 0) <= MAX_PRECISION:
        yield f"a decimal needs 0 <= scale <= precision <= {MAX_PRECISION}"
