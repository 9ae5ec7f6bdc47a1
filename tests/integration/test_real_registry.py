"""Resolving schema ids against a real registry, Apicurio behind Confluent's interface."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from k2.errors import ConfigurationError
from k2.ingestion.adapters.registry import SchemaRegistry as Resolver
from k2.ingestion.adapters.registry_access import (
    IncompatibleSchemaError,
    RegistryAccess,
    RegistryUnavailableError,
    SchemaNotRegisteredError,
    subject_of,
)
from k2.ingestion.adapters.schema_files import load_schema, schema_names
from k2.ingestion.core.schemas import Schema, parse_schema
from kit.registry import COMPATIBILITY, SchemaRegistry

TRADE = load_schema("trade_v2")


@pytest.fixture
def resolver(registry: SchemaRegistry) -> Iterator[Resolver]:
    with Resolver(RegistryAccess(registry.url)) as opened:
        yield opened


@pytest.fixture
def subject(topic: str) -> str:
    return subject_of(topic)


@pytest.fixture
def lax(registry: SchemaRegistry) -> Iterator[SchemaRegistry]:
    """The registry as Apicurio comes: no compatibility is asked for."""
    registry.set_compatibility("NONE")
    yield registry
    registry.set_compatibility(COMPATIBILITY)


def changed(old: str, new: str) -> Schema:
    return parse_schema("trade_v2", TRADE.text.replace(old, new, 1))


RENAMED = changed('"name": "price"', '"name": "cost"')
EXTENDED = changed(
    '{"name": "vendor_data"', '{"name": "fee", "type": "string", "doc": "A fee.", "default": ""}, {"name": "vendor_data"'
)


@pytest.mark.parametrize("name", schema_names())
def test_every_schema_of_ours_is_accepted(resolver: Resolver, subject: str, name: str) -> None:
    """The first start registers, the second finds what the first one got, and the registry returns our text."""
    schema = load_schema(name)
    first = resolver.resolve(subject, schema, register=True)
    with Resolver(resolver.access) as another:
        assert another.resolve(subject, schema, register=False) == first
    with SchemaRegistryClient({"url": resolver.access.url}) as client:
        assert parse_schema(name, client.get_schema(first.schema_id).schema_str or "").fingerprint == schema.fingerprint


def test_a_successor_becomes_version_two(resolver: Resolver, subject: str) -> None:
    """A field with a default may come."""
    resolver.resolve(subject, TRADE, register=True)
    assert resolver.resolve(subject, EXTENDED, register=True).version == 2


def test_an_incompatible_schema_is_refused(resolver: Resolver, subject: str) -> None:
    """The field that breaks readers is named, and nothing is registered."""
    resolver.resolve(subject, TRADE, register=True)
    with pytest.raises(IncompatibleSchemaError, match="cost: the field has no default"):
        resolver.resolve(subject, RENAMED, register=True)
    latest = resolver.latest(subject)
    assert latest is not None
    assert latest.version == 1


def test_without_registering_nothing_is_registered(registry: SchemaRegistry, resolver: Resolver, subject: str) -> None:
    """Looking up leaves no trace."""
    with pytest.raises(SchemaNotRegisteredError, match="k2 schemas register"):
        resolver.resolve(subject, TRADE, register=False)
    assert subject not in registry.subjects()


def test_apicurios_default_is_made_up_for(lax: SchemaRegistry, resolver: Resolver, subject: str) -> None:
    """Where the registry asks for no compatibility, the subject gets BACKWARD, and keeps it."""
    resolver.resolve(subject, TRADE, register=True)
    assert resolver.level(subject) == "BACKWARD"
    with pytest.raises(IncompatibleSchemaError):
        resolver.resolve(subject, RENAMED, register=True)
    assert lax.request("GET", "/config") == {"compatibilityLevel": "NONE"}


def test_a_subject_that_was_there_before_us(lax: SchemaRegistry, resolver: Resolver, subject: str) -> None:
    """A subject that somebody registered without any level is protected from our first registration on."""
    lax.request("POST", f"/subjects/{subject}/versions", {"schema": TRADE.text})
    with pytest.raises(IncompatibleSchemaError):
        resolver.resolve(subject, RENAMED, register=True)
    assert resolver.level(subject) == "BACKWARD"


def test_a_schema_that_was_there_before_us(lax: SchemaRegistry, resolver: Resolver, subject: str) -> None:
    """A subject that holds our schema without any level is told of first, and protected once registering is allowed."""
    lax.request("POST", f"/subjects/{subject}/versions", {"schema": TRADE.text})
    [warning] = resolver.resolve(subject, TRADE, register=False).warnings
    assert f"subject {subject} has the compatibility level NONE" in warning
    assert resolver.level(subject) == "NONE"
    assert resolver.resolve(subject, TRADE, register=True).warnings == ()
    assert resolver.level(subject) == "BACKWARD"


def test_a_known_schema_lives_with_a_level_set_on_purpose(registry: SchemaRegistry, resolver: Resolver, subject: str) -> None:
    """NONE for this one subject stays; our schema is there already, so the start goes on with a warning."""
    known = resolver.resolve(subject, TRADE, register=True)
    registry.set_compatibility("NONE", subject)
    resolved = resolver.resolve(subject, TRADE, register=True)
    assert resolved.schema_id == known.schema_id
    assert f"subject {subject} has the compatibility level NONE" in resolved.warnings[0]
    assert resolver.level(subject) == "NONE"


def test_a_level_set_on_purpose_is_not_touched(registry: SchemaRegistry, resolver: Resolver, subject: str) -> None:
    """NONE for this one subject is somebody's decision; ours is not to write under it."""
    registry.request("POST", f"/subjects/{subject}/versions", {"schema": TRADE.text})
    registry.set_compatibility("NONE", subject)
    with pytest.raises(ConfigurationError, match="compatibility level NONE"):
        resolver.resolve(subject, EXTENDED, register=True)


@pytest.mark.parametrize("path", ["", "/apis", "/apis/registry/v3"])
def test_a_path_that_is_not_the_registrys(registry: SchemaRegistry, path: str) -> None:
    """Apicurio's address without its path is the commonest mistake, and the error gives the path."""
    address = RegistryAccess(f"http://127.0.0.1:{registry.port}{path}")
    with Resolver(address) as lost, pytest.raises(ConfigurationError, match="/apis/ccompat/v7"):
        lost.resolve("t-value", TRADE, register=True)


def test_a_frozen_registry(registry: SchemaRegistry) -> None:
    """A process that takes connections and answers none is unavailable after one time-out, and serves again once thawed."""
    with Resolver(RegistryAccess(registry.url), timeout_s=0.5) as resolver:
        registry.pause()
        began = time.monotonic()
        try:
            with pytest.raises(RegistryUnavailableError, match="gives no answer"):
                resolver.lookup("t-value", TRADE)
        finally:
            registry.resume()
        assert time.monotonic() - began < 10
    with Resolver(RegistryAccess(registry.url)) as resolver:
        assert resolver.lookup("t-value", TRADE) is None
