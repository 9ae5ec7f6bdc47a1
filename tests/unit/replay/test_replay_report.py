"""The account of a replay: what is counted, as text for people and as JSON for programs."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from k2.ingestion.core.letter_reader import Letter, read_letter
from k2.ingestion.core.outcome import WriteOutcome
from k2.replay import report
from k2.replay.files import LetterFile, Unreadable
from k2.replay.summary import LetterResult, Summary
from k2.replay.text import seconds_of, table
from unit.replay.letters import broken_line, good_line, record_line

FILE = Path("/dlq/binance-20231114.jsonl")
EVENT, BROKEN, RECORD = (read_letter(make(1)) for make in (good_line, broken_line, record_line))
IN_DOUBT = read_letter(record_line(2, outcome=WriteOutcome.UNKNOWN))


def account(*counted: tuple[Letter, LetterResult, str], filtered: int = 0, unreadable: int = 0) -> Summary:
    summary = Summary()
    for letter, result, why in counted:
        summary.count(letter, result, why)
    summary.filtered = filtered
    for number in range(unreadable):
        summary.note_unreadable(Unreadable(FILE, number, "no JSON: \x1b[31mred"))
    return summary


FULL = account(
    *[(EVENT, LetterResult.PUBLISHED, "")] * 1_200,
    (EVENT, LetterResult.ALREADY, ""),
    (BROKEN, LetterResult.FAILED, "decode/missing_field: no p"),
    (RECORD, LetterResult.EXHAUSTED, ""),
    (IN_DOUBT, LetterResult.PUBLISHED, ""),
    (RECORD, LetterResult.NOTHING, ""),
    filtered=7,
    unreadable=1,
)


def test_a_dry_run_says_what_would_be_done() -> None:
    """A table by stage and reason, and whatever an operator has to know before he publishes."""
    assert report.lines(FULL, dry_run=True) == [
        "stage    reason                  letters  would publish  would fail again  no event  there already  given up",
        "decode   missing_field                 1              0                 1         0              0         0",
        "map      timestamp_out_of_range    1,201          1,200                 0         0              1         0",
        "produce  delivery_rejected             3              1                 0         1              0         1",
        "all                                1,205          1,201                 1         1              1         1",
        "7 letters did not fit the filters.",
        "1 of those to publish are of unknown outcome: publishing looks for them in the topic first.",
        "1 lines are no letters that this version can read:",
        r"  binance-20231114.jsonl at byte 0: no JSON: \x1b[31mred",
        "Would fail again:",
        "  broken-1: decode/missing_field: no p",
        "Nothing was published: this was a dry run. Add --publish to do it.",
    ]


def test_a_run_says_what_was_done() -> None:
    """The same table in the past tense, and where the new letters are."""
    lines = report.lines(FULL, dry_run=False)
    assert lines[0] == "stage    reason                  letters  published  failed again  no event  there already  given up"
    assert lines[4] == "all                                1,205      1,201             1         1              1         1"
    assert lines[5:] == [
        "7 letters did not fit the filters.",
        "1 lines are no letters that this version can read:",
        r"  binance-20231114.jsonl at byte 0: no JSON: \x1b[31mred",
        "Failed again, each in a new line of the file:",
        "  broken-1: decode/missing_field: no p",
    ]


@pytest.mark.parametrize(
    ("summary", "lines"),
    [
        pytest.param(account(), ["No dead letters."], id="none"),
        pytest.param(
            account(filtered=3), ["No dead letter fits the filters.", "3 letters did not fit the filters."], id="none-that-fits"
        ),
    ],
)
def test_nothing_to_do_is_said(summary: Summary, lines: list[str]) -> None:
    """No letters at all are something else than none that was asked for."""
    for dry_run in (False, True):
        assert report.lines(summary, dry_run=dry_run) == lines


def test_long_lists_are_cut() -> None:
    """The first ten lines and failures are named, the others are counted; memory does not hold them."""
    failures = [(BROKEN, LetterResult.FAILED, f"{number}\nforged line") for number in range(1_500)]
    summary = account(*failures, unreadable=1_010)
    assert len(summary.failures) == len(summary.unreadable) == 10
    lines = report.lines(summary, dry_run=False)
    assert lines.count("  and 1,490 more") == 1
    assert lines.count("  and 1,000 more") == 1
    assert next(line for line in lines if "forged" in line) == r"  broken-1: 0\nforged line"
    assert all(line.isprintable() for line in lines)


def test_as_json() -> None:
    """Every number of the table under a name, the first faults as they are, and how the program ends."""
    document = FULL.to_json(dry_run=True, exit_code=1)
    json.dumps(document)
    rows = document.pop("by_reason")
    assert document == {
        "dry_run": True, "letters": 1205, "published": 1201, "failed": 1, "nothing": 1, "already": 1, "exhausted": 1,
        "in_doubt": 1, "filtered": 7, "unreadable": 1,
        "unreadable_lines": [{"file": "binance-20231114.jsonl", "offset": 0, "why": "no JSON: \x1b[31mred"}],
        "failures": ["broken-1: decode/missing_field: no p"],
        "exit_code": 1,
    }  # fmt: skip
    assert rows[1] == {
        "stage": "map", "reason": "timestamp_out_of_range", "letters": 1201, "published": 1200, "failed": 0, "nothing": 0,
        "already": 1, "exhausted": 0, "in_doubt": 0,
    }  # fmt: skip
    assert [(row["stage"], row["reason"]) for row in rows] == sorted((row["stage"], row["reason"]) for row in rows)


@pytest.mark.parametrize(
    ("summary", "code"),
    [
        pytest.param(account(), 0, id="nothing"),
        pytest.param(account((EVENT, LetterResult.PUBLISHED, ""), filtered=5), 0, id="published"),
        pytest.param(account((EVENT, LetterResult.ALREADY, ""), (EVENT, LetterResult.NOTHING, "")), 0, id="done"),
        pytest.param(account((EVENT, LetterResult.PUBLISHED, ""), (BROKEN, LetterResult.FAILED, "no")), 1, id="one-failed"),
        pytest.param(account((EVENT, LetterResult.EXHAUSTED, "")), 1, id="one-given-up"),
        pytest.param(account((EVENT, LetterResult.PUBLISHED, ""), unreadable=1), 1, id="one-line-unreadable"),
    ],
)
def test_the_exit_code_tells_whether_something_is_left(summary: Summary, code: int) -> None:
    """0 all replayed, 1 something still fails; what was filtered out was not asked for."""
    assert summary.exit_code == code


def test_only_what_is_sent_is_in_doubt() -> None:
    """A record that was found in the topic, or failed, is in doubt no more or never left."""
    results = (LetterResult.PUBLISHED, LetterResult.ALREADY, LetterResult.FAILED, LetterResult.EXHAUSTED)
    assert account(*((IN_DOUBT, result, "") for result in results)).total.in_doubt == 1


def test_columns_are_aligned() -> None:
    """Words at the left, numbers at the right, and nothing that a terminal would obey."""
    assert table([("name", "n"), ("a\tb", "1"), ("long name", "1,000")], right=1) == [
        "name           n",
        r"a\tb           1",
        "long name  1,000",
    ]


def test_times_are_in_utc() -> None:
    """To the second, whatever zone they come in."""
    assert seconds_of(datetime(2023, 11, 14, 23, 30, 0, 999_999, timezone(timedelta(hours=1)))) == "2023-11-14T22:30:00Z"
    assert seconds_of(datetime(2023, 11, 14, 22, 30, tzinfo=UTC)) == "2023-11-14T22:30:00Z"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_progress_is_for_terminals_only(stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar on standard error where somebody looks, nothing in a pipe; standard output belongs to the account."""
    shown = stream()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    with report.progress([LetterFile(FILE, 300), LetterFile(FILE, 700)]) as moved:
        moved(500)
        moved(1_000)
    assert ("dead letters" in shown.getvalue()) is (stream is Terminal)
