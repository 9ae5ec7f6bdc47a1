"""Avro's named types: a type that was defined once may be used by its name further on."""

from __future__ import annotations

from typing import Any

from k2.ingestion.core.schemas import NAMED, Node, canonical


def inlined(schema: Node) -> Node:
    """
    The schema in canonical form, with the definition wherever only a name stood.

    A record that contains itself keeps its name there. The result is for walking through: as an .avsc it would define twice.
    """
    return _inlined(canonical(schema), {})


def _inlined(node: Node, defined: dict[str, Node]) -> Node:
    if isinstance(node, str):
        return defined.get(node, node)
    if isinstance(node, list):
        return [_inlined(branch, defined) for branch in node]
    parts: dict[str, Any] = dict(node)
    if "fields" in parts:
        parts["fields"] = [{**field, "type": _inlined(field["type"], defined)} for field in parts["fields"]]
    for inner in ("items", "values"):
        if inner in parts:
            parts[inner] = _inlined(parts[inner], defined)
    if parts["type"] in NAMED:
        defined[parts["name"]] = parts
    return parts
