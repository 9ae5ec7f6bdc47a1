"""The way to a server, on real sockets: every way in which it can be barred has a text and an advice of its own."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from k2.doctor.findings import Finding, Kind, Status
from k2.doctor.reaching import EXPIRES_SOON_DAYS, connect, connect_any, resolve, shake_hands, validity
from k2.doctor.troubles import Peer, refusal, trouble, trouble_behind
from k2.ingestion.adapters.feed.port import ConnectFailedError, ConnectFailure
from k2.ingestion.adapters.rest import RestError, RestFailure
from unit.feed.servers import Handler, listening
from unit.feed.servers import Peer as Visitor

TIMEOUT_S = 5.0
SHORT_S = 0.3
AUTHORITY, STRANGER = trustme.CA(), trustme.CA()
NOW = datetime.now(UTC).replace(tzinfo=None)  # as trustme takes it
HOST = "127.0.0.1"


def peer(port: int, host: str = HOST) -> Peer:
    return Peer(host, port, "--ws-url", "--ws-ca", "a ws:// address")


def served(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


def trusting(*authorities: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for authority in authorities:
        authority.configure_trust(context)
    return context


def expiring(days: int) -> trustme.LeafCert:
    return AUTHORITY.issue_cert(HOST, not_before=NOW - timedelta(days=100), not_after=NOW + timedelta(days=days, hours=1))


def self_signed() -> ssl.SSLContext:
    """An authority's own certificate, served as that of a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with STRANGER.private_key_pem.tempfile() as key, STRANGER.cert_pem.tempfile() as certificate:
        context.load_cert_chain(certificate, key)
    return context


async def stay(visitor: Visitor) -> None:
    await visitor.until_gone()


async def answer_in_plain_text(visitor: Visitor) -> None:
    await visitor.reader.read(1)
    visitor.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def hang_up(visitor: Visitor) -> None:
    await visitor.reader.read(1)


async def reset(visitor: Visitor) -> None:
    await visitor.reader.read(1)
    visitor.reset()


