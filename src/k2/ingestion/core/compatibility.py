"""
Whether what one Avro schema wrote can be read with another: the rules behind BACKWARD, FORWARD and FULL.

Follows Avro's schema resolution, and is stricter in one point: another logical type, or a decimal of another precision or scale,
counts as a change, although the bytes can be read. Not looked at: field order, documentation, properties of one's own.

Source: Avro 1.12 specification, "Schema Resolution".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from k2.ingestion.core.schemas import NAMED, Node, canonical

LEVELS = ("NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE")
BACKWARD_OR_STRONGER = frozenset({"BACKWARD", "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"})

_PROMOTIONS = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
_LOGICAL_KEYS = ("logicalType", "precision", "scale")


def differences(reader: Node, writer: Node) -> list[str]:
    """
    What keeps `reader` from reading all that `writer` wrote: one line each, led by the field's path. Empty: it can.

    BACKWARD means `differences(new, old)` is empty, FORWARD `differences(old, new)`, FULL both.
    """
    ours, theirs = canonical(reader), canonical(writer)
    return list(_Comparison(ours, theirs).compare(ours, theirs, ""))


def violations(level: str, new: Node, versions: list[Node]) -> list[str]:
    """What `new` breaks of a compatibility level against a subject's `versions`, oldest first."""
    compared = versions if level.endswith("_TRANSITIVE") else versions[-1:]
    kind = level.removesuffix("_TRANSITIVE")
    found: list[str] = []
    for old in compared:
        found += differences(new, old) if kind in {"BACKWARD", "FULL"} else []
        found += differences(old, new) if kind in {"FORWARD", "FULL"} else []
    return found


def _named_types(node: Node) -> dict[str, dict[str, Any]]:
    """Every named type defined in a canonical schema, by full name."""
    if isinstance(node, str):
        return {}
    inner = node if isinstance(node, list) else [node[key] for key in ("items", "values") if key in node]
    found = {node["name"]: node} if isinstance(node, dict) and node["type"] in NAMED else {}
    for part in inner:
        found |= _named_types(part)
    for field in node.get("fields", ()) if isinstance(node, dict) else ():
        found |= _named_types(field["type"])
    return found


class _Comparison:
    """One comparison of two schemas. Remembers the pairs of records under way, so that recursive types end."""

    def __init__(self, reader: Node, writer: Node) -> None:
        self._reader_types = _named_types(reader)
        self._writer_types = _named_types(writer)
        self._under_way: set[tuple[str, str]] = set()

    def compare(self, reader: Node, writer: Node, path: str) -> Iterator[str]:
        reader, writer = _resolve(reader, self._reader_types), _resolve(writer, self._writer_types)
        if isinstance(writer, list):
            for branch in writer:
                yield from self.compare(reader, branch, path)
        elif isinstance(reader, list):
            yield from self._into_union(reader, writer, path)
        else:
            yield from self._plain(reader, writer, path)

    def _into_union(self, reader: list[Node], writer: Node, path: str) -> Iterator[str]:
        if not any(not list(self.compare(branch, writer, path)) for branch in reader):
            yield f"{_at(path)}{_title(writer)} fits no branch of the union {_title(reader)}"

    def _plain(self, reader: dict[str, Any], writer: dict[str, Any], path: str) -> Iterator[str]:
        ours, theirs = reader["type"], writer["type"]
        if ours != theirs and ours not in _PROMOTIONS.get(theirs, ()):
            yield f"{_at(path)}the type was {_title(writer)} and is {_title(reader)}"
        elif [reader.get(key) for key in _LOGICAL_KEYS] != [writer.get(key) for key in _LOGICAL_KEYS]:
            yield f"{_at(path)}the logical type was {_logical(writer)} and is {_logical(reader)}"
        elif ours in NAMED and not _same_name(reader, writer):
            yield f"{_at(path)}the name was {writer['name']} and is {reader['name']}"
        else:
            yield from self._inside(ours, reader, writer, path)

    def _inside(self, kind: str, reader: dict[str, Any], writer: dict[str, Any], path: str) -> Iterator[str]:
        if kind == "record":
            yield from self._record(reader, writer, path)
        elif kind == "enum":
            yield from _enum(reader, writer, path)
        elif kind == "array":
            yield from self.compare(reader["items"], writer["items"], f"{path}[]")
        elif kind == "map":
            yield from self.compare(reader["values"], writer["values"], f"{path}{{}}")
        elif kind == "fixed" and reader["size"] != writer["size"]:
            yield f"{_at(path)}the size was {writer['size']} and is {reader['size']}"

    def _record(self, reader: dict[str, Any], writer: dict[str, Any], path: str) -> Iterator[str]:
        pair = (reader["name"], writer["name"])
        if pair in self._under_way:
            return
        self._under_way.add(pair)
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            yield from self._field(field, written, f"{path}.{field['name']}" if path else field["name"])
        self._under_way.discard(pair)

    def _field(self, field: dict[str, Any], written: dict[str, dict[str, Any]], path: str) -> Iterator[str]:
        names = [field["name"], *field.get("aliases", ())]
        match = next((written[name] for name in names if name in written), None)
        if match is not None:
            yield from self.compare(field["type"], match["type"], path)
        elif "default" not in field:
            yield f"{_at(path)}the field has no default and is missing in what was written before"


def _resolve(node: Node, types: dict[str, dict[str, Any]]) -> Node:
    """A node as a union or as an object: names are looked up, primitives spelt out."""
    return types.get(node, {"type": node}) if isinstance(node, str) else node


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _same_name(reader: dict[str, Any], writer: dict[str, Any]) -> bool:
    # Unqualified names decide, as in Avro's resolution: a record may move to another namespace.
    names = {_short(name) for name in (reader["name"], *reader.get("aliases", ()))}
    return _short(writer["name"]) in names


def _enum(reader: dict[str, Any], writer: dict[str, Any], path: str) -> Iterator[str]:
    missing = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
    if missing and "default" not in reader:
        yield f"{_at(path)}the enum lost {', '.join(missing)} and has no default"


def _logical(node: dict[str, Any]) -> str:
    if "logicalType" not in node:
        return "none"
    digits = f"({node.get('precision')},{node.get('scale', 0)})" if node["logicalType"] == "decimal" else ""
    return f"{node['logicalType']}{digits}"


def _title(node: Node) -> str:
    if isinstance(node, list):
        return f"[{', '.join(_title(branch) for branch in node)}]"
    if isinstance(node, str):
        return _short(node)
    return _short(node["name"]) if node["type"] in NAMED else str(node["type"])


def _at(path: str) -> str:
    return f"{path}: " if path else ""
