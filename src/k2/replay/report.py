"""What a replay shows: a bar while it runs, and its account in the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from k2.ingestion.adapters.logs import printable
from k2.replay.files import LetterFile
from k2.replay.summary import NAMED, Row, Summary
from k2.replay.text import table

_COLUMNS = ("letters", "published", "failed", "nothing", "already", "exhausted")


def lines(summary: Summary, *, dry_run: bool) -> list[str]:
    """The account as a table by stage and reason, and whatever an operator has to know beside it."""
    total = summary.total
    rows = [(*key, *_numbers(row)) for key, row in sorted(summary.rows.items())]
    head = ("stage", "reason", *_headings(dry_run=dry_run))
    shown = table([head, *rows, ("all", "", *_numbers(total))], right=2) if rows else [_nothing(summary)]
    return [*shown, *_remarks(summary, total, dry_run=dry_run)]


def _nothing(summary: Summary) -> str:
    return "No dead letter fits the filters." if summary.filtered else "No dead letters."


def _headings(*, dry_run: bool) -> tuple[str, ...]:
    published, failed = ("would publish", "would fail again") if dry_run else ("published", "failed again")
    return ("letters", published, failed, "no event", "there already", "given up")


def _numbers(row: Row) -> tuple[str, ...]:
    return tuple(f"{getattr(row, name):,}" for name in _COLUMNS)


def _remarks(summary: Summary, total: Row, *, dry_run: bool) -> Iterator[str]:
    if summary.filtered:
        yield f"{summary.filtered:,} letters did not fit the filters."
    if total.in_doubt and dry_run:
        yield f"{total.in_doubt:,} of those to publish are of unknown outcome: publishing looks for them in the topic first."
    if summary.unreadable_lines:
        yield f"{summary.unreadable_lines:,} lines are no letters that this version can read:"
        yield from (f"  {printable(str(line))}" for line in summary.unreadable)
        yield from _more(summary.unreadable_lines)
    if summary.failures:
        yield "Would fail again:" if dry_run else "Failed again, each in a new line of the file:"
        yield from (f"  {printable(failure)}" for failure in summary.failures)
        yield from _more(total.failed)
    if dry_run and total.published:
        yield "Nothing was published: this was a dry run. Add --publish to do it."


def _more(count: int) -> Iterator[str]:
    if count > NAMED:
        yield f"  and {count - NAMED:,} more"


@contextmanager
def progress(files: Sequence[LetterFile]) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal, that is moved by the bytes read."""
    if not sys.stderr.isatty():
        yield lambda _bytes: None
        return
    from rich.console import Console  # noqa: PLC0415 - 100 ms that a pipe need not pay
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn  # noqa: PLC0415 - the same

    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress("dead letters", *columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=sum(file.end for file in files))
        yield lambda read_bytes: bar.update(task, completed=read_bytes)
