"""
The schema registry: which id our schema has under a subject.

A thin layer over Confluent's client, which has no timeout by default, retries for up to a minute, raises two families of
exceptions and logs addresses. Here every request is tried once and is over within `REQUEST_TIMEOUT_S`, and whatever goes wrong
becomes one of our errors. The calls block: run them with `asyncio.to_thread`. Nothing here is called while frames flow.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shlex
from collections.abc import Callable
from typing import Any, NoReturn, Self, cast
from urllib.parse import quote

import httpx2
import msgspec
from confluent_kafka.schema_registry import RegisteredSchema
from confluent_kafka.schema_registry import Schema as RegistrySchema
from confluent_kafka.schema_registry.error import SchemaRegistryError
from msgspec import Struct

from k2.errors import ConfigurationError, K2Error
from k2.ingestion.adapters.registry_access import (
    IncompatibleSchemaError,
    RegistryAccess,
    RegistryUnavailableError,
    ResolvedSchema,
    SchemaNotRegisteredError,
    SchemaPins,
    holds_credentials,
    normalised_url,
)
from k2.ingestion.adapters.registry_client import RegistryClient
from k2.ingestion.adapters.registry_faults import CREDENTIALS_ADVICE, one_line, readable_failure, readable_refusal
from k2.ingestion.adapters.state import StateWriteError
from k2.ingestion.core.compatibility import BACKWARD_OR_STRONGER, differences
from k2.ingestion.core.health import SchemaSource
from k2.ingestion.core.schemas import Schema
from k2.threads import within

REQUEST_TIMEOUT_S = 5.0
REQUIRED_LEVEL = "BACKWARD"

# These loggers print whole URLs at INFO.
_CHATTY_LOGGERS = ("httpx", "httpx2", "httpcore", "httpcore2")

# Confluent's codes for: no such subject, version, schema; no compatibility level of the subject's own.
_ABSENT = frozenset({40401, 40402, 40403, 40408})
_CONFLICT = 409
_SCHEMA_IDS = range(1 << 31)  # four bytes of a record's head, signed in the readers written in Java
# Confluent's client reads answers without checking them, and JSON may be nested deeper than Python can follow.
_UNCHECKED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


class Verdict(Struct, frozen=True):
    """What the registry thinks of a schema before it is registered. No messages: compatible, or nothing to compare with."""

    messages: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def compatible(self) -> bool:
        return not self.messages and not self.differences


class SchemaRegistry:
    """
    A registry behind Confluent's HTTP interface (Confluent, Apicurio's ccompat, Karapace, Redpanda).

    Args:
        timeout_s: Of one request as a whole, and for each address where there are several.

    Raises:
        ConfigurationError: the address or a certificate file cannot be used.
    """

    def __init__(self, access: RegistryAccess, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        for name in _CHATTY_LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        self.access = access
        self._limit_s = timeout_s * len(access.url.split(","))
        self._client = _open(access, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. May be called twice."""
        self._client.close()

    def resolve(self, subject: str, schema: Schema, *, register: bool) -> ResolvedSchema:
        """
        The id of `schema` under `subject`, registering it where it is missing and `register` allows.

        The subject's compatibility level is made sure to be BACKWARD or stronger, so that no one can break consumers later
        either. A schema that is there already is used whatever the level is: what could not be made sure is a warning then.

        Raises:
            RegistryUnavailableError: no answer; try again later.
            IncompatibleSchemaError: the subject holds a schema that ours may not follow.
            SchemaNotRegisteredError: it is missing, and `register` is False.
            ConfigurationError: credentials, certificates, address, or before registering a level that is too weak and cannot
                be changed.
        """
        found = self.lookup(subject, schema)
        if found is not None:
            return self._with_level(found, may_set=register)
        if not register:
            raise SchemaNotRegisteredError(subject, schema.name, self._register_command(subject, schema))
        self._require_level(subject, may_set=True)
        verdict = self.check(subject, schema)
        if not verdict.compatible:
            raise IncompatibleSchemaError(subject, schema.name, list(verdict.differences), "; ".join(verdict.messages))
        return self._register(subject, schema)

    def lookup(self, subject: str, schema: Schema) -> ResolvedSchema | None:
        """The id of exactly this schema under the subject; None where the subject does not hold it."""
        answer = self._find(self._client.lookup_schema, subject, _wire(schema), normalize_schemas=True)
        return None if answer is None else self._resolved(subject, answer)

    def check(self, subject: str, schema: Schema) -> Verdict:
        """Whether the schema may follow the subject's latest, at the level set for the subject."""
        answer = self._find(self._client.explain_compatibility, subject, _wire(schema))
        if answer is None or answer.get("is_compatible") is True:
            return Verdict()
        messages = tuple(one_line(str(message)) for message in answer.get("messages") or ["incompatible"])
        return Verdict(messages, tuple(self._differences(subject, schema)))

    def latest(self, subject: str) -> RegisteredSchema | None:
        """The subject's latest version; None where there is no such subject."""
        return cast("RegisteredSchema | None", self._find(self._client.get_version, subject, "latest"))

    def schema_text(self, schema_id: int) -> str | None:
        """The schema with this id; None where the registry knows none."""
        found = self._find(self._client.get_schema, schema_id)
        return None if found is None else cast("str | None", found.schema_str)

    def level(self, subject: str) -> str | None:
        """The compatibility level that holds for the subject, its own or else the global one."""
        level = self._find(self._client.effective_compatibility, subject) or self._find(self._client.get_compatibility)
        return None if level is None else str(level).upper()

    def _with_level(self, found: ResolvedSchema, *, may_set: bool) -> ResolvedSchema:
        try:
            self._require_level(found.subject, may_set=may_set)
        except K2Error as error:  # the id is known, so nothing about the level is worth standing still for
            warning = f"the compatibility level of subject {found.subject} is not made sure: {error}"
            return msgspec.structs.replace(found, warnings=(warning,))
        return found

    def _require_level(self, subject: str, *, may_set: bool) -> None:
        level = self.level(subject)
        if level in BACKWARD_OR_STRONGER:
            return
        if not may_set or self._set_on_purpose(subject):
            known = f"the compatibility level {level}" if level else "no compatibility level"
            weak = f"subject {subject} has {known}, which lets a schema break its readers"
            raise ConfigurationError(f"{weak}; have it set with: {self.level_command(subject)}")
        self._set_level(subject)

    def _set_on_purpose(self, subject: str) -> bool:
        own, everywhere = self._find(self._client.get_compatibility, subject), self._find(self._client.get_compatibility)
        # Apicurio tells NONE for a subject without a level of its own, so only a level that differs was surely set on purpose.
        return own not in {None, everywhere}

    def _set_level(self, subject: str) -> None:
        try:
            self._call(self._client.set_compatibility, subject, REQUIRED_LEVEL)
        except SchemaRegistryError as refusal:
            said = f"HTTP {refusal.http_status_code}: {one_line(str(refusal.error_message))}"
            weak = (
                f"the registry lets schemas break their readers, and setting {REQUIRED_LEVEL} for subject {subject} was refused"
            )
            raise ConfigurationError(f"{weak} ({said}); have it set with: {self.level_command(subject)}") from refusal

    def _register(self, subject: str, schema: Schema) -> ResolvedSchema:
        try:
            answer = self._call(self._client.register_schema_full_response, subject, _wire(schema), normalize_schemas=True)
        except SchemaRegistryError as refusal:
            if refusal.http_status_code == _CONFLICT:
                said = one_line(str(refusal.error_message))
                raise IncompatibleSchemaError(subject, schema.name, self._differences(subject, schema), said) from refusal
            raise readable_refusal(self.access, refusal) from refusal
        # Asked again for the version, which older registries do not tell when they register.
        return self.lookup(subject, schema) or self._resolved(subject, answer)

    def _differences(self, subject: str, schema: Schema) -> list[str]:
        latest = self.latest(subject)
        try:
            return differences(schema.parsed, json.loads(latest.schema.schema_str or "")) if latest else []
        except (ValueError, KeyError, TypeError, AttributeError):
            return []  # what the subject holds is no Avro; the registry's message says so

    def _resolved(self, subject: str, answer: RegisteredSchema) -> ResolvedSchema:
        if type(answer.schema_id) is not int or answer.schema_id not in _SCHEMA_IDS:
            self._nonsense(f"it gave the schema id {answer.schema_id!r}")
        return ResolvedSchema(subject, answer.schema_id, answer.version, SchemaSource.REGISTRY)

    def _find(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any | None:
        """Call the client; None where the registry says that there is no such thing."""
        try:
            return self._call(function, *arguments, **options)
        except SchemaRegistryError as refusal:
            if refusal.error_code in _ABSENT:
                return None
            raise readable_refusal(self.access, refusal) from refusal

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call the client. Only what the registry itself refuses stays a SchemaRegistryError."""
        try:
            return within(self._limit_s, lambda: function(*arguments, **options))
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as failure:
            raise readable_failure(self.access, failure) from failure
        except _UNCHECKED as error:
            self._nonsense(f"its answer has another form ({type(error).__name__})")

    def _nonsense(self, what: str) -> NoReturn:
        raise ConfigurationError(f"{self.access.url} does not answer as a schema registry: {what}; check --schema-registry")

    def _register_command(self, subject: str, schema: Schema) -> str:
        words = ["k2", "schemas", "register", "--schema", schema.name, "--subject", subject, "--schema-registry", self.access.url]
        return shlex.join(words)

    def level_command(self, subject: str) -> str:
        """The command with which an operator sets the level that we ask for."""
        body = json.dumps({"compatibility": REQUIRED_LEVEL})
        url = f"{self.access.url.split(',')[0].rstrip('/')}/config/{quote(subject, safe='')}"
        return shlex.join(["curl", "-X", "PUT", "-H", "Content-Type: application/json", "-d", body, url])


async def resolve_with_pins(
    registry: SchemaRegistry, pins: SchemaPins, subject: str, schema: Schema, *, register: bool
) -> ResolvedSchema:
    """
    `SchemaRegistry.resolve` off the event loop. While the registry is away, the id it gave at an earlier start serves.

    Raises:
        RegistryUnavailableError: no answer, and no pin for this registry, subject and schema.
        ConfigurationError: as `resolve`.
    """
    url = registry.access.url
    try:
        resolved = await asyncio.to_thread(registry.resolve, subject, schema, register=register)
    except RegistryUnavailableError as away:
        pinned = pins.find(url, subject, schema.fingerprint)
        if pinned is None:
            raise
        return ResolvedSchema(subject, *pinned, SchemaSource.PINNED, (str(away),))
    try:
        pins.save(url, schema.fingerprint, resolved)
    except StateWriteError as error:
        return msgspec.structs.replace(resolved, warnings=(*resolved.warnings, str(error)))
    return resolved


def _wire(schema: Schema) -> RegistrySchema:
    return RegistrySchema(schema.text, "AVRO")


def _open(access: RegistryAccess, timeout_s: float) -> RegistryClient:
    try:
        normalised_url(access.url)  # ValueError for what is no address
        if holds_credentials(access.url):
            raise ConfigurationError(f"--schema-registry must hold no user name or password; {CREDENTIALS_ADVICE}")
        return RegistryClient(access, timeout_s)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(f"the way to the schema registry cannot be set up: {error}; check --schema-registry*") from error
