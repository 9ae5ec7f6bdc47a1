"""`k2 dlq list` and `show`: the letters counted, one a line, or whole, and never a command to the terminal."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from faults.assembly import make_record
from k2.ingestion.core.outcome import DeadLetter, Reason, Stage, WriteOutcome
from k2.replay import listing
from k2.replay.files import find_files
from k2.replay.ledger import Ledger, LetterFate
from k2.replay.listing import Content, Entry, entries, letter_lines, overview, whole_letter
from k2.replay.selection import Selection
from unit.replay.letters import (
    FAILED_AT_US,
    broken_line,
    empty_line,
    good_line,
    line_of,
    record_line,
    snapshot_of,
    write_file,
)

NAME = "binance-20231114.jsonl"
HOUR_US = 3_600_000_000
HOSTILE = "\x1b]0;owned\x07\u202e\n"


def contents(directory: Path, selection: Selection | None = None) -> list[Content]:
    files = find_files(directory)
    with Ledger(directory, writable=False) as ledger:
        return list(entries(files, selection or Selection(), ledger))


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Letters of several kinds, one of them published, one filed again, one done, and a line that is none."""
    lines = [good_line(1), good_line(2, failed_at_us=FAILED_AT_US + HOUR_US), broken_line(3), b"garbage", empty_line(4)]
    write_file(tmp_path / NAME, *lines, record_line(5, failed_at_us=FAILED_AT_US - HOUR_US))
    with Ledger(tmp_path, writable=True) as ledger:
        fates = [("good-1", LetterFate.PUBLISHED), ("broken-3", LetterFate.REFILED), ("empty-4", LetterFate.NOTHING)]
        ledger.settle([], fates)
    return tmp_path


def hostile_line(**fields: Any) -> bytes:
    """A letter of which every text is an attempt on the terminal."""
    frame = json.dumps({"s": HOSTILE, "x": HOSTILE}).encode()
    letter = DeadLetter(Stage.ROUTE, Reason.UNKNOWN_STREAM, HOSTILE, frame, f"{HOSTILE}@aggTrade", fields.pop("symbol", ""))
    return line_of(letter, f"id{HOSTILE}", **fields)


