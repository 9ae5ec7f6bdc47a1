"""
Alert rules and routes made quick, so that what takes minutes in service happens in seconds in a test.

Every time is divided by a factor; thresholds, names and labels stay. A name such as `:rate5m` then tells the time of the
original. Rates stay rates a second, so a threshold means the same as before.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
# What an expression is made of. Names come before durations and take their digits with them.
_TOKEN = re.compile(
    r"""(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)"""
    r"""|(?P<comment>\#[^\n]*)"""
    r"""|(?P<name>[A-Za-z_][\w:]*)"""
    r"""|(?P<duration>(?:\d+(?:ms|[smhdwy]))+(?!\w))"""
    r"""|(?P<number>\d[\w.]*)"""
    r"""|(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_RULE_TIMES = ("for", "keep_firing_for")
_ROUTE_TIMES = ("group_wait", "group_interval", "repeat_interval")


def quickened(rules: str, factor: float) -> str:
    """
    A rule file made quick: `for`, `keep_firing_for`, intervals, ranges, offsets and the horizons of `predict_linear`.

    ValueError if a time would be under a millisecond.
    """
    document = yaml.safe_load(rules)
    for group in document["groups"]:
        _divide(group, ("interval",), factor)
        for rule in group["rules"]:
            _divide(rule, _RULE_TIMES, factor)
            rule["expr"] = quickened_expression(str(rule["expr"]), factor)
    return yaml.safe_dump(document, sort_keys=False, width=1_000)


def quickened_expression(expression: str, factor: float) -> str:
    """One PromQL expression, made quick in the same way."""
    kinds, texts = [], []
    for token in _TOKEN.finditer(expression):
        kinds.append(token.lastgroup)
        texts.append(quickened_duration(token.group(), factor) if token.lastgroup == "duration" else token.group())
    for index, text in enumerate(texts):
        if kinds[index] == "name" and text == "predict_linear":
            comma, end = _second_argument(kinds, texts, index + 1)
            texts[comma] = ", ("
            texts[end] = f") / {factor:g})"
    return "".join(texts)


def quickened_routing(config: str, factor: float) -> str:
    """A configuration of Alertmanager whose waits and intervals are divided by a factor."""
    document = yaml.safe_load(config)
    _divide(document.get("global", {}), ("resolve_timeout",), factor)
    for route in _routes(document["route"]):
        _divide(route, _ROUTE_TIMES, factor)
    return yaml.safe_dump(document, sort_keys=False)


def redirected(config: str, url: str) -> str:
    """A configuration of Alertmanager whose receivers keep their names and whether they hear of the end, and all call `url`."""
    document = yaml.safe_load(config)
    for receiver in document["receivers"]:
        name = receiver.pop("name")
        ways = [way for ways in receiver.values() for way in ways]
        webhook = {"url": url, "send_resolved": all(way.get("send_resolved", True) for way in ways)}
        receiver.clear()
        receiver |= {"name": name, "webhook_configs": [webhook]}
    return yaml.safe_dump(document, sort_keys=False)


def quickened_duration(text: str, factor: float) -> str:
    """`90s` by 60 is `1500ms`. Zero stays zero."""
    total_ms = duration_s(text) * 1_000
    if total_ms == 0:
        return text
    divided_ms = round(total_ms / factor)
    if divided_ms < 1:
        raise ValueError(f"{text} divided by {factor:g} is less than a millisecond")
    return f"{divided_ms}ms"


def duration_s(text: str) -> float:
    """The seconds of a duration as Prometheus writes it: `1h30m`. ValueError if it is none."""
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ValueError(f"not a duration: {text!r}")
    return sum(int(number) * _UNITS_MS[unit] for number, unit in _PART.findall(text)) / 1_000


def _divide(mapping: dict[str, Any], keys: tuple[str, ...], factor: float) -> None:
    for key in keys:
        if key in mapping:
            mapping[key] = quickened_duration(str(mapping[key]), factor)


def _routes(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield route
    for child in route.get("routes", []):
        yield from _routes(child)


def _second_argument(kinds: list[str | None], texts: list[str], start: int) -> tuple[int, int]:
    """Where the comma and the closing bracket of a call with two arguments are, its opening bracket being the first one seen."""
    depth, comma = 0, None
    for index in range(start, len(texts)):
        text = texts[index] if kinds[index] == "other" else ""
        depth += (text in {"(", "{", "["}) - (text in {")", "}", "]"})
        if text == "," and depth == 1:
            comma = index
        if text == ")" and depth == 0 and comma is not None:
            return comma, index
    raise ValueError(f"no call with two arguments: {''.join(texts)}")
