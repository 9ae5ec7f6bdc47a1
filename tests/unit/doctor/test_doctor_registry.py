"""The registry's side against the embedded registry, and against what only stands in a registry's place."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from k2.doctor.checks import Context, Findings
from k2.doctor.findings import Finding, Kind, Status, ok
from k2.doctor.registry import SUBJECT, check_level, check_registry, check_subject, judge_level
from k2.ingestion.adapters.registry import SchemaRegistry
from k2.ingestion.adapters.registry_access import RegistryAccess, ResolvedSchema, SchemaPins
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.adapters.state import StateDirectory
from k2.ingestion.core.health import SchemaSource
from k2.ingestion.core.schemas import parse_schema
from k2.simulator.registry import EmbeddedRegistry
from unit.doctor.contexts import context
from unit.feed.servers import Peer, listening

NONE: Findings = {}
TOPIC_SUBJECT = "market.crypto.trades.binance-value"
TRADE = load_schema("trade_v2")
OLD_TEXT = '{"type": "record", "name": "TradeV2", "namespace": "com.k2.marketdata", "fields": [{"name": "price", "type": "int"}]}'
OLD = parse_schema("trade_v1", OLD_TEXT)


@pytest.fixture
async def embedded() -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry() as registry:
        yield registry


def looking_at(url: str, *flags: object, timeout_s: float = 5.0) -> Context:
    return context("--schema-registry", url, *flags, timeout_s=timeout_s)


async def register(url: str, schema: object = TRADE) -> None:
    def resolve() -> None:
        with SchemaRegistry(RegistryAccess(url)) as registry:
            registry.resolve(TOPIC_SUBJECT, schema, register=True)  # type: ignore[arg-type]

    await asyncio.to_thread(resolve)


async def found_of(seen: Context) -> dict[str, Finding]:
    subject = await check_subject(seen, NONE)
    return {"registry": await check_registry(seen, NONE), SUBJECT: subject, "level": await check_level(seen, {SUBJECT: subject})}


async def test_a_new_registry_is_well_and_stays_new(embedded: EmbeddedRegistry) -> None:
    """Before the first start all is well and says what the client will do; nothing is registered or set by looking."""
    found = await found_of(looking_at(embedded.url))
    assert {finding.status for finding in found.values()} == {Status.OK}
    assert "registers it at its start" in found[SUBJECT].text
    assert {request.split()[0] for request in embedded.requests} <= {"GET", "POST"}
    assert not [
        request for request in embedded.requests if request.endswith("/versions") and request.startswith("POST /subjects")
    ]
    assert embedded.levels == {}


async def test_a_registered_schema_is_named_with_its_id(embedded: EmbeddedRegistry) -> None:
    """After the start the subject, the schema's id and the level are told."""
    await register(embedded.url)
    found = await found_of(looking_at(embedded.url))
    assert found[SUBJECT].text == f"{TOPIC_SUBJECT} holds trade_v2 with id 1"
    assert found["level"].text == f"BACKWARD for {TOPIC_SUBJECT}"


async def test_a_schema_that_only_the_client_would_register_is_missing(embedded: EmbeddedRegistry) -> None:
    """With --no-register somebody has to register it: the command is told."""
    found = await check_subject(looking_at(embedded.url, "--no-register"), NONE)
    assert found.kind is Kind.CONFIGURATION
    assert found.command == f"k2 schemas register --schema trade_v2 --subject {TOPIC_SUBJECT} --schema-registry {embedded.url}"


async def test_an_incompatible_subject_tells_the_difference(embedded: EmbeddedRegistry) -> None:
    """Where ours may not follow what the subject holds, the fields that break are named."""
    await register(embedded.url, OLD)
    found = await check_subject(looking_at(embedded.url), NONE)
    assert found.kind is Kind.CONFIGURATION
    assert "price" in found.text
    assert "--topic-prefix" in found.advice


@pytest.mark.parametrize(
    ("level", "will_be_set", "status"),
    [
        pytest.param("BACKWARD", False, Status.OK, id="backward"),
        pytest.param("FULL_TRANSITIVE", False, Status.OK, id="stronger"),
        pytest.param("NONE", True, Status.OK, id="weak-before-the-first-start"),
        pytest.param("NONE", False, Status.FAILED, id="weak"),
        pytest.param("FORWARD", False, Status.FAILED, id="another-direction"),
        pytest.param(None, False, Status.FAILED, id="unknown"),
    ],
)
def test_a_level_that_breaks_readers_is_a_failure(level: str | None, will_be_set: bool, status: Status) -> None:
    """BACKWARD at least, unless the client is about to set it."""
    found = judge_level(level, "curl ...", "s", will_be_set=will_be_set)
    assert found.status is status
    assert found.command == ("curl ..." if status is Status.FAILED else "")


