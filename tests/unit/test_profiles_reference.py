"""Claims about what is written of profiles: the page's example works, and the JSON Schema says what the reader does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from k2.ingestion.options import OPTIONS
from k2.ingestion.profile_check import layouts
from k2.ingestion.profile_reference import profile_pages, profile_schema, profiles_table
from k2.ingestion.profiles import profile_directory, profile_names
from unit.profile_files import faults_of, load, written

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "profiles.md").read_text(encoding="utf-8")
EXAMPLE = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
SCHEMA = json.loads(profile_schema())


def test_the_example_of_the_page_loads(tmp_path: Path) -> None:
    """Who begins with it has a client that starts, with the topics and meanings that the page tells."""
    settings = load(written(tmp_path, EXAMPLE), DESK_FLUSH_MS="20", DESK_LOGS="text", DESK_THREADS="8", DESK_PASSWORD="p")
    assert [(plan.name, plan.layout, plan.retention_ms, plan.partitions) for plan in settings.topics] == [
        ("desk.books", "avro", 43_200_000, 6),
        ("desk.candles", "candle", -1, 12),
        ("desk.tickers", "avro", 604_800_000, 12),
        ("desk.depth", "raw", 86_400_000, 12),
    ]
    assert [plan.schema_name for plan in settings.topics] == ["book_v2", "", "ticker_v2", "raw_v2"]
    assert settings.topics[1].properties == {"compression.type": "zstd"}
    assert (settings.kafka.batch_timeout_s, settings.logs.format) == (0.02, "console")
    assert (settings.kafka.security_protocol, settings.kafka.sasl_username) == ("SASL_SSL", "desk")
    assert settings.notes == ("DESK_THREADS has no effect: the client has one thread of its own",)


@pytest.mark.parametrize(
    ("right", "wrong"), [("batch-timeout: 0.05", "batch-sise: 100"), ("retention: forever", "retention: 7 days")]
)
def test_the_mistakes_of_the_page_are_told_as_it_shows(tmp_path: Path, right: str, wrong: str) -> None:
    """The lines that the page prints are those that one gets, but for their numbers."""
    (fault,) = faults_of(written(tmp_path, EXAMPLE.replace(right, wrong)))
    assert re.sub(r":[0-9]+:", ":N:", fault) in re.sub(r":[0-9]+:", ":N:", PAGE)


def test_the_page_lists_every_layout() -> None:
    """A layout that is added is told of."""
    assert [layout for layout in layouts() if f"`{layout}`" not in PAGE] == []


def test_the_page_has_every_profile_and_variable() -> None:
    """The generated parts stand in the page as the code makes them."""
    assert profiles_table() in PAGE
    assert profile_pages() in PAGE
    assert [name for name in profile_names() if f"### {name}" not in PAGE] == []


def test_the_committed_schema_is_the_codes() -> None:
    """`python scripts/generate_docs.py` brings it there."""
    assert (profile_directory() / "profile.schema.json").read_text(encoding="utf-8") == profile_schema()


@pytest.mark.parametrize("name", profile_names())
def test_each_profile_names_the_schema_in_its_first_line(name: str) -> None:
    """So an editor checks and completes it."""
    first = (profile_directory() / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=profile.schema.json"


@pytest.mark.parametrize("text", [*(path.read_text() for path in sorted(profile_directory().glob("*.yaml"))), EXAMPLE])
def test_the_schema_takes_what_the_reader_takes(text: str) -> None:
    """No editor underlines a profile that works."""
    assert list(_refused(yaml.safe_load(text), SCHEMA, "")) == []


@pytest.mark.parametrize(
    "text",
    [
        "version: 2\ndescription: x",
        "version: 1\ndescription: x\nextra: 1",
        "version: 1\ndescription: x\noptions: {batch-sise: 1}",
        "version: 1\ndescription: x\noptions: {market: margin}",
        "version: 1\ndescription: x\ntopics: [{id: a, name: a, streams: [], layout: xml}]",
        "version: 1\ndescription: x\ntopics: [{id: a, name: a, streams: '*', retention: 7 days}]",
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(text: str) -> None:
    """An editor finds the common mistakes while they are made."""
    assert list(_refused(yaml.safe_load(text), SCHEMA, "")) != []


def test_the_schema_completes_every_option() -> None:
    """All of them but the profile itself and the secrets, with what they mean."""
    completed = SCHEMA["$defs"]["ProfileFile"]["properties"]["options"]["properties"]
    assert set(completed) == {option.in_profiles for option in OPTIONS if not option.secret and option.key != "profile"}
    assert all(entry["description"] for entry in completed.values())


# A validator for the words of JSON Schema that ours uses.
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
}  # fmt: skip


def _refused(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    if "$ref" in schema:
        return _refused(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], path)
    if "anyOf" in schema:
        attempts = [_refused(value, one, path) for one in schema["anyOf"]]
        return [] if [] in attempts else attempts[-1]
    allowed = schema.get("type", [])
    kinds = [kind for name in ([allowed] if isinstance(allowed, str) else allowed) for kind in TYPES[name]]
    if kinds and not isinstance(value, tuple(kinds)):
        return [f"{path}: type"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{path}: enum"]
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return [f"{path}: pattern"]
    if isinstance(value, list):
        items = [fault for one in value for fault in _refused(one, schema.get("items", {}), f"{path}[]")]
        return [f"{path}: too short"] if len(value) < schema.get("minItems", 0) else items
    return _refused_members(value, schema, path) if isinstance(value, dict) else []


def _refused_members(value: dict[str, Any], schema: dict[str, Any], path: str) -> list[str]:
    missing = [f"{path}.{name}: missing" for name in schema.get("required", []) if name not in value]
    faults = [fault for name, inner in value.items() for fault in _refused_member(inner, name, schema, f"{path}.{name}")]
    return missing + faults


def _refused_member(value: Any, name: str, schema: dict[str, Any], path: str) -> list[str]:
    wanted = schema.get("properties", {}).get(name, schema.get("additionalProperties", True))
    if isinstance(wanted, dict):
        return _refused(value, wanted, path)
    return [] if wanted else [f"{path}: unknown"]