@contextmanager
def deaf() -> Iterator[int]:
    """A port whose connections nobody ever takes."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(8)
        yield listener.getsockname()[1]


CERTIFICATES = [
    pytest.param(lambda: served(expiring(-1)), "has expired", "timedatectl", id="expired"),
    pytest.param(
        lambda: served(AUTHORITY.issue_cert(HOST, not_before=NOW + timedelta(days=2), not_after=NOW + timedelta(days=9))),
        "is not valid yet", "clock", id="not-valid-yet",
    ),
    pytest.param(lambda: served(AUTHORITY.issue_cert("10.9.8.7")), "is for another address", "issued", id="another-address"),
    pytest.param(lambda: served(AUTHORITY.issue_cert("x.example")), "is for another", "issued", id="another-name"),
    pytest.param(lambda: served(STRANGER.issue_cert(HOST)), "not trusted here", "--ws-ca", id="unknown-authority"),
    pytest.param(self_signed, "is self-signed", "--ws-ca", id="self-signed"),
]  # fmt: skip


@pytest.mark.parametrize(("server", "text", "advice"), CERTIFICATES)
async def test_a_bad_certificate_is_told_by_its_fault(server: Callable[[], ssl.SSLContext], text: str, advice: str) -> None:
    """Each fault of a certificate is named, with the address and with what to do about just that fault."""
    async with listening(stay, tls=server()) as port:
        found = await shake_hands(peer(port), trusting(AUTHORITY), TIMEOUT_S)
    assert found.kind is Kind.CONFIGURATION
    assert f"{HOST}:{port} " in found.text
    assert text in found.text
    assert advice in found.advice


@pytest.mark.parametrize(
    ("handler", "text", "kind"),
    [
        pytest.param(answer_in_plain_text, "does not speak TLS", Kind.CONFIGURATION, id="speaks-plain-text"),
        pytest.param(hang_up, "breaks the TLS handshake off", Kind.CONFIGURATION, id="hangs-up"),
        pytest.param(reset, "breaks the TLS handshake off", Kind.CONFIGURATION, id="resets"),
        pytest.param(stay, "does not answer the TLS handshake", Kind.UNAVAILABLE, id="reads-and-is-silent"),
    ],
)
async def test_a_port_without_tls_is_told(handler: Handler, text: str, kind: Kind) -> None:
    """Whatever a plain-text server makes of our greeting, the advice is another port or an address without TLS."""
    async with listening(handler) as port:
        found = await shake_hands(peer(port), trusting(AUTHORITY), TIMEOUT_S if kind is Kind.CONFIGURATION else SHORT_S)
    assert (found.kind, found.text) == (kind, f"{HOST}:{port} {text}")
    assert "take a ws:// address" in found.advice


async def test_a_good_certificate_tells_how_long_it_lasts() -> None:
    """A trusted certificate tells its issuer and its days; one that ends soon is a warning before it is a failure."""
    for days, status in ((EXPIRES_SOON_DAYS + 1, Status.OK), (EXPIRES_SOON_DAYS - 1, Status.WARNING)):
        async with listening(stay, tls=served(expiring(days))) as port:
            found = await shake_hands(peer(port), trusting(AUTHORITY), TIMEOUT_S)
        assert (found.status, found.facts["days"]) == (status, days)
        assert "trustme" in found.facts["issuer"]


@pytest.mark.parametrize(
    ("left_days", "status"), [(0.5, Status.WARNING), (13.9, Status.WARNING), (14.0, Status.OK), (400.0, Status.OK)]
)
def test_under_two_weeks_are_soon(left_days: float, status: Status) -> None:
    """The border of the warning is 14 days."""
    ends_at = 2_000_000_000
    ends = "May 18 03:33:20 2033 GMT"
    assert ssl.cert_time_to_seconds(ends) == ends_at
    assert validity({"notAfter": ends}, peer(1), ends_at - left_days * 86_400).status is status


async def test_a_name_leads_to_addresses_or_is_wrong() -> None:
    """A name that does not exist is to be corrected, and the advice holds the command that looks it up."""
    well = await resolve(peer(443, "localhost"), TIMEOUT_S)
    assert (well.status, well.text) == (Status.OK, f"localhost is {', '.join(well.facts['addresses'])}")
    missing = await resolve(peer(443, "nowhere.invalid"), TIMEOUT_S)
    assert missing.status is Status.FAILED
    assert "nowhere.invalid" in missing.text
    assert missing.command == "getent hosts nowhere.invalid"
    impossible = await resolve(peer(443, "x" * 70 + ".invalid"), TIMEOUT_S)
    assert impossible.kind is Kind.CONFIGURATION


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Kind.CONFIGURATION, id="no-such-name"),
        pytest.param(socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), Kind.UNAVAILABLE, id="no-resolver"),
    ],
)
def test_a_wrong_name_is_no_resolver_that_is_away(error: socket.gaierror, kind: Kind) -> None:
    """The one is to be corrected, the other may be waited for."""
    assert trouble(error, peer(1)).kind is kind


async def test_a_port_takes_connections_or_not() -> None:
    """A closed port and one whose connections nobody takes are told apart from an open one; all name the address."""
    async with listening(stay) as port:
        assert (await connect(peer(port), TIMEOUT_S)).status is Status.OK
    closed = await connect(peer(port), TIMEOUT_S)
    assert (closed.kind, closed.text) == (Kind.UNAVAILABLE, f"nobody listens at {HOST}:{port}")
    with deaf() as silent:
        found = await shake_hands(peer(silent), trusting(), SHORT_S)
    assert found.kind is Kind.UNAVAILABLE


async def test_one_address_of_a_cluster_is_enough() -> None:
    """Addresses that do not answer are a warning as long as one does, and a failure when none does."""
    async with listening(stay) as port, listening(stay) as another:
        assert (await connect_any([peer(port), peer(another)], TIMEOUT_S)).status is Status.OK
        some = await connect_any([peer(1), peer(port)], TIMEOUT_S)
        assert (some.status, some.text) == (Status.WARNING, f"1 of 2 do not answer: nobody listens at {HOST}:1")
    assert (await connect_any([peer(1), peer(2)], TIMEOUT_S)).status is Status.FAILED


def test_an_ipv6_address_is_written_in_brackets() -> None:
    """Where a port follows, an address of colons needs them."""
    assert peer(9092, "::1").address == "[::1]:9092"


STATUSES = [
    pytest.param(403, "spot", "firewall", "proxy", Kind.CONFIGURATION, id="403"),
    pytest.param(418, "spot", "banned for a while, for 30 s more", "every client", Kind.UNAVAILABLE, id="418"),
    pytest.param(429, "spot", "too many requests from this address, for 30 s more", "wait", Kind.UNAVAILABLE, id="429"),
    pytest.param(
        451, "spot", "restricted location", "--ws-url wss://data-stream.binance.vision", Kind.CONFIGURATION, id="451-spot"
    ),
    pytest.param(451, "usdm", "restricted location", "futures have no market-data-only host", Kind.CONFIGURATION, id="451-usdm"),
    pytest.param(503, "spot", "HTTP 503", "status", Kind.UNAVAILABLE, id="503"),
    pytest.param(522, "spot", "HTTP 522", "status", Kind.UNAVAILABLE, id="status-unknown-to-python"),
    pytest.param(404, "spot", "no such endpoint", "check --rest-url", Kind.CONFIGURATION, id="404"),
    pytest.param(302, "spot", "HTTP 302", "portal", Kind.CONFIGURATION, id="portal"),
    pytest.param(407, "spot", "log-in", "--proxy", Kind.CONFIGURATION, id="proxy"),
]


@pytest.mark.parametrize(("status", "market", "text", "advice", "kind"), STATUSES)
def test_every_refusal_says_what_it_means(status: int, market: str, text: str, advice: str, kind: Kind) -> None:
    """A status of the exchange is told in words, with the exchange's own, how long it lasts, and what to do."""
    found = refusal(status, 30.0, '{"code":-1003,"msg":"its own words"}', market=market, option="--rest-url")
    assert found.kind is kind
    assert text in found.text
    assert "(its own words)" in found.text
    assert advice in found.advice
    assert found.facts == {"http_status": status, "retry_after_s": 30.0}


