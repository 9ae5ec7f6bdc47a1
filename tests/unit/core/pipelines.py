"""Pipelines as the client builds them, and their records decoded by fastavro."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import fastavro

from k2.ingestion.core.outcome import EVENT_FAILURES, DeadLetter, Outcome, Publish, Record
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.exchanges.binance.names import Stream, stream_name, stream_of
from k2.ingestion.exchanges.binance.streams import Output, RowBuilder, avro_output

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "tests" / "unit" / "data"
TOPIC = "market.test"
SYMBOLS = ("BTCUSDT", "牛来USDT", "这是测试币456")
RECEIVED_AT_US = 1_723_161_255_400_000  # August 2024, shortly after the frames of the payload files
HEADER_BYTES = 5

QuoteAsset = Callable[[str], str]


@cache
def schema_of(name: str) -> Any:
    return json.loads((ROOT / "schemas" / f"{name}.avsc").read_text(encoding="utf-8"))


def trade_schema() -> Any:
    return schema_of("trade_v2")


@cache
def _parsed_schema() -> Any:
    return fastavro.parse_schema(trade_schema())


def _as_long(schema: Any) -> Any:
    """The schema with times left as numbers: fastavro makes datetimes of them otherwise."""
    if isinstance(schema, dict):
        return {key: _as_long(value) for key, value in schema.items() if value != "timestamp-micros"}
    return [_as_long(part) for part in schema] if isinstance(schema, list) else schema


@cache
def _numeric_schema(name: str) -> Any:
    return fastavro.parse_schema(_as_long(schema_of(name)))


def new_pipeline(
    market: str = "spot",
    stream: str = "aggTrade",
    symbols: tuple[str, ...] = SYMBOLS,
    quote_asset: QuoteAsset = lambda _: "USDT",
) -> Pipeline:
    """A pipeline that has seen nothing yet, for one kind of stream, with schema id 1."""
    return pipeline_of(market, [stream_name(symbol, stream) for symbol in symbols], quote_asset)


def pipeline_of(
    market: str, names: Iterable[str], quote_asset: QuoteAsset = lambda _: "USDT", *, updates: bool = False
) -> Pipeline:
    """The same for streams of any kinds, by their names."""
    streams = [stream_of(market, name) for name in names]
    return Pipeline(RowBuilder(market, quote_asset, updates=updates).table(streams, avro_outputs))


def avro_outputs(stream: Stream) -> Sequence[Output]:
    """One topic for all, under the schema of the stream's kind."""
    assert stream.kind is not None, stream.name
    return [avro_output(TOPIC, schema_of(stream.kind.schema_name), 1)]


def assert_tells_all(letter: DeadLetter, frame: bytes) -> None:
    """A dead letter has all of its frame, and says what is wrong with it."""
    assert letter.payload == frame
    assert (letter.stage, letter.reason) in EVENT_FAILURES
    assert letter.error


def decoded(value: bytes) -> dict[str, Any]:
    """A trade's value as a consumer reads it. Raises where bytes are left over."""
    return _read(value, _parsed_schema())


def fields_of(value: bytes, schema_name: str) -> dict[str, Any]:
    """The fields of a value of any schema, with its times as numbers."""
    return _read(value, _numeric_schema(schema_name))


def _read(value: bytes, schema: Any) -> dict[str, Any]:
    assert value[:HEADER_BYTES] == b"\0\0\0\0\1"
    rest = io.BytesIO(value[HEADER_BYTES:])
    record = fastavro.schemaless_reader(rest, schema, None)
    assert not rest.read()
    assert isinstance(record, dict)
    return record


def published_record(outcomes: tuple[Outcome, ...]) -> Record:
    """The one record of the one outcome."""
    (outcome,) = outcomes
    assert isinstance(outcome, Publish), outcome
    (record,) = outcome.records
    return record
