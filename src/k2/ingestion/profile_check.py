"""What a profile must hold together, beyond its types. Every fault comes with the path of what is wrong inside the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from msgspec import UNSET

from k2.ingestion.exchanges.binance.layouts import LAYOUTS
from k2.ingestion.exchanges.binance.names import Stream, spec_of, wanted_streams
from k2.ingestion.option_values import in_quotes, nearest, quoted, topic_name
from k2.ingestion.options import BY_KEY, BY_PROFILE_NAME, OPTIONS, Option
from k2.ingestion.profile_format import AVRO, RAW, ProfileFile, Topic, Variable, milliseconds
from k2.ingestion.stream_values import ALL_OF
from k2.ingestion.topic_plan import matches, takes
from k2.ingestion.wishes import known_all_market_names, known_specs, put_right

PROFILE = "profile"
SECONDS = "seconds"
LONGEST_RETENTION_MS = 2**53  # as --retention-ms allows

At = tuple[str, str]  # the path, and what is wrong there


def profile_faults(file: ProfileFile) -> Iterator[At]:
    """Everything that is wrong with a profile whose types are right."""
    yield from _option_faults(file.options, "options", secrets=False)
    for name, variable in file.environment.items():
        yield from _variable_faults(name, variable, f"environment.{name}", [topic.id for topic in file.topics])
    yield from _doubled_topics(file.topics)
    for number, topic in enumerate(file.topics):
        yield from _topic_faults(topic, f"topics[{number}]")
    yield from _idle_topics(file)


def text_of(values: Sequence[str]) -> str:
    """The values of an option as a flag would give them."""
    return values[0] if len(values) == 1 else "".join(f"{value}\n" for value in values)


def layouts() -> tuple[str, ...]:
    """Every layout that a topic can have."""
    return (AVRO, RAW, *LAYOUTS)


def _option_faults(options: dict[str, list[str]], path: str, *, secrets: bool) -> Iterator[At]:
    for name, values in options.items():
        below = f"{path}.{name}"
        fault = _name_fault(name, secrets=secrets)
        if fault:
            yield below, fault
        elif len(values) > 1 and not BY_PROFILE_NAME[name].many:
            yield below, "takes one value, not a list"
        else:
            yield from ((below, text) for text in _refusal(BY_PROFILE_NAME[name].parse, text_of(values)))


def _name_fault(name: str, *, secrets: bool) -> str:
    option = BY_PROFILE_NAME.get(name)
    if option is None or name == PROFILE:
        return f"there is no option {quoted(name)} for a profile; {_instead_of_option(name)}"
    if option.secret and not secrets:
        return f"is a secret and does not belong into a file: {option.variable} gives it, or a variable under 'environment'"
    return ""


def _instead_of_option(name: str) -> str:
    return nearest(name, BY_PROFILE_NAME, "it is called as its flag, without the dashes (--help lists all)")


def _refusal(parse: Callable[[str], Any], text: str) -> Iterator[str]:
    try:
        parse(text)
    except ValueError as error:
        yield str(error)


def _variable_faults(name: str, variable: Variable, path: str, topic_ids: Sequence[str]) -> Iterator[At]:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        yield path, f"{quoted(name)} is no name for a variable: letters, digits and '_' only"
    meanings = [bool(variable.option), bool(variable.topic), bool(variable.ignored)]
    if meanings.count(True) != 1:
        yield path, "one of 'option', 'topic' and 'ignored' is due here"
        return
    if not variable.option and (variable.unit is not UNSET or variable.values or variable.sets):
        yield path, "'unit', 'values' and 'sets' belong to 'option'"
    if variable.topic and variable.topic not in topic_ids:
        yield f"{path}.topic", f"there is no topic of the id {quoted(variable.topic)}; {_instead(variable.topic, topic_ids)}"
    if variable.option:
        yield from _meaning_faults(name, variable, path)
    yield from _option_faults(variable.sets, f"{path}.sets", secrets=False)
    owner = _owner_of(name)
    if owner is not None and BY_PROFILE_NAME.get(variable.option) is not owner:
        yield path, f"{name} is the client's own variable of {owner.name}, and cannot mean something else"


def _meaning_faults(name: str, variable: Variable, path: str) -> Iterator[At]:
    fault = _name_fault(variable.option, secrets=True)
    if fault:
        yield f"{path}.option", fault
        return
    option = BY_PROFILE_NAME[variable.option]
    if variable.unit is not UNSET and option.unit != SECONDS:
        yield f"{path}.unit", f"--{variable.option} is not in seconds, so {name} cannot be in {variable.unit}"
    if option.secret and variable.values:
        yield f"{path}.values", "the words of a secret do not belong into a file"
        return
    for word, meant in variable.values.items():
        yield from ((f"{path}.values.{word}", text) for text in _refusal(option.parse, meant))


def _owner_of(variable: str) -> Option | None:
    return next((option for option in OPTIONS if variable in option.variables), None)


def _doubled_topics(topics: Sequence[Topic]) -> Iterator[At]:
    for attribute in ("id", "name"):
        first: dict[str, int] = {}
        for number, topic in enumerate(topics):
            value = getattr(topic, attribute)
            if first.setdefault(value, number) != number:
                yield f"topics[{number}].{attribute}", f"{quoted(value)} is that of topics[{first[value]}] already"


def _topic_faults(topic: Topic, path: str) -> Iterator[At]:
    yield from ((f"{path}.name", text) for text in _refusal(topic_name, topic.name))
    if topic.layout not in layouts():
        yield f"{path}.layout", f"there is no layout {quoted(topic.layout)}; {_instead(topic.layout, layouts())}"
    if topic.retention is not UNSET and milliseconds(topic.retention) > LONGEST_RETENTION_MS:
        yield f"{path}.retention", f"{topic.retention} is too long: write forever"


def _idle_topics(file: ProfileFile) -> Iterator[At]:
    """Topics that take none of the profile's streams, and patterns that would take none whatever was asked for."""
    market = _market(file)
    if market is None:
        return
    streams = _streams(file, market)
    for number, topic in enumerate(file.topics):
        path = f"topics[{number}].streams"
        for place, pattern in enumerate(topic.streams):
            if not any(takes((pattern,), stream) for stream in streams or ()) and not _may_take(pattern, market):
                yield f"{path}[{place}]", f"{in_quotes(pattern)} takes no stream that there is on {market}"
        if streams is not None and not any(takes(topic.streams, stream) for stream in streams):
            yield path, f"take none of the profile's streams: {_listed(streams)}"


