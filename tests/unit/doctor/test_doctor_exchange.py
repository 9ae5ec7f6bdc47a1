"""The exchange's side against a simulated exchange that is made to fail, and the verdicts on what is heard."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trustme
from msgspec.structs import replace

from k2.doctor.checks import Context, Findings
from k2.doctor.exchange import check_dns, check_handshake, check_streams, check_tcp, check_tls, judge_streams
from k2.doctor.findings import Finding, Kind, Status, ok, skipped
from k2.doctor.listening import Heard
from k2.doctor.rest import REST, STREAMS, check_clock, check_rest, check_symbols, judge_clock, judge_symbols
from k2.ingestion.adapters.rest import RestClient, RestError, RestFailure
from k2.ingestion.core.outcome import Reason
from k2.ingestion.exchanges.binance.symbols import SymbolInfo
from k2.simulator.exchange import Exchange
from k2.simulator.faults import AcceptAndDrop, Garbage, Refuse, Silence
from unit.doctor.contexts import SYMBOLS, Running, context
from unit.feed.servers import Peer, eventually, listening

NONE: Findings = {}
MARKET_DATA_ONLY = "wss://data-stream.binance.vision"


def looking_at(exchange: Exchange, *flags: object, timeout_s: float = 5.0) -> Context:
    addresses = ("--ws-url", exchange.ws_url, "--rest-url", exchange.rest_url)
    return context("--symbols", *SYMBOLS, *addresses, *flags, timeout_s=timeout_s)


@pytest.mark.parametrize("transport", ["picows", "websockets"])
@pytest.mark.parametrize("venue", ["spot", "usdm"])
async def test_a_healthy_exchange_is_well_all_the_way(running: Running, transport: str, venue: str) -> None:
    """Name, port, handshake, streams, REST, symbols and clock are well, over either transport and on either market."""
    seen = looking_at(await running(venue), "--transport", transport, "--market", venue)
    found = {}
    for check in (check_dns, check_tcp, check_tls, check_handshake, check_streams, check_rest, check_symbols):
        found[check.__name__] = await check(seen, NONE)
    found["clock"] = await check_clock(seen, {REST: found["check_rest"], STREAMS: found["check_streams"]})
    assert {name: finding.status for name, finding in found.items()} == dict.fromkeys(found, Status.OK)
    assert found["check_handshake"].facts["transport"] == transport
    assert found["check_streams"].facts["silent"] == []
    assert abs(found["clock"].facts["ahead_ms"]) < 1_000


REFUSALS = [
    pytest.param(451, "restricted location", Kind.CONFIGURATION, MARKET_DATA_ONLY, id="451"),
    pytest.param(429, "too many requests", Kind.UNAVAILABLE, "wait", id="429"),
    pytest.param(418, "banned", Kind.UNAVAILABLE, "every client", id="418"),
    pytest.param(403, "firewall", Kind.CONFIGURATION, "proxy", id="403"),
    pytest.param(503, "HTTP 503", Kind.UNAVAILABLE, "wait", id="503"),
]


@pytest.mark.parametrize("check", [check_handshake, check_rest, check_symbols])
@pytest.mark.parametrize(("status", "text", "kind", "advice"), REFUSALS)
async def test_a_refusal_is_told_alike_by_both_sides(
    running: Running, status: int, text: str, kind: Kind, advice: str, check: Callable[..., Awaitable[Finding]]
) -> None:
    """An HTTP refusal of handshake or REST is named, with how long it lasts and what to do."""
    exchange = await running()
    await exchange.inject(Refuse(status=status, retry_after_s=30, target="both"))
    found = await check(looking_at(exchange), NONE)
    assert found.kind is kind
    assert text in found.text
    assert "for 30 s more" in found.text
    assert advice in found.advice


async def test_a_connection_that_is_dropped_is_told(running: Running) -> None:
    """An exchange that accepts and drops is away, and the end of the connection is named."""
    exchange = await running()
    await exchange.inject(AcceptAndDrop())
    found = await check_streams(looking_at(exchange), NONE)
    assert (found.kind, found.text) == (Kind.UNAVAILABLE, "the exchange ended the connection (reset, code 1006)")


async def test_streams_that_stay_silent_are_named(running: Running) -> None:
    """One silent stream is a warning with its name, nothing at all a failure: both were acknowledged."""
    exchange = await running()
    await exchange.inject(Silence(streams=("btcusdt@aggTrade",)))
    some = await check_streams(looking_at(exchange, timeout_s=1), NONE)
    assert (some.status, some.text) == (Status.WARNING, "1 of 2 streams brought no event: btcusdt@aggTrade")
    await exchange.inject(Silence(streams=("ethusdt@aggTrade",)))
    none = await check_streams(looking_at(exchange, timeout_s=1), NONE)
    assert none.kind is Kind.UNAVAILABLE
    assert "no event of btcusdt@aggTrade, ethusdt@aggTrade" in none.text


async def test_a_symbol_that_does_not_exist_is_named_by_rest_and_by_its_silence(running: Running) -> None:
    """The exchange acknowledges what it does not have; REST tells it, and the streams stay silent."""
    exchange = await running()
    seen = looking_at(exchange, "--symbols", "FOOBAR", timeout_s=1)
    assert (await check_streams(seen, NONE)).facts["silent"] == ["foobar@aggTrade"]
    unknown = await check_symbols(seen, NONE)
    assert (unknown.status, unknown.facts["unknown"]) == (Status.WARNING, ["FOOBAR"])


async def test_frames_that_cannot_be_published_are_counted_by_the_real_pipeline(running: Running) -> None:
    """Garbage between good frames is a warning with the first reason."""
    exchange = await running(rate=20)
    listening = asyncio.ensure_future(check_streams(looking_at(exchange, "--symbols", "FOOBAR", timeout_s=2), NONE))
    await eventually(lambda: any(connection.subscriptions.streams for connection in exchange.connections))
    await exchange.inject(Garbage())
    found = await listening
    assert found.status is Status.WARNING
    assert found.facts["dead_letters"]["not_json"] >= 1
    assert "dead letters" in found.text


async def test_a_peer_that_never_answers_is_bounded() -> None:
    """Somebody who accepts and is silent is told as such by every check, within its time."""

    async def be_silent(peer: Peer) -> None:
        await peer.until_gone()

    async with listening(be_silent) as port, asyncio.timeout(30):
        seen = context("--ws-url", f"ws://127.0.0.1:{port}", "--rest-url", f"http://127.0.0.1:{port}", timeout_s=0.3)
        for check in (check_handshake, check_rest, check_symbols):
            found = await check(seen, NONE)
            assert (found.kind, found.text) == (Kind.UNAVAILABLE, f"no answer from 127.0.0.1:{port} in time")


async def test_a_subscription_that_is_not_answered_is_told() -> None:
    """An open WebSocket that answers nothing is no exchange."""

    async def open_and_be_silent(peer: Peer) -> None:
        await peer.accept()
        await peer.until_gone()

    async with listening(open_and_be_silent) as port:
        found = await check_streams(context("--ws-url", f"ws://127.0.0.1:{port}", timeout_s=0.5), NONE)
    assert (found.kind, found.text) == (Kind.UNAVAILABLE, "the subscription was not answered within 0.5 s")


async def test_a_web_page_is_no_exchange() -> None:
    """A server that answers everything with a page is told by both sides as something else."""

    async def show_page(peer: Peer) -> None:
        await peer.refuse("200 OK", body=b"<html>Please log in</html>")

    async with listening(show_page) as port:
        seen = context("--ws-url", f"ws://127.0.0.1:{port}", "--rest-url", f"http://127.0.0.1:{port}")
        handshake, rest = await check_handshake(seen, NONE), await check_rest(seen, NONE)
    assert handshake.kind is rest.kind is Kind.CONFIGURATION
    assert "Please log in" in handshake.text
    assert "Please log in" in rest.text


async def test_tls_is_checked_with_the_authority_of_the_settings(running: Running, tmp_path: Path) -> None:
    """The exchange's certificate is trusted with --ws-ca and with nothing else, by REST as by the feed."""
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    exchange = await running(tls=tls)
    for flags, status in ((("--ws-ca", tmp_path / "ca.pem"), Status.OK), ((), Status.FAILED)):
        seen = looking_at(exchange, *flags)
        for check in (check_tls, check_rest, check_handshake):
            found = await check(seen, NONE)
            assert (found.status, "--ws-ca" in found.advice) == (status, status is Status.FAILED), check


