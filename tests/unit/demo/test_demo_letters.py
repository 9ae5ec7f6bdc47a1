"""Claims about reading the dead letters on the disk."""

from __future__ import annotations

import json
from pathlib import Path

from k2.demo.letters import LetterBox


def letter(reason: str) -> bytes:
    return json.dumps({"reason": reason, "stream": "btcusdt@aggTrade", "error": "why", "payload": "x"}).encode() + b"\n"


def test_letters_are_counted_once_as_they_come(tmp_path: Path) -> None:
    """Each look counts what was appended since, in every journal of the directory."""
    box = LetterBox(tmp_path)
    box.look()
    (tmp_path / "binance-20261121.jsonl").write_bytes(letter("not_json"))
    box.look()
    with (tmp_path / "binance-20261121.jsonl").open("ab") as journal:
        journal.write(letter("not_json"))
    (tmp_path / "binance-20261122.jsonl").write_bytes(letter("wrong_type"))
    box.look()
    box.look()
    assert dict(box.by_reason) == {"not_json": 2, "wrong_type": 1}
    assert [row.reason for row in box.latest] == ["not_json", "not_json", "wrong_type"]


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    """A letter that is being written is counted when it is whole."""
    journal, box = tmp_path / "binance-20261121.jsonl", LetterBox(tmp_path)
    journal.write_bytes(letter("not_json")[:10])
    box.look()
    assert not box.by_reason
    journal.write_bytes(letter("not_json"))
    box.look()
    assert dict(box.by_reason) == {"not_json": 1}


def test_a_directory_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """The client makes the directory; until then there are no letters."""
    box = LetterBox(tmp_path / "not-yet")
    box.look()
    assert not box.by_reason
