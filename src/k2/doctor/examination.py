"""One examination from its settings to the exit code."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

from rich.console import Console

from k2.doctor.checks import Context, carry_out
from k2.doctor.findings import Finding, Result, counted, exit_code, ok, skipped, some, told_apart, wrong
from k2.doctor.printing import document, print_result, summary
from k2.doctor.table import CHECKS, CONFIGURATION
from k2.errors import ConfigurationError
from k2.ingestion.exchanges.binance.names import is_full_name
from k2.ingestion.settings import FeedSettings, Settings

_CONFIGURATION_ADVICE = "correct it (k2 doctor --help tells what each option takes)"


def examine(context: Context, *, as_json: bool) -> int:
    """Carry out all checks and show what they find. Returns the exit code."""
    return asyncio.run(_examine(context, as_json=as_json))


def refuse(error: ConfigurationError, *, as_json: bool) -> int:
    """Show settings that cannot be used: every fault, and everything that could not be examined for it."""
    faults = [_fault(text) for text in error.faults]
    others = [Result(check.name, skipped(f"needs {CONFIGURATION}")) for check in CHECKS]
    if not as_json:
        for result in (*faults, Result("everything else", others[0].finding)):
            print_result(_console(), result)
    return _end([*faults, *others], as_json=as_json)


async def _examine(context: Context, *, as_json: bool) -> int:
    results = [Result(CONFIGURATION, _described(context.settings))]
    console = _console()
    if not as_json:
        print_result(console, results[0])
    async for result in carry_out(CHECKS, context):
        results.append(result)
        if not as_json:
            print_result(console, result)
    return _end(results, as_json=as_json)


def _fault(text: str) -> Result:
    what, advice = told_apart(text)
    return Result(CONFIGURATION, wrong(what, advice or _CONFIGURATION_ADVICE))


def _end(results: Sequence[Result], *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps(document(results)) + "\n")
    else:
        _console().out(f"\n{summary(results)}", highlight=False)
    return exit_code(result.finding for result in results)


def _console() -> Console:
    return Console(highlight=False, soft_wrap=False)


def _described(settings: Settings) -> Finding:
    names = [plan.name for plan in settings.topics]
    facts = {"topic": names[0], **({"topics": names} if len(names) > 1 else {})}
    topics = f"{len(names)} topics: {some(names)}" if len(names) > 1 else names[0]
    return ok(f"{_wished(settings.feed)} into {topics}", facts=facts)


def _wished(feed: FeedSettings) -> str:
    """What is wished for: `3 symbols of spot aggTrade`."""
    wishes = feed.wishes
    streams = f"{feed.market} {some(wishes)}"
    if all(is_full_name(wish) for wish in wishes):
        return streams
    symbols = [counted(len(feed.symbols), "symbol")] if feed.symbols else []
    symbols += [f"all symbols in {some(feed.quote_assets)}"] if feed.quote_assets else []
    return f"{' and '.join(symbols)} of {streams}"