async def test_behind_a_proxy_the_proxy_is_what_is_reached(running: Running) -> None:
    """With --proxy the first steps look at the proxy, and TLS is left to the handshake."""
    exchange = await running()
    seen = looking_at(exchange, "--proxy", "http://nowhere.invalid:3128", "--ws-url", "wss://stream.binance.com:9443")
    assert "nowhere.invalid" in (await check_dns(seen, NONE)).text
    assert "--proxy" in (await check_tcp(seen, NONE)).advice
    assert (await check_tls(seen, NONE)).status is Status.OK


HEARD = Heard({}, published=9, first_after_ms=5, lag_ms=80)


def silent(*streams: str) -> dict[str, None]:
    return dict.fromkeys(streams)


@pytest.mark.parametrize(
    ("heard", "status", "kind", "said"),
    [
        pytest.param(HEARD, Status.OK, None, "2 of 2", id="all-well"),
        pytest.param(replace(HEARD, ended="reset"), Status.OK, None, "2 of 2", id="ended-when-all-was-heard"),
        pytest.param(
            replace(HEARD, refusal="2: no"), Status.FAILED, Kind.CONFIGURATION, "refuses to subscribe: 2: no", id="refused"
        ),
        pytest.param(
            Heard(silent("a", "b"), unanswered=silent("a", "b"), ended="HTTP 429: x"),
            Status.FAILED, Kind.UNAVAILABLE, "HTTP 429", id="ended-before",
        ),
        pytest.param(
            Heard(silent("a", "b"), unanswered=silent("b")), Status.FAILED, Kind.UNAVAILABLE, "not answered", id="unanswered"
        ),
        pytest.param(
            Heard(silent("b"), published=1),
            Status.WARNING, None, "1 of 2 streams brought no event: b", id="one-silent",
        ),
        pytest.param(
            replace(HEARD, letters=Counter({Reason.WRONG_TYPE: 2}), first_error="wrong_type: x"),
            Status.WARNING, None, "2 of 11 events would become dead letters (wrong_type: x)", id="some-letters",
        ),
        pytest.param(
            Heard({}, letters=Counter({Reason.MISSING_FIELD: 3})),
            Status.FAILED, Kind.CONFIGURATION, "3 of 3 events", id="nothing-but-letters",
        ),
    ],
)  # fmt: skip
def test_what_was_heard_is_judged(heard: Heard, status: Status, kind: Kind | None, said: str) -> None:
    """Refusals, ends, silence and dead letters each have their verdict."""
    found = judge_streams(heard, 2, 10)
    assert (found.status, found.kind) == (status, kind)
    assert said in found.text
    assert bool(found.advice) is (status is not Status.OK)


