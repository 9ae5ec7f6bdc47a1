"""
`k2 schemas`: check the schemas, register one or those of a profile, show one.

Exit codes: 0 all is well, 1 a schema breaks a rule or is incompatible, 2 usage or configuration, 69 the registry does not answer.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import Struct

from k2.cli.client_options import REGISTRY, add_client_options, client_settings
from k2.errors import EXIT_OK, ConfigurationError
from k2.ingestion.adapters.registry_access import IncompatibleSchemaError, RegistryAccess, access_from, subject_of
from k2.ingestion.adapters.schema_files import load_schema, schema_names
from k2.ingestion.core.schemas import Schema, lint
from k2.ingestion.exchanges.binance.kinds import KINDS, RAW_SCHEMA, RAW_TOPIC
from k2.ingestion.options import SourceKind
from k2.ingestion.settings import Settings
from k2.ingestion.topic_plan import sibling_topic
from k2.ingestion.worked_out import MARKET_DEFAULTS

EXIT_FAULTS = 1
DEFAULT_SCHEMA = "trade_v2"
_PREFIXES = MARKET_DEFAULTS["kafka.topic_prefix"]
Arguments = argparse.Namespace
T = TypeVar("T")


class CheckResult(Struct, frozen=True):
    """What `check` found out about one schema. `subject` is None where no registry was asked."""

    schema: str
    faults: list[str]
    subject: str | None = None
    registered_id: int | None = None

    def lines(self) -> list[str]:
        state = "has faults" if self.faults else "is well"
        place = f" for {self.subject}" if self.subject else ""
        known = f", registered with id {self.registered_id}" if self.registered_id is not None else ""
        return [f"{self.schema} {state}{place}{known}", *(f"  {fault}" for fault in self.faults)]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `schemas` with its subcommands. Each sets `run`, a function from the parsed arguments to the exit code."""
    parser = subparsers.add_parser("schemas", help="check, register and show the Avro schemas", allow_abbrev=False)
    commands = parser.add_subparsers(dest="schemas_command", required=True, metavar="check | register | show")
    check = commands.add_parser("check", help="house rules, and compatibility where a registry is named", allow_abbrev=False)
    _add_options(check, run_check, schema_help="only this one; all by default")
    register = commands.add_parser("register", help="register a schema under a topic's subject", allow_abbrev=False)
    _add_options(register, run_register, schema_help=f"which one; {DEFAULT_SCHEMA} by default")
    of_client = "those of all topics that a client with --profile or --streams writes, instead of one"
    register.add_argument("--planned", action="store_true", help=of_client)
    add_client_options(register, ("profile", "feed.market", "feed.streams", "feed.raw_streams", "kafka.topic_prefix"))
    show = commands.add_parser("show", help="print a schema, and what the registry has for it", allow_abbrev=False)
    _add_options(show, run_show, schema_help=f"which one; {DEFAULT_SCHEMA} by default")


def _add_options(parser: argparse.ArgumentParser, run: Callable[[Arguments], int], schema_help: str) -> None:
    parser.add_argument("--schema", metavar="NAME", help=schema_help)
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--topic", help="the topic whose values it describes; the schema's default topic where left out")
    place.add_argument("--subject", help="the subject itself, instead of --topic")
    add_client_options(parser, REGISTRY)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run_check(arguments: Arguments) -> int:
    if arguments.schema is None and (arguments.topic or arguments.subject):
        raise ConfigurationError("--topic and --subject need --schema, which says what is to be checked there")
    schemas = [load_schema(name) for name in ([arguments.schema] if arguments.schema else schema_names())]
    access = _access(client_settings(arguments))
    results = [_checked(schema, arguments, access) for schema in schemas]
    _print(arguments, [to_json(result) for result in results], [line for result in results for line in result.lines()])
    return EXIT_FAULTS if any(result.faults for result in results) else EXIT_OK


def run_register(arguments: Arguments) -> int:
    settings = client_settings(arguments)
    access = _required(_access(settings))
    try:
        registered = [_registered(schema, subject, access) for subject, schema in _to_register(arguments, settings)]
    except IncompatibleSchemaError as error:
        print(f"k2 schemas: {error}", file=sys.stderr)
        return EXIT_FAULTS
    lines = [f"{data['schema']} has id {data['id']} under {data['subject']} (version {data['version']})" for data in registered]
    _print(arguments, registered if _is_planned(arguments) else registered[0], lines)
    return EXIT_OK


def _is_planned(arguments: Arguments) -> bool:
    """Whether the schemas of a client's topics are meant: asked for, or named by a flag that nothing else here needs."""
    flags = vars(arguments)
    return bool(arguments.planned or flags.get("profile") or flags.get("feed.streams") or flags.get("feed.raw_streams"))


