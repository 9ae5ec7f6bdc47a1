"""
How a schema registry is reached, what it can answer, and the schema ids kept for the time when it does not answer.

Apart from `registry` so that the settings can be read without loading an HTTP client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from k2.errors import ConfigurationError, UnavailableError
from k2.ingestion.adapters.state import StateStore
from k2.ingestion.core.health import SchemaSource

if TYPE_CHECKING:
    from k2.ingestion.settings import RegistrySettings

PINS_NAME = "schema-pins"
PINS_VERSION = 1

_DEFAULT_PORTS = {"http": 80, "https": 443}


class RegistryUnavailableError(UnavailableError):
    """The registry gives no answer, or says that it cannot serve now. Waiting may help."""


class IncompatibleSchemaError(ConfigurationError):
    """
    The registry holds a schema that ours must not follow.

    Attributes:
        subject: Where it was to be registered.
        differences: What breaks, one line each, led by the field. Empty where only the registry knows.
        registry_message: The registry's own words.
    """

    def __init__(self, subject: str, schema_name: str, differences: list[str], registry_message: str) -> None:
        what = "; ".join(differences) or "see the registry's message"
        super().__init__(
            f"the schema {schema_name} may not follow what subject {subject} holds: {what}. "
            f"The registry says: {registry_message or 'incompatible'}. Keep the schema compatible, or use a new topic"
        )
        self.subject, self.differences, self.registry_message = subject, differences, registry_message


class SchemaNotRegisteredError(ConfigurationError):
    """The subject does not hold our schema, and we are told not to register it. `command` is what does so."""

    def __init__(self, subject: str, schema_name: str, command: str) -> None:
        super().__init__(
            f"subject {subject} does not hold the schema {schema_name} and registering is off; register it with: {command}"
        )
        self.subject, self.command = subject, command


class RegistryAccess(Struct, frozen=True):
    """
    Where the registry is and how to log in.

    Attributes:
        url: One address, or several of one cluster separated by commas. No user name or password inside.
        password: Never shown: not in repr, errors or logs.
        ca_file: PEM file with the authorities to trust instead of the usual ones.
        cert_file: PEM file with our certificate, where the registry asks for one; `key_file` is its key.
    """

    url: str
    user: str | None = None
    password: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"RegistryAccess({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        return list((shown | {"password": shown["password"] and "…"}).items())


def access_from(settings: RegistrySettings) -> RegistryAccess:
    """How the registry that the settings name is reached."""
    files = (str(path) if path else None for path in (settings.ca_file, settings.cert_file, settings.key_file))
    return RegistryAccess(settings.url, settings.user, settings.password.reveal() if settings.password else None, *files)


class ResolvedSchema(Struct, frozen=True):
    """
    The id to encode with under a subject.

    Attributes:
        version: Version within the subject; None where it was not told.
        warnings: What went wrong on the side and does not keep us from running, one line each.
    """

    subject: str
    schema_id: int
    version: int | None
    source: SchemaSource
    warnings: tuple[str, ...] = ()


def subject_of(topic: str) -> str:
    """The subject of a topic's values, as TopicNameStrategy names it."""
    return f"{topic}-value"


def holds_credentials(url: str) -> bool:
    """Whether an address carries a user name or password, which would end in logs."""
    return any("@" in urlsplit(part.strip()).netloc for part in url.split(","))


def normalised_url(url: str) -> str:
    """One spelling for all addresses of the same registry: lower case, no default port, no slash at the end, clusters sorted."""
    return ",".join(sorted(_normalised(part.strip()) for part in url.split(",")))


def _normalised(url: str) -> str:
    parts = urlsplit(url)
    port = "" if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path.rstrip('/')}"


class _Pin(Struct, frozen=True):
    registry: str
    subject: str
    fingerprint: str
    schema_id: int
    version: int | None = None


class SchemaPins:
    """
    Schema ids that a registry once gave us, kept over restarts.

    An id holds for one registry, subject and schema fingerprint only: ids of two registries have nothing to do with each other.
    """

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def find(self, registry_url: str, subject: str, fingerprint: str) -> tuple[int, int | None] | None:
        """The id and version pinned for exactly this registry, subject and schema."""
        key = (normalised_url(registry_url), subject, fingerprint)
        pin = self._load().get(key)
        return None if pin is None else (pin.schema_id, pin.version)

    def save(self, registry_url: str, fingerprint: str, resolved: ResolvedSchema) -> None:
        """
        Pin what the registry just said. Writes only where something changed.

        Raises:
            StateWriteError: the disk did not take it.
        """
        registry = normalised_url(registry_url)
        pin = _Pin(registry, resolved.subject, fingerprint, resolved.schema_id, resolved.version)
        pins = self._load()
        if pins.get(_key(pin)) != pin:
            pins[_key(pin)] = pin
            self._state.write(PINS_NAME, PINS_VERSION, msgspec.to_builtins(list(pins.values())))

    def _load(self) -> dict[tuple[str, str, str], _Pin]:
        try:
            pins = msgspec.convert(self._state.read(PINS_NAME, PINS_VERSION) or [], list[_Pin])
        except msgspec.ValidationError:
            return {}
        return {_key(pin): pin for pin in pins}


def _key(pin: _Pin) -> tuple[str, str, str]:
    return pin.registry, pin.subject, pin.fingerprint
