"""`k2 top` on a real client, between a simulated exchange and a real Kafka."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from integration.support import SYMBOLS, Rig, RunningClient, RunningExchange, generated, wait_until
from k2.simulator.faults import Garbage
from kit.client import ClientProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

K2_TOP = (sys.executable, "-m", "k2.cli.main", "top")
RATE = 300
CONFIGURATION, UNAVAILABLE, INTERRUPTED = 2, 69, 130


@pytest.fixture
def client(rig: Rig, exchange: RunningExchange) -> RunningClient:
    """A client that streams 300 events a second, and has two dead letters."""
    client = rig.client(exchange.ws_url)
    client.wait_for_produced(RATE)
    exchange.inject(Garbage(names=("not_json", "missing_price")))
    client.wait_for_metric("k2_dead_letters_written_total", 2)
    return client


@pytest.fixture
def top(rig: Rig) -> Iterator[Callable[..., ClientProcess]]:
    """Starts the tool; all of them end with the test."""
    started: list[ClientProcess] = []

    def start(*words: object, **options: Any) -> ClientProcess:
        started.append(ClientProcess(*words, cwd=rig.directory, command=K2_TOP, **options))
        return started[-1]

    yield start
    for process in started:
        process.close()


def test_one_moment_of_a_running_client(client: RunningClient, top: Callable[..., ClientProcess]) -> None:
    """The answer is the client's own, the rates are those of the market, and both ledgers balance."""
    process = top(f"http://127.0.0.1:{client.port}", "--once", "--json")
    assert process.wait() == 0, process.output
    [line] = process.stdout.splitlines()
    seen = json.loads(line)
    health = seen["health"]
    assert list(health)[:5] == ["status", "connection_state", "symbols", "uptime_seconds", "messages_received"]
    assert (seen["http_status"], health["connection_state"], health["balance"]["balanced"]) == (200, "CONNECTED", True)
    assert RATE / 2 < seen["events_per_s"] < RATE * 2
    assert set(seen["streams_per_s"]) == {f"{symbol.lower()}@aggTrade" for symbol in SYMBOLS}
    assert health["dead_letters"]["by_reason"] == {"decode/not_json": 1, "decode/missing_field": 1}


def test_it_finds_the_client_by_its_variables(client: RunningClient, top: Callable[..., ClientProcess]) -> None:
    """Started with the client's own environment, it needs no address; a pipe gets lines."""
    process = top("--once", environment={"K2_HTTP_PORT": str(client.port)})
    assert process.wait() == 0, process.output
    [line] = process.stdout.splitlines()
    assert " healthy CONNECTED | " in line
    assert " published + 2 dead + 0 ignored | " in line


def test_a_client_that_ends_is_waited_for(rig: Rig, client: RunningClient, top: Callable[..., ClientProcess]) -> None:
    """Its end is told once, and so is the answer of the one that takes its place."""
    url = f"http://127.0.0.1:{client.port}"
    process = top(url, "--interval", 0.2)
    wait_until(lambda: " received " in process.stdout, "a line")
    client.stopped()
    process.wait_for_output(f"k2 top: waiting for {url}: Connection refused")
    rig.client(rig.exchange(generated(RATE)).ws_url, "--http-port", client.port)
    process.wait_for_output(f"k2 top: {url} is back", timeout=60)
    process.interrupt()
    assert process.wait() == INTERRUPTED
    assert process.stderr.splitlines() == [f"k2 top: waiting for {url}: Connection refused", f"k2 top: {url} is back"]


def test_a_broker_is_no_client(rig: Rig, top: Callable[..., ClientProcess]) -> None:
    """Whatever answers at a wrong address, there is one line: the registry says 404, a broker hangs up."""
    registry = top(rig.registry_url, "--once")
    assert registry.wait() == CONFIGURATION
    [line] = registry.stderr.splitlines()
    assert line.startswith(f"k2 top: {rig.registry_url} is no client of k2: HTTP 404")
    broker = top(f"http://{rig.bootstrap}", "--once")
    assert broker.wait() == UNAVAILABLE
    [line] = broker.stderr.splitlines()
    assert line.startswith(f"k2 top: http://{rig.bootstrap} does not answer: ")
