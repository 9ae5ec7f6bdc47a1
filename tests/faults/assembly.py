"""The client without its connection: frames are handed in, and everything behind them is real."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from faults.harness import FIRST_TIME_MS, LOGGER, TOPIC, product_config
from k2.ingestion.adapters.dead_letters import BoxLimits, BoxState, DeadLetterBox
from k2.ingestion.adapters.disk import DirectoryWatch
from k2.ingestion.adapters.journal import DailyJournal
from k2.ingestion.adapters.kafka import KafkaSink
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.core.backpressure import Limits
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.dead_letter_desk import DeadLetterDesk
from k2.ingestion.engine import Engine
from k2.ingestion.exchanges.binance.streams import avro_output, rows_of
from k2.ingestion.happenings import Happenings
from k2.ingestion.readings import Readings
from k2.ingestion.record_reader import RecordReader
from k2.ingestion.supervisor import Supervisor
from k2.ingestion.topic_plan import TopicPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from k2.ingestion.core.outcome import Record

SCHEMA_ID = 7
SYMBOL = "BTCUSDT"
QUEUE_MESSAGES = 100_000
FLUSH_S = 20.0


def trade_event(
    number: int, *, market: str = "spot", stream: str = "aggTrade", symbol: str = SYMBOL, **changes: Any
) -> dict[str, Any]:
    """An event as the exchange sends it; its id is `number`."""
    at_ms = FIRST_TIME_MS + number
    event = {"e": stream, "E": at_ms + 1, "s": symbol, "p": "42000.10000000", "q": "0.50000000", "T": at_ms, "m": True}
    ids = {"a": number, "f": 2 * number, "l": 2 * number + 1} if stream == "aggTrade" else {"t": number}
    spot_only = {"M": True} if market == "spot" else {}
    return {**event, **ids, **spot_only, **changes}


def frame_of(event: dict[str, Any]) -> bytes:
    """The event in a combined stream's envelope."""
    stream = f"{event['s'].lower()}@{event['e']}"
    return json.dumps({"stream": stream, "data": event}, separators=(",", ":")).encode()


def make_pipeline(
    symbols: Sequence[str] = (SYMBOL,), topic: str = TOPIC, market: str = "spot", stream: str = "aggTrade"
) -> Pipeline:
    output = avro_output(topic, load_schema("trade_v2").parsed, SCHEMA_ID)
    return Pipeline(rows_of(market, stream, symbols, lambda _: "USDT", output))


def make_record(number: int = 1, market: str = "spot", stream: str = "aggTrade", **changes: Any) -> Record:
    """What the pipeline makes of such an event."""
    event = trade_event(number, market=market, stream=stream, **changes)
    [outcome] = make_pipeline(market=market, stream=stream).process(frame_of(event), (FIRST_TIME_MS + 60_000) * 1_000)
    [record] = outcome.records  # type: ignore[union-attr]  # a good event is published
    return record


def make_desk(box: DeadLetterBox, happenings: Happenings, market: str = "spot", topic: str = TOPIC) -> DeadLetterDesk:
    """A desk that can read our records."""
    desk = DeadLetterDesk(box, happenings, market)
    plan = TopicPlan(name=topic, streams=("aggTrade", "trade"), schema_name="trade_v2")
    desk.use(RecordReader(market, {topic: plan}, {topic: load_schema("trade_v2").parsed}))
    return desk


class Assembly:
    """
    Everything from the frame to the broker and the dead-letter file, for one spot symbol or several. Close it in the end.

    `turns` holds what the engine wants done at the end of a turn; `states` what the dead-letter box had to report.
    """

    def __init__(
        self,
        bootstrap: str,
        directory: Path,
        *,
        topic: str = TOPIC,
        symbols: Sequence[str] = (SYMBOL,),
        limits: BoxLimits | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        **properties: object,
    ) -> None:
        self.happenings, self.stop = Happenings("picows"), asyncio.Event()
        self.journal = DailyJournal(directory, "binance")
        self.states: list[BoxState] = []
        self.box = DeadLetterBox(self.journal, on_change=self.states.append, limits=limits)
        self.box.start()
        self.desk = make_desk(self.box, self.happenings, topic=topic)
        self.supervisor = Supervisor(self.happenings, self.desk, self.stop)
        self.sink = KafkaSink(product_config(bootstrap, **properties), self.supervisor, LOGGER)
        self.turns: list[Callable[[], None]] = []
        pipeline = make_pipeline(symbols, topic)
        self.engine = Engine(pipeline, self.sink, self.supervisor, self.turns.append, clock_ns=clock_ns)
        self.readings = Readings(
            engine=self.engine,
            sink=self.sink,
            happenings=self.happenings,
            letters=self.desk,
            queue_messages=QUEUE_MESSAGES,
            queue_bytes=QUEUE_MESSAGES * 1_000,
            directories=DirectoryWatch({"dead_letters": directory}),
            transport="picows",
        )
        self.readings.symbols, self.readings.rows = tuple(symbols), pipeline.rows
        self.supervisor.attach(self.engine, self.sink, self.readings, Limits(90_000, 50_000, 100_000), silence_limit_s=120.0)

    def read(self, *frames: bytes) -> None:
        """One read of the socket, and the turn that it makes."""
        for frame in frames:
            self.engine.on_frame(frame)
        while self.turns:
            self.turns.pop(0)()

    def drain(self, patience_s: float = FLUSH_S) -> None:
        """Serve the producer until nothing is in flight."""
        deadline = time.monotonic() + patience_s
        while self.sink.in_flight:
            assert time.monotonic() < deadline, f"in flight: {self.sink.in_flight}"
            self.engine.tick()
            assert self.readings.balance().balanced
            time.sleep(0.002)

    async def letters(self) -> list[dict[str, Any]]:
        """All dead letters so far, from the file."""
        assert await self.box.flush(FLUSH_S)
        return [json.loads(line) for line in self.journal.path.read_bytes().splitlines()]

    def close(self) -> None:
        self.box.close()
