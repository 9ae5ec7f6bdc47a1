"""Aligned text for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from k2.ingestion.adapters.logs import printable


def table(rows: Sequence[Sequence[str]], *, right: int) -> list[str]:
    """
    Rows, the first of them a heading, as lines of aligned columns.

    Args:
        right: From which column on values stand at the right, as numbers do.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column >= right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def seconds_of(at: datetime) -> str:
    """A time in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
