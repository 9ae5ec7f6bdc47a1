"""What was found about the planned topics, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import to_builtins

from k2.ingestion.adapters.logs import printable
from k2.replay.text import table
from k2.topics.comparison import State, Verdict

_HEAD = ("topic", "state", "retention", "compression", "partitions", "copies")
_DAY_MS = 86_400_000
_UNITS = ((_DAY_MS, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second"), (1, "ms"))


def lines(verdicts: Sequence[Verdict]) -> list[str]:
    """A table of all topics, and below it what is to be known or done about those that are not well."""
    rows = [
        (
            verdict.name,
            verdict.state.value,
            "-" if verdict.retention_ms is None else retention(verdict.retention_ms),
            verdict.compression or "-",
            _number(verdict.partitions),
            _number(verdict.replicas),
        )
        for verdict in verdicts
    ]
    return [*table([_HEAD, *rows], right=4), *(printable(line) for verdict in verdicts for line in _remarks(verdict))]


def document(verdicts: Sequence[Verdict], exit_code: int) -> dict[str, Any]:
    """The same as one object for programs."""
    return {"well": all(verdict.is_well for verdict in verdicts), "exit_code": exit_code, "topics": to_builtins(verdicts)}


def retention(milliseconds: int) -> str:
    """How long records are kept, in the largest unit that says it without a fraction."""
    if milliseconds < 0:
        return "for ever"
    length_ms, unit = next((length, unit) for length, unit in _UNITS if milliseconds % length == 0)
    count = milliseconds // length_ms
    return f"{count} {unit}" if count == 1 or unit == "ms" else f"{count} {unit}s"


def _number(count: int | None) -> str:
    return "-" if count is None else str(count)


def _remarks(verdict: Verdict) -> Iterator[str]:
    for difference in verdict.differences:
        advice = f" ({difference.advice})" if difference.advice else ""
        yield f"{verdict.name}: {difference.setting} {difference.actual}, not {difference.wanted}{advice}"
        if difference.command:
            yield f"  {difference.command}"
    if verdict.state is State.MISSING:
        yield f"{verdict.name}: {verdict.note}"
        yield f"  {verdict.command}"
    elif verdict.note:
        yield f"{verdict.name}: not compared in full: {verdict.note}"
