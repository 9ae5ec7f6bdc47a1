"""Resolving schema ids against a registry that answers: look up, register, refuse, and pin for the time when it does not."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from k2.ingestion.adapters.registry import SchemaRegistry, resolve_with_pins
from k2.ingestion.adapters.registry_access import (
    IncompatibleSchemaError,
    RegistryAccess,
    RegistryUnavailableError,
    ResolvedSchema,
    SchemaNotRegisteredError,
    SchemaPins,
    normalised_url,
    subject_of,
)
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.adapters.state import StateDirectory, StateStore, StateWriteError
from k2.ingestion.core.health import SchemaSource
from k2.ingestion.core.schemas import Schema, parse_schema
from k2.simulator.registry import EmbeddedRegistry

TRADE = load_schema("trade_v2")
SUBJECT = "market.crypto.trades.binance-value"


def variant(old: str, new: str) -> Schema:
    """The trade schema with a change."""
    assert old in TRADE.text
    return parse_schema("trade_v2", TRADE.text.replace(old, new, 1))


RENAMED = variant('"name": "price"', '"name": "cost"')
EXTENDED = variant(
    '{"name": "vendor_data"', '{"name": "fee", "type": "string", "doc": "A fee.", "default": ""}, {"name": "vendor_data"'
)


@pytest.fixture
async def embedded() -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry() as registry:
        yield registry


async def resolve(embedded: EmbeddedRegistry, schema: Schema, *, register: bool = True, subject: str = SUBJECT) -> ResolvedSchema:
    with SchemaRegistry(RegistryAccess(embedded.url)) as client:
        return await asyncio.to_thread(client.resolve, subject, schema, register=register)


async def resolve_pinned(url: str, state: StateStore, *, register: bool = True) -> ResolvedSchema:
    with SchemaRegistry(RegistryAccess(url)) as client:
        return await resolve_with_pins(client, SchemaPins(state), SUBJECT, TRADE, register=register)


async def test_a_missing_schema_is_registered_once(embedded: EmbeddedRegistry) -> None:
    """The first start registers, every later one only looks up, and both get the same id."""
    first = await resolve(embedded, TRADE)
    second = await resolve(embedded, TRADE, register=False)
    assert first == second == ResolvedSchema(SUBJECT, 1, 1, SchemaSource.REGISTRY)
    assert embedded.requests["POST /subjects/{subject}/versions"] == 1


async def test_a_known_schema_costs_two_requests(embedded: EmbeddedRegistry) -> None:
    """One for the id and one for the level; compatibility is asked about before registering only."""
    await resolve(embedded, TRADE)
    embedded.requests.clear()
    await resolve(embedded, TRADE)
    assert dict(embedded.requests) == {"POST /subjects/{subject}": 1, "GET /config/{subject}": 1}


async def test_without_registering_the_command_is_given(embedded: EmbeddedRegistry) -> None:
    """A client that may not register says with which command somebody else can, and registers nothing."""
    with pytest.raises(SchemaNotRegisteredError) as missing:
        await resolve(embedded, TRADE, register=False)
    assert missing.value.command == f"k2 schemas register --schema trade_v2 --subject {SUBJECT} --schema-registry {embedded.url}"
    assert missing.value.command in str(missing.value)
    assert missing.value.exit_code == 2
    assert embedded.requests["POST /subjects/{subject}/versions"] == 0


async def test_a_compatible_successor_is_a_new_version(embedded: EmbeddedRegistry) -> None:
    """A field with a default may come, as version two."""
    await resolve(embedded, TRADE)
    assert await resolve(embedded, EXTENDED) == ResolvedSchema(SUBJECT, 2, 2, SchemaSource.REGISTRY)


async def test_an_incompatible_schema_is_refused(embedded: EmbeddedRegistry) -> None:
    """The error names the subject, the field and the registry's own words, and nothing is registered."""
    await resolve(embedded, TRADE)
    with pytest.raises(IncompatibleSchemaError) as refused:
        await resolve(embedded, RENAMED)
    assert refused.value.differences == ["cost: the field has no default and is missing in what was written before"]
    assert refused.value.registry_message
    assert all(part in str(refused.value) for part in (SUBJECT, "trade_v2", "cost", refused.value.registry_message))
    assert refused.value.exit_code == 2
    assert embedded.requests["POST /subjects/{subject}/versions"] == 1


async def test_the_subject_follows_the_topic(embedded: EmbeddedRegistry) -> None:
    """One schema under two topics has two subjects and, as in Confluent's registry, one id."""
    spot = await resolve(embedded, TRADE, subject=subject_of("spot"))
    futures = await resolve(embedded, TRADE, subject=subject_of("futures"))
    assert [spot.subject, futures.subject] == ["spot-value", "futures-value"]
    assert spot.schema_id == futures.schema_id


async def test_unusual_subject_names_reach_the_registry_whole(embedded: EmbeddedRegistry) -> None:
    """A subject is escaped in every address, the compatibility check's included."""
    await resolve(embedded, TRADE, subject="a/b ?-value")
    with pytest.raises(IncompatibleSchemaError):
        await resolve(embedded, RENAMED, subject="a/b ?-value")


async def test_an_outage_is_bridged_by_the_pin(embedded: EmbeddedRegistry, tmp_path: Path) -> None:
    """The id of an earlier start serves a later one, after a restart of ours too, and says where it came from."""
    with StateDirectory(tmp_path) as state:
        before = await resolve_pinned(embedded.url, state)
    await embedded.stop()
    with StateDirectory(tmp_path) as state:
        pinned = await resolve_pinned(embedded.url, state)
    assert (before.source, pinned.source) == (SchemaSource.REGISTRY, SchemaSource.PINNED)
    assert (pinned.schema_id, pinned.version) == (before.schema_id, before.version)
    assert "gives no answer" in pinned.warnings[0]