def test_events_from_the_future_are_blamed_on_the_clock() -> None:
    """Where our clock is so far behind that events come from the future, the advice is to set it."""
    heard = Heard({}, letters=Counter({Reason.TIMESTAMP_OUT_OF_RANGE: 3}))
    assert "clock" in judge_streams(heard, 2, 10).advice


def rest(ahead_ms: int, round_trip_ms: int = 20) -> Finding:
    return ok("", facts={"clock_ahead_ms": ahead_ms, "round_trip_ms": round_trip_ms})


def streams(lag_ms: int | None) -> Finding:
    return ok("", facts={"lag_ms": lag_ms})


OFF, YEAR_MS = skipped("off"), 365 * 86_400_000


@pytest.mark.parametrize(
    ("by_rest", "by_events", "status", "said"),
    [
        pytest.param(rest(3), streams(500), Status.OK, "3 ms ahead of the exchange's, give or take 10 ms", id="well"),
        pytest.param(rest(-3), OFF, Status.OK, "3 ms behind", id="behind"),
        pytest.param(rest(1_000), OFF, Status.OK, "1000 ms ahead", id="a-second-is-well"),
        pytest.param(rest(1_001), OFF, Status.WARNING, "1001 ms ahead", id="more-is-a-warning"),
        pytest.param(rest(-90_000), OFF, Status.WARNING, "90.0 s behind", id="seconds"),
        pytest.param(rest(-600_000), OFF, Status.WARNING, "10 min behind", id="ten-minutes"),
        pytest.param(rest(-600_001), OFF, Status.FAILED, "every event becomes a dead letter", id="too-far-behind"),
        pytest.param(rest(600_001), OFF, Status.FAILED, "times in records are wrong", id="too-far-ahead"),
        pytest.param(OFF, streams(80), Status.OK, "80 ms ahead of the exchange's, by the times in its events", id="coarse"),
        pytest.param(OFF, streams(-700_000), Status.FAILED, "every event becomes a dead letter", id="coarse-too-far-behind"),
        pytest.param(OFF, streams(YEAR_MS), Status.WARNING, "365 days old: a recording, or", id="a-recording"),
        pytest.param(OFF, streams(None), Status.SKIPPED, "needs exchange rest or exchange streams", id="no-event"),
        pytest.param(OFF, OFF, Status.SKIPPED, "needs", id="nothing-to-go-by"),
    ],
)
def test_the_clock_is_judged_by_rest_or_coarsely_by_events(
    by_rest: Finding, by_events: Finding, status: Status, said: str
) -> None:
    """A second is worth a warning, ten minutes are too much; old events are no proof of a wrong clock."""
    found = judge_clock(by_rest, by_events)
    assert found.status is status
    assert said in found.text


