"""A verdict as lines for people, and as one object for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from k2.audit.verdict import FAULTS, MEANINGS, Finding, Kind, Verdict
from k2.ingestion.adapters.logs import printable
from k2.ingestion.core.decoding import json_ready
from k2.reading.text import text_of

LONGEST_NOTE = 200  # characters
MOST_SYMBOLS = 5  # that are named


def as_json(verdict: Verdict, topic: str, recording: str) -> dict[str, Any]:
    """Every number under its name, and under `examples` the first few findings of each kind."""
    return {
        "topic": topic,
        "recording": recording,
        "market": verdict.market,
        "stream": verdict.stream,
        "symbols": list(verdict.symbols),
        "clean": verdict.is_clean,
        "events": verdict.events,
        "unpublishable": verdict.unpublishable,
        "records": verdict.records,
        **{kind.value: verdict.findings[kind].count for kind in Kind},
        "examples": {kind.value: [_finding(finding) for finding in verdict.findings[kind].first] for kind in Kind},
    }


def as_lines(verdict: Verdict, topic: str, recording: str) -> Iterator[str]:
    """What to print, fit for a terminal."""
    of = f"{verdict.market} {verdict.stream} of {_enumerated(verdict.symbols)}"
    further = f" (and {verdict.unpublishable:,} that no record can be made of)" if verdict.unpublishable else ""
    yield printable(f"{topic} against {recording}: {of}")
    yield f"{verdict.events:>12,}  events recorded{further}"
    yield f"{verdict.records:>12,}  records in the topic"
    for kind in Kind:
        count = verdict.findings[kind].count
        if count or kind in FAULTS:
            yield f"{count:>12,}  {kind.value.replace('_', ' ')}: {MEANINGS[kind]}"
    for kind in Kind:
        yield from _examples(kind, verdict)
    yield _conclusion(verdict)


def _conclusion(verdict: Verdict) -> str:
    if verdict.is_clean:
        return "Nothing is lost, doubled, disordered or changed."
    if verdict.findings[Kind.LOST].count == verdict.events:
        return "The topic holds nothing of what was recorded. Is it the recording, the topic and the --stream that you meant?"
    return "The topic does not hold what was recorded."


def _examples(kind: Kind, verdict: Verdict) -> Iterator[str]:
    findings = verdict.findings[kind]
    if not findings.count:
        return
    yield ""
    first = f", the first {len(findings.first)}" if len(findings.first) < findings.count else ""
    yield f"{kind.value.replace('_', ' ')}{first}:"
    for finding in findings.first:
        place = f"at {finding.place[0]}:{finding.place[1]}" if finding.place else ""
        note = finding.note[:LONGEST_NOTE]
        yield printable("  " + "  ".join(part for part in (finding.message_id or "-", place, note) if part))
        for difference in finding.differences:
            expected, found = (str(value_ready(value))[:LONGEST_NOTE] for value in (difference.expected, difference.found))
            yield printable(f"    {difference.field}: expected {expected}, found {found}")


def _finding(finding: Finding) -> dict[str, Any]:
    partition, offset = finding.place or (None, None)
    found = {
        "message_id": finding.message_id,
        "partition": partition,
        "offset": offset,
        "note": finding.note,
        "differences": [
            {"field": each.field, "expected": value_ready(each.expected), "found": value_ready(each.found)}
            for each in finding.differences
        ],
    }
    return {name: value for name, value in found.items() if value not in (None, "", [])}


def value_ready(value: Any) -> Any:
    """A field's value, or a key, in what JSON can say."""
    if isinstance(value, bytes) and (text := text_of(value)) is not None:
        return text
    return json_ready(value)


def _enumerated(symbols: tuple[str, ...]) -> str:
    more = f" and {len(symbols) - MOST_SYMBOLS:,} more" if len(symbols) > MOST_SYMBOLS else ""
    return ", ".join(symbols[:MOST_SYMBOLS]) + more
