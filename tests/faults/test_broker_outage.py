"""The broker is away while the market runs at full rate: two minutes long, and at the end of the client."""

from __future__ import annotations

import json
import os
import statistics
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from integration.support import FIRST_ID, SYMBOLS, Rig, RunningClient, generated, ids_by_symbol, wait_until
from kit.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k2.simulator.connection import Connection
    from kit.registry import SchemaRegistry

FULL_RATE = 8_000  # trades a second
QUEUE_MESSAGES = 20_000  # full within three seconds
OUTAGE_S = 120.0
LOOK_EVERY_S = 0.5
HOLD_AFTER_S = 45.0
PAUSED = "Reading paused: Kafka is slower than the exchange"
HELD = "Connection closed on purpose until Kafka takes records again: what is missed is a gap"
MAX_GROWTH_BYTES = 200 * 1024 * 1024


@pytest.fixture(scope="module")
def module_kafka() -> Iterator[KafkaBroker]:
    with KafkaBroker() as broker:
        yield broker


@pytest.fixture
def own_kafka(module_kafka: KafkaBroker) -> KafkaBroker:
    """A broker that a test may mistreat; the next one finds it well again."""
    if not module_kafka.is_running:
        module_kafka.start()
    module_kafka.resume()
    return module_kafka


@pytest.fixture
def rig(own_kafka: KafkaBroker, registry: SchemaRegistry, tmp_path: Path) -> Iterator[Rig]:
    with Rig(own_kafka, registry, tmp_path) as rig:
        yield rig


class Look(NamedTuple):
    """One look at a running client."""

    at_s: float
    answered_in_s: float
    http_status: int
    resident_bytes: int
    reasons: list[str]


def resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def reading(client: RunningClient) -> str:
    """Whether the client reads from the exchange: flowing, paused or held."""
    return str(client.get_json("/health")[1]["reading"])


def watch(client: RunningClient, began_s: float, until_s: float) -> list[Look]:
    """Look at the client until `until_s` seconds after the beginning."""
    looks = []
    while (at_s := time.monotonic() - began_s) < until_s:
        asked_s = time.monotonic()
        status, body = client.get_json("/health")
        looks.append(Look(at_s, time.monotonic() - asked_s, status, resident_bytes(client.pid), body["reasons"]))
        time.sleep(LOOK_EVERY_S)
    return looks


def ended_by_server(connections: list[Connection]) -> list[str]:
    """The reasons for which the exchange itself ended connections."""
    return [c.ending.reason for c in connections if c.ending is not None and c.ending.by == "server"]


