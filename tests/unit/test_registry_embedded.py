"""The registry in memory: Confluent's own client and serialisers cannot tell it from theirs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import ClientSession
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from k2.ingestion.adapters.schema_files import load_schema
from k2.simulator.registry import EmbeddedRegistry

TRADE = load_schema("trade_v2")
NUMBER = {"type": "record", "name": "N", "namespace": "a.b", "fields": [{"name": "f", "type": "int"}]}
WIDER = {**NUMBER, "fields": [{"name": "f", "type": "long"}]}
OTHER = {**NUMBER, "fields": [{"name": "f", "type": "string"}]}

Ask = Callable[..., Any]


@pytest.fixture
async def embedded() -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry() as registry:
        yield registry


@pytest.fixture
async def ask(embedded: EmbeddedRegistry) -> AsyncIterator[Ask]:
    """Sends one request and returns status and parsed answer."""
    async with ClientSession(embedded.url) as session:

        async def send(method: str, path: str, body: Any = None) -> tuple[int, Any]:
            data = body if isinstance(body, str | None) else json.dumps(body)
            async with session.request(method, path, data=data) as response:
                assert response.content_type == "application/vnd.schemaregistry.v1+json"
                return response.status, json.loads(await response.text())

        yield send


def schema(parsed: Any) -> dict[str, str]:
    return {"schema": json.dumps(parsed)}


async def test_confluents_serialisers_work_with_it(embedded: EmbeddedRegistry) -> None:
    """A record that AvroSerializer wrote against it, a fresh AvroDeserializer reads against it."""
    moment = time.time_ns() // 1_000
    trade = {
        "message_id": "binance.spot.aggTrade.BTCUSDT.7", "trade_id": "BINANCE-7", "symbol": "BTCUSDT", "exchange": "BINANCE",
        "asset_class": "crypto", "timestamp": moment, "price": Decimal("1.5"), "quantity": Decimal(2), "currency": "USDT",
        "side": "BUY", "trade_conditions": [], "source_sequence": 7, "ingestion_timestamp": moment, "platform_sequence": None,
        "vendor_data": {"event_type": "aggTrade"},
    }  # fmt: skip
    context = SerializationContext("trades", MessageField.VALUE)

    def write_and_read() -> Any:
        with SchemaRegistryClient({"url": embedded.url}) as writer, SchemaRegistryClient({"url": embedded.url}) as reader:
            configuration = {"subject.name.strategy": topic_subject_name_strategy}
            value = AvroSerializer(writer, TRADE.text, conf=configuration)(trade, context)
            return AvroDeserializer(reader)(value, context)

    read = await asyncio.to_thread(write_and_read)
    assert (read["message_id"], read["price"], read["vendor_data"]) == (
        trade["message_id"],
        Decimal("1.5"),
        {"event_type": "aggTrade"},
    )


async def test_confluents_client_reads_its_answers(embedded: EmbeddedRegistry) -> None:
    """The client's whole reading interface finds what it expects."""

    def use() -> dict[str, Any]:
        with SchemaRegistryClient({"url": embedded.url}) as client:
            wire = Schema(json.dumps(NUMBER), "AVRO")
            schema_id = client.register_schema("n-value", wire, normalize_schemas=True)
            return {
                "id": schema_id,
                "subjects": client.get_subjects(),
                "versions": client.get_versions("n-value"),
                "by id": client.get_subjects_by_schema_id(schema_id),
                "places": [(place.subject, place.version) for place in client.get_schema_versions(schema_id)],
                "compatible": client.test_compatibility("n-value", Schema(json.dumps(WIDER), "AVRO")),
                "incompatible": client.test_compatibility_all_versions("n-value", Schema(json.dumps(OTHER), "AVRO")),
                "set": client.set_compatibility("n-value", "FULL"),
                "level": client.get_compatibility("n-value"),
                "everywhere": client.get_compatibility(),
            }

    assert await asyncio.to_thread(use) == {
        "id": 1,
        "subjects": ["n-value"],
        "versions": [1],
        "by id": ["n-value"],
        "places": [("n-value", 1)],
        "compatible": True,
        "incompatible": False,
        "set": {"compatibility": "FULL"},
        "level": "FULL",
        "everywhere": "BACKWARD",
    }


async def test_confluents_client_understands_its_errors(embedded: EmbeddedRegistry) -> None:
    """An error arrives with its code and message, not as an unknown one."""

    def fail() -> SchemaRegistryError:
        with SchemaRegistryClient({"url": embedded.url}) as client, pytest.raises(SchemaRegistryError) as caught:
            client.get_version("nobody-value")
        return caught.value

    error = await asyncio.to_thread(fail)
    assert (error.http_status_code, error.error_code, error.error_message) == (404, 40401, "Subject 'nobody-value' not found.")


