"""What findings look like: one line where a program may read, wrapped under their column on a terminal, JSON on request."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from k2 import __version__
from k2.doctor.findings import Finding, Result, Status, away, ok, skipped, warning, wrong
from k2.doctor.printing import document, line, print_result, summary
from k2.ingestion.adapters import logs
from k2.ingestion.adapters.logs import MASK, register_secret

SECRET = "canary-Hunter2"
COMMAND = f"kafka-topics --bootstrap-server {'broker-1.example.org:9092,' * 4} --create --topic market.crypto.trades.binance"


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(logs, "_secrets", ())
    register_secret(SECRET)
    return SECRET


def printed(finding: Finding, *, terminal: bool, width: int = 80) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, highlight=False, color_system=None)
    print_result(console, Result("kafka topic", finding))
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        pytest.param(ok("all well"), "ok       kafka topic         all well", id="ok"),
        pytest.param(skipped("needs x"), "skipped  kafka topic         needs x", id="skipped"),
        pytest.param(warning("hm", "look"), "warning  kafka topic         hm - do: look", id="warning"),
        pytest.param(wrong("no", "make it", "mk x"), "FAILED   kafka topic         no - do: make it: mk x", id="failed"),
    ],
)
def test_a_finding_is_one_line(finding: Finding, text: str) -> None:
    """Piped, a finding with all that is to be done about it is one line, whatever its length."""
    assert line(Result("kafka topic", finding)) == text
    assert printed(finding, terminal=False, width=20) == [text]


def test_on_a_terminal_text_is_wrapped_under_its_column() -> None:
    """Eighty columns are enough: words stay whole, and the columns stay columns."""
    lines = printed(wrong("word " * 30, "advice " * 20), terminal=True)
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("FAILED   kafka topic         word")
    assert lines[1].startswith(" " * 29 + "word")
    assert [text for text in lines if text.startswith("         do: advice")]


def test_a_command_can_be_copied_from_a_terminal() -> None:
    """A command that is longer than the screen is not broken: a line feed in it could not be pasted."""
    *_, command = printed(wrong("missing", "create it", COMMAND), terminal=True)
    assert command.strip() == COMMAND


@pytest.mark.parametrize("terminal", [True, False])
def test_text_from_outside_commands_no_terminal(terminal: bool) -> None:
    """Control characters and line feeds of the exchange's words are not passed on."""
    shown = printed(away("said \x1b]0;pwned\x07\x1b[2J\nok  forged", "\x1b[31mred", "x\r\ny"), terminal=terminal)
    assert all(text.isprintable() for text in shown)
    assert not [text for text in shown if text.startswith("ok")]


def test_no_secret_is_shown(secret: str) -> None:
    """Wherever a password got into a finding, it is masked: in lines and in JSON, down to nested facts."""
    finding = wrong(f"refused {secret}", f"not {secret}", f"x {secret}", facts={"cause": secret, "list": [{"a": (secret,)}]})
    result = Result("kafka cluster", finding)
    for text in (line(result), json.dumps(document([result])), "".join(printed(finding, terminal=True))):
        assert secret not in text
        assert MASK in text


def test_a_short_secret_leaves_the_form_of_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that is a word of the document's own masks values, not its keys or a check's status."""
    monkeypatch.setattr(logs, "_secrets", ())
    register_secret("ok")
    [entry] = document([Result("x", ok("it is ok"))])["checks"]
    assert (entry["status"], entry["text"]) == ("ok", f"it is {MASK}")


def test_the_document_tells_everything() -> None:
    """One object: the verdict, the exit code, the version, and each check with its facts and its time."""
    results = [
        Result("a", ok("well", facts={"n": 1}), 12),
        Result("b", away("gone", "wait", "ping x"), 3),
        Result("c", skipped("needs b")),
    ]
    assert document(results) == {
        "healthy": False,
        "exit_code": 69,
        "version": __version__,
        "checks": [
            {"name": "a", "status": "ok", "text": "well", "advice": "", "facts": {"n": 1}, "took_ms": 12},
            {"name": "b", "status": "failed", "text": "gone", "advice": "wait: ping x", "facts": {}, "took_ms": 3},
            {"name": "c", "status": "skipped", "text": "needs b", "advice": "", "facts": {}, "took_ms": 0},
        ],
    }


@pytest.mark.parametrize(
    ("findings", "text"),
    [
        pytest.param([ok("")] * 3, "3 ok", id="well"),
        pytest.param([ok(""), warning("", "")], "1 ok, 1 warning", id="warned"),
        pytest.param([away("", ""), skipped("")], "1 FAILED, 1 skipped: something is away (exit code 69)", id="away"),
        pytest.param([wrong("", ""), away("", "")], "2 FAILED: something has to be changed (exit code 2)", id="wrong"),
    ],
)
def test_the_last_line_counts_and_tells_the_exit_code(findings: list[Finding], text: str) -> None:
    """What to make of it all in one line."""
    assert summary([Result("x", finding) for finding in findings]) == text


def test_every_status_has_its_word() -> None:
    """No status is forgotten where it is shown."""
    assert len({line(Result("x", Finding(status, ""))) for status in Status}) == len(Status)
