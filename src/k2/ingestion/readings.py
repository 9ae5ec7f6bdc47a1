"""
What can be read off a running client, in one place: for the metrics, for health, and for the balance sheet at the end.

Reading changes nothing and waits for nothing.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from k2 import __version__
from k2.ingestion.adapters.disk import DirectoryWatch
from k2.ingestion.adapters.kafka import LIBRDKAFKA_VERSION, KafkaSink
from k2.ingestion.core.backpressure import Flow
from k2.ingestion.core.health import HealthInputs, SchemaSource
from k2.ingestion.core.outcome import Stage
from k2.ingestion.core.rows import Row
from k2.ingestion.core.tally import DurationTally
from k2.ingestion.dead_letter_desk import DeadLetterDesk
from k2.ingestion.engine import Engine
from k2.ingestion.happenings import Happenings
from k2.ingestion.health_details import details

PARTS_OF_THE_START = ("broker", "registry", "exchange")


class BalanceSheet(Struct):
    """
    Both ledgers. Events: received = published + dead_lettered + ignored. Records: records = delivered + dead_lettered_records +
    spooled + in_flight. `balanced` is true when both hold.
    """

    received: int
    published: int
    dead_lettered: int
    ignored: int
    ignored_by_reason: dict[str, int]
    records: int
    delivered: int
    dead_lettered_records: int
    spooled: int
    in_flight: int
    balanced: bool


class StartFacts(Struct):
    """What the start found out. Filled in as it goes."""

    schema_source: SchemaSource = SchemaSource.NONE
    schemas: tuple[tuple[str, str, str], ...] = ()  # subject, id, fingerprint
    unknown_symbols: tuple[str, ...] = ()
    waiting_for: tuple[str, ...] = PARTS_OF_THE_START


class Readings:
    """Everything that telemetry reads. `connected` and `flow` are asked of whoever knows."""

    def __init__(
        self,
        *,
        engine: Engine,
        sink: KafkaSink,
        happenings: Happenings,
        letters: DeadLetterDesk,
        queue_messages: int,
        queue_bytes: int,
        directories: DirectoryWatch,
        transport: str,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine, self.sink, self.happenings, self.letters = engine, sink, happenings, letters
        self.queue_messages, self.queue_bytes, self.directories = queue_messages, queue_bytes, directories
        self.build = (__version__, platform.python_version(), LIBRDKAFKA_VERSION, transport)
        self.start = StartFacts()
        self.symbols: tuple[str, ...] = ()
        self.rows: list[Row] = []
        self.loop_lag_s = 0.0
        self.flow_state = Flow.FLOWING
        self.connected = False
        self.refused_streams: set[str] = set()
        self.silent_streams: tuple[str, ...] = ()
        self.streams_never_heard: tuple[str, ...] = ()
        self._clock_s = clock_s
        self._started_at_s = self._disconnected_at_s = clock_s()

    @property
    def uptime_s(self) -> float:
        return self._clock_s() - self._started_at_s

    def set_connected(self, connected: bool) -> None:
        """Every wanted stream has a live connection, or not any more."""
        if self.connected and not connected:
            self._disconnected_at_s = self._clock_s()
        self.connected = connected

    @property
    def flow(self) -> Mapping[str, bool]:
        return {state.value: state is self.flow_state for state in Flow}

    @property
    def stages(self) -> Mapping[str, DurationTally]:
        """Where the time goes: from the exchange to us, through us, and until Kafka has it."""
        sink = self.sink
        return {"exchange": self.engine.exchange_lag, "process": sink.processing, "acknowledge": sink.acknowledging}

    @property
    def start_waits_for(self) -> Mapping[str, bool]:
        return {part: part in self.start.waiting_for for part in PARTS_OF_THE_START}

    @property
    def unknown_symbols(self) -> tuple[str, ...]:
        return self.start.unknown_symbols

    @property
    def schema_pinned(self) -> bool:
        return self.start.schema_source is SchemaSource.PINNED

    @property
    def schemas(self) -> tuple[tuple[str, str, str], ...]:
        return self.start.schemas

    @property
    def produce_errors(self) -> int:
        """What keeps records from Kafka: failed deliveries, errors of the client, events that could not be serialized."""
        unserialized = sum(count for (stage, _), count in self.engine.letters.items() if stage == Stage.ENCODE)
        return self.sink.error_codes.total() + unserialized

    @property
    def records_unaccounted(self) -> int:
        sink = self.sink
        return self.engine.made - sink.delivered - sink.dead - sink.in_flight

    @property
    def batch_records(self) -> float:
        return max((topic.batchcnt.avg for topic in self.sink.statistics.topics.values()), default=0.0)

    @property
    def batch_bytes(self) -> float:
        return max((topic.batchsize.avg for topic in self.sink.statistics.topics.values()), default=0.0)

    def balance(self) -> BalanceSheet:
        events, sink = self.engine.ledger, self.sink
        return BalanceSheet(
            received=events.received,
            published=events.published,
            dead_lettered=events.dead_lettered,
            ignored=sum(events.ignored.values()),
            ignored_by_reason={reason: count for reason, count in events.ignored.items() if count},
            records=events.made,
            delivered=sink.delivered,
            dead_lettered_records=sink.dead,
            spooled=0,
            in_flight=sink.in_flight,
            balanced=events.unaccounted == 0 and self.records_unaccounted == 0,
        )

    def health(self) -> HealthInputs:
        sheet = self.balance()
        return HealthInputs(
            connected=self.connected,
            symbols=self.symbols,
            uptime_s=self.uptime_s,
            messages_received=self.engine.received,
            disconnected_for_s=0.0 if self.connected else self._clock_s() - self._disconnected_at_s,
            broker_lost_for_s=self.sink.broker_lost_for_s,
            dead_letters_writable=self.letters.box.writable,
            schema_source=self.start.schema_source,
            unknown_symbols=self.start.unknown_symbols,
            refused_streams=tuple(sorted(self.refused_streams)),
            streams_never_heard=self.streams_never_heard,
            back_pressure=self.flow_state is not Flow.FLOWING,
            held_code=self.sink.held_code,
            waiting_for=self.start.waiting_for,
            balance={name: getattr(sheet, name) for name in sheet.__struct_fields__},
            extra=self._extra(),
        )

    def _extra(self) -> dict[str, Any]:
        """What a person wants to see before opening Grafana."""
        latency = self.sink.latency
        return {
            "version": self.build[0],
            "latency_seconds": {f"p{round(share * 100)}": round(latency.quantile_s(share), 6) for share in (0.5, 0.95, 0.99)},
            "exchange_lag_seconds": self.engine.exchange_lag_ms / 1_000,
            "gaps_open": sum(len(row.sequence.gaps) for row in self.rows),
            "ids_missing": sum(row.sequence.ids_missing for row in self.rows),
            "reconnections": self.happenings.reconnections,
            "reading": self.flow_state.value,
            **details(self),
        }
