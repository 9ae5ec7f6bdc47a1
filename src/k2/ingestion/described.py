"""What is in force: every option with its value, read off the settings and shown to people."""

from __future__ import annotations

from functools import reduce
from typing import Any

from k2.ingestion.options import OPTIONS, Option
from k2.ingestion.settings import Settings

MEASURES = ("seconds", "ms", "MiB", "messages")


def describe(settings: Settings) -> str:
    """Every option with its value and its source, one a line, secrets masked; then the topics that follow from them."""
    rows = [("option", "value", "source")]
    for option in OPTIONS:
        unit = f" {option.unit}" if option.unit in MEASURES else ""
        rows.append((option.name, _shown(value_of(settings, option)) + unit, str(settings.sources[option.key])))
    for plan in settings.topics:
        rows.append(("topic", plan.name, str(settings.topic_sources.get(plan.name, "worked out"))))
        if plan.needs_schema:
            rows.append(("subject", plan.subject, "worked out"))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    text = "\n".join(f"{name:{widths[0]}}  {value:{widths[1]}}  {source}" for name, value, source in rows)
    return text.encode("utf-8", "backslashreplace").decode()  # a path may hold bytes that are no UTF-8


def value_of(settings: Settings, option: Option) -> Any:
    """The value in force, as the option takes it: `ALL:USDT` among the symbols as well."""
    value: Any = reduce(getattr, option.key.split("."), settings)
    if option.key == "feed.symbols":
        return (*settings.feed.every_symbol_of.split(), *value)
    return value


def _shown(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case tuple():
            return ",".join(value) or "none"
        case dict():
            return ", ".join(f"{name}={item}" for name, item in value.items()) or "none"
        case _:
            return str(value)
