"""Claims about the end of `k2 demo`: what is printed, and the exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from k2.cli.demo import exit_code, report
from k2.demo.audience import Lines
from k2.demo.director import Ending
from k2.demo.snapshot import Health
from k2.errors import FatalError
from unit.demo.samples import GOOD, changed


def ending(**fields: Any) -> Ending:
    return Ending(**{"sheet": GOOD, "signal": 0, "failure": None, "health": None, "kept": None, **fields})


@pytest.mark.parametrize(
    ("balanced", "signal", "expected"),
    [(True, 0, 0), (False, 0, 1), (True, 2, 130), (True, 15, 143), (False, 2, 1)],
)
def test_the_exit_code_is_the_verdict(balanced: bool, signal: int, expected: int) -> None:
    """0 only for balanced books of a whole run; books that do not balance are 1 even where a signal cut the run short."""
    assert exit_code(balanced=balanced, signal=signal) == expected


def test_books_that_do_not_balance_end_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    """The sheet is printed, the last line is still JSON, and the code is 1."""
    code = report(ending(sheet=changed(consumed=999)), Lines(sys.stderr), as_json=True)
    printed = capsys.readouterr()
    assert code == 1
    assert json.loads(printed.out.splitlines()[-1])["balanced"] is False
    assert "NOT balanced" in printed.err


def test_json_stands_alone_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the words go to standard error; latency comes along where the client told it."""
    report(ending(health=Health(latency_seconds={"p50": 0.005})), Lines(sys.stderr), as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["latency_seconds"] == {"p50": 0.005}


def test_no_sheet_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A client that was stopped before it had begun has no books."""
    assert report(ending(sheet=None, signal=2), Lines(sys.stdout), as_json=False) == 130
    assert capsys.readouterr().err == "k2 demo: interrupted before the client had begun\n"


def test_a_client_that_ended_by_itself_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """Its sheet is shown all the same, and then its reason decides."""
    with pytest.raises(FatalError, match="worn out"):
        report(ending(failure=FatalError("worn out")), Lines(sys.stdout), as_json=False)
    assert "Balance sheet" in capsys.readouterr().out


def test_what_is_kept_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Who asked for logs and dead letters is told where they are."""
    report(ending(kept=Path("/somewhere/k2-demo-x")), Lines(sys.stdout), as_json=False)
    assert "/somewhere/k2-demo-x" in capsys.readouterr().out
