"""What the documentation says of profiles: their JSON Schema for editors, and the tables of docs/reference/profiles.md."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from k2.ingestion.option_values import Choice
from k2.ingestion.options import BY_KEY, BY_PROFILE_NAME, OPTIONS, Option
from k2.ingestion.profile_check import PROFILE, layouts
from k2.ingestion.profile_format import ProfileFile, Topic, Variable
from k2.ingestion.profiles import Profile, load_profile, profile_names
from k2.ingestion.reference import table_row
from k2.ingestion.worked_out import MARKET_DEFAULTS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCALAR = {"type": ["string", "number", "boolean"]}
DEFAULT_PROFILE = "trades"
TOPICS_HEADER = "| Profile | Topic | Streams | Layout | Key | Retention |\n|---|---|---|---|---|---|"
VARIABLES_HEADER = "| Variable | Sets | Default |\n|---|---|---|"


def profile_schema() -> str:
    """The JSON Schema of a profile, as it is committed."""
    schema = _lenient(msgspec.json.schema(ProfileFile))
    definitions = schema["$defs"]
    definitions["ProfileFile"]["properties"]["options"] = _options_schema()
    variable = definitions["Variable"]["properties"]
    variable["option"] = {"enum": [option.in_profiles for option in OPTIONS if option.key != PROFILE]}
    variable["sets"] = _options_schema()
    definitions["Topic"]["properties"]["layout"] = {"enum": list(layouts()), "default": layouts()[0]}
    complete = {"$schema": DIALECT, **schema}
    return msgspec.json.format(msgspec.json.encode(complete)).decode() + "\n"


def _lenient(schema: Any) -> Any:
    """The schema with texts as the reader takes them: any scalar is one, and a list of texts may be a single one."""
    if isinstance(schema, list):
        return [_lenient(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema == {"type": "string"}:
        return SCALAR
    inner = {key: _lenient(value) for key, value in schema.items()}
    return {"anyOf": [SCALAR, inner]} if inner.get("items") == SCALAR else inner


def _options_schema() -> dict[str, Any]:
    listed = {option.in_profiles: option for option in OPTIONS if option.key != PROFILE and not option.secret}
    return {
        "type": "object",
        "properties": {name: _option_schema(option) for name, option in listed.items()},
        "additionalProperties": False,
    }


def _option_schema(option: Option) -> dict[str, Any]:
    told = {"description": f"{option.meaning} Default: {option.shown_default}."}
    if isinstance(option.parse, Choice):
        return {**told, "enum": [*option.parse.words, *(int(word) for word in option.parse.words if word.isdecimal())]}
    return {**told, "anyOf": [SCALAR, {"type": "array", "items": SCALAR}]} if option.many else {**told, **SCALAR}


def shipped_profiles() -> list[Profile]:
    """The profiles that are part of the product, the default first."""
    return [load_profile(name) for name in sorted(profile_names(), key=lambda name: (name != DEFAULT_PROFILE, name))]


def profiles_table() -> str:
    """Which topics each profile writes."""
    rows = [row for profile in shipped_profiles() for row in _topic_rows(profile)]
    return "\n".join([TOPICS_HEADER, *rows])


def _topic_rows(profile: Profile) -> list[str]:
    shown = f"`{profile.name}`"
    if not profile.content.topics:
        prefix = MARKET_DEFAULTS["kafka.topic_prefix"]["spot"]
        streams = BY_KEY["feed.streams"].default
        return [table_row(shown, f"`{prefix}.binance`", f"`{streams}`", "avro", "symbol", "as `--retention-ms` says: 7d")]
    return [table_row(shown, *_topic_cells(topic)) for topic in profile.content.topics]


def _topic_cells(topic: Topic) -> tuple[str, ...]:
    streams = " ".join(f"`{pattern}`" for pattern in topic.streams)
    retention = "as `--retention-ms` says: 7d" if topic.retention is UNSET else topic.retention
    return f"`{topic.name}`", streams, topic.layout, topic.key, retention


def profile_pages() -> str:
    """What each profile is for, its options and its variables."""
    return "\n\n".join(_page(profile) for profile in shipped_profiles())


def _page(profile: Profile) -> str:
    content = profile.content
    parts = [f"### {profile.name}", content.description]
    if content.options:
        parts.append("\n".join(["| Option | Value |\n|---|---|", *map(_option_row, content.options, content.options.values())]))
    if content.environment:
        parts.append("\n".join([VARIABLES_HEADER, *(_variable_row(name, profile) for name in content.environment)]))
    return "\n\n".join(parts)


def _option_row(name: str, values: list[str]) -> str:
    return table_row(f"`--{name}`", " ".join(f"`{value}`" for value in values))


def _variable_row(name: str, profile: Profile) -> str:
    variable = profile.content.environment[name]
    return table_row(f"`{name}`", _meaning(variable), _default(variable, profile))


def _meaning(variable: Variable) -> str:
    if variable.ignored:
        return f"nothing: {variable.ignored}"
    if variable.topic:
        return f"the name of the topic `{variable.topic}`"
    option = BY_PROFILE_NAME[variable.option]
    unit = "" if variable.unit is UNSET else f", in {variable.unit}"
    words = "".join(f"; `{word}` means `{meant}`" for word, meant in variable.values.items())
    others = "".join(f"; with it `--{other}` is `{' '.join(values)}`" for other, values in variable.sets.items())
    return f"`{option.name}`{unit}{words}{others}"


def _default(variable: Variable, profile: Profile) -> str:
    if variable.topic:
        return next(f"`{topic.name}`" for topic in profile.content.topics if topic.id == variable.topic)
    if variable.ignored:
        return "none"
    values = profile.content.options.get(variable.option)
    option = BY_PROFILE_NAME[variable.option]
    text = ",".join(values) if values else option.default
    return f"`{_in_unit(text, variable)}`" if text else option.default_note or "none"


def _in_unit(text: str, variable: Variable) -> str:
    return text if variable.unit is UNSET else f"{float(text) * 1000:g}"
