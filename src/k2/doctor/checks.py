"""
Carrying out checks: each as soon as what it builds on has been found well, all within bounded time, told in the table's order.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from msgspec import Struct

from k2.doctor.findings import Finding, Result, Status, away, broken, finding_of, skipped
from k2.errors import K2Error
from k2.ingestion.adapters.logs import get_logger
from k2.ingestion.settings import Settings
from k2.threads import DaemonThreads

LONGEST_TIMEOUTS = 3  # a check may make several requests, each with a time limit of its own; so many times that ends it

_UNMET = frozenset({Status.FAILED, Status.SKIPPED})
_log = get_logger("k2.doctor")


class Context(Struct, frozen=True):
    """
    What all checks are given.

    Attributes:
        timeout_s: How long to wait for any one answer.
        probe: Whether a check may leave something behind: a record, and the topic for it.
        rdkafka: Where librdkafka logs.
    """

    settings: Settings
    timeout_s: float
    probe: bool
    rdkafka: logging.Logger


Findings = Mapping[str, Finding]
Examine = Callable[[Context, Findings], Awaitable[Finding]]


class Check(Struct, frozen=True):
    """
    One row of the table.

    Attributes:
        examine: Gets the findings of the checks in `needs` and `after`. May raise a K2Error, which becomes a failure.
        advice: What to do about a failure that brings no advice of its own.
        needs: Names of checks that must have gone well, or there is nothing to examine.
        after: Names of checks whose findings are looked at, however they ended.
    """

    name: str
    examine: Examine
    advice: str
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


async def carry_out(checks: Sequence[Check], context: Context) -> AsyncIterator[Result]:
    """The results of all checks, in the order of `checks`, each as soon as it and all before it are known."""
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    tasks: dict[str, asyncio.Task[Result]] = {}
    for check in checks:
        tasks[check.name] = asyncio.create_task(_result_of(check, context, tasks))
    try:
        for task in tasks.values():
            yield await task
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _result_of(check: Check, context: Context, tasks: Mapping[str, asyncio.Task[Result]]) -> Result:
    # A shield each: a check that is cut off must not cut off what others wait for as well.
    findings = {name: (await asyncio.shield(tasks[name])).finding for name in (*check.needs, *check.after)}
    unmet = unmet_need(check, findings)
    if unmet is not None:
        return Result(check.name, unmet)
    began_s = time.monotonic()
    finding = await _examined(check, context, findings)
    return Result(check.name, finding, round((time.monotonic() - began_s) * 1000))


def unmet_need(check: Check, findings: Findings) -> Finding | None:
    """The finding of a check that cannot be carried out; None where it can. Names the first cause, not the nearest one."""
    for name in check.needs:
        found = findings[name]
        if found.status in _UNMET:
            return skipped(f"needs {name}") if found.status is Status.FAILED else found
    return None


async def _examined(check: Check, context: Context, findings: Findings) -> Finding:
    limit_s = LONGEST_TIMEOUTS * context.timeout_s
    try:
        async with asyncio.timeout(limit_s):
            return await check.examine(context, findings)
    except TimeoutError:
        return away(f"no end within {limit_s:g} s", check.advice)
    except K2Error as error:
        return finding_of(error, check.advice)
    except Exception as defect:  # noqa: BLE001 - one broken check must not hide the others
        _log.error("A check broke", check=check.name, exc_info=defect)
        return broken(defect)
