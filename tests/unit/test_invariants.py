"""What holds all over the source, whatever is added to it: read from the syntax trees."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from k2.ingestion.core.delivery import Concern, Fate, verdict_on
from k2.ingestion.core.outcome import EVENT_FAILURES, ControlKind, IgnoreReason, Origin, Reason, Stage, WriteOutcome

SOURCE = Path(__file__).resolve().parents[2] / "src"

# What the pure parts may import. Whatever does I/O, reads a clock or the environment, logs or rolls dice is not among it.
PURE_LIBRARIES = {
    "__future__", "base64", "bisect", "collections", "collections.abc", "dataclasses", "datetime", "decimal", "enum", "functools",
    "hashlib", "io", "itertools", "json", "math", "operator", "re", "string", "struct", "types", "typing", "urllib.parse",
    "fastavro", "fastavro.schema", "msgspec", "msgspec.json", "msgspec.structs",
}  # fmt: skip
PURE_PARTS = {
    "k2.ingestion.core": ["k2.errors", "k2.ingestion.core", "k2.ingestion.core.*"],
    "k2.ingestion.exchanges": ["k2.errors", "k2.ingestion.core", "k2.ingestion.core.*", "k2.ingestion.exchanges*"],
}
IMPURE_CALLS = {"open", "print", "input", "breakpoint", "__import__"}
CLOCK_METHODS = {"now", "utcnow", "today"}

# Inside k2.ingestion: each library with I/O in it, and the modules that may import it. The simulator and the toolbox are free.
ADAPTERS = "k2.ingestion.adapters"
OWNERS = {
    "websockets": [f"{ADAPTERS}.feed.websockets_transport"],
    "picows": [f"{ADAPTERS}.feed.picows_transport"],
    "confluent_kafka": [f"{ADAPTERS}.kafka*", f"{ADAPTERS}.topic*", f"{ADAPTERS}.registry*"],
    "httpx2": [f"{ADAPTERS}.registry*"],
    "aiohttp": [f"{ADAPTERS}.http", f"{ADAPTERS}.rest"],
    "prometheus_client": ["k2.ingestion.telemetry"],
    "structlog": [f"{ADAPTERS}.logs"],
    "rich": [],
    "requests": [],
    "httpx": [],
    "urllib.request": [],
    "http.client": [],
    "k2.simulator": [],
    "k2.cli": [],
}

TELEMETRY = "k2.ingestion.telemetry"
METRIC = re.compile(r"(binance|kafka|k2)_[a-z0-9_]+")
METRIC_WITH_UNIT = re.compile(
    r"(binance|kafka|k2)_[a-z0-9_]+_(total|seconds|bytes|ratio|info|bucket|sum|count|timestamp_seconds)"
)
CLOSED_SETS = [Origin, Stage, Reason, WriteOutcome, IgnoreReason, ControlKind, Concern, Fate]


@cache
def _modules() -> dict[str, ast.Module]:
    paths = {path.relative_to(SOURCE): path for path in sorted(SOURCE.rglob("*.py"))}
    return {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): ast.parse(file.read_text(encoding="utf-8"), str(file))
        for path, file in paths.items()
    }


def _inside(package: str) -> dict[str, ast.Module]:
    return {name: tree for name, tree in _modules().items() if name == package or name.startswith(f"{package}.")}


def _imports(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported anywhere in a file; `from a import b` is `a`, and `a.b` where that is a module of ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            parts = [f"{module}.{alias.name}" for alias in node.names]
            yield from [part for part in parts if part in _modules()] or [module]


def _belongs_to(module: str, library: str) -> bool:
    return module == library or module.startswith(f"{library}.")


def _strings(tree: ast.Module) -> Iterator[str]:
    return (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def _calls(tree: ast.Module) -> Iterator[str]:
    """Names of what is called: of the function, or of the method."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield f".{node.func.attr}"


def test_source_is_found() -> None:
    """The other tests look at something."""
    assert len(_inside("k2.ingestion.core")) > 10
    assert len(_inside("k2.ingestion.adapters")) > 10
    assert {TELEMETRY, "k2.ingestion.exchanges.binance.streams"} <= _modules().keys()


@pytest.mark.parametrize("part", PURE_PARTS)
def test_pure_parts_import_nothing_impure(part: str) -> None:
    """`core` and `exchanges` decide: what they import can do no I/O, read no clock, log nothing; and arrows point inwards."""
    faults = [
        f"{name} imports {module}"
        for name, tree in _inside(part).items()
        for module in _imports(tree)
        if module not in PURE_LIBRARIES and not any(fnmatchcase(module, pattern) for pattern in PURE_PARTS[part])
    ]
    assert not faults


@pytest.mark.parametrize("part", PURE_PARTS)
def test_pure_parts_call_nothing_impure(part: str) -> None:
    """Nor do they open files, print, or ask a datetime for the time."""
    forbidden = IMPURE_CALLS | {f".{method}" for method in CLOCK_METHODS}
    faults = [f"{name} calls {call}" for name, tree in _inside(part).items() for call in _calls(tree) if call in forbidden]
    assert not faults


@pytest.mark.parametrize("library", OWNERS)
def test_library_is_imported_by_its_adapter_only(library: str) -> None:
    """A library can be exchanged, and its traps are known, in one place."""
    faults = [
        f"{name} imports {module}"
        for name, tree in _inside("k2.ingestion").items()
        for module in _imports(tree)
        if _belongs_to(module, library) and not any(fnmatchcase(name, pattern) for pattern in OWNERS[library])
    ]
    assert not faults


def _metric_names() -> set[str]:
    return {text for text in _strings(_modules()[TELEMETRY]) if METRIC.fullmatch(text)}


def test_telemetry_names_its_metrics() -> None:
    """The catalogue is not empty, or the next test would prove nothing."""
    assert len(_metric_names()) > 30


def test_metric_names_occur_in_telemetry_only() -> None:
    """A metric is renamed in one place: elsewhere in the client stands neither its name nor anything that looks like one."""
    names = _metric_names()
    faults = [
        f"{module} names {text}"
        for module, tree in _inside("k2.ingestion").items()
        if module != TELEMETRY
        for text in _strings(tree)
        if text in names or METRIC_WITH_UNIT.fullmatch(text)
    ]
    assert not faults


@pytest.mark.parametrize("closed", CLOSED_SETS)
def test_sets_are_closed(closed: type[StrEnum]) -> None:
    """Reasons, stages and fates are enumerations of names fit for labels, no free text."""
    assert issubclass(closed, StrEnum)
    assert all(re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", member.value) for member in closed)
    assert len(closed) == len({member.value for member in closed})


def test_every_reason_can_happen() -> None:
    """Each is that of an event with a payload among the tests, or of a delivery."""
    numbers = [value for value in vars(KafkaError).values() if isinstance(value, int)]
    of_deliveries = {verdict_on(KafkaError(number).name(), alone=True).reason for number in numbers}
    assert {reason for _, reason in EVENT_FAILURES} | of_deliveries == set(Reason)


def test_every_stage_is_used() -> None:
    """Events fail in four stages; records when they are produced, or when the time is up."""
    named = {name for tree in _inside("k2.ingestion").values() for name in _members_named(tree, "Stage")}
    assert named == {stage.name for stage in Stage}
    assert {stage for stage, _ in EVENT_FAILURES} == {Stage.DECODE, Stage.ROUTE, Stage.MAP, Stage.ENCODE}


def _members_named(tree: ast.Module, enumeration: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == enumeration:
            yield node.attr