async def typed(command: str) -> None:
    """Send what curl would send."""
    curl, *options, url = shlex.split(command)
    given = dict(zip(options[::2], options[1::2], strict=True))
    name, _, value = given["-H"].partition(": ")
    assert (curl, name) == ("curl", "Content-Type")
    async with ClientSession() as http, http.request(given["-X"], url, data=given["-d"], headers={name: value}) as answer:
        assert answer.status == 200


async def test_the_command_for_the_level_works(embedded: EmbeddedRegistry) -> None:
    """What the advice tells to type sets the level of just this subject."""
    await register(embedded.url)
    embedded.levels[TOPIC_SUBJECT] = "NONE"
    seen = looking_at(embedded.url)
    subject = await check_subject(seen, NONE)
    weak = await check_level(seen, {SUBJECT: subject})
    assert weak.kind is Kind.CONFIGURATION
    await typed(weak.command)
    assert (await check_level(seen, {SUBJECT: subject})).status is Status.OK


ANSWERS = [
    pytest.param(
        "404 Not Found", b"<html>no</html>", Kind.CONFIGURATION, "does not answer as a schema registry", "path", id="path"
    ),
    pytest.param("401 Unauthorized", b"{}", Kind.CONFIGURATION, "other credentials", "K2_SCHEMA_REGISTRY_PASSWORD", id="401"),
    pytest.param("403 Forbidden", b"{}", Kind.CONFIGURATION, "does not allow", "K2_SCHEMA_REGISTRY_USER", id="403"),
    pytest.param("200 OK", b"<html>portal</html>", Kind.CONFIGURATION, "does not answer as a", "--schema-registry", id="html"),
    pytest.param("503 Service Unavailable", b"", Kind.UNAVAILABLE, "cannot serve now", "log", id="503"),
]


@pytest.mark.parametrize(("status", "body", "kind", "text", "advice"), ANSWERS)
async def test_what_is_no_registry_is_told(status: str, body: bytes, kind: Kind, text: str, advice: str) -> None:
    """Wrong paths, log-ins, pages and troubles each have their text and their advice."""

    async def answer(peer: Peer) -> None:
        await peer.refuse(status, body=body)

    async with listening(answer) as port:
        found = await check_registry(looking_at(f"http://127.0.0.1:{port}"), NONE)
    assert found.kind is kind
    assert text in found.text
    assert advice in found.advice


async def be_silent(peer: Peer) -> None:
    await peer.until_gone()


async def answer_in_plain_text(peer: Peer) -> None:
    await peer.reader.read(1)
    peer.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def trickle(peer: Peer) -> None:
    """A byte now and then: each wait is short, and the answer never ends."""
    await peer.read_request()
    peer.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        peer.writer.write(b" ")
        await peer.writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("handler", [be_silent, trickle])
async def test_a_registry_that_does_not_answer_is_bounded(handler: object) -> None:
    """Silence, and an answer that never ends, are over within the time."""
    async with listening(handler) as port, asyncio.timeout(30):  # type: ignore[arg-type]
        found = await check_registry(looking_at(f"http://127.0.0.1:{port}", timeout_s=0.4), NONE)
    assert (found.kind, found.text) == (Kind.UNAVAILABLE, f"no answer from 127.0.0.1:{port} in time")


async def test_the_way_there_is_told_as_for_every_peer() -> None:
    """Names, ports and TLS have the texts that the exchange's have, with the registry's options."""
    missing = await check_registry(looking_at("http://nowhere.invalid:8081"), NONE)
    assert (missing.kind, missing.text) == (Kind.CONFIGURATION, "there is no host nowhere.invalid")
    closed = await check_registry(looking_at("http://127.0.0.1:1"), NONE)
    assert closed.text == "nobody listens at 127.0.0.1:1"
    assert "--schema-registry" in closed.advice
    async with listening(answer_in_plain_text) as port:
        plain = await check_registry(looking_at(f"https://127.0.0.1:{port}"), NONE)
    assert plain.text == f"127.0.0.1:{port} does not speak TLS"


async def test_a_registry_that_is_away_tells_what_a_start_would_do(tmp_path: Path) -> None:
    """Whether a start could take the id from the disk is what an operator wants to know then."""
    url = "http://127.0.0.1:1"
    with StateDirectory(tmp_path) as state:
        seen = looking_at(url, "--state-dir", tmp_path)
        assert "no id on disk" in (await check_registry(seen, NONE)).advice
        SchemaPins(state).save(url, TRADE.fingerprint, ResolvedSchema(TOPIC_SUBJECT, 42, 1, SchemaSource.REGISTRY))
        assert "takes id 42" in (await check_registry(seen, NONE)).advice


async def test_findings_are_fit_for_json(embedded: EmbeddedRegistry) -> None:
    """Facts are what JSON can express."""
    await register(embedded.url)
    for finding in (await found_of(looking_at(embedded.url))).values():
        json.dumps(dict(finding.facts))
    assert ok("x").facts == {}
