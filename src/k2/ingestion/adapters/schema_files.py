"""
Where the .avsc files lie, and how they are read.

They are part of the installed package (`k2/schemas`); in a checkout they lie at the top, where people look for them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import k2
from k2.errors import ConfigurationError
from k2.ingestion.core.schemas import Schema, SchemaSyntaxError, parse_schema

SUFFIX = ".avsc"


def schema_directory() -> Path:
    """The directory that holds the schemas of this installation."""
    package = Path(k2.__file__).resolve().parent
    installed, checkout = package / "schemas", package.parents[1] / "schemas"
    return installed if installed.is_dir() else checkout


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
