"""`k2 schemas`: what it prints, what it registers, and the exit code that a pipeline reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from k2.cli.main import main
from k2.cli.schemas import default_topic
from k2.ingestion.adapters import schema_files
from k2.ingestion.adapters.schema_files import load_schema, schema_names
from k2.simulator.registry import EmbeddedRegistry

SUBJECT = "market.crypto.trades.binance-value"


@pytest.fixture(autouse=True)
def no_registry_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCHEMA_REGISTRY_URL", raising=False)


@pytest.fixture
async def embedded() -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry() as registry:
        yield registry


async def k2(*words: str) -> int:
    return await asyncio.to_thread(main, ["schemas", *words])


def test_all_schemas_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a registry `check` applies the house rules to every schema."""
    assert main(["schemas", "check", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [(result["schema"], result["faults"], result["subject"]) for result in results] == [
        (n, [], None) for n in schema_names()
    ]


def test_a_fault_is_exit_code_one(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema that breaks a house rule is listed with the rule, and the pipeline stops."""
    (tmp_path / "bare_v1.avsc").write_text('{"type": "record", "name": "Bare", "namespace": "a.b", "fields": []}')
    monkeypatch.setattr(schema_files, "schema_directory", lambda: tmp_path)
    assert main(["schemas", "check"]) == 1
    assert capsys.readouterr().out.splitlines() == ["bare_v1 has faults", "  Bare: the record has no doc"]


async def test_register_then_check(embedded: EmbeddedRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    """`register` puts the schema under its default topic's subject, and `check` finds it there with its id."""
    assert await k2("register", "--schema-registry", embedded.url, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"schema": "trade_v2", "subject": SUBJECT, "id": 1, "version": 1}
    assert await k2("check", "--schema", "trade_v2", "--schema-registry", embedded.url) == 0
    assert capsys.readouterr().out == f"trade_v2 is well for {SUBJECT}, registered with id 1\n"


@pytest.mark.parametrize(("option", "subject"), [(("--topic", "t"), "t-value"), (("--subject", "s"), "s")])
async def test_the_place_can_be_chosen(embedded: EmbeddedRegistry, option: tuple[str, str], subject: str) -> None:
    """A topic names its subject, and a subject itself."""
    assert await k2("register", *option, "--schema-registry", embedded.url) == 0
    assert embedded.subjects == [subject]


async def test_the_registry_may_come_from_the_environment(
    embedded: EmbeddedRegistry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SCHEMA_REGISTRY_URL names the registry as it does for the client."""
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", embedded.url)
    assert await k2("check", "--schema", "trade_v2") == 0
    assert capsys.readouterr().out == f"trade_v2 is well for {SUBJECT}\n"


@pytest.mark.parametrize("command", [("check", "--schema", "trade_v2"), ("register",)])
async def test_an_incompatible_schema_is_exit_code_one(
    embedded: EmbeddedRegistry, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    """What the registry holds decides, and the field that breaks is named."""
    embedded.hold(SUBJECT, load_schema("trade_v2").text.replace('"name": "price"', '"name": "cost"'))
    assert await k2(*command, "--schema-registry", embedded.url) == 1
    printed = capsys.readouterr()
    assert "price: the field has no default" in printed.out + printed.err


async def test_show_tells_what_the_registry_has(embedded: EmbeddedRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    """The schema's own text comes first, then its place in the registry."""
    assert await k2("show", "--schema-registry", embedded.url) == 0
    assert capsys.readouterr().out.endswith(f"{SUBJECT} does not hold this schema; latest version None, compatibility BACKWARD\n")
    await k2("register", "--schema-registry", embedded.url)
    capsys.readouterr()
    assert await k2("show", "--schema-registry", embedded.url, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["definition"], shown["fingerprint"]) == (load_schema("trade_v2").parsed, load_schema("trade_v2").fingerprint)
    assert shown["registry"] == {"subject": SUBJECT, "id": 1, "version": 1, "latest_version": 1, "compatibility": "BACKWARD"}


def test_show_prints_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a registry the output is the schema and nothing else, for a pipe."""
    assert main(["schemas", "show"]) == 0
    assert capsys.readouterr().out == load_schema("trade_v2").text


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(("register",), 2, "--schema-registry", id="no-registry"),
        pytest.param(("show", "--schema", "nope"), 2, "there is no schema 'nope'", id="no-schema"),
        pytest.param(("check", "--topic", "t"), 2, "need --schema", id="topic-without-schema"),
        pytest.param(("check", "--schema-registry", "http://127.0.0.1:1"), 69, "gives no answer", id="unreachable"),
    ],
)
def test_exit_codes_of_faults(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str) -> None:
    """Usage and unreachable registries have the exit codes that the client has, and one line of explanation."""
    assert main(["schemas", *words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_every_schema_has_a_default_topic() -> None:
    """Beside the trades' own, on the market that has its streams; so `check` with a registry can look at all of them."""
    assert {name: default_topic(name) for name in ("trade_v2", "kline_v2", "mark_price_v2", "raw_v2")} == {
        "trade_v2": "market.crypto.trades.binance",
        "kline_v2": "market.crypto.klines.binance",
        "mark_price_v2": "market.futures.mark-prices.binance",
        "raw_v2": "market.crypto.raw.binance",
    }
    assert None not in map(default_topic, schema_names())


async def test_all_schemas_can_be_checked_against_a_registry(
    embedded: EmbeddedRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new registry takes each of them."""
    assert await k2("check", "--schema-registry", embedded.url, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == len(schema_names())


@pytest.mark.parametrize(
    "flags", [("--streams", "aggTrade", "kline_1m"), ("--planned",)], ids=["by-a-flag", "of-this-environment"]
)
async def test_the_schemas_of_a_clients_topics_are_registered_together(
    flags: tuple[str, ...], embedded: EmbeddedRegistry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each under the subject of its topic."""
    monkeypatch.setenv("K2_STREAMS", "aggTrade,kline_1m")
    assert await k2("register", *flags, "--schema-registry", embedded.url, "--json") == 0
    assert [(entry["schema"], entry["subject"]) for entry in json.loads(capsys.readouterr().out)] == [
        ("trade_v2", SUBJECT), ("kline_v2", "market.crypto.klines.binance-value"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--profile", "events"), "--profile: none of its topics holds Avro"),
        (("--profile", "trades", "--schema", "trade_v2"), "--schema, --topic and --subject name one schema"),
    ],
)
async def test_what_cannot_be_registered_together_is_said(
    flags: tuple[str, ...], said: str, embedded: EmbeddedRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit 2, and nothing is registered."""
    assert await k2("register", *flags, "--schema-registry", embedded.url) == 2
    assert said in capsys.readouterr().err
    assert not [request for request in embedded.requests if request.startswith("POST")]
