"""The schema registry: whether it answers as one, what it holds under our subjects, and what it lets others do to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from k2.doctor.checks import Context, Findings
from k2.doctor.findings import Finding, finding_of, ok, skipped, some, together, wrong
from k2.doctor.troubles import Peer, trouble_behind
from k2.errors import K2Error, UnavailableError
from k2.ingestion.adapters.registry import SchemaRegistry
from k2.ingestion.adapters.registry_access import SchemaNotRegisteredError, SchemaPins, access_from
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.adapters.state import peek
from k2.ingestion.core.compatibility import BACKWARD_OR_STRONGER
from k2.ingestion.core.schemas import Schema
from k2.ingestion.settings import Settings
from k2.ingestion.topic_plan import TopicPlan

SUBJECT = "registry subject"  # whose facts the level is judged by

_PORTS = {"http": 80, "https": 443}
_ADVICE = "look at its log, and check --schema-registry"
T = TypeVar("T")


async def check_registry(context: Context, _: Findings) -> Finding:
    """Whether a registry answers there, and lets us ask."""
    settings, plans = context.settings, _plans(context.settings)
    if not plans:
        return skipped("no topic holds Avro, so no schema is needed")
    began_s = time.monotonic()
    try:
        latest = await _ask(context, lambda registry: registry.latest(plans[0].subject))
    except K2Error as error:
        found = trouble_behind(error, _peer(settings)) or finding_of(error, _ADVICE)
        return _with_pins(found, settings) if isinstance(error, UnavailableError) else found
    took_ms = round((time.monotonic() - began_s) * 1000)
    text = f"{settings.registry.url} answers in {took_ms} ms"
    return ok(text, facts={"took_ms": took_ms, "latest_version": latest and latest.version})


async def check_subject(context: Context, _: Findings) -> Finding:
    """Whether our schemas are under our subjects, or may come there."""
    plans, register = _plans(context.settings), context.settings.registry.register

    def look(registry: SchemaRegistry) -> dict[str, Finding]:
        return {plan.name: _look_at_subject(registry, plan.subject, load_schema(plan.schema_name), register) for plan in plans}

    return together(await _ask(context, look), "topic")


def _look_at_subject(registry: SchemaRegistry, subject: str, schema: Schema, may_register: bool) -> Finding:
    found = registry.lookup(subject, schema)
    if found is not None:
        facts = {"schema_id": found.schema_id, "version": found.version}
        return ok(f"{subject} holds {schema.name} with id {found.schema_id}", facts=facts)
    verdict = registry.check(subject, schema)
    if not verdict.compatible:
        what = "; ".join(verdict.differences or verdict.messages)
        text = f"{schema.name} may not follow what {subject} holds: {what}"
        return wrong(text, "take another --topic-prefix, or the k2 whose schema it is")
    if may_register:
        text = f"{subject} does not hold {schema.name} yet: the client registers it at its start"
        return ok(text)
    try:
        registry.resolve(subject, schema, register=False)
    except SchemaNotRegisteredError as missing:
        return wrong(f"{subject} does not hold {schema.name}, and --no-register is set", "register it", missing.command)
    return ok(f"{subject} holds {schema.name}")  # somebody was faster


async def check_level(context: Context, findings: Findings) -> Finding:
    """Whether the registry keeps others from breaking the readers of our subjects."""
    plans, register, subjects = _plans(context.settings), context.settings.registry.register, findings[SUBJECT].facts

    def look(registry: SchemaRegistry) -> dict[str, Finding]:
        return {plan.name: _look_at_level(registry, plan.subject, will_be_set=register and is_new(plan)) for plan in plans}

    def is_new(plan: TopicPlan) -> bool:
        return subjects.get("topics", {}).get(plan.name, subjects).get("schema_id") is None

    return together(await _ask(context, look), "topic")


def _look_at_level(registry: SchemaRegistry, subject: str, *, will_be_set: bool) -> Finding:
    return judge_level(registry.level(subject), registry.level_command(subject), subject, will_be_set=will_be_set)


def judge_level(level: str | None, command: str, subject: str, *, will_be_set: bool) -> Finding:
    """The finding on a compatibility level. `will_be_set`: the client sets it when it registers the schema. Pure."""
    if level in BACKWARD_OR_STRONGER:
        return ok(f"{level} for {subject}", facts={"level": level})
    known = level or "no level"
    if will_be_set:
        return ok(f"{known} for {subject} now: the client sets BACKWARD when it registers the schema", facts={"level": level})
    return wrong(f"{known} for {subject} lets a schema break its readers", "have it set", command, facts={"level": level})


async def _ask(context: Context, ask: Callable[[SchemaRegistry], T]) -> T:
    return await asyncio.to_thread(_asked, context, ask)


def _asked(context: Context, ask: Callable[[SchemaRegistry], T]) -> T:
    with SchemaRegistry(access_from(context.settings.registry), context.timeout_s) as registry:
        return ask(registry)


def _plans(settings: Settings) -> list[TopicPlan]:
    return [plan for plan in settings.topics if plan.needs_schema]


def _peer(settings: Settings) -> Peer:
    parts = urlsplit(settings.registry.url.split(",")[0])
    port = parts.port or _PORTS[parts.scheme]
    return Peer(parts.hostname or "", port, "--schema-registry", "--schema-registry-ca", "an http:// address")


class _Peeking:
    """A state directory that is only read, so that the client that uses it is not disturbed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, name: str, version: int) -> Any | None:
        return peek(self._directory, name, version)

    def write(self, name: str, version: int, data: Any) -> None:
        raise NotImplementedError


def _with_pins(found: Finding, settings: Settings) -> Finding:
    """What a registry that is away means now: a running client does not need it, a starting one may have its ids on disk."""
    pins, url = SchemaPins(_Peeking(settings.state_dir)), settings.registry.url
    ids = {plan.subject: pins.find(url, plan.subject, load_schema(plan.schema_name).fingerprint) for plan in _plans(settings)}
    return msgspec.structs.replace(found, advice=f"{found.advice}. A running client does without it, {_about_a_start(ids)}")


def _about_a_start(pins: Mapping[str, tuple[int, int | None] | None]) -> str:
    missing = [subject for subject, pin in pins.items() if pin is None]
    if not missing:
        ids = [str(pin[0]) for pin in pins.values() if pin]
        return f"one that starts takes id{'s' if len(ids) > 1 else ''} {', '.join(ids)} from --state-dir"
    which = f" for {some(missing)}" if len(pins) > 1 else ""
    return f"one that starts has no id on disk{which} and waits"
