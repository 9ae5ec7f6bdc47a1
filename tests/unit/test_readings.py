"""What is read off a running client: the balance sheet, and what health is judged by."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from faults.assembly import Assembly, frame_of, trade_event
from k2.ingestion.adapters.disk import DirectoryWatch
from k2.ingestion.core.backpressure import Flow
from k2.ingestion.core.health import SchemaSource, evaluate
from k2.ingestion.readings import Readings
from k2.ingestion.service_metrics import NOTHING_YET, keep_logging, service_metrics
from kit.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def assembly(tmp_path: Path) -> Iterator[Assembly]:
    """A client whose broker is not there, so that nothing is delivered by chance."""
    assembly = Assembly(f"127.0.0.1:{free_port()}", tmp_path / "dlq")
    yield assembly
    assembly.close()


def fill(assembly: Assembly) -> None:
    """Three published, one seen before, one broken."""
    assembly.read(*(frame_of(trade_event(number)) for number in (1, 2, 3, 2)), b"{")


class TestBalance:
    def test_both_ledgers_are_on_the_sheet(self, assembly: Assembly) -> None:
        """Events by what became of them, records by where they are."""
        fill(assembly)
        sheet = assembly.readings.balance()
        assert (sheet.received, sheet.published, sheet.dead_lettered, sheet.ignored) == (5, 3, 1, 1)
        assert sheet.ignored_by_reason == {"duplicate": 1}
        assert (sheet.records, sheet.delivered, sheet.dead_lettered_records, sheet.spooled, sheet.in_flight) == (3, 0, 0, 0, 3)
        assert sheet.balanced

    def test_given_up_records_are_on_it_as_dead(self, assembly: Assembly) -> None:
        """At the end nothing is in flight any more, and the books still balance."""
        fill(assembly)
        assembly.sink.abandon()
        sheet = assembly.readings.balance()
        assert (sheet.dead_lettered_records, sheet.in_flight, sheet.balanced) == (3, 0, True)

    @pytest.mark.parametrize(("part", "counter"), [("engine", "received"), ("engine", "made"), ("sink", "delivered")])
    def test_a_lost_event_or_record_unbalances_it(self, assembly: Assembly, part: str, counter: str) -> None:
        """One count too many anywhere, and the sheet says so."""
        fill(assembly)
        counted = getattr(assembly, part)
        setattr(counted, counter, getattr(counted, counter) + 1)
        assert not assembly.readings.balance().balanced


class TestServiceMetrics:
    def test_the_few_numbers_are_those_of_the_sheet(self, assembly: Assembly) -> None:
        """Events that came, those that were published, what waits for Kafka, and what went wrong."""
        fill(assembly)
        told = service_metrics(assembly.readings)
        assert (told["messages_received"], told["messages_processed"], told["messages_buffered"]) == (5, 3, 3)
        assert (told["messages_delivered"], told["messages_failed"], told["reconnect_count"]) == (0, 1, 0)
        assert told.keys() == NOTHING_YET.keys()

    async def test_they_are_logged_again_and_again(self, assembly: Assembly, capsys: pytest.CaptureFixture[str]) -> None:
        """A line each so many seconds, with every number, for those who have only the log."""
        fill(assembly)
        logging = asyncio.create_task(keep_logging(assembly.readings, 0.02))
        await asyncio.sleep(0.2)
        logging.cancel()
        lines = [line for line in capsys.readouterr().out.splitlines() if "service_metrics" in line]
        assert len(lines) > 1
        assert all("messages_received" in line and "messages_buffered" in line for line in lines)


class TestHealth:
    def test_times_without_the_exchange(self, assembly: Assembly) -> None:
        """Disconnected since the start, not at all while connected, and since the loss after one; a loss is counted once."""
        now_s = 100.0
        readings = Readings(
            engine=assembly.engine, sink=assembly.sink, happenings=assembly.happenings, letters=assembly.desk,
            queue_messages=10, queue_bytes=10_000, directories=DirectoryWatch({}), transport="picows", clock_s=lambda: now_s,
        )  # fmt: skip
        seen = []
        for at_s, connected in ((107.0, None), (110.0, True), (120.0, False), (125.0, False), (131.0, None)):
            now_s = at_s
            if connected is not None:
                readings.set_connected(connected)
            seen.append(readings.health().disconnected_for_s)
        assert seen == [7.0, 0.0, 0.0, 5.0, 11.0]
        assert readings.uptime_s == 31.0

    def test_back_pressure_shows(self, assembly: Assembly) -> None:
        """Reading that is paused or held is named, and one state at a time is on."""
        assembly.readings.flow_state = Flow.HELD
        assert assembly.readings.health().back_pressure
        assert assembly.readings.flow == {"flowing": False, "paused": False, "held": True}

    def test_the_start_shows(self, assembly: Assembly) -> None:
        """What is waited for, which symbols are unknown, and where the schema came from."""
        start = assembly.readings.start
        start.waiting_for, start.unknown_symbols, start.schema_source = ("registry",), ("XYZ",), SchemaSource.PINNED
        health = assembly.readings.health()
        assert (health.waiting_for, health.unknown_symbols, health.schema_source) == (
            ("registry",),
            ("XYZ",),
            SchemaSource.PINNED,
        )
        assert assembly.readings.schema_pinned

    def test_the_answer_is_whole(self, assembly: Assembly) -> None:
        """The five documented keys, the balance sheet, latency, lag, gaps and the state of reading are in the answer."""
        assembly.readings.set_connected(True)
        assembly.read(*(frame_of(trade_event(number)) for number in (1, 2, 5)))
        body = evaluate(assembly.readings.health()).body
        assert list(body)[:5] == ["status", "connection_state", "symbols", "uptime_seconds", "messages_received"]
        assert (body["connection_state"], body["symbols"], body["messages_received"]) == ("CONNECTED", ["BTCUSDT"], 3)
        assert (body["gaps_open"], body["ids_missing"], body["reading"], body["reconnections"]) == (1, 2, "flowing", 0)
        assert set(body["latency_seconds"]) == {"p50", "p95", "p99"}
        assert body["balance"]["received"] == 3
