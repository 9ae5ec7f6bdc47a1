"""Where the .avsc files lie, and how they are read."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from k2.errors import ConfigurationError
from k2.ingestion.core.schemas import Schema, SchemaSyntaxError, parse_schema
from k2.shipped import shipped_directory

SUFFIX = ".avsc"


def schema_directory() -> Path:
    """The directory that holds the schemas of this installation."""
    return shipped_directory("schemas")


def schema_names() -> list[str]:
    """Names of all schemas, sorted: trade_v2 stands for trade_v2.avsc."""
    return sorted(path.name.removesuffix(SUFFIX) for path in schema_directory().glob(f"*{SUFFIX}"))


@cache
def load_schema(name: str) -> Schema:
    """
    Read one schema, once per process.

    Raises:
        ConfigurationError: there is none of that name, or its file cannot be read as one.
    """
    if name not in schema_names():
        raise ConfigurationError(f"there is no schema {name!r}; there are: {', '.join(schema_names()) or 'none'}")
    path = schema_directory() / f"{name}{SUFFIX}"
    try:
        return parse_schema(name, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SchemaSyntaxError) as error:
        raise ConfigurationError(f"{path} cannot be used: {error}") from error
