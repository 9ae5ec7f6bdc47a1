"""Whatever a schema registry, or what stands in its place, answers at the start: one line, soon, and no frame is read."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from faults.peers import (
    HTML,
    answers,
    by_target,
    drips_its_body,
    drips_its_head,
    never_answers,
    never_stops,
    refuses,
)
from k2.ingestion.adapters.registry_access import ResolvedSchema, SchemaPins, subject_of
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.adapters.state import StateDirectory
from k2.ingestion.core.health import SchemaSource
from kit.client import ClientProcess
from kit.ports import free_port
from kit.verify import read_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults.peers import Servers
    from integration.support import Rig, RunningExchange
    from kit.mock_kafka import MockKafka
    from unit.feed.servers import Handler

CONFIGURATION, UNAVAILABLE = 2, 69
STARTUP_TIMEOUT_S = 2
AT_ONCE = 4  # clients that start side by side: most of their time they wait
PREFIX = "registry.answers"
SUBJECT = subject_of(f"{PREFIX}.binance")
PINNED_ID = 4_711


@dataclass(frozen=True)
class Case:
    """How a registry answers, the exit code, and what the line on stderr must say. No handler: nobody listens."""

    exit_code: int
    says: str
    handler: Handler | None = None
    flags: tuple[str, ...] = ()


LEVEL_IS_FINE = {"GET /config": answers("200 OK", b'{"compatibilityLevel": "FULL"}')}
ABSENT = refuses("404 Not Found", 40403, "Schema not found")
CASES = {
    "nobody-listens": Case(UNAVAILABLE, "gives no answer"),
    "never-answers": Case(UNAVAILABLE, "no complete answer within", never_answers),
    "body-by-drops": Case(UNAVAILABLE, "no complete answer within", drips_its_body),
    "head-by-drops": Case(UNAVAILABLE, "no complete answer within", drips_its_head),
    "body-without-end": Case(CONFIGURATION, "an answer of more than 16 MiB", never_stops),
    "401": Case(CONFIGURATION, "K2_SCHEMA_REGISTRY_PASSWORD", refuses("401 Unauthorized", 40101, "Unauthorized")),
    "403": Case(CONFIGURATION, "does not allow this", refuses("403 Forbidden", 40301, "Forbidden")),
    "404-no-registry": Case(CONFIGURATION, "path included", answers("404 Not Found", HTML)),
    "404-and-not-to-register": Case(CONFIGURATION, "k2 schemas register --schema trade_v2", ABSENT, ("--no-register",)),
    "409": Case(
        CONFIGURATION,
        "Keep the schema compatible",
        by_target({**LEVEL_IS_FINE, f"POST /subjects/{SUBJECT}/versions": refuses("409 Conflict", 409, "clash")}, ABSENT),
    ),
    "422": Case(CONFIGURATION, "Invalid schema", refuses("422 Unprocessable Entity", 42201, "Invalid schema")),
    "429": Case(UNAVAILABLE, "Too many", refuses("429 Too Many Requests", 42900, "Too many")),
    "500": Case(UNAVAILABLE, "backend data store", refuses("500 Internal Server Error", 50001, "backend data store")),
    "503": Case(UNAVAILABLE, "HTTP 503", answers("503 Service Unavailable")),
    "502-html": Case(UNAVAILABLE, "HTTP 502", answers("502 Bad Gateway", HTML)),
    "200-html": Case(CONFIGURATION, "does not answer as a schema registry", answers("200 OK", HTML)),
    "200-empty": Case(CONFIGURATION, "does not answer as a schema registry", answers("200 OK")),
    "torn-json": Case(CONFIGURATION, "does not answer as a schema registry", answers("200 OK", b'{"id": ')),
    "bottomless-json": Case(CONFIGURATION, "does not answer as a schema registry", answers("200 OK", b"[" * 100_000)),
    "id-as-text": Case(CONFIGURATION, "schema id 'seven'", answers("200 OK", b'{"id": "seven", "version": 1}')),
    "id-as-boolean": Case(CONFIGURATION, "schema id True", answers("200 OK", b'{"id": true, "version": 1}')),
    "id-out-of-range": Case(CONFIGURATION, "schema id 4294967296", answers("200 OK", b'{"id": 4294967296, "version": 1}')),
}


class Ended:
    """A client that has ended by itself, and the registry's address that it was given."""

    def __init__(self, client: ClientProcess, url: str) -> None:
        self.exit_code, self.url = client.wait(60), url
        self.stderr, self.output = client.stderr, client.output


