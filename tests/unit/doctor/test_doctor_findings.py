"""What findings mean: the two halves of an error's text, and the exit code of a whole examination."""

from __future__ import annotations

import pytest

from k2.doctor.findings import Finding, Kind, Status, away, broken, exit_code, finding_of, ok, skipped, told_apart, warning, wrong
from k2.errors import ConfigurationError, FatalError, K2Error, UnavailableError

WELL, WARNED, SKIPPED = ok("well"), warning("hm", "look"), skipped("needs that")
WRONG, AWAY, BROKEN = wrong("no", "change it"), away("gone", "wait"), broken(ZeroDivisionError("by zero"))


@pytest.mark.parametrize(
    ("text", "what", "advice"),
    [
        pytest.param("it is wrong; change it", "it is wrong", "change it", id="two-halves"),
        pytest.param("it is wrong", "it is wrong", "", id="no-advice"),
        pytest.param("a; b; c", "a; b", "c", id="the-last-one-counts"),
        pytest.param("refused (HTTP 403: a; b); set it", "refused (HTTP 403: a; b)", "set it", id="quoted-in-parentheses"),
        pytest.param("refused (HTTP 403: a; b)", "refused (HTTP 403: a; b)", "", id="quoted-only"),
        pytest.param("refused ((a); b); set it", "refused ((a); b)", "set it", id="nested"),
        pytest.param("a :-); b", "a :-)", "b", id="unbalanced"),
        pytest.param("curl -d 'x;y'; z", "curl -d 'x;y'", "z", id="without-a-blank-it-is-no-border"),
    ],
)
def test_an_error_is_told_apart_from_its_advice(text: str, what: str, advice: str) -> None:
    """What stands behind the last semicolon is what to do, unless it is quoted from elsewhere."""
    assert told_apart(text) == (what, advice)


@pytest.mark.parametrize(
    ("error", "finding"),
    [
        pytest.param(ConfigurationError("bad; set it"), wrong("bad", "set it"), id="configuration"),
        pytest.param(ConfigurationError("bad"), wrong("bad", "the check's"), id="configuration-without-advice"),
        pytest.param(UnavailableError("gone; start it"), away("gone", "start it"), id="unavailable"),
        pytest.param(ConfigurationError("no; make it with: k2 x"), wrong("no", "make it with", "k2 x"), id="with-a-command"),
        pytest.param(ConfigurationError("no; a: b"), wrong("no", "a: b"), id="a-colon-is-no-command"),
        pytest.param(FatalError("gone"), away("gone", "the check's"), id="fatal"),
    ],
)
def test_an_error_of_ours_is_a_failure_with_advice(error: K2Error, finding: Finding) -> None:
    """Every failure says what to do: the error's own advice, else that of the check."""
    assert finding_of(error, "the check's") == finding


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        pytest.param([], 0, id="nothing"),
        pytest.param([WELL, WARNED, SKIPPED], 0, id="warnings-are-allowed"),
        pytest.param([WELL, AWAY], 69, id="away"),
        pytest.param([AWAY, WRONG, WELL], 2, id="one-thing-to-change-is-enough"),
        pytest.param([AWAY, BROKEN], 70, id="a-check-broke"),
        pytest.param([BROKEN, WRONG], 2, id="what-can-be-changed-comes-first"),
    ],
)
def test_the_exit_code_tells_the_kind(findings: list[Finding], code: int) -> None:
    """0 nothing failed, 2 something has to be changed, 70 a check broke, else 69: waiting may help."""
    assert exit_code(findings) == code


def test_a_broken_check_says_so() -> None:
    """A defect of ours is named as one, with its error."""
    assert (BROKEN.status, BROKEN.kind) == (Status.FAILED, Kind.DEFECT)
    assert "ZeroDivisionError: by zero" in BROKEN.text
    assert "report" in BROKEN.advice


def test_the_remedy_is_advice_and_command_in_one_line() -> None:
    """Programs and pipes get both together; either may be missing."""
    assert wrong("x", "make it", "mkdir x").remedy == "make it: mkdir x"
    assert wrong("x", "make it").remedy == "make it"
    assert WELL.remedy == ""
