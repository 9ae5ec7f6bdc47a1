"""
A start from the copy of a schema id on the disk is put right when the registry answers again.

A client in that state is well: it encodes with the id that the registry gave before. What it cannot know is whether the registry
that comes back is the same one. To restart it for that would cost events, so it asks by itself, and only in that state: a client
whose id came from the registry never asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from k2.errors import K2Error
from k2.ingestion.adapters.logs import get_logger
from k2.ingestion.adapters.registry import SchemaRegistry
from k2.ingestion.adapters.registry_access import access_from
from k2.ingestion.core.health import SchemaSource
from k2.ingestion.core.schemas import Schema
from k2.ingestion.readings import StartFacts
from k2.ingestion.settings import Settings
from k2.ingestion.startup import Schemas

ASK_EVERY_S = 15.0

_log = get_logger("k2.startup")


Lookup = Callable[[], int | None]


async def confirm_pins(facts: StartFacts, pinned: Sequence[tuple[int, Lookup]]) -> None:
    """
    Ask until the registry knows each of these schemas under the id that we encode with.

    Args:
        facts: Whose source becomes `registry` then.
        pinned: Each id from the disk, with what asks for the registry's id of that schema, None where it has none. It blocks,
            so it runs beside the event loop.
    """
    unconfirmed = list(pinned)
    told: set[tuple[int, int | None]] = set()
    while unconfirmed:
        await asyncio.sleep(ASK_EVERY_S)
        for ours, lookup in tuple(unconfirmed):
            try:
                theirs = await asyncio.to_thread(lookup)
            except K2Error:
                break
            if theirs == ours:
                unconfirmed.remove((ours, lookup))
                _log.info("Schema confirmed by the registry", schema_id=ours)
            elif (ours, theirs) not in told:
                told.add((ours, theirs))
                _log.error("The registry has not the schema id that we encode with", schema_id=ours, registry_has=theirs)
    facts.schema_source = SchemaSource.REGISTRY


def lookups_of(settings: Settings, schemas: Schemas) -> list[tuple[int, Lookup]]:
    """Each id that came from the disk, with what asks the registry of these settings for it over a connection of its own."""
    return [
        (resolved.schema_id, partial(_lookup, settings, resolved.subject, schemas.schemas[topic]))
        for topic, resolved in schemas.resolved.items()
        if resolved.source is SchemaSource.PINNED
    ]


def _lookup(settings: Settings, subject: str, schema: Schema) -> int | None:
    with SchemaRegistry(access_from(settings.registry)) as registry:
        found = registry.lookup(subject, schema)
    return None if found is None else found.schema_id