def test_a_refusal_may_come_without_words() -> None:
    """No Retry-After and no body, or a page in its place, are told as they are."""
    assert "more" not in refusal(429, None, "", market="spot", option="").text
    assert "(<html>" in refusal(429, None, "<html>", market="spot", option="").text


def wrapped(error: Exception, *, named: bool) -> Exception:
    """The error inside another one, as its cause or only as its context."""
    outer = RuntimeError("outer")
    outer.__cause__, outer.__context__ = (error if named else None), error
    return outer


@pytest.mark.parametrize("named", [True, False])
def test_the_way_is_judged_by_the_innermost_error(named: bool) -> None:
    """Libraries wrap what the system says, some without naming it as the cause: it is found all the same."""
    found = trouble_behind(wrapped(ConnectionRefusedError(111, "refused"), named=named), peer(7))
    assert found is not None
    assert found.text == f"nobody listens at {HOST}:7"
    assert trouble_behind(wrapped(ValueError("no system error"), named=named), peer(7)) is None


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        pytest.param(ConnectFailedError(ConnectFailure.TIMEOUT, "x"), Kind.UNAVAILABLE, "no answer", id="feed-timeout"),
        pytest.param(ConnectFailedError(ConnectFailure.RESET, "x"), Kind.UNAVAILABLE, "broke the connection", id="feed-reset"),
        pytest.param(ConnectFailedError(ConnectFailure.PROTOCOL, "x"), Kind.CONFIGURATION, "as expected: x", id="feed-protocol"),
        pytest.param(ConnectFailedError(ConnectFailure.TLS, "x"), Kind.CONFIGURATION, "no TLS", id="feed-tls"),
        pytest.param(RestError(RestFailure.REFUSED, "x"), Kind.UNAVAILABLE, "nobody listens", id="rest-refused"),
        pytest.param(RestError(RestFailure.TOO_LARGE, "x"), Kind.CONFIGURATION, "as expected: x", id="rest-too-large"),
    ],
)
def test_errors_of_the_adapters_keep_their_kind(error: Exception, kind: Kind, text: str) -> None:
    """What feed and REST client have found out is not guessed anew."""
    found: Finding = trouble(error, peer(7))
    assert found.kind is kind
    assert text in found.text
    assert found.advice


async def test_nothing_is_left_open() -> None:
    """A connection that was opened to look is closed when the look is over."""
    gone = asyncio.Event()

    async def handler(visitor: Visitor) -> None:
        try:
            await visitor.until_gone()
        finally:
            gone.set()

    async with listening(handler, tls=served(expiring(100))) as port:
        assert (await shake_hands(peer(port), trusting(AUTHORITY), TIMEOUT_S)).status is Status.OK
        await asyncio.wait_for(gone.wait(), 10)
