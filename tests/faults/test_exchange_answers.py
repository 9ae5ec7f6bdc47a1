"""Whatever the exchange answers, on REST at the start and at the handshake, instead of serving us: told, paced, lived through."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from faults.peers import (
    HTML,
    Switch,
    accepts_and_drops,
    answers,
    hangs_up,
    never_answers,
    passes_on_to,
    talks_nonsense,
)
from integration.support import wait_until
from kit.verify import read_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults.peers import Servers
    from integration.support import Rig, RunningClient, RunningExchange
    from unit.feed.servers import Handler

AT_ONCE = 4  # clients side by side: most of their time they wait
TOO_MANY = b'{"code":-1003,"msg":"Too many requests; current limit is 6000 request weight per 1 MINUTE."}'
RESTRICTED = b'{"code":0,"msg":"Service unavailable from a restricted location"}'
RETRY_AFTER_S = 1
KINDS = "k2_connection_errors_by_kind_total"
REFUSED = "Connection refused by the exchange"
FAILED = "Connection failed"
TRANSPORTS = ("picows", "websockets")
QUICK = ("--reconnect-delay-min", 0.2, "--reconnect-delay-max", 0.4, "--connect-timeout", 1)


@pytest.fixture(scope="module")
def restricting() -> Switch:
    return Switch(answers("451 Unavailable For Legal Reasons", RESTRICTED, "Retry-After: 1"))


@pytest.fixture(scope="module")
def restricted(shared_rig: Rig, servers: Servers, restricting: Switch) -> RunningClient:
    """Started with the first test and looked at again by the last one, half a minute later."""
    return shared_rig.client(f"ws://127.0.0.1:{servers.serve(restricting)}", *QUICK, home="restricted")


def test_a_restricted_location_is_named_with_the_way_out(restricted: RunningClient) -> None:
    """HTTP 451 is told as what it is, with the host that serves market data everywhere."""
    told = restricted.wait_for_event(f"{REFUSED}: restricted location (451)")
    assert (told["level"], told["status"]) == ("error", 451)
    assert "--ws-url wss://data-stream.binance.vision" in told["detail"]
    restricted.wait_for_metric(KINDS, 1, kind="http_451")
    status, health = restricted.get_json("/health")
    assert (status, health["status"]) == (200, "degraded")


@dataclass(frozen=True)
class OnRest:
    """How REST answers, and what the log must say of it."""

    says: str
    handler: Handler


REST = {
    "never-answers": OnRest("timeout: ", never_answers),  # first, because it takes ten seconds
    "403": OnRest("forbidden (HTTP 403)", answers("403 Forbidden", HTML)),
    "418": OnRest("banned (HTTP 418)", answers("418 I'm a teapot", TOO_MANY, "Retry-After: 120")),
    "429": OnRest("throttled (HTTP 429)", answers("429 Too Many Requests", TOO_MANY, "Retry-After: 60")),
    "451": OnRest("restricted (HTTP 451)", answers("451 Unavailable For Legal Reasons", RESTRICTED)),
    "500": OnRest("server_error (HTTP 500)", answers("500 Internal Server Error")),
    "503": OnRest("server_error (HTTP 503)", answers("503 Service Unavailable", HTML)),
    "web-page": OnRest("no list of symbols", answers("200 OK", HTML)),
}


@pytest.fixture(scope="module")
def streamed(shared_rig: Rig, servers: Servers, calm_exchange: RunningExchange) -> Iterator[dict[str, Future[RunningClient]]]:
    """Clients that have streamed, and were told to stop, by how REST had answered."""

    def run(name: str) -> RunningClient:
        rest = f"http://127.0.0.1:{servers.serve(REST[name].handler)}"
        client = shared_rig.client(calm_exchange.ws_url, "--rest-url", rest, home=f"rest-{name}")
        client.wait_for_produced(1)
        client.stopped()
        return client

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(run, name) for name in REST}


@pytest.mark.parametrize("name", REST)
def test_the_start_does_without_metadata(streamed: dict[str, Future[RunningClient]], name: str) -> None:
    """The client streams on its built-in tables, and one warning says why; the books balance."""
    client = streamed[name].result()
    [warning] = client.events_named("Symbol metadata could not be read: the copy on disk and the built-in table serve")
    assert warning["level"] == "warning"
    assert REST[name].says in warning["error"]
    assert client.balance_sheet["balanced"]
    assert "Traceback" not in client.output
    assert client.stderr == ""


def test_the_tables_know_the_currencies(shared_rig: Rig, streamed: dict[str, Future[RunningClient]]) -> None:
    """What was streamed without metadata carries the right quote asset."""
    for future in streamed.values():
        future.result()
    records = read_topic(shared_rig.bootstrap, shared_rig.registry_url, shared_rig.topic)
    assert {record.value["currency"] for record in records} == {"USDT"}


@dataclass(frozen=True)
class AtTheHandshake:
    """How the upgrade is answered, by which series that counts, and which log line says so with which words in its detail."""

    handler: Handler
    metric: str
    label: tuple[str, str]
    event: str
    says: str = ""
    pause_s: float = 0.2


HANDSHAKE = {
    "403": AtTheHandshake(answers("403 Forbidden", HTML), KINDS, ("kind", "http_other"), REFUSED, "firewall"),
    "418": AtTheHandshake(
        answers("418 I'm a teapot", TOO_MANY, f"Retry-After: {RETRY_AFTER_S}"),
        KINDS,
        ("kind", "http_418"),
        f"{REFUSED}: this address is banned for ignoring the rate limit (418)",
        "banned for a while",
        RETRY_AFTER_S,
    ),
    "429": AtTheHandshake(
        answers("429 Too Many Requests", TOO_MANY, f"Retry-After: {RETRY_AFTER_S}"),
        KINDS,
        ("kind", "http_429"),
        f"{REFUSED}: rate limit (429)",
        "too many attempts",
        RETRY_AFTER_S,
    ),
    "503": AtTheHandshake(answers("503 Service Unavailable", HTML), KINDS, ("kind", "http_other"), REFUSED, "Please log in"),
    "redirect": AtTheHandshake(answers("302 Found", b"", "Location: /login"), KINDS, ("kind", "http_other"), REFUSED),
    "no-http": AtTheHandshake(talks_nonsense, KINDS, ("kind", "protocol"), FAILED, "HTTP"),
    "hangs-up": AtTheHandshake(hangs_up, KINDS, ("kind", "reset"), FAILED),
    "never-answers": AtTheHandshake(never_answers, KINDS, ("kind", "timeout"), FAILED, "within the time to open"),
    "accepts-and-drops": AtTheHandshake(accepts_and_drops, "k2_disconnections_total", ("cause", "reset"), "Connection closed"),
}


@dataclass(frozen=True)
class LivedThrough:
    """What a client told while it was refused, how long apart its first attempts were, and its end."""

    told: dict[str, Any]
    health: tuple[int, dict[str, Any]]
    ready: tuple[int, dict[str, Any]]
    gaps_s: list[float]
    sheet: dict[str, Any]
    output: str


@pytest.fixture(scope="module")
def lived_through(
    shared_rig: Rig, servers: Servers, calm_exchange: RunningExchange
) -> Iterator[dict[tuple[str, str], Future[LivedThrough]]]:
    """Clients that were refused, then served, and then told to stop."""

    def run(name: str, transport: str) -> LivedThrough:
        case = HANDSHAKE[name]
        switch = Switch(case.handler)
        url = f"ws://127.0.0.1:{servers.serve(switch)}"
        client = shared_rig.client(url, "--transport", transport, *QUICK, home=f"{transport}-{name}")
        client.wait_for_metric(case.metric, 2, **dict([case.label]))  # type: ignore[arg-type]  # a label, no timeout
        told, health, ready = client.wait_for_event(case.event), client.get_json("/health"), client.get_json("/readyz")
        switch.handler = passes_on_to(calm_exchange.port)
        client.wait_for_produced(1)
        gaps_s = [later - earlier for earlier, later in pairwise(switch.connected_at_s)]
        return LivedThrough(told, health, ready, gaps_s, client.stopped(), client.output)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {(name, via): pool.submit(run, name, via) for name in HANDSHAKE for via in TRANSPORTS}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", HANDSHAKE)
def test_a_refusal_is_told_paced_and_lived_through(
    lived_through: dict[tuple[str, str], Future[LivedThrough]], name: str, transport: str
) -> None:
    """
    Each failed attempt counts under its kind and is logged; health is degraded, and readiness waits for the exchange.

    Attempts keep the pause that the settings, or the exchange's Retry-After, ask for. When the refusal ends, streaming
    begins by itself.
    """
    case, lived = HANDSHAKE[name], lived_through[name, transport].result()
    assert case.says in lived.told.get("detail", "")
    assert lived.told["level"] in {"warning", "error"}
    http_status, health = lived.health
    assert (http_status, health["status"], health["connection_state"]) == (200, "degraded", "DISCONNECTED")
    assert lived.ready == (503, {"ready": False, "waiting_for": ["exchange"]})
    assert min(lived.gaps_s) >= case.pause_s
    assert lived.sheet["balanced"]
    assert "Traceback" not in lived.output


def test_a_restricted_location_is_tried_slowly(restricted: RunningClient, restricting: Switch) -> None:
    """Minutes lie between attempts, whatever the answer asks for; health turns bad, and a stop is obeyed at once."""
    assert restricted.wait_for_event(f"{REFUSED}: restricted location (451)")["retry_in_s"] >= 300
    unwell = wait_until(lambda: _unwell(restricted), "bad health", timeout_s=60)
    assert unwell["status"] == "unhealthy"
    assert unwell["reasons"][0].startswith("disconnected from the exchange for ")
    assert len(restricting.connected_at_s) == 1
    asked_s = time.monotonic()
    assert restricted.stopped()["received"] == 0
    assert time.monotonic() - asked_s < 20


def _unwell(client: RunningClient) -> dict[str, Any] | None:
    status, health = client.get_json("/health")
    return health if status == 503 else None
