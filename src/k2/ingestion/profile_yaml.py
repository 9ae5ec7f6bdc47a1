"""
YAML into a type, with every fault at its line: unknown, missing and doubled keys, wrong types and values, all of them together.

What may stand where is read off the type's structs. Scalars are taken as they are written: that of a text need not be quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec.inspect as types
import yaml
from msgspec import Struct

from k2.ingestion.option_values import nearest, quoted

NULL_TAG = "tag:yaml.org,2002:null"
MOST_TYPES_TOLD = 12

Node = yaml.Node
T = TypeVar("T", bound=Struct)


class Fault(Struct, frozen=True):
    """What is wrong, and where: the line, from 1, and the path inside the file (`topics[1].retention`; empty for the whole)."""

    line: int
    path: str
    text: str


class Reading(Struct, Generic[T]):
    """What a file holds. `value` is None where `faults` is not empty. `lines` are those of each path."""

    value: T | None
    faults: list[Fault]
    lines: dict[str, int]


def read_yaml(text: str, wanted: type[T]) -> Reading[T]:
    """The document as this type."""
    try:
        if "&" in text and _has_alias(text):
            return _unreadable(1, "anchors and aliases are not taken: write the values out")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        return _unreadable(error.problem_mark.line + 1 if error.problem_mark else 1, str(error.problem or error.context))
    except yaml.reader.ReaderError as error:
        return _unreadable(text.count("\n", 0, error.position) + 1, f"the character {error.character!r} is not allowed")
    except RecursionError:
        return _unreadable(1, "it is nested too deeply")
    except (OverflowError, ValueError) as error:  # PyYAML lets out what Python says of an escape that is no character
        return _unreadable(1, str(error))
    if root is None:
        return _unreadable(1, "the file is empty")
    reader = _Reader()
    value = reader.read(root, types.type_info(wanted), "")
    return Reading(None if reader.faults else value, reader.faults, reader.lines)


def _has_alias(text: str) -> bool:
    """Aliases may name each other until a small file means more than any memory holds."""
    return any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader))


def _unreadable(line: int, problem: str) -> Reading[Any]:
    return Reading(None, [Fault(line, "", f"this is no YAML: {' '.join(problem.split())}")], {})


class _Reader:
    """Reads nodes as types. What is faulty is None, and a fault is noted."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.lines: dict[str, int] = {}

    def read(self, node: Node, wanted: types.Type, path: str, hint: str = "") -> Any:
        self.lines[path] = node.start_mark.line + 1
        match wanted:
            case types.Metadata(type=inner, extra_json_schema=extra):
                return self.read(node, inner, path, str((extra or {}).get("description", "")))
            case types.StructType():
                return self._struct(node, wanted, path)
            case types.DictType(value_type=inner):
                return {key: self.read(value, inner, below) for key, value, below in self._entries(node, path)}
            case types.ListType(item_type=inner, min_length=least):
                return self._list(node, inner, least or 0, path)
        return self._scalar(node, wanted, path, hint)

    def _struct(self, node: Node, wanted: types.StructType, path: str) -> Any:
        fields = {field.encode_name: field for field in wanted.fields}
        entries = list(self._entries(node, path))
        if not isinstance(node, yaml.MappingNode):
            return None
        for key, value, below in entries:
            if key not in fields:
                self._fault(value, below, f"there is no {quoted(key)} here; {_instead(key, list(fields))}")
        found = {key: self.read(value, fields[key].type, below) for key, value, below in entries if key in fields}
        missing = [name for name, field in fields.items() if field.required and name not in found]
        if missing:
            self._fault(node, path, f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
        return None if missing else wanted.cls(**found)

    def _entries(self, node: Node, path: str) -> Iterator[tuple[str, Node, str]]:
        """Each key once, its value and its path."""
        if not isinstance(node, yaml.MappingNode):
            self._fault(node, path, "a mapping of names to values is due here")
            return
        seen: set[str] = set()
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            below = f"{path}.{name}".removeprefix(".")
            if not name:
                self._fault(key, path, "a name must be a text")
            elif name in seen:
                self._fault(key, below, "is there twice")
            else:
                seen.add(name)
                yield name, value, below

    def _list(self, node: Node, item: types.Type, least: int, path: str) -> Any:
        if isinstance(node, yaml.ScalarNode) and isinstance(item, types.StrType):
            return [self.read(node, item, path)]
        if not isinstance(node, yaml.SequenceNode):
            return self._fault(node, path, "a list is due here")
        if len(node.value) < least:
            return self._fault(node, path, "must not be empty")
        return [self.read(one, item, f"{path}[{number}]") for number, one in enumerate(node.value)]

    def _scalar(self, node: Node, wanted: types.Type, path: str, hint: str) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return self._fault(node, path, "a single value is due here")
        if node.tag == NULL_TAG and not (isinstance(wanted, types.LiteralType) and node.value in wanted.values):
            return self._fault(node, path, "must not be empty: leave the line out, or give a value")
        match wanted:
            case types.LiteralType(values=values):
                return self._literal(node, values, path)
            case types.IntType(ge=low, le=high):
                return self._whole(node, low, high, path)
            case types.StrType():
                return self._text(node, wanted, path, hint)
        raise TypeError(f"no reader for {wanted!r}")

    def _literal(self, node: yaml.ScalarNode, values: tuple[Any, ...], path: str) -> Any:
        for value in values:
            if str(value) == node.value:
                return value
        return self._fault(node, path, f"{quoted(node.value)} is not {_listed([str(value) for value in values])}")

    def _whole(self, node: yaml.ScalarNode, low: int | None, high: int | None, path: str) -> Any:
        if not re.fullmatch(r"-?[0-9]{1,18}", node.value):
            return self._fault(node, path, f"{quoted(node.value)} is not a whole number")
        number = int(node.value)
        if (low is not None and number < low) or (high is not None and number > high):
            return self._fault(node, path, f"{number} is out of range: {low} to {high}")
        return number

    def _text(self, node: yaml.ScalarNode, wanted: types.StrType, path: str, hint: str) -> Any:
        text: str = node.value
        if len(text) < (wanted.min_length or 0):
            return self._fault(node, path, "must not be empty")
        if wanted.max_length is not None and len(text) > wanted.max_length:
            return self._fault(node, path, f"has more than {wanted.max_length} characters")
        if wanted.pattern is not None and not re.fullmatch(wanted.pattern, text):
            return self._fault(node, path, f"{quoted(text)} does not fit. {hint}")
        return text

    def _fault(self, node: Node, path: str, text: str) -> None:
        self.faults.append(Fault(node.start_mark.line + 1, path, text))


def _instead(word: str, known: list[str]) -> str:
    return nearest(word, known, f"there can be {', '.join(known)}")


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"one of {', '.join(words[:MOST_TYPES_TOLD])}"
