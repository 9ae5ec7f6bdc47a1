"""What lies in the dead-letter files, for the eye: counted, one a line, or whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from k2.ingestion.adapters.logs import printable
from k2.ingestion.core.decoding import json_ready
from k2.ingestion.core.letter_reader import Letter
from k2.replay.files import LetterFile, Unreadable, letters_in
from k2.replay.ledger import Ledger
from k2.replay.selection import Selection
from k2.replay.summary import NAMED
from k2.replay.text import seconds_of, table

NEW = "new"
SYMBOLS_NAMED, MOST_SYMBOLS, OTHERS = 3, 1_000, "others"
LONGEST_SYMBOL = 40  # an event may claim to be of anything
SHOWN_PAYLOAD = 2_000


class Entry(Struct, frozen=True):
    """A letter and what became of it: `new`, or its fate in the replay's ledger."""

    letter: Letter
    state: str


Content = Entry | Unreadable


def entries(files: Sequence[LetterFile], selection: Selection, ledger: Ledger) -> Iterator[Content]:
    """The selected letters of the files, and the lines that are none."""
    for content in (found.content for file in files for found in letters_in(file)):
        if isinstance(content, Unreadable):
            yield content
        elif selection.takes(content):
            yield Entry(content, ledger.fates([content.id]).get(content.id, NEW))


class Group(Struct):
    """The letters of one stage and reason."""

    first: datetime
    last: datetime
    letters: int = 0
    new: int = 0
    symbols: Counter[str] = Counter()


class Overview:
    """All letters, counted."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, str], Group] = {}
        self.states: Counter[str] = Counter()
        self.unreadable: list[Unreadable] = []
        self.unreadable_lines = 0

    def take(self, entry: Entry) -> None:
        letter = entry.letter
        key = letter.stage.value, letter.reason.value
        group = self.groups.setdefault(key, Group(letter.failed_at, letter.failed_at, symbols=Counter()))
        group.first, group.last = min(group.first, letter.failed_at), max(group.last, letter.failed_at)
        group.letters += 1
        group.new += entry.state == NEW
        symbol = letter.named_symbol[:LONGEST_SYMBOL]
        group.symbols[symbol if symbol in group.symbols or len(group.symbols) < MOST_SYMBOLS else OTHERS] += 1
        self.states[entry.state] += 1

    def note_unreadable(self, line: Unreadable) -> None:
        self.unreadable_lines += 1
        if len(self.unreadable) < NAMED:
            self.unreadable.append(line)

    def lines(self, directory: Path, *, filtered: bool) -> list[str]:
        if not self.groups and not self.unreadable_lines:
            return [f"No dead letter in {directory} fits the filters." if filtered else f"No dead letters in {directory}."]
        head = ("stage", "reason", "first", "last", "symbols", "letters", "not replayed")
        rows = [
            (
                *key,
                seconds_of(group.first),
                seconds_of(group.last),
                _most_common(group.symbols),
                f"{group.letters:,}",
                f"{group.new:,}",
            )
            for key, group in sorted(self.groups.items())
        ]
        shown = table([head, *rows], right=5) if rows else []
        lines = [f"{self.unreadable_lines:,} lines are no letters that this version can read:"] if self.unreadable else []
        return [*shown, *lines, *(f"  {printable(str(line))}" for line in self.unreadable)]

    def to_json(self) -> dict[str, Any]:
        return {
            "by_reason": [
                {
                    "stage": stage, "reason": reason, "letters": group.letters, "not_replayed": group.new,
                    "first": seconds_of(group.first), "last": seconds_of(group.last),
                    "symbols": dict(group.symbols.most_common()),
                }
                for (stage, reason), group in sorted(self.groups.items())
            ],
            "states": dict(self.states),
            "unreadable": self.unreadable_lines,
            "unreadable_lines": [{"file": line.path.name, "offset": line.offset, "why": line.why} for line in self.unreadable],
        }  # fmt: skip


def overview(contents: Iterable[Content]) -> Overview:
    found = Overview()
    for content in contents:
        if isinstance(content, Unreadable):
            found.note_unreadable(content)
        else:
            found.take(content)
    return found


def letter_lines(contents: Iterable[Content], *, as_json: bool) -> Iterator[str]:
    """A line for each letter and each line that is none."""
    return ((json.dumps(_brief(content)) if as_json else _one_line(content)) for content in contents)


def _brief(content: Content) -> dict[str, Any]:
    if isinstance(content, Unreadable):
        return {"file": content.path.name, "offset": content.offset, "unreadable": content.why}
    letter = content.letter
    return {
        "id": letter.id, "state": content.state, "failed_at": json_ready(letter.failed_at), "stage": letter.stage,
        "reason": letter.reason, "outcome": letter.outcome, "attempts": letter.attempts, "market": letter.market,
        "stream": letter.stream, "symbol": letter.named_symbol, "topic": letter.topic, "error": letter.error,
    }  # fmt: skip


def _one_line(content: Content) -> str:
    if isinstance(content, Unreadable):
        return printable(f"unreadable: {content}")
    letter = content.letter
    where = letter.stream or letter.named_symbol or "-"
    text = (
        f"{seconds_of(letter.failed_at)}  {letter.id}  {content.state:9}  {letter.stage}/{letter.reason}  {where}  {letter.error}"
    )
    return printable(text)


def whole_letter(entry: Entry, *, as_json: bool) -> str:
    """A letter with all that it holds."""
    return json.dumps(_whole(entry)) if as_json else _as_page(entry)


def _whole(entry: Entry) -> dict[str, Any]:
    letter = entry.letter
    fields = _brief(entry) | {"received_at_us": letter.received_at_us, "original_message": letter.original_message}
    if letter.record is not None:
        record = letter.record
        key = None if record.key is None else _text(record.key)
        fields |= {"key": key, "timestamp_ms": record.timestamp_ms, "value": json_ready(record.value)}
        return fields | {
            "headers": [[name, None if value is None else json_ready(value)] for name, value in record.headers or ()]
        }
    return fields | {"payload": _text(letter.payload)}


def _as_page(entry: Entry) -> str:
    fields = _whole(entry)
    fields["original_message"] = json.dumps(fields["original_message"])
    width = max(map(len, fields))
    rows = (f"{name:{width}}  {_shortened(printable(str(value)))}" for name, value in fields.items() if value not in ("", None))
    return "\n".join(rows) + "\n"


def _shortened(text: str) -> str:
    rest = len(text) - SHOWN_PAYLOAD
    return text if rest <= 0 else f"{text[:SHOWN_PAYLOAD]} … and {rest:,} characters more (--json shows all)"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _most_common(symbols: Counter[str]) -> str:
    named = [symbol or "-" for symbol, _ in symbols.most_common(SYMBOLS_NAMED)]
    return " ".join(named) + (f" +{len(symbols) - len(named)}" if len(symbols) > len(named) else "")