def _may_take(pattern: str, market: str) -> bool:
    """Whether a pattern takes anything that we decode, of whatever symbol."""
    return matches((spec_of(pattern),), (*known_specs(market), *known_all_market_names(market)))


def _listed(streams: Iterable[Stream]) -> str:
    names = dict.fromkeys(stream.wish for stream in streams)
    return ", ".join(names) or "there are none"


def _market(file: ProfileFile) -> str | None:
    try:
        return str(_value(file, "feed.market"))
    except ValueError:
        return None  # told already


def _streams(file: ProfileFile, market: str) -> tuple[Stream, ...] | None:
    """The streams that a profile asks for; None where that cannot be told."""
    try:
        wishes, captured, symbols = (_value(file, key) for key in ("feed.streams", "feed.raw_streams", "feed.symbols"))
        named = [put_right(market, wish) for wish in (*wishes, *captured)]
        return None if any(word.startswith(ALL_OF) for word in symbols) else wanted_streams(market, named, symbols)
    except ValueError:
        return None  # told already, or by the settings


def _value(file: ProfileFile, key: str) -> Any:
    option = BY_KEY[key]
    values = file.options.get(option.in_profiles)
    return option.parse(text_of(values) if values else option.default or "")


def _instead(word: str, known: Iterable[str]) -> str:
    names = list(known)
    return nearest(word, names, f"there are {', '.join(names) or 'none'}")
