"""Options as keyword arguments of a Python call: the same table as for the command line, under names with underscores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from k2.ingestion.command_line import CommandLine, given_for_all
from k2.ingestion.option_values import nearest
from k2.ingestion.options import OPTIONS, Option

BY_KEYWORD = {option.in_profiles.replace("-", "_"): option for option in OPTIONS if option.flag}
SECRETS = {option.in_profiles.replace("-", "_"): option for option in OPTIONS if option.secret}


def read_keywords(keywords: Mapping[str, Any], environ: Mapping[str, str]) -> CommandLine:
    """What was given for each option, and a fault for each keyword that is none. None counts as not given."""
    known = {name: value for name, value in keywords.items() if name in BY_KEYWORD and value is not None}
    flags = {BY_KEYWORD[name].key: _text(BY_KEYWORD[name], value) for name, value in known.items()}
    given = given_for_all(flags, environ)
    return CommandLine(given, print_config=False, faults=[_unknown(name) for name in keywords if name not in BY_KEYWORD])


def _text(option: Option, value: Any) -> str | list[str]:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return [f"{key}={item}" for key, item in value.items()]
    if isinstance(value, str) or not isinstance(value, (list, tuple, set, frozenset)):
        return [str(value)] if option.many else str(value)
    return [str(item) for item in value] if option.many else ",".join(map(str, value))


def _unknown(name: str) -> str:
    if name in SECRETS:
        return f"{name} is no keyword: passwords come from the environment, this one from {SECRETS[name].variable}"
    return "; ".join(filter(None, (f"there is no option {name}", nearest(name, BY_KEYWORD))))
