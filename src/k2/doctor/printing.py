"""
What was found, as lines for people and as JSON for programs. No password and no control character gets through.

On a terminal long lines are wrapped under their column, and a command stands alone at the end of its line so that it can be
copied. Elsewhere a finding is one line, so that `grep FAILED` shows all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from k2 import __version__
from k2.doctor.findings import Finding, Result, Status, exit_code
from k2.errors import EXIT_OK
from k2.ingestion.adapters.logs import masked
from k2.live.text import printable

_WORDS = {Status.OK: "ok", Status.WARNING: "warning", Status.FAILED: "FAILED", Status.SKIPPED: "skipped"}
_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red", Status.SKIPPED: "dim"}
NAME_WIDTH = 19
_WORD_WIDTH = 8
DO = "do: "
_EXIT_MEANINGS = {2: "something has to be changed", 69: "something is away", 70: "a check broke"}


def line(result: Result) -> str:
    """A finding as one line."""
    finding = result.finding
    remedy = _shown(finding.remedy)
    advice = f" - {DO}{remedy}" if remedy else ""
    return f"{_WORDS[finding.status]:{_WORD_WIDTH}} {result.name:{NAME_WIDTH}} {_shown(finding.text)}{advice}"


def print_result(console: Console, result: Result) -> None:
    """Print a finding as soon as it is there."""
    if not console.is_terminal:
        console.out(line(result), highlight=False)
        return
    finding = result.finding
    style = _STYLES[finding.status]
    text_style = style if finding.status is Status.SKIPPED else ""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=_WORD_WIDTH)
    grid.add_column(width=NAME_WIDTH)
    grid.add_column()
    grid.add_row(Text(_WORDS[finding.status], style), Text(result.name), Text(_shown(finding.text), text_style))
    console.print(grid)
    _print_remedy(console, finding)


def _print_remedy(console: Console, finding: Finding) -> None:
    if finding.advice:
        words = Text.assemble((DO, "bold"), _shown(finding.advice) + (":" if finding.command else ""))
        console.print(Padding(words, (0, 0, 0, _WORD_WIDTH + 1)))
    if finding.command:
        # Not wrapped by us: a line feed in the middle could not be pasted.
        console.out(f"{' ' * (_WORD_WIDTH + 1)}{_shown(finding.command)}", style="cyan", highlight=False)


def summary(results: Sequence[Result]) -> str:
    """The last line: how many of each, and what the exit code says."""
    counts = Counter(result.finding.status for result in results)
    counted = ", ".join(f"{counts[status]} {_WORDS[status]}" for status in Status if counts[status])
    code = exit_code(result.finding for result in results)
    return counted if code == EXIT_OK else f"{counted}: {_EXIT_MEANINGS[code]} (exit code {code})"


def document(results: Iterable[Result]) -> dict[str, Any]:
    """Everything as one JSON-ready object."""
    checks = list(results)
    code = exit_code(result.finding for result in checks)
    return {
        "healthy": code == EXIT_OK,
        "exit_code": code,
        "version": __version__,
        "checks": [_entry(result) for result in checks],
    }


def _entry(result: Result) -> dict[str, Any]:
    finding = result.finding
    return {
        "name": result.name,
        "status": finding.status.value,
        "text": masked(finding.text),
        "advice": masked(finding.remedy),
        "facts": _plain(finding.facts),
        "took_ms": result.took_ms,
    }


def _plain(value: Any) -> Any:
    """JSON's own types only, every text of them masked."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _shown(text: str) -> str:
    return printable(masked(text))
