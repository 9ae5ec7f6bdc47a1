"""The compatibility level of a subject: made sure before our schema is registered, and looked at where it is there already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from k2.errors import ConfigurationError
from k2.ingestion.adapters.registry import SchemaRegistry
from k2.ingestion.adapters.registry_access import IncompatibleSchemaError, RegistryAccess, ResolvedSchema
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.core.schemas import Schema, parse_schema
from k2.simulator.registry import EmbeddedRegistry

TRADE = load_schema("trade_v2")
RENAMED = parse_schema("trade_v2", TRADE.text.replace('"name": "price"', '"name": "cost"', 1))
SUBJECT = "market.crypto.trades.binance-value"


@pytest.fixture
async def embedded() -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry() as registry:
        yield registry


async def resolve(embedded: EmbeddedRegistry, schema: Schema, *, register: bool = True) -> ResolvedSchema:
    with SchemaRegistry(RegistryAccess(embedded.url)) as client:
        return await asyncio.to_thread(client.resolve, SUBJECT, schema, register=register)


@pytest.mark.parametrize("level", ["BACKWARD", "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"])
async def test_a_level_that_is_strong_enough_stays(level: str) -> None:
    """Nothing is set where the global level protects readers already."""
    async with EmbeddedRegistry(level) as embedded:
        await resolve(embedded, TRADE)
        assert embedded.levels == {}


@pytest.mark.parametrize("level", ["NONE", "FORWARD", "FORWARD_TRANSITIVE"])
async def test_a_weak_global_level_is_made_up_for(level: str) -> None:
    """Where the registry would let anything in, the subject gets BACKWARD before its first schema."""
    async with EmbeddedRegistry(level) as embedded:
        await resolve(embedded, TRADE)
        assert embedded.levels == {SUBJECT: "BACKWARD"}
        assert embedded.level == level
        with pytest.raises(IncompatibleSchemaError):
            await resolve(embedded, RENAMED)


async def test_a_weak_level_set_on_purpose_is_not_touched(embedded: EmbeddedRegistry) -> None:
    """Somebody chose NONE for this subject: the start ends with the command that changes it."""
    embedded.levels[SUBJECT] = "NONE"
    with pytest.raises(ConfigurationError, match=rf"{SUBJECT} has the compatibility level NONE.*curl -X PUT.*/config/{SUBJECT}"):
        await resolve(embedded, TRADE)
    assert embedded.levels == {SUBJECT: "NONE"}


@pytest.fixture
async def unguarded() -> AsyncIterator[EmbeddedRegistry]:
    """A registry that lets anything in, where our schema was registered by somebody who did not care about the level."""
    async with EmbeddedRegistry("NONE") as registry:
        await resolve(registry, TRADE)
        registry.levels.clear()
        yield registry


async def test_a_registered_schema_is_protected_too(unguarded: EmbeddedRegistry) -> None:
    """Where the subject inherits a weak level it gets BACKWARD, although there is nothing to register."""
    assert (await resolve(unguarded, TRADE)).warnings == ()
    assert (unguarded.levels, unguarded.level) == ({SUBJECT: "BACKWARD"}, "NONE")


async def test_without_leave_to_register_no_level_is_set(unguarded: EmbeddedRegistry) -> None:
    """A client that may not register changes nothing else either: it goes on, and tells the level and what sets another."""
    resolved = await resolve(unguarded, TRADE, register=False)
    assert resolved.schema_id == 1
    assert unguarded.levels == {}
    [warning] = resolved.warnings
    assert all(part in warning for part in (SUBJECT, "level NONE", "curl -X PUT", f"{unguarded.url}/config/{SUBJECT}"))


@pytest.mark.parametrize("register", [True, False])
async def test_a_weak_level_on_purpose_does_not_stop_a_known_schema(embedded: EmbeddedRegistry, register: bool) -> None:
    """Somebody chose NONE for a subject that holds our schema: that stays, and every start says so."""
    await resolve(embedded, TRADE)
    embedded.levels[SUBJECT] = "NONE"
    resolved = await resolve(embedded, TRADE, register=register)
    assert (resolved.schema_id, embedded.levels) == (1, {SUBJECT: "NONE"})
    [warning] = resolved.warnings
    assert f"subject {SUBJECT} has the compatibility level NONE" in warning
