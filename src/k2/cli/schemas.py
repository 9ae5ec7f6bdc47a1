"""
`k2 schemas`: check the schemas, register one, show one.

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
from k2.ingestion.options import SourceKind

EXIT_FAULTS = 1
DEFAULT_SCHEMA = "trade_v2"
DEFAULT_TOPICS = {
    "trade_v2": "market.crypto.trades.binance",
    "quote_v2": "market.crypto.quotes.binance",
    "kline_v2": "market.crypto.klines.binance",
    "depth_v2": "market.crypto.depth.binance",
    "ticker_v2": "market.crypto.tickers.binance",
}

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
    access = _access(arguments)
    results = [_checked(schema, arguments, access) for schema in schemas]
    _print(arguments, [to_json(result) for result in results], [line for result in results for line in result.lines()])
    return EXIT_FAULTS if any(result.faults for result in results) else EXIT_OK


def run_register(arguments: Arguments) -> int:
    schema = load_schema(arguments.schema or DEFAULT_SCHEMA)
    subject = _subject(arguments, schema)
    try:
        resolved = _with_registry(
            _required(_access(arguments)), lambda registry: registry.resolve(subject, schema, register=True)
        )
    except IncompatibleSchemaError as error:
        print(f"k2 schemas: {error}", file=sys.stderr)
        return EXIT_FAULTS
    for warning in resolved.warnings:
        print(f"k2 schemas: {warning}", file=sys.stderr)
    data = {"schema": schema.name, "subject": subject, "id": resolved.schema_id, "version": resolved.version}
    _print(arguments, data, [f"{schema.name} has id {resolved.schema_id} under {subject} (version {resolved.version})"])
    return EXIT_OK


def run_show(arguments: Arguments) -> int:
    schema = load_schema(arguments.schema or DEFAULT_SCHEMA)
    access = _access(arguments)
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
    topic = arguments.topic or DEFAULT_TOPICS.get(schema.name)
    if topic is None:
        raise ConfigurationError(
            f"the schema {schema.name} has no default topic; name one with --topic, or a subject with --subject"
        )
    return subject_of(topic)


def _access(arguments: Arguments) -> RegistryAccess | None:
    """The registry that the options or the environment name; None where neither does."""
    settings = client_settings(arguments)
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
