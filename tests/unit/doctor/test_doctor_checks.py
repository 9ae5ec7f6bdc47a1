"""How checks are carried out: in which order they are told, what is skipped, and that nothing holds them up."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from k2.doctor.checks import LONGEST_TIMEOUTS, Check, Context, Findings, carry_out
from k2.doctor.findings import Finding, Result, Status, away, ok, skipped, wrong
from k2.doctor.printing import NAME_WIDTH
from k2.doctor.table import CHECKS, CONFIGURATION
from k2.errors import ConfigurationError
from k2.ingestion.settings import load_settings

ADVICE = "try again"


def context(timeout_s: float = 5.0) -> Context:
    return Context(load_settings([], {}), timeout_s, False, logging.getLogger("test"))


def check(name: str, found: Finding | Callable[[Findings], Awaitable[Finding]], **order: tuple[str, ...]) -> Check:
    async def examine(_: Context, findings: Findings) -> Finding:
        return found if isinstance(found, Finding) else await found(findings)

    return Check(name, examine, ADVICE, **order)


async def results_of(checks: Sequence[Check], timeout_s: float = 5.0) -> list[Result]:
    async with asyncio.timeout(30):
        return [result async for result in carry_out(checks, context(timeout_s))]


async def findings_of(*checks: Check, timeout_s: float = 5.0) -> dict[str, Finding]:
    return {result.name: result.finding for result in await results_of(checks, timeout_s)}


async def test_results_come_in_the_order_of_the_table() -> None:
    """However long each takes, the output has one order."""
    gate = asyncio.Event()

    async def slow(_: Findings) -> Finding:
        await gate.wait()
        return ok("slow")

    async def quick(_: Findings) -> Finding:
        gate.set()  # the second one runs while the first still waits, or neither would end
        return ok("quick")

    assert [result.name for result in await results_of([check("slow", slow), check("quick", quick)])] == ["slow", "quick"]


async def test_a_check_waits_for_what_it_needs_and_sees_what_was_found() -> None:
    """A check gets the findings of those before it, and begins only once they are there."""

    async def first(_: Findings) -> Finding:
        await asyncio.sleep(0.01)
        return ok("first", facts={"seen": 7})

    async def second(findings: Findings) -> Finding:
        return ok(f"saw {findings['first'].facts['seen']}")

    found = await findings_of(check("second", second, needs=("first",)), check("first", first))
    assert found["second"].text == "saw 7"


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        pytest.param(wrong("no", "change it"), "needs root", id="failed"),
        pytest.param(away("gone", "wait"), "needs root", id="away"),
        pytest.param(skipped("it is off"), "it is off", id="skipped-for-a-reason-of-its-own"),
    ],
)
async def test_what_builds_on_a_failure_is_skipped_and_names_the_root(cause: Finding, text: str) -> None:
    """Down the whole chain, a skipped check names the first cause and not its neighbour."""
    leaf, twig = check("leaf", ok("never"), needs=("twig",)), check("twig", ok("never"), needs=("root",))
    found = await findings_of(check("root", cause), twig, leaf)
    assert found["twig"] == found["leaf"] == skipped(text)


async def test_a_warning_stops_nothing_and_looking_needs_no_success() -> None:
    """Warnings are no failures; `after` only orders."""
    root = Finding(Status.WARNING, "hm")
    found = await findings_of(
        check("root", root), check("failed", wrong("no", "do")), check("leaf", ok("ran"), needs=("root",), after=("failed",))
    )
    assert found["leaf"].text == "ran"


async def test_an_error_of_ours_is_a_failure_and_any_other_a_defect() -> None:
    """No exception ends the examination, and a broken check hides none of the others."""

    async def refuse(_: Findings) -> Finding:
        raise ConfigurationError("not so; do it so")

    async def break_down(_: Findings) -> Finding:
        raise ZeroDivisionError

    found = await findings_of(check("ours", refuse), check("defect", break_down), check("other", ok("well")))
    assert (found["ours"].text, found["ours"].advice) == ("not so", "do it so")
    assert "ZeroDivisionError" in found["defect"].text
    assert found["other"].status is Status.OK


async def test_a_check_that_does_not_end_is_ended() -> None:
    """A check is cut off after a few time limits, with the advice of its row, and those that wait for it go on."""

    async def hang(_: Findings) -> Finding:
        await asyncio.Event().wait()
        raise AssertionError

    found = await findings_of(check("hangs", hang), check("next", ok(""), needs=("hangs",)), timeout_s=0.05)
    assert found["hangs"] == away(f"no end within {LONGEST_TIMEOUTS * 0.05:g} s", ADVICE)
    assert found["next"] == skipped("needs hangs")


def test_a_thread_that_hangs_holds_up_nothing() -> None:
    """A call that blocks for ever is left behind: neither its check nor the end of the loop waits for it."""
    release = threading.Event()

    async def block(_: Findings) -> Finding:
        await asyncio.to_thread(release.wait, 120)
        raise AssertionError

    began_s = time.monotonic()
    try:
        [result] = asyncio.run(results_of([check("blocks", block)], timeout_s=0.05))
    finally:
        release.set()
    assert result.finding.status is Status.FAILED
    assert time.monotonic() - began_s < 60  # the loop's own threads would have been waited for


async def test_what_a_thread_raises_is_raised_where_it_is_awaited() -> None:
    """The threads pass on results and errors as others do."""

    async def ask(_: Findings) -> Finding:
        with pytest.raises(ValueError, match="invalid literal"):
            await asyncio.to_thread(int, "x")
        return ok(await asyncio.to_thread("-".join, ["a", "b"]))

    assert (await findings_of(check("asks", ask)))["asks"].text == "a-b"


def test_the_table_can_be_carried_out() -> None:
    """Names are unique and fit their column, every check builds on earlier ones only, and has advice for whatever comes."""
    names = [check.name for check in CHECKS]
    assert len({CONFIGURATION, *names}) == len(names) + 1
    for index, row in enumerate(CHECKS):
        assert {*row.needs, *row.after} <= set(names[:index]), row.name
        assert len(row.name) < NAME_WIDTH
        assert row.advice
