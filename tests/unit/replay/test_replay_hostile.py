"""Dead-letter files that somebody wrote to whom we owe nothing: whatever their lines hold, all commands survive it."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from k2.ingestion.core.letter_reader import read_letter
from k2.replay import report
from k2.replay.batch import make_item
from k2.replay.files import find_files
from k2.replay.ledger import Ledger
from k2.replay.listing import Entry, entries, letter_lines, overview, whole_letter
from k2.replay.selection import Selection
from k2.replay.workbench import FailsAgain
from unit.replay.bench import Bench
from unit.replay.letters import (
    RECEIVED_AT_US,
    broken_line,
    empty_line,
    good_line,
    new_letter,
    new_workbench,
    record_line,
    write_file,
)

DOCUMENTS: list[dict[str, Any]] = [json.loads(make(1)) for make in (good_line, broken_line, empty_line, record_line)]
FIELDS = sorted({name for document in DOCUMENTS for name in document})
ODD = [
    "", "\x1b[2J", "\u202e", "a" * 5_000, "base64", "record", "spot", "usdm", "trade",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2024-02-29T12:00:00+14:00",
    -1, 0, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**40, 1.5, 1e300, True, None, [], {}, [[]],
    {"s": 7}, {"s": "X" * 5_000}, {"s": "\x1b"}, {"e": "aggTrade"},
    [{"name": "\x1b", "value": None}], [{"name": "n", "value": "?"}],
]  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
CHANGES = st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(ODD) | ANYTHING, min_size=1, max_size=3)


@st.composite
def changed_lines(draw: st.DrawFn) -> bytes:
    """A good letter with some fields exchanged for whatever comes to mind."""
    document = draw(st.sampled_from(DOCUMENTS)) | draw(CHANGES)
    return json.dumps(document).encode()


@settings(max_examples=150)
@given(st.lists(changed_lines() | st.binary(max_size=60), min_size=1, max_size=8))
def test_every_command_survives_every_line(lines: list[bytes]) -> None:
    """Listed, shown and tried: no exception, and nothing on the terminal that it would obey."""
    with TemporaryDirectory() as place:
        directory = Path(place)
        write_file(directory / "binance-20231114.jsonl", *lines)
        with Ledger(directory, writable=False) as ledger:
            found = list(entries(find_files(directory), Selection(), ledger))
        shown = [*overview(found).lines(directory, filtered=False), *letter_lines(found, as_json=False)]
        shown += letter_lines(found, as_json=True)
        for entry in found:
            if isinstance(entry, Entry):
                shown += [*whole_letter(entry, as_json=False).split("\n"), whole_letter(entry, as_json=True)]
        shown += report.lines(Bench(directory).rehearse(), dry_run=True)
        assert all(line.isprintable() for line in shown)


@settings(max_examples=150)
@given(st.lists(changed_lines(), min_size=1, max_size=5))
def test_what_fails_again_can_be_read_again(lines: list[bytes]) -> None:
    """The new letter of any letter that can be read is one that can be read."""
    with TemporaryDirectory() as place:
        bench = Bench(Path(place))
        write_file(bench.directory / "binance-20231114.jsonl", *lines)
        summary = bench.publish()
        appended = [line for file in find_files(bench.directory) for line in file.path.read_bytes().splitlines()]
        new = [line for line in appended if b'"replay_of"' in line]
        assert len(new) == summary.total.failed
        for line in new:
            item = make_item(letter := read_letter(line), new_workbench().prepare(letter, RECEIVED_AT_US))
            if isinstance(item.prepared, FailsAgain):
                assert read_letter(new_letter(item)).payload == letter.payload