async def test_an_outage_without_a_pin_is_an_outage(tmp_path: Path, free_port: int) -> None:
    """A first start cannot do without the registry: the error says that waiting may help, with exit code 69 behind it."""
    with StateDirectory(tmp_path) as state, pytest.raises(RegistryUnavailableError, match=str(free_port)) as away:
        await resolve_pinned(f"http://127.0.0.1:{free_port}", state)
    assert away.value.exit_code == 69


async def test_a_refusal_is_not_bridged(embedded: EmbeddedRegistry, tmp_path: Path) -> None:
    """What the registry refuses stays refused, pin or not."""
    with StateDirectory(tmp_path) as state:
        SchemaPins(state).save(embedded.url, TRADE.fingerprint, ResolvedSchema(SUBJECT, 9, 1, SchemaSource.REGISTRY))
        with pytest.raises(SchemaNotRegisteredError):
            await resolve_pinned(embedded.url, state, register=False)


async def test_a_full_disk_costs_the_pin_only(embedded: EmbeddedRegistry) -> None:
    """An id that cannot be pinned is used all the same, with a warning beside the others."""

    class FullDisk:
        def read(self, _name: str, _version: int) -> None:
            return None

        def write(self, name: str, _version: int, _data: object) -> None:
            raise StateWriteError(f"{name} could not be written")

    resolved = await resolve_pinned(embedded.url, FullDisk())
    assert (resolved.schema_id, resolved.warnings) == (1, ("schema-pins could not be written",))
    embedded.levels[SUBJECT] = "NONE"
    warnings = (await resolve_pinned(embedded.url, FullDisk())).warnings
    assert "level NONE" in warnings[0]
    assert warnings[1:] == ("schema-pins could not be written",)


@pytest.mark.parametrize(
    ("url", "subject", "schema"),
    [
        pytest.param("http://other:8081", SUBJECT, TRADE, id="another-registry"),
        pytest.param("http://one:8082", SUBJECT, TRADE, id="another-port"),
        pytest.param("http://one:8081", "other-value", TRADE, id="another-subject"),
        pytest.param("http://one:8081", SUBJECT, EXTENDED, id="another-schema"),
    ],
)
def test_a_pin_serves_nothing_else(tmp_path: Path, url: str, subject: str, schema: Schema) -> None:
    """An id of another registry, subject or schema would make records that nobody can read."""
    with StateDirectory(tmp_path) as state:
        pins = SchemaPins(state)
        pins.save("http://one:8081", TRADE.fingerprint, ResolvedSchema(SUBJECT, 7, 2, SchemaSource.REGISTRY))
        assert pins.find("HTTP://One:8081/", SUBJECT, TRADE.fingerprint) == (7, 2)
        assert pins.find(url, subject, schema.fingerprint) is None


def test_an_unchanged_pin_is_not_written_again() -> None:
    """Every start confirms its pins; the disk sees only what changed."""
    writes: list[object] = []

    class Memory:
        def read(self, _name: str, _version: int) -> object:
            return writes[-1] if writes else None

        def write(self, _name: str, _version: int, data: object) -> None:
            writes.append(data)

    pins = SchemaPins(Memory())
    for schema_id in (7, 7, 8, 8):
        pins.save("http://one", "f", ResolvedSchema(SUBJECT, schema_id, None, SchemaSource.REGISTRY))
    assert len(writes) == 2
    assert pins.find("http://one", SUBJECT, "f") == (8, None)


@pytest.mark.parametrize("data", [7, {"a": 1}, [{"registry": "x"}], [[1]]])
def test_pins_of_another_shape_count_as_none(tmp_path: Path, data: object) -> None:
    """Pins that somebody edited cost a request at the next start, and no more."""
    with StateDirectory(tmp_path) as state:
        state.write("schema-pins", 1, data)
        assert SchemaPins(state).find("http://one", SUBJECT, "f") is None


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("http://localhost:8081/", "http://localhost:8081"),
        ("HTTP://LocalHost", "http://localhost"),
        ("http://localhost:80", "http://localhost"),
        ("https://r:443/apis/", "https://r/apis"),
        ("http://b:1, http://a:1", "http://a:1,http://b:1"),
    ],
)
def test_spellings_of_one_address(url: str, same: str) -> None:
    """The same registry is recognised however its address is written."""
    assert normalised_url(url) == same


def test_the_password_is_not_shown() -> None:
    """Neither Python's nor rich's rendering of the settings tells it."""
    access = RegistryAccess("http://one", "k2", "s3cret")
    assert "s3cret" not in f"{access} {access!r} {access.__rich_repr__()}"
    assert "'k2'" in repr(access)


async def test_the_password_is_not_logged(caplog: pytest.LogCaptureFixture, embedded: EmbeddedRegistry) -> None:
    """Not even the most talkative log level brings out the password or the requests of the HTTP client."""
    caplog.set_level(logging.DEBUG)
    with SchemaRegistry(RegistryAccess(embedded.url, "k2", "s3cret")) as client:
        await asyncio.to_thread(client.resolve, SUBJECT, TRADE, register=True)
    assert "s3cret" not in caplog.text
    assert not [line.name for line in caplog.records if line.name.startswith(("httpx", "httpcore"))]


async def test_a_subject_with_another_kind_of_schema(embedded: EmbeddedRegistry) -> None:
    """What stands under the subject need not resemble ours for the error to be readable."""
    await resolve(embedded, parse_schema("other_v1", json.dumps({"type": "record", "name": "Other", "fields": []})))
    with pytest.raises(IncompatibleSchemaError, match=r"the name was Other and is com\.k2\.marketdata\.TradeV2"):
        await resolve(embedded, TRADE)
