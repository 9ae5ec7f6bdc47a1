"""What `/health` tells beside its verdict, read off a client whose broker is away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from faults.assembly import Assembly, frame_of, trade_event
from k2.ingestion.adapters.feed.policy import Cause
from k2.ingestion.adapters.feed.port import ConnectFailure, LinkClosed
from k2.ingestion.core.health import SchemaSource, evaluate
from k2.ingestion.health_details import STREAMS_LISTED, details
from k2.ingestion.telemetry import MAX_STREAM_SERIES
from kit.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

NOW_MS = 1_764_000_000_123
MANY = tuple(f"SYM{number}USDT" for number in range(STREAMS_LISTED + 7))


@pytest.fixture
def assemble(tmp_path: Path) -> Iterator[Callable[..., Assembly]]:
    """Makes a client for these symbols; nothing is delivered by chance."""
    made: list[Assembly] = []

    def make(symbols: Sequence[str] = ("BTCUSDT",)) -> Assembly:
        made.append(Assembly(f"127.0.0.1:{free_port()}", tmp_path / "dlq", symbols=symbols))
        return made[-1]

    yield make
    for assembly in made:
        assembly.close()


def told(assembly: Assembly) -> dict[str, Any]:
    return details(assembly.readings, lambda: NOW_MS * 1_000_000 + 999_999)


def test_each_stream_has_its_numbers(assemble: Callable[..., Assembly]) -> None:
    """How much was published, when the last event was by the exchange's clock, and which ids are missing; 0 before the first."""
    assembly = assemble(("BTCUSDT", "ETHUSDT"))
    events = [trade_event(number) for number in (1, 2, 5, 9)]
    assembly.read(*map(frame_of, events))
    assert told(assembly)["streams"] == [
        {
            "stream": "btcusdt@aggTrade", "symbol": "BTCUSDT", "published": 4, "last_event_ms": events[-1]["E"],
            "gaps_open": 2, "ids_missing": 5,
        },
        {
            "stream": "ethusdt@aggTrade", "symbol": "ETHUSDT", "published": 0, "last_event_ms": 0,
            "gaps_open": 0, "ids_missing": 0,
        },
    ]  # fmt: skip


def test_a_long_list_of_streams_is_cut(assemble: Callable[..., Assembly]) -> None:
    """The first hundred are listed, as many as have a metric of their own, and how many there are is told."""
    found = told(assemble(MANY))
    assert [stream["symbol"] for stream in found["streams"]] == list(MANY[:STREAMS_LISTED])
    assert found["streams_total"] == len(MANY)
    assert STREAMS_LISTED == MAX_STREAM_SERIES


def test_connections_are_counted(assemble: Callable[..., Assembly]) -> None:
    """How many came about and how many attempts failed, whatever the kind; of the causes of an end those that happened."""
    assembly = assemble()
    happenings = assembly.happenings
    happenings.connected("ws://127.0.0.1:1")
    for cause in (Cause.RESET, Cause.SILENCE):
        happenings.disconnected(cause, LinkClosed(1006, "", by_us=False))
        happenings.connected("ws://127.0.0.1:1")
    happenings.connect_failed(ConnectFailure.DNS, "no such host", 1.0)
    happenings.refused(429, "slow down", 1.0)
    assert told(assembly)["connections"] == {
        "established": 3,
        "reconnections": 2,
        "failed_attempts": 2,
        "disconnections": {"reset": 1, "silence": 1},
    }


async def test_dead_letters_are_told_by_reason(assemble: Callable[..., Assembly]) -> None:
    """Events and records, each under its stage and reason; what did not happen is left out, and the total is their sum."""
    assembly = assemble()
    assembly.read(frame_of(trade_event(1)), frame_of(trade_event(2)), b"{", b"{", frame_of(trade_event(3, p="x")))
    assembly.sink.abandon()
    assembly.desk.records["too_large"] += 1
    letters = await assembly.letters()
    found = told(assembly)["dead_letters"]
    assert found == {
        "total": 6,
        "by_reason": {
            "decode/not_json": 2, "encode/number_invalid": 1, "produce/too_large": 1, "shutdown/not_delivered_at_shutdown": 2,
        },
        "written": 5,
        "pending": 0,
        "writable": True,
    }  # fmt: skip
    in_the_file = {f"{letter['stage']}/{letter['reason']}" for letter in letters}
    assert in_the_file == set(found["by_reason"]) - {"produce/too_large"}


def test_versions_and_schema_are_named(assemble: Callable[..., Assembly]) -> None:
    """Which programs run, and which schemas are written; the first one's id is null until it is known."""
    assembly = assemble()
    found = told(assembly)
    assert list(found["versions"]) == ["k2", "python", "librdkafka", "transport"]
    assert tuple(found["versions"].values()) == assembly.readings.build
    assert found["schema"] == {"subject": "", "id": None, "fingerprint": "", "source": "none"}
    assembly.readings.start.schemas = (("trades-value", "7", "0123456789abcdef"), ("klines-value", "8", "fedcba9876543210"))
    assembly.readings.start.schema_source = SchemaSource.PINNED
    trades = {"subject": "trades-value", "id": 7, "fingerprint": "0123456789abcdef", "source": "pinned"}
    klines = {"subject": "klines-value", "id": 8, "fingerprint": "fedcba9876543210", "source": "pinned"}
    assert (told(assembly)["schema"], told(assembly)["schemas"]) == (trades, [trades, klines])


def test_our_clock_is_told(assemble: Callable[..., Assembly]) -> None:
    """In whole milliseconds, so that the age of an event does not depend on the reader's clock."""
    assert told(assemble())["answered_at_ms"] == NOW_MS


def test_what_was_in_the_answer_before_still_is(assemble: Callable[..., Assembly]) -> None:
    """The runbook's five keys come first, nothing that was there got another name, and all of it is JSON."""
    assembly = assemble(MANY)
    body = json.loads(json.dumps(evaluate(assembly.readings.health()).body))
    assert list(body)[:5] == ["status", "connection_state", "symbols", "uptime_seconds", "messages_received"]
    before = {"reasons", "schema_source", "balance", "version", "latency_seconds", "exchange_lag_seconds", "gaps_open",
              "ids_missing", "reconnections", "reading"}  # fmt: skip
    assert before <= body.keys()
    assert told(assembly).keys() <= body.keys()
