"""The exchange's REST side: whether it answers, whether it knows our symbols, and whose clock is wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from k2.doctor.checks import Context, Findings
from k2.doctor.findings import Finding, ok, skipped, some, warning, wrong
from k2.doctor.troubles import Peer, refusal, trouble
from k2.doctor.wanted import rest_client
from k2.ingestion.adapters.rest import RestError
from k2.ingestion.exchanges.binance.symbols import TRADING, SymbolInfo, trading_in, unknown_symbols
from k2.ingestion.routing import streams_for

REST, STREAMS = "exchange rest", "exchange streams"  # whose facts the clock is judged by

SKEW_WORTH_A_WARNING_MS = 1_000
SKEW_TOO_LARGE_MS = 600_000  # the pipeline takes no event from further in the future
LIVELY_LAG_MS = 60_000  # events older than this are no sign of a wrong clock: somebody plays a recording

_OFF = "REST is off: the built-in tables serve, and nothing tells unknown symbols"
_PORTS = {"http": 80, "https": 443}
SET_CLOCK = "set this machine's clock: timedatectl set-ntp true, or chronyc makestep"


async def check_rest(context: Context, _: Findings) -> Finding:
    """Whether REST answers, and the two clocks side by side."""
    if context.settings.feed.rest_url is None:
        return skipped(_OFF)
    async with rest_client(context) as rest:
        began_s, asked_at_ms = time.monotonic(), time.time() * 1000
        try:
            server_ms = await rest.server_time_ms()
        except RestError as error:
            return _failure(error, context)
        round_trip_ms = (time.monotonic() - began_s) * 1000
    ahead_ms = round(asked_at_ms + round_trip_ms / 2 - server_ms)
    facts = {"round_trip_ms": round(round_trip_ms), "clock_ahead_ms": ahead_ms, "used_weight": rest.used_weight}
    weight = "" if rest.used_weight is None else f", used weight {rest.used_weight} this minute"
    text = f"{context.settings.feed.rest_url} answers in {round_trip_ms:.0f} ms{weight}"
    return ok(text, facts=facts)


async def check_symbols(context: Context, _: Findings) -> Finding:
    """Whether the exchange knows the symbols and trades them."""
    settings, feed = context.settings, context.settings.feed
    streams = streams_for(settings, feed.symbols)
    wanted = list(dict.fromkeys(stream.symbol for stream in streams if not stream.is_all_market))
    if not wanted and not feed.quote_assets:
        return skipped("no stream of a single symbol is wanted")
    async with rest_client(context) as rest:
        try:
            infos = await rest.exchange_info(() if feed.quote_assets else wanted)
        except RestError as error:
            return _failure(error, context)
    return judge_symbols(wanted, infos, feed.quote_assets)


def judge_symbols(wanted: Sequence[str], infos: Mapping[str, SymbolInfo], quote_assets: Sequence[str] = ()) -> Finding:
    """
    The finding on the symbols. The client streams those that exist, so only the lack of any is a failure. Pure.

    Args:
        quote_assets: Those of which all symbols are wanted as well.
    """
    listed = [symbol for symbol in trading_in(quote_assets, infos.values()) if symbol not in wanted]
    unknown = unknown_symbols(wanted, infos)
    halted = [symbol for symbol in wanted if symbol not in unknown and infos[symbol].status not in {TRADING, ""}]
    facts = {"symbols": len(wanted) + len(listed), "unknown": unknown, "not_trading": halted}
    if not listed and len(unknown) == len(wanted):
        none = f"the exchange knows none of {', '.join(unknown)}" if wanted else f"nothing trades in {some(quote_assets)}"
        return wrong(none, "correct --symbols, or --market", facts=facts)
    faults = [f"does not know {', '.join(unknown)}"] if unknown else []
    faults += [f"does not trade {', '.join(halted)} now"] if halted else []
    if faults:
        return warning(f"the exchange {' and '.join(faults)}", "correct --symbols, or expect nothing from these", facts=facts)
    return ok(f"the exchange trades all {len(wanted) + len(listed)}", facts=facts)


async def check_clock(_: Context, findings: Findings) -> Finding:
    """Our clock against the exchange's: by REST, else by the times in events."""
    return judge_clock(findings[REST], findings[STREAMS])


def judge_clock(rest: Finding, streams: Finding) -> Finding:
    """The finding on our clock, from what the two checks saw. Pure."""
    if "clock_ahead_ms" in rest.facts:
        ahead_ms, doubt_ms = int(rest.facts["clock_ahead_ms"]), int(rest.facts["round_trip_ms"]) // 2
        return _judge_skew(ahead_ms, f"give or take {_span(doubt_ms)}", "rest")
    lag_ms = streams.facts.get("lag_ms")
    if lag_ms is None:
        return skipped(f"needs {REST} or {STREAMS}")
    if lag_ms > LIVELY_LAG_MS:
        text = f"the exchange's events are {_span(lag_ms)} old: a recording, or our clock is ahead"
        return warning(text, f"where it is no recording, {SET_CLOCK}", facts={"ahead_ms": lag_ms, "source": "events"})
    return _judge_skew(lag_ms, "by the times in its events, the way included", "events")


def _judge_skew(ahead_ms: int, how: str, source: str) -> Finding:
    facts = {"ahead_ms": ahead_ms, "source": source}
    text = f"{_span(abs(ahead_ms))} {'ahead of' if ahead_ms >= 0 else 'behind'} the exchange's, {how}"
    if abs(ahead_ms) > SKEW_TOO_LARGE_MS:
        cost = "times in records are wrong" if ahead_ms > 0 else "every event becomes a dead letter"
        return wrong(f"{text}: {cost}", SET_CLOCK, facts=facts)
    if abs(ahead_ms) > SKEW_WORTH_A_WARNING_MS:
        return warning(f"{text}: latencies are wrong by that", SET_CLOCK, facts=facts)
    return ok(text, facts=facts)


def _span(ms: int) -> str:
    for unit, length_ms in (("days", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms >= 2 * length_ms:
            return f"{ms / length_ms:.1f} {unit}" if unit == "s" else f"{ms // length_ms} {unit}"
    return f"{ms} ms"


def _failure(error: RestError, context: Context) -> Finding:
    feed = context.settings.feed
    if error.status is not None:
        return refusal(error.status, error.retry_after_s, error.detail, market=feed.market, option="--rest-url")
    parts = urlsplit(str(feed.rest_url))
    port = parts.port or _PORTS[parts.scheme]
    return trouble(error, Peer(parts.hostname or "", port, "--rest-url", "--ws-ca", "an http:// address"))
