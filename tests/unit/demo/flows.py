"""Real records of any stream, without a broker: the simulated market's frames through the client's rows, and decoded again."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import fastavro

from k2.demo.market import CountedMarket
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.core.outcome import DeadLetter, Outcome, Publish, Record
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.exchanges.binance.kinds import RAW_SCHEMA
from k2.ingestion.exchanges.binance.layouts import LAYOUTS, layout_output
from k2.ingestion.exchanges.binance.names import Stream, wanted_streams
from k2.ingestion.exchanges.binance.streams import Output, RowBuilder, avro_output, raw_output
from k2.ingestion.topic_plan import AVRO, RAW, TopicPlan
from k2.simulator.generated import GeneratedOptions
from k2.simulator.market import Frame, Venue

SYMBOLS = ("BTCUSDT", "ETHUSDT")
BEGAN_MS = 1_767_225_540_000  # 2026-01-01, a minute before midnight
FRAME_BYTES = 5


def streams_of(market: Venue, *wishes: str) -> tuple[Stream, ...]:
    return wanted_streams(market, wishes, SYMBOLS)


def frames_of(
    market: Venue, streams: Sequence[Stream], *, trades: int = 400, per_s: float = 2.0, arrays: Sequence[str] = ()
) -> tuple[CountedMarket, list[Frame]]:
    """What the simulated market sends in so many trades, at so many in a second of its own time."""
    options = GeneratedOptions(symbols=SYMBOLS, venue=market, rate=None, event_rate=per_s, began_at_ms=BEGAN_MS)
    simulated = CountedMarket(options, arrays)
    simulated.begin(0.0, BEGAN_MS)
    names, frames = [stream.name for stream in streams], list[Frame]()
    while simulated.issued < trades:
        frames += simulated.pull(0.0, names, 50)
    return simulated, frames


def pipeline_of(market: Venue, streams: Sequence[Stream], plans: Sequence[TopicPlan], *, updates: bool = False) -> Pipeline:
    """The client's own rows for these streams and topics."""
    outputs = {plan.name: _output(plan) for plan in plans}
    builder = RowBuilder(market, lambda _: "USDT", updates=updates)
    return Pipeline(builder.table(streams, lambda stream: [outputs[plan.name] for plan in plans if plan.takes(stream)]))


def outcomes_of(pipeline: Pipeline, frames: Sequence[bytes]) -> list[Outcome]:
    received_at_us = (BEGAN_MS + 3_600_000) * 1_000
    return [outcome for number, frame in enumerate(frames) for outcome in pipeline.process(frame, received_at_us + number)]


def records_in(outcomes: Sequence[Outcome]) -> list[Record]:
    assert not [outcome for outcome in outcomes if isinstance(outcome, DeadLetter)]
    return [record for outcome in outcomes if isinstance(outcome, Publish) for record in outcome.records]


def decoded(plan: TopicPlan, record: Record) -> Mapping[str, Any]:
    """A record as a reader of the topic has it."""
    if not plan.needs_schema:
        value: dict[str, Any] = json.loads(record.value)
        return value
    schema = load_schema(plan.schema_name).parsed
    fields = fastavro.schemaless_reader(io.BytesIO(record.value[FRAME_BYTES:]), schema)
    assert isinstance(fields, dict)
    return fields


def plan_for(layout: str, stream: Stream, name: str = "topic") -> TopicPlan:
    """A topic for everything, in this layout."""
    assert stream.kind is not None
    schema = {AVRO: stream.kind.schema_name, RAW: RAW_SCHEMA}.get(layout, "")
    return TopicPlan(name=name, streams=("*",), layout=layout, schema_name=schema)


def _output(plan: TopicPlan) -> Output:
    if not plan.needs_schema:
        return layout_output(plan.name, LAYOUTS[plan.layout], keyed=plan.keyed)
    make = raw_output if plan.layout == RAW else avro_output
    return make(plan.name, load_schema(plan.schema_name).parsed, 1, keyed=plan.keyed)
