"""
A start from the copy of a schema id on the disk is put right when the registry answers again.

A client in that state is well: it encodes with the id that the registry gave before. What it cannot know is whether the registry
that comes back is the same one. To restart it for that would cost events, so it asks by itself, and only in that state: a client
whose id came from the registry never asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from k2.errors import K2Error
from k2.ingestion.adapters.logs import get_logger
from k2.ingestion.adapters.registry import SchemaRegistry
from k2.ingestion.adapters.registry_access import access_from
from k2.ingestion.core.health import SchemaSource
from k2.ingestion.core.schemas import Schema
from k2.ingestion.readings import StartFacts
from k2.ingestion.settings import Settings

ASK_EVERY_S = 15.0

_log = get_logger("k2.startup")


async def confirm_pin(facts: StartFacts, lookup: Callable[[], int | None]) -> None:
    """
    Ask until the registry knows our schema under the id that we encode with.

    Args:
        facts: Whose source becomes `registry` then.
        lookup: The registry's id of our schema, None where it has none. It blocks, so it runs beside the event loop.
    """
    ours = int(facts.schema[1])
    other: set[int | None] = set()
    while facts.schema_source is SchemaSource.PINNED:
        await asyncio.sleep(ASK_EVERY_S)
        try:
            theirs = await asyncio.to_thread(lookup)
        except K2Error:
            continue
        if theirs == ours:
            facts.schema_source = SchemaSource.REGISTRY
            _log.info("Schema confirmed by the registry", schema_id=ours)
        elif theirs not in other:
            other.add(theirs)
            _log.error("The registry has not the schema id that we encode with", schema_id=ours, registry_has=theirs)


def lookup_of(settings: Settings, schema: Schema) -> Callable[[], int | None]:
    """Asks the registry of these settings once, over a connection of its own."""

    def lookup() -> int | None:
        with SchemaRegistry(access_from(settings.registry)) as registry:
            found = registry.lookup(settings.subject, schema)
        return None if found is None else found.schema_id

    return lookup