@pytest.mark.timeout(300)
def test_two_minutes_without_a_broker_at_full_rate(rig: Rig, own_kafka: KafkaBroker) -> None:
    """
    Frozen for a minute and dead for another: nothing that was received is lost or doubled, and the client stays in command.

    Health answers within a second and tells of the loss, memory stays bounded, the exchange's pings are answered or the
    connection was closed on purpose, and afterwards the queue drains, the client reconnects and what went by is a known gap.
    """
    exchange = rig.exchange(generated(FULL_RATE), backlog_bytes=1 << 30)
    client = rig.client(exchange.ws_url, "--queue-messages", QUEUE_MESSAGES)
    client.wait_for_produced(2 * FULL_RATE)
    resident_before, began_s = resident_bytes(client.pid), time.monotonic()

    own_kafka.pause()
    looks = watch(client, began_s, OUTAGE_S / 2)
    own_kafka.kill()
    looks += watch(client, began_s, OUTAGE_S)
    held = client.metrics
    own_kafka.start()
    wait_until(lambda: reading(client) == "flowing", "reading again", 60)
    client.wait_for_metric("binance_connection_state", 1, 60)
    resumed = client.wait_for_metric("k2_ids_missing", 1, 60)
    client.wait_for_produced(resumed.produced + FULL_RATE, 60)
    sheet, endings = client.stopped(), ended_by_server(exchange.connections)

    answered_in_s = sorted(look.answered_in_s for look in looks)
    assert statistics.quantiles(answered_in_s, n=20)[-1] < 1, answered_in_s[-10:]
    assert max(look.resident_bytes for look in looks) - resident_before < MAX_GROWTH_BYTES
    assert all(look.http_status == 503 for look in looks if look.at_s > 45)
    assert all(look.http_status == 200 for look in looks if look.at_s < 25)
    assert any("broker lost" in reason for reason in looks[-1].reasons)

    assert endings == []
    assert held("k2_reading_holds_total") == held("k2_disconnections_total", cause="hold") == 1
    pauses, holds = client.events_named(PAUSED), client.events_named(HELD)
    assert HOLD_AFTER_S - 1 < seconds_between(pauses[0], holds[0]) < HOLD_AFTER_S + 10
    assert resumed("binance_reconnections_total") == 1
    assert resumed("k2_gaps_total") >= 1

    assert sheet["balanced"]
    assert (sheet["in_flight"], sheet["dead_lettered"], sheet["dead_lettered_records"]) == (0, 0, 0)
    ids = ids_by_symbol(rig.records(sheet["delivered"]))
    assert sum(map(len, ids.values())) == sheet["published"] == sheet["delivered"] == sheet["received"]
    for symbol in SYMBOLS:
        assert ids[symbol] == sorted(set(ids[symbol])), symbol
        assert ids[symbol][0] == FIRST_ID


def seconds_between(first: dict[str, str], second: dict[str, str]) -> float:
    return _seconds(second["timestamp"]) - _seconds(first["timestamp"])


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


@pytest.mark.parametrize("kind", ["frozen", "dead"])
def test_stopping_without_a_broker(rig: Rig, own_kafka: KafkaBroker, kind: str) -> None:
    """
    SIGTERM while the queue is full and nobody takes it: the client ends with 0 soon after its deadline.

    What was not delivered is dead letters, each telling whether it may be in the topic; the books balance, and topic and letters
    together hold every trade that was received.
    """
    exchange = rig.exchange(generated(FULL_RATE), backlog_bytes=1 << 30)
    client = rig.client(exchange.ws_url, "--queue-messages", QUEUE_MESSAGES, "--shutdown-timeout", 3)
    client.wait_for_produced(FULL_RATE)
    own_kafka.pause() if kind == "frozen" else own_kafka.kill()
    wait_until(lambda: reading(client) == "paused", "a full queue")
    asked_s = time.monotonic()
    sheet = client.stopped()
    took_s = time.monotonic() - asked_s
    own_kafka.resume() if kind == "frozen" else own_kafka.start()

    assert took_s < 3 + 15
    letters = [json.loads(line) for line in client.dead_letter_lines]
    assert sheet["balanced"]
    assert sheet["in_flight"] == 0
    assert len(letters) == sheet["dead_lettered_records"] == sheet["published"] - sheet["delivered"]
    assert len(letters) >= QUEUE_MESSAGES * 0.8
    assert {(letter["stage"], letter["reason"]) for letter in letters} == {("shutdown", "not_delivered_at_shutdown")}
    stored = ids_by_symbol(rig.records(sheet["delivered"]))
    for symbol in SYMBOLS:
        assert_all_there(stored[symbol], [letter for letter in letters if letter["symbol"] == symbol])


def assert_all_there(stored: list[int], letters: list[dict[str, Any]]) -> None:
    """No id is missing from topic and letters together; one that is surely not written is in the letters only."""
    outcomes = {letter["original_message"]["a"]: letter["outcome"] for letter in letters}
    assert len(outcomes) == len(letters)
    everything = set(stored) | set(outcomes)
    assert everything == set(range(FIRST_ID, FIRST_ID + len(everything)))
    assert stored == sorted(set(stored))
    assert {outcomes[number] for number in set(stored) & set(outcomes)} <= {"unknown"}