class TestOverview:
    def test_letters_are_counted_by_stage_and_reason(self, mixed: Path) -> None:
        """When the first and the last failed, of which symbols, and how many nobody has replayed."""
        assert overview(contents(mixed)).lines(mixed, filtered=False) == [
            "stage    reason                  first                 last                  symbols  letters  not replayed",
            "decode   missing_field           2023-11-14T22:15:00Z  2023-11-14T22:15:00Z  BTCUSDT        1             0",
            "map      timestamp_out_of_range  2023-11-14T22:15:00Z  2023-11-14T23:15:00Z  BTCUSDT        2             1",
            "produce  delivery_rejected       2023-11-14T21:15:00Z  2023-11-14T21:15:00Z  BTCUSDT        1             1",
            "route    unknown_stream          2023-11-14T22:15:00Z  2023-11-14T22:15:00Z  -              1             0",
            "1 lines are no letters that this version can read:",
            f"  {NAME} at byte {offset_of_garbage()}: no JSON: JSON is malformed: invalid character (byte 0)",
        ]

    def test_as_json(self, mixed: Path) -> None:
        """The same numbers, and the fates of all letters together."""
        document = overview(contents(mixed)).to_json()
        json.dumps(document)
        assert document["states"] == {"published": 1, "refiled": 1, "nothing": 1, "new": 2}
        assert (document["unreadable"], document["unreadable_lines"][0]["offset"]) == (1, offset_of_garbage())
        assert document["by_reason"][1] == {
            "stage": "map",
            "reason": "timestamp_out_of_range",
            "letters": 2,
            "not_replayed": 1,
            "first": "2023-11-14T22:15:00Z",
            "last": "2023-11-14T23:15:00Z",
            "symbols": {"BTCUSDT": 2},
        }

    @pytest.mark.parametrize(("filtered", "said"), [(False, "No dead letters in "), (True, "fits the filters.")])
    def test_none_at_all_is_something_else_than_none_that_fits(self, tmp_path: Path, filtered: bool, said: str) -> None:
        """Who filters for the wrong reason must not think that all is well."""
        [line] = overview([]).lines(tmp_path, filtered=filtered)
        assert said in line

    def test_few_symbols_are_named_and_few_are_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Events may claim to be of any number of symbols, of any length: neither the table nor memory follows."""
        monkeypatch.setattr(listing, "MOST_SYMBOLS", 5)
        names = ["AUSDT"] * 3 + ["BUSDT"] * 2 + [f"{'X' * 1_000_000}{number}" for number in range(2)]
        names += [f"C{number}" for number in range(20)]
        letters = [DeadLetter(Stage.ROUTE, Reason.UNKNOWN_STREAM, "", b"", "", name) for name in names]
        write_file(tmp_path / NAME, *(line_of(letter, f"l{number}") for number, letter in enumerate(letters)))
        found = overview(contents(tmp_path))
        [group] = found.groups.values()
        assert group.symbols == {"AUSDT": 3, "BUSDT": 2, "X" * 40: 2, "C0": 1, "C1": 1, "others": 18}
        assert f"others AUSDT BUSDT +3  {len(names):>7}" in found.lines(tmp_path, filtered=False)[1]

    def test_lines_that_are_none_are_named_up_to_ten(self, tmp_path: Path) -> None:
        """All of them are counted."""
        write_file(tmp_path / NAME, *[b"garbage"] * 1_200)
        found = overview(contents(tmp_path))
        assert (found.unreadable_lines, len(found.unreadable)) == (1_200, 10)
        assert found.lines(tmp_path, filtered=False)[0] == "1,200 lines are no letters that this version can read:"

    def test_a_terminal_is_not_commanded(self, tmp_path: Path) -> None:
        """Symbols come from outside."""
        write_file(tmp_path / NAME, hostile_line(symbol=HOSTILE), hostile_line())
        assert all(line.isprintable() for line in overview(contents(tmp_path)).lines(tmp_path, filtered=False))


def offset_of_garbage() -> int:
    return sum(len(line) + 1 for line in (good_line(1), good_line(2, failed_at_us=FAILED_AT_US + HOUR_US), broken_line(3)))


class TestEach:
    def test_a_line_for_each_letter(self, mixed: Path) -> None:
        """When, which, what became of it, why, where; lines that are none stand between."""
        assert list(letter_lines(contents(mixed), as_json=False)) == [
            "2023-11-14T22:15:00Z  good-1  published  map/timestamp_out_of_range  btcusdt@aggTrade  from the future",
            "2023-11-14T23:15:00Z  good-2  new        map/timestamp_out_of_range  btcusdt@aggTrade  from the future",
            "2023-11-14T22:15:00Z  broken-3  refiled    decode/missing_field  btcusdt@aggTrade  no p",
            f"unreadable: {NAME} at byte {offset_of_garbage()}: no JSON: JSON is malformed: invalid character (byte 0)",
            "2023-11-14T22:15:00Z  empty-4  nothing    route/unknown_stream  -  neither a combined frame nor an event",
            "2023-11-14T21:15:00Z  record-5  new        produce/delivery_rejected  aggTrade  MSG_SIZE_TOO_LARGE: no",
        ]

    def test_as_json_lines(self, mixed: Path) -> None:
        """One object a line, for `jq`."""
        first, *_, garbage, _, _ = map(json.loads, letter_lines(contents(mixed), as_json=True))
        assert first == {
            "id": "good-1", "state": "published", "failed_at": "2023-11-14T22:15:00.000000Z", "stage": "map",
            "reason": "timestamp_out_of_range", "outcome": "not_written", "attempts": 1, "market": "spot",
            "stream": "btcusdt@aggTrade", "symbol": "BTCUSDT", "topic": "trades.binance", "error": "from the future",
        }  # fmt: skip
        assert garbage == {
            "file": NAME,
            "offset": offset_of_garbage(),
            "unreadable": "no JSON: JSON is malformed: invalid character (byte 0)",
        }

    @pytest.mark.parametrize("as_json", [False, True])
    def test_a_terminal_is_not_commanded(self, tmp_path: Path, as_json: bool) -> None:
        """Whatever a letter or a line holds, it comes out as one line of plain characters."""
        write_file(tmp_path / NAME, hostile_line(), hostile_line(market=HOSTILE), b'{"version":"\x1b[2J"}')
        lines = list(letter_lines(contents(tmp_path), as_json=as_json))
        assert len(lines) == 3
        assert all(line.isprintable() for line in lines)

    def test_filters_choose(self, mixed: Path) -> None:
        """Lines that are none belong to no filter, and are shown all the same."""
        found = contents(mixed, Selection(stages=frozenset({Stage.ROUTE, Stage.PRODUCE})))
        assert [content.letter.id for content in found if isinstance(content, Entry)] == ["empty-4", "record-5"]
        assert len(found) == 3

    def test_looking_changes_nothing(self, mixed: Path) -> None:
        """Neither the files nor the ledger."""
        before = snapshot_of(mixed)
        list(letter_lines(contents(mixed), as_json=False))
        assert snapshot_of(mixed) == before


def only_entry(directory: Path) -> Entry:
    [entry] = contents(directory)
    assert isinstance(entry, Entry)
    return entry


class TestWhole:
    def test_a_frame(self, tmp_path: Path) -> None:
        """All that a letter holds, a field a line; the payload is the frame as it came."""
        write_file(tmp_path / NAME, broken_line(3))
        page = whole_letter(only_entry(tmp_path), as_json=False).splitlines()
        assert page[0] == "id                broken-3"
        assert "received_at_us    1700000060000000" in page
        assert page[-1].startswith('payload           {"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1700000000004')

    def test_a_record_as_json(self, tmp_path: Path) -> None:
        """Key, time, value and headers, bytes in base64."""
        write_file(tmp_path / NAME, record_line(5, outcome=WriteOutcome.UNKNOWN, headers=[("a", b"\xff"), ("b", None)]))
        document = json.loads(whole_letter(only_entry(tmp_path), as_json=True))
        made = make_record(5)
        assert (document["key"], document["timestamp_ms"]) == ("BTCUSDT", made.timestamp_ms)
        assert base64.b64decode(document["value"]) == made.value
        assert document["headers"] == [["a", "/w=="], ["b", None]]
        assert (document["state"], document["outcome"], document["original_message"]["a"]) == ("new", "unknown", 5)
        assert "payload" not in document

    def test_what_is_long_is_cut_for_the_eye(self, tmp_path: Path) -> None:
        """A frame of a megabyte does not scroll everything away; JSON has it whole."""
        letter = DeadLetter(Stage.DECODE, Reason.NOT_JSON, "no", b"x" * 1_000_000)
        write_file(tmp_path / NAME, line_of(letter, "long"))
        page = whole_letter(only_entry(tmp_path), as_json=False)
        assert page.rstrip().endswith("xxx … and 998,000 characters more (--json shows all)")
        assert json.loads(whole_letter(only_entry(tmp_path), as_json=True))["payload"] == "x" * 1_000_000

    @pytest.mark.parametrize(
        "line", [hostile_line(), record_line(1, headers=[(HOSTILE, HOSTILE.encode())])], ids=["event", "record"]
    )
    def test_a_terminal_is_not_commanded(self, tmp_path: Path, line: bytes) -> None:
        """Nor are fields forged by line feeds in others."""
        write_file(tmp_path / NAME, line)
        entry = only_entry(tmp_path)
        assert all(row.isprintable() for row in whole_letter(entry, as_json=False).split("\n"))
        assert whole_letter(entry, as_json=True).isprintable()

    def test_bytes_that_are_no_text_are_shown(self, tmp_path: Path) -> None:
        """Escaped, not replaced: an operator sees which they were."""
        write_file(tmp_path / NAME, line_of(DeadLetter(Stage.DECODE, Reason.NOT_UTF8, "no", b"a\xff\x00"), "bytes"))
        assert whole_letter(only_entry(tmp_path), as_json=False).rstrip().endswith(r"payload           a\xff\x00")