async def test_ids_are_global_and_versions_are_the_subjects(ask: Ask) -> None:
    """A schema keeps its id in every subject, however it is spelt; versions count within a subject."""
    answers = [
        await ask("POST", "/subjects/a/versions", schema(NUMBER)),
        await ask("POST", "/subjects/a/versions", {"schema": json.dumps(NUMBER, indent=4)}),
        await ask("POST", "/subjects/a/versions", schema(WIDER)),
        await ask("POST", "/subjects/b/versions", schema(WIDER)),
    ]
    assert [answer["id"] for _, answer in answers] == [1, 1, 2, 2]
    assert await ask("GET", "/subjects/a/versions") == (200, [1, 2])
    assert await ask("GET", "/schemas/ids/2/versions") == (200, [{"subject": "a", "version": 2}, {"subject": "b", "version": 1}])


async def test_an_incompatible_schema_is_a_conflict(ask: Ask) -> None:
    """Registering it is answered with 409 and the field, and leaves the subject as it was."""
    await ask("POST", "/subjects/a/versions", schema(NUMBER))
    status, answer = await ask("POST", "/subjects/a/versions", schema(OTHER))
    assert (status, answer["error_code"]) == (409, 409)
    assert "f: the type was int and is string" in answer["message"]
    assert await ask("GET", "/subjects/a/versions") == (200, [1])


async def test_a_weaker_level_lets_it_in(ask: Ask) -> None:
    """The subject's own level counts more than the global one."""
    await ask("POST", "/subjects/a/versions", schema(NUMBER))
    assert await ask("PUT", "/config/a", {"compatibility": "none"}) == (200, {"compatibility": "NONE"})
    assert await ask("POST", "/subjects/a/versions", schema(OTHER)) == (200, {"id": 2})


async def test_why_is_told_to_those_who_ask(ask: Ask) -> None:
    """The compatibility check gives its reasons if it is asked to be verbose."""
    await ask("POST", "/subjects/a/versions", schema(NUMBER))
    path = "/compatibility/subjects/a/versions/latest"
    assert await ask("POST", path, schema(OTHER)) == (200, {"is_compatible": False})
    status, answer = await ask("POST", f"{path}?verbose=true", schema(OTHER))
    assert (status, answer) == (200, {"is_compatible": False, "messages": ["f: the type was int and is string"]})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/subjects/x/versions", None, 404, 40401),
        ("GET", "/subjects/a/versions/9", None, 404, 40402),
        ("POST", "/subjects/a", schema(OTHER), 404, 40403),
        ("GET", "/schemas/ids/99", None, 404, 40403),
        ("GET", "/schemas/ids/x", None, 404, 40403),
        ("GET", "/config/a", None, 404, 40408),
        ("PUT", "/config", {"compatibility": "SOME"}, 422, 42203),
        ("POST", "/subjects/a/versions", {"schema": "no avro"}, 422, 42201),
        ("POST", "/subjects/a/versions", {"schema": "{}", "schemaType": "JSON"}, 422, 42201),
        ("POST", "/subjects/a/versions", {"schema": 7}, 422, 42201),
        ("POST", "/subjects/a/versions", "no json", 400, 400),
        ("POST", "/subjects/a/versions", "[]", 400, 400),
        ("DELETE", "/subjects/a", None, 405, 405),
        ("GET", "/associations/resources/-/a", None, 404, 404),
    ],
)
async def test_errors_have_confluents_form(ask: Ask, method: str, path: str, body: Any, status: int, code: int) -> None:
    """Every refusal is JSON with Confluent's code and a message, those of the web server too."""
    await ask("POST", "/subjects/a/versions", schema(NUMBER))
    answered, answer = await ask(method, path, body)
    assert (answered, answer["error_code"]) == (status, code)
    assert answer["message"]


async def test_the_level_that_holds_can_be_asked_for(ask: Ask) -> None:
    """With defaultToGlobal a subject without a level of its own answers with the global one."""
    assert await ask("GET", "/config/a?defaultToGlobal=true") == (200, {"compatibilityLevel": "BACKWARD"})


@pytest.mark.parametrize(
    ("path", "answer"), [("/", {}), ("/mode", {"mode": "READWRITE"}), ("/schemas/types", ["AVRO"]), ("/subjects", [])]
)
async def test_what_tools_ask_first(ask: Ask, path: str, answer: Any) -> None:
    """The requests with which user interfaces find out whether they speak to a registry are answered."""
    assert await ask("GET", path) == (200, answer)


async def test_a_stopped_registry_comes_back_as_it_was() -> None:
    """After stop and start the address and the schemas are the same: an outage, as a test wants it."""
    embedded = EmbeddedRegistry()
    await embedded.start()
    url = embedded.url
    async with ClientSession() as session:
        await (await session.post(f"{url}/subjects/a/versions", data=json.dumps(schema(NUMBER)))).read()
        await embedded.stop()
        with pytest.raises(OSError, match=r"\d"):
            await session.get(f"{url}/subjects")
        await embedded.start()
        async with session.get(f"{url}/subjects") as response:
            assert await response.json(content_type=None) == ["a"]
    assert embedded.url == url
    await embedded.stop()
    await embedded.stop()


async def test_requests_are_counted(embedded: EmbeddedRegistry, ask: Ask) -> None:
    """Tests can claim how often the registry was asked."""
    await ask("GET", "/subjects")
    await ask("GET", "/subjects")
    await ask("GET", "/config/a")
    assert embedded.requests == {"GET /subjects": 2, "GET /config/{subject}": 1}
