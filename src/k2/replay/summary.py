"""What a replay did or would do, counted: each letter once, by the stage and reason that it failed with."""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from typing import Any

from msgspec import Struct

from k2.ingestion.core.letter_reader import Letter
from k2.ingestion.core.outcome import WriteOutcome
from k2.replay.files import Unreadable

NAMED = 10
EXIT_STILL_FAILING = 1


class LetterResult(StrEnum):
    """What became of a letter in this run, or would become of it."""

    PUBLISHED = "published"
    FAILED = "failed"
    NOTHING = "nothing"  # no event in it that belongs into a topic
    ALREADY = "already"  # an earlier run dealt with it, or its record is in the topic
    EXHAUSTED = "exhausted"  # it has failed too often to be tried again


class Row(Struct):
    """The letters of one stage and reason. `in_doubt` of them may be in the topic already, under the same message_id."""

    published: int = 0
    failed: int = 0
    nothing: int = 0
    already: int = 0
    exhausted: int = 0
    in_doubt: int = 0

    @property
    def letters(self) -> int:
        return self.published + self.failed + self.nothing + self.already + self.exhausted


class Summary:
    """
    The account of a run: letters read = published + failed + nothing + already + exhausted, and what was filtered or unreadable.

    `unreadable` holds the first few lines that were no letters; `unreadable_lines` counts all.
    """

    def __init__(self) -> None:
        self.rows: defaultdict[tuple[str, str], Row] = defaultdict(Row)
        self.unreadable: list[Unreadable] = []
        self.unreadable_lines = self.filtered = 0
        self.failures: list[str] = []

    def count(self, letter: Letter, result: LetterResult, why: str = "") -> None:
        row = self.rows[letter.stage.value, letter.reason.value]
        setattr(row, result.value, getattr(row, result.value) + 1)
        if result is LetterResult.PUBLISHED and letter.outcome is WriteOutcome.UNKNOWN:
            row.in_doubt += 1
        if result is LetterResult.FAILED and len(self.failures) < NAMED:
            self.failures.append(f"{letter.id}: {why}")

    def note_unreadable(self, line: Unreadable) -> None:
        self.unreadable_lines += 1
        if len(self.unreadable) < NAMED:
            self.unreadable.append(line)

    @property
    def total(self) -> Row:
        rows = self.rows.values()
        return Row(*(sum(getattr(row, name) for row in rows) for name in Row.__struct_fields__))

    @property
    def exit_code(self) -> int:
        """0 where nothing is left that failed, 1 otherwise: an unreadable line is something that is left."""
        total = self.total
        return EXIT_STILL_FAILING if total.failed or total.exhausted or self.unreadable_lines else 0

    def to_json(self, *, dry_run: bool, exit_code: int) -> dict[str, Any]:
        total = self.total
        return {
            "dry_run": dry_run,
            "letters": total.letters,
            **{name: getattr(total, name) for name in Row.__struct_fields__},
            "filtered": self.filtered,
            "unreadable": self.unreadable_lines,
            "unreadable_lines": [{"file": line.path.name, "offset": line.offset, "why": line.why} for line in self.unreadable],
            "failures": self.failures,
            "by_reason": [
                {"stage": stage, "reason": reason, "letters": row.letters}
                | {name: getattr(row, name) for name in Row.__struct_fields__}
                for (stage, reason), row in sorted(self.rows.items())
            ],
            "exit_code": exit_code,
        }