def listed(**statuses: str) -> dict[str, SymbolInfo]:
    return {symbol: SymbolInfo(symbol, "", "", status) for symbol, status in statuses.items()}


@pytest.mark.parametrize(
    ("infos", "status", "said"),
    [
        pytest.param(listed(BTCUSDT="TRADING", ETHUSDT=""), Status.OK, "all 2", id="all"),
        pytest.param(listed(BTCUSDT="TRADING"), Status.WARNING, "does not know ETHUSDT", id="one-unknown"),
        pytest.param(listed(BTCUSDT="TRADING", ETHUSDT="BREAK"), Status.WARNING, "does not trade ETHUSDT now", id="one-halted"),
        pytest.param(listed(XRPUSDT="TRADING"), Status.FAILED, "knows none of BTCUSDT, ETHUSDT", id="none"),
    ],
)
def test_symbols_are_judged_as_the_client_would(infos: dict[str, SymbolInfo], status: Status, said: str) -> None:
    """The client streams what exists: only where nothing does is it a failure."""
    found = judge_symbols(SYMBOLS, infos)
    assert found.status is status
    assert said in found.text


async def test_without_rest_the_checks_say_that_it_is_off() -> None:
    """A foreign --ws-url without --rest-url has no REST, which is no failure."""
    assert (await check_rest(context("--ws-url", "ws://127.0.0.1:1"), NONE)).status is Status.SKIPPED


@pytest.mark.parametrize(
    ("venue", "path"), [pytest.param("spot", "/api/v3/time", id="spot"), pytest.param("usdm", "/fapi/v1/time", id="usdm")]
)
async def test_the_exchange_is_asked_for_its_time(venue: str, path: str) -> None:
    """Each market has its path, and what is no time is an error."""
    targets: list[str] = []
    bodies = [b'{"serverTime": 1700000000123}', b'{"serverTime": "soon"}', b"<html>", b"\xff"]

    async def answer(peer: Peer) -> None:
        await peer.read_request()
        targets.append(peer.request.decode().split(" ")[1])
        await peer.answer("200 OK", body=bodies[len(targets) - 1])

    async with listening(answer) as port, RestClient(f"http://127.0.0.1:{port}", venue) as client:
        assert await client.server_time_ms() == 1_700_000_000_123
        for _ in bodies[1:]:
            with pytest.raises(RestError) as failure:
                await client.server_time_ms()
            assert failure.value.kind is RestFailure.PROTOCOL
    assert targets == [path] * len(bodies)