def _to_register(arguments: Arguments, settings: Settings) -> list[tuple[str, Schema]]:
    """Subjects, each with what is to be registered there."""
    if not _is_planned(arguments):
        schema = load_schema(arguments.schema or DEFAULT_SCHEMA)
        return [(_subject(arguments, schema), schema)]
    if arguments.schema or arguments.topic or arguments.subject:
        raise ConfigurationError("--schema, --topic and --subject name one schema; leave them out, or --profile and --streams")
    plans = [plan for plan in settings.topics if plan.needs_schema]
    if not plans:
        raise ConfigurationError("--profile: none of its topics holds Avro, so there is no schema to register")
    return [(plan.subject, load_schema(plan.schema_name)) for plan in plans]


def _registered(schema: Schema, subject: str, access: RegistryAccess) -> dict[str, Any]:
    resolved = _with_registry(access, lambda registry: registry.resolve(subject, schema, register=True))
    for warning in resolved.warnings:
        print(f"k2 schemas: {warning}", file=sys.stderr)
    return {"schema": schema.name, "subject": subject, "id": resolved.schema_id, "version": resolved.version}


def run_show(arguments: Arguments) -> int:
    schema = load_schema(arguments.schema or DEFAULT_SCHEMA)
    access = _access(client_settings(arguments))
    held = _held(access, _subject(arguments, schema), schema) if access else None
    data = {"schema": schema.name, "fingerprint": schema.fingerprint, "definition": schema.parsed, "registry": held}
    _print(arguments, data, [schema.text.rstrip(), *([] if held is None else [_held_line(held)])])
    return EXIT_OK


def to_json(result: CheckResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in result.__struct_fields__}


def _checked(schema: Schema, arguments: Arguments, access: RegistryAccess | None) -> CheckResult:
    faults = lint(schema)
    if access is None:
        return CheckResult(schema.name, faults)
    subject = _subject(arguments, schema)
    found = _with_registry(access, lambda registry: registry.lookup(subject, schema))
    if found is not None:
        return CheckResult(schema.name, faults, subject, found.schema_id)
    verdict = _with_registry(access, lambda registry: registry.check(subject, schema))
    return CheckResult(schema.name, [*faults, *verdict.differences, *verdict.messages], subject)


def _held(access: RegistryAccess, subject: str, schema: Schema) -> dict[str, Any]:
    """What the registry has for a subject: the id of our schema, its latest version and the level that holds."""
    ours = _with_registry(access, lambda registry: registry.lookup(subject, schema))
    latest = _with_registry(access, lambda registry: registry.latest(subject))
    return {
        "subject": subject,
        "id": None if ours is None else ours.schema_id,
        "version": None if ours is None else ours.version,
        "latest_version": None if latest is None else latest.version,
        "compatibility": _with_registry(access, lambda registry: registry.level(subject)),
    }


def _held_line(held: dict[str, Any]) -> str:
    state = "does not hold this schema" if held["id"] is None else f"holds it as version {held['version']} with id {held['id']}"
    return f"\n{held['subject']} {state}; latest version {held['latest_version']}, compatibility {held['compatibility']}"


def _subject(arguments: Arguments, schema: Schema) -> str:
    if arguments.subject:
        return str(arguments.subject)
    topic = arguments.topic or default_topic(schema.name)
    if topic is None:
        raise ConfigurationError(
            f"the schema {schema.name} has no default topic; name one with --topic, or a subject with --subject"
        )
    return subject_of(topic)


def default_topic(schema_name: str) -> str | None:
    """Where a client without a profile writes records of this schema; on the spot market, where both have them."""
    if schema_name == RAW_SCHEMA:
        return sibling_topic(_PREFIXES["spot"], RAW_TOPIC)
    kind = next((kind for kind in KINDS if kind.schema_name == schema_name), None)
    return None if kind is None else sibling_topic(_PREFIXES[kind.market], kind.topic)


def _access(settings: Settings) -> RegistryAccess | None:
    """The registry that the options or the environment name; None where neither does."""
    if settings.sources["registry.url"].kind is SourceKind.DEFAULT:
        return None
    return access_from(settings.registry)


def _required(access: RegistryAccess | None) -> RegistryAccess:
    if access is None:
        raise ConfigurationError("no schema registry is named; give --schema-registry or SCHEMA_REGISTRY_URL")
    return access


def _with_registry(access: RegistryAccess, ask: Callable[[Any], T]) -> T:
    from k2.ingestion.adapters.registry import SchemaRegistry  # noqa: PLC0415  # 200 ms that --help need not pay

    with SchemaRegistry(access) as registry:
        return ask(registry)


def _print(arguments: Arguments, data: Any, lines: list[str]) -> None:
    print(json.dumps(data, indent=2) if arguments.json else "\n".join(lines))