@pytest.fixture(scope="module")
def ended(
    servers: Servers, mock_broker: MockKafka, calm_exchange: RunningExchange, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Ended]]]:
    """The end of every case's client."""
    mock_broker.create_topic(f"{PREFIX}.binance")

    def run(case: Case) -> Ended:
        url = f"http://127.0.0.1:{servers.serve(case.handler) if case.handler else free_port()}"
        flags = ["--ws-url", calm_exchange.ws_url, "--kafka-bootstrap", mock_broker.bootstrap, "--topic-prefix", PREFIX]
        flags += ["--schema-registry", url, "--startup-timeout", str(STARTUP_TIMEOUT_S), "--http-port", "0"]
        with ClientProcess(*flags, *case.flags, cwd=tmp_path_factory.mktemp("home")) as client:
            return Ended(client, url)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(run, case) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_an_answer_that_is_no_help_ends_the_start(ended: dict[str, Future[Ended]], name: str) -> None:
    """
    One line on stderr says what is wrong with which address and ends with the exit code that belongs to it, and soon.

    What waiting may cure is waited for until the start-up timeout; anything else ends the start at once.
    """
    end, case = ended[name].result(), CASES[name]
    assert end.exit_code == case.exit_code, end.output
    [line] = end.stderr.splitlines()
    assert line.startswith("binance_client: ")
    assert case.says in line
    assert end.url in line or SUBJECT in line
    assert line.isprintable()
    assert "Traceback" not in end.output
    assert ("gave up after 2 s" in line) == (case.exit_code == UNAVAILABLE)


def test_nothing_is_read_before_the_id_is_known(ended: dict[str, Future[Ended]], calm_exchange: RunningExchange) -> None:
    """Whatever the registry answered, none of the clients so much as connected to the exchange."""
    for future in ended.values():
        future.result()
    assert calm_exchange.handshake_times_s == []


class TestPinned:
    """The registry gave an id at an earlier start, and now it does not answer."""

    @pytest.mark.parametrize("name", ["nobody-listens", "never-answers", "503", "502-html"])
    def test_the_id_on_the_disk_serves(self, light_rig: Rig, servers: Servers, calm_exchange: RunningExchange, name: str) -> None:
        """The client comes up with it, and says so in log, metric and health; the records carry that id."""
        handler = CASES[name].handler
        light_rig.registry_url = f"http://127.0.0.1:{servers.serve(handler) if handler else free_port()}"
        pin(light_rig)
        client = light_rig.client(calm_exchange.ws_url, "--startup-timeout", STARTUP_TIMEOUT_S)
        metrics = client.wait_for_produced(1)
        assert metrics("k2_schema_pinned") == 1
        assert CASES[name].says in client.wait_for_event("Schema registry")["detail"]
        assert client.wait_for_event("Schema resolved")["source"] == "pinned"
        status, health = client.get_json("/health")
        assert (status, health["status"], health["schema_source"]) == (200, "degraded", "pinned")
        assert client.stopped()["balanced"]
        framing = {
            record.payload[:5] for record in read_topic(light_rig.bootstrap, "", light_rig.topic, raw=True) if record.payload
        }
        assert framing == {b"\0" + PINNED_ID.to_bytes(4, "big")}

    @pytest.mark.parametrize("name", ["401", "200-html"])
    def test_a_refusal_is_no_absence(self, light_rig: Rig, servers: Servers, calm_exchange: RunningExchange, name: str) -> None:
        """A registry that answers and refuses, or is none, is a fault of the configuration, pinned id or not."""
        handler = CASES[name].handler
        assert handler is not None
        light_rig.registry_url = f"http://127.0.0.1:{servers.serve(handler)}"
        pin(light_rig)
        client = light_rig.client(calm_exchange.ws_url, "--startup-timeout", STARTUP_TIMEOUT_S)
        assert client.wait(30) == CONFIGURATION
        assert CASES[name].says in client.stderr


def pin(rig: Rig) -> None:
    """Leave behind what an earlier start did, in the state directory of the client to come."""
    resolved = ResolvedSchema(subject_of(rig.topic), PINNED_ID, 1, SchemaSource.REGISTRY)
    with StateDirectory(rig.directory / "home" / ".local" / "state" / "k2") as state:
        SchemaPins(state).save(rig.registry_url, load_schema("trade_v2").fingerprint, resolved)
