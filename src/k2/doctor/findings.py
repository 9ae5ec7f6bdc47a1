"""What a check found: the vocabulary of the doctor, and what all findings together mean for the exit code. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from k2.errors import EXIT_CONFIGURATION, EXIT_FATAL, EXIT_OK, EXIT_UNAVAILABLE, K2Error

# What advice in our errors' texts may end in.
_COMMAND = re.compile(r"(?P<words>.*): (?P<command>(kafka-[a-z]+|k2|curl) .*)")

NAMED = 5

Facts = Mapping[str, Any]
NO_FACTS: Facts = MappingProxyType({})


class Status(StrEnum):
    """How a check ended. Only a failed one makes an unhealthy whole."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Kind(StrEnum):
    """What a failure asks for."""

    CONFIGURATION = "configuration"  # somebody has to change something: an option, a permission, a certificate
    UNAVAILABLE = "unavailable"  # somebody is away: waiting may help
    DEFECT = "defect"  # the check itself broke


class Finding(Struct, frozen=True):
    """
    The outcome of one check.

    Attributes:
        text: What was seen, one sentence.
        advice: What to do about it, in words; `command` is what to type, where one command does it.
        facts: What a program may want to read, JSON-ready.
        kind: Of a failure, else None.
    """

    status: Status
    text: str
    advice: str = ""
    command: str = ""
    facts: Facts = NO_FACTS
    kind: Kind | None = None

    @property
    def remedy(self) -> str:
        """Advice and command in one line."""
        return ": ".join(filter(None, (self.advice, self.command)))


class Result(Struct, frozen=True):
    """A check's name, what it found and how long that took."""

    name: str
    finding: Finding
    took_ms: int = 0


def ok(text: str, *, facts: Facts = NO_FACTS) -> Finding:
    return Finding(Status.OK, text, facts=facts)


def skipped(text: str) -> Finding:
    return Finding(Status.SKIPPED, text)


def warning(text: str, advice: str, command: str = "", *, facts: Facts = NO_FACTS) -> Finding:
    return Finding(Status.WARNING, text, advice, command, facts)


def wrong(text: str, advice: str, command: str = "", *, facts: Facts = NO_FACTS) -> Finding:
    """A failure that somebody has to change something about."""
    return Finding(Status.FAILED, text, advice, command, facts, Kind.CONFIGURATION)


def away(text: str, advice: str, command: str = "", *, facts: Facts = NO_FACTS) -> Finding:
    """A failure that waiting may end."""
    return Finding(Status.FAILED, text, advice, command, facts, Kind.UNAVAILABLE)


def broken(defect: Exception) -> Finding:
    """The check itself raised what no check may raise."""
    text = f"the check itself broke: {type(defect).__name__}: {defect}"
    return Finding(Status.FAILED, text, "please report this with the output of --log-level DEBUG", kind=Kind.DEFECT)


def finding_of(error: K2Error, advice: str) -> Finding:
    """The failure that an error of ours stands for; `advice` serves where its text holds none."""
    text, own_advice = told_apart(str(error))
    judged = wrong if error.exit_code == EXIT_CONFIGURATION else away
    return judged(text, *_with_command(own_advice or advice))


_WORST_FIRST = (
    (Status.FAILED, Kind.DEFECT), (Status.FAILED, Kind.CONFIGURATION), (Status.FAILED, Kind.UNAVAILABLE),
    (Status.WARNING, None), (Status.OK, None), (Status.SKIPPED, None),
)  # fmt: skip


def together(found: Mapping[str, Finding], noun: str) -> Finding:
    """
    What was found about several things of one sort, by their names, as one finding; that of the only one as it is.

    Its text begins with the worst and ends with how many are well. Its facts are those of the first, and under the noun's plural
    those of each, with its status.
    """
    if len(found) == 1:
        return next(iter(found.values()))
    ranked = sorted(found.items(), key=lambda item: _WORST_FIRST.index((item[1].status, item[1].kind)))
    worst = ranked[0][1]
    if worst.status is Status.SKIPPED:
        return worst
    bad = [(name, finding) for name, finding in ranked if finding.status in {Status.FAILED, Status.WARNING}]
    # Only what the advice is about: another one's command stands in another one's words.
    commands = dict.fromkeys(finding.command for _, finding in bad if finding.advice == worst.advice)
    return Finding(
        worst.status,
        f"{_texts_of(bad or ranked[:1])}; {_share(ranked, noun)}",
        worst.advice,
        " && ".join(filter(None, commands)),
        {**next(iter(found.values())).facts, f"{noun}s": {name: _entry(finding) for name, finding in found.items()}},
        worst.kind,
    )


def _texts_of(named: Iterable[tuple[str, Finding]]) -> str:
    """What was found, each text once with all that it is said of."""
    alike: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    for name, finding in named:
        said = finding.text.replace(name, "")
        texts.setdefault(said, finding.text if name in finding.text else f"{name}: {finding.text}")
        alike.setdefault(said, []).append(name)
    found = [f"{texts[said]}{f' (so too {some(names[1:])})' if names[1:] else ''}" for said, names in alike.items()]
    rest = len(found) - NAMED
    return "; ".join(found[:NAMED]) + (f"; and {rest} more" if rest > 0 else "")


def _share(ranked: Sequence[tuple[str, Finding]], noun: str) -> str:
    well = sum(finding.status is Status.OK for _, finding in ranked)
    left_out = [finding for _, finding in ranked if finding.status is Status.SKIPPED]
    why = f", {len(left_out)} left out ({left_out[0].text})" if left_out else ""
    return f"{well} of {len(ranked)} {noun}s {'is' if well == 1 else 'are'} well{why}"


def _entry(finding: Finding) -> dict[str, Any]:
    return {"status": finding.status.value, **finding.facts}


def _with_command(advice: str) -> tuple[str, str]:
    """Words and command, where an advice ends in one."""
    found = _COMMAND.fullmatch(advice)
    return (found["words"], found["command"]) if found else (advice, "")


def told_apart(text: str) -> tuple[str, str]:
    """
    The two halves of an error's text: what is wrong, and behind the last semicolon what to do.

    What stands in parentheses is quoted from elsewhere, and its semicolons do not count.
    """
    depth, at = 0, -1
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth <= 0 and text.startswith("; ", index):
            at = index
    return (text, "") if at < 0 else (text[:at], text[at + 2 :])


_EXIT_CODES = {Kind.CONFIGURATION: EXIT_CONFIGURATION, Kind.DEFECT: EXIT_FATAL, Kind.UNAVAILABLE: EXIT_UNAVAILABLE}


def exit_code(findings: Iterable[Finding]) -> int:
    """0 where nothing failed, 2 where anything has to be changed, 70 where a check broke, else 69."""
    kinds = {finding.kind for finding in findings if finding.status is Status.FAILED}
    return next((code for kind, code in _EXIT_CODES.items() if kind in kinds), EXIT_OK)


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 broker, 3 brokers, 2 copies."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("y") else f"{count} {noun}s"


def some(words: Sequence[object]) -> str:
    """The first few of many, and how many more there are."""
    rest = len(words) - NAMED
    return ", ".join(map(str, words[:NAMED])) + (f" and {rest} more" if rest > 0 else "")
