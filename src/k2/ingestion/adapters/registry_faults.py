"""What a registry's refusals and broken connections mean for the operator: the table behind `registry`'s errors."""

from __future__ import annotations

import re
from http import HTTPStatus

import httpx2
from confluent_kafka.schema_registry.error import SchemaRegistryError

from k2.errors import ConfigurationError, K2Error
from k2.ingestion.adapters.registry_access import RegistryAccess, RegistryUnavailableError

LONGEST_MESSAGE = 400  # characters

CREDENTIALS_ADVICE = "set K2_SCHEMA_REGISTRY_USER and K2_SCHEMA_REGISTRY_PASSWORD"
_FIRST_REGISTRY_CODE = 40_000
# No HTTP at all, or TLS at one end only: no waiting will change that.
_SPEAKS_SOMETHING_ELSE = re.compile(r"illegal status line|WRONG_VERSION_NUMBER|HTTP_REQUEST")
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


def one_line(text: str) -> str:
    """Foreign text as one bounded line without control characters. Registries quote whole schemas, proxies whole pages."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]}…"


def readable_refusal(access: RegistryAccess, refusal: SchemaRegistryError) -> K2Error:
    """Our error for an HTTP error status, whether a registry sent it or something that stands in its place."""
    status, said = refusal.http_status_code, one_line(str(refusal.error_message))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        return RegistryUnavailableError(f"the schema registry at {access.url} cannot serve now (HTTP {status}: {said})")
    if status == HTTPStatus.UNAUTHORIZED:
        return ConfigurationError(
            f"the schema registry at {access.url} asks for other credentials (HTTP 401: {said}); {CREDENTIALS_ADVICE}"
        )
    if status == HTTPStatus.FORBIDDEN:
        who = f"user {access.user}" if access.user else "a client without a user name"
        return ConfigurationError(
            f"the schema registry at {access.url} does not allow this to {who} (HTTP 403: {said}); {CREDENTIALS_ADVICE}"
        )
    if _speaks_as_a_registry(refusal):
        return ConfigurationError(
            f"the schema registry at {access.url} refuses (HTTP {status}, code {refusal.error_code}: {said})"
        )
    return ConfigurationError(
        f"{access.url} does not answer as a schema registry (HTTP {status}: {said}); check --schema-registry, path included "
        "(Apicurio's ends in /apis/ccompat/v7)"
    )


def readable_failure(access: RegistryAccess, failure: Exception) -> K2Error:
    """Our error for a request that got no HTTP answer at all."""
    reason = one_line(str(failure)) or type(failure).__name__
    if "certificate" in reason.lower():
        return ConfigurationError(
            f"no trusted connection to the schema registry at {access.url} ({reason}); check --schema-registry-ca, -cert and -key"
        )
    if isinstance(failure, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return ConfigurationError(f"--schema-registry {access.url} is no address ({reason})")
    if isinstance(failure, httpx2.DecodingError) or _SPEAKS_SOMETHING_ELSE.search(reason):
        return ConfigurationError(f"{access.url} does not answer as a schema registry ({reason}); check --schema-registry")
    return RegistryUnavailableError(f"the schema registry at {access.url} gives no answer ({reason})")


def _speaks_as_a_registry(refusal: SchemaRegistryError) -> bool:
    """Registries number their errors in five digits; web servers repeat the HTTP status, and the client puts -1 for no JSON."""
    code: object = refusal.error_code  # declared int, but taken from the answer as it is
    return isinstance(code, int) and code >= _FIRST_REGISTRY_CODE
