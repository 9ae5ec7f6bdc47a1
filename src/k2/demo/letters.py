"""The dead letters that lie on the disk, read as they are appended."""

from __future__ import annotations

import json
from collections import Counter, deque
from pathlib import Path

from msgspec import Struct

LATEST_LETTERS = 20


class LetterRow(Struct, frozen=True):
    """A dead letter, as far as it is shown."""

    reason: str
    stream: str
    error: str


class LetterBox:
    """Follows the journals of one directory. Only whole lines count."""

    def __init__(self, directory: Path) -> None:
        self.by_reason: Counter[str] = Counter()
        self.latest: deque[LetterRow] = deque(maxlen=LATEST_LETTERS)
        self._directory = directory
        self._read_bytes: dict[Path, int] = {}

    def look(self) -> None:
        """Read what was appended since the last look."""
        for path in sorted(self._directory.glob("*.jsonl")):
            with path.open("rb") as journal:
                journal.seek(self._read_bytes.get(path, 0))
                new = journal.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read_bytes[path] = self._read_bytes.get(path, 0) + len(whole)
            for line in whole.splitlines():
                self._take(json.loads(line))

    def _take(self, letter: dict[str, str]) -> None:
        row = LetterRow(letter["reason"], letter["stream"], letter["error"])
        self.by_reason[row.reason] += 1
        self.latest.append(row)
