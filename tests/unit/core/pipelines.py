"""Pipelines as the client builds them, and their records decoded by fastavro."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import fastavro

from k2.ingestion.core.outcome import Outcome, Publish, Record
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.exchanges.binance.streams import KINDS, build_rows

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "tests" / "unit" / "data"
TOPIC = "market.test"
SYMBOLS = ("BTCUSDT", "牛来USDT", "这是测试币456")
RECEIVED_AT_US = 1_723_161_255_400_000  # August 2024, shortly after the frames of the payload files
HEADER_BYTES = 5


@cache
def trade_schema() -> Any:
    return json.loads((ROOT / "schemas" / "trade_v2.avsc").read_text(encoding="utf-8"))


@cache
def _parsed_schema() -> Any:
    return fastavro.parse_schema(trade_schema())


def new_pipeline(
    market: str = "spot",
    stream: str = "aggTrade",
    symbols: tuple[str, ...] = SYMBOLS,
    quote_asset: Callable[[str], str] = lambda _: "USDT",
) -> Pipeline:
    """A pipeline that has seen nothing yet, for one kind of stream, with schema id 1."""
    return Pipeline(build_rows(KINDS[market, stream], symbols, quote_asset, TOPIC, trade_schema(), 1))


def decoded(value: bytes) -> dict[str, Any]:
    """A record's value as a consumer reads it. Raises where bytes are left over."""
    assert value[:HEADER_BYTES] == b"\0\0\0\0\1"
    rest = io.BytesIO(value[HEADER_BYTES:])
    record = fastavro.schemaless_reader(rest, _parsed_schema(), None)
    assert not rest.read()
    assert isinstance(record, dict)
    return record


def published_record(outcomes: tuple[Outcome, ...]) -> Record:
    """The one record of the one outcome."""
    (outcome,) = outcomes
    assert isinstance(outcome, Publish), outcome
    (record,) = outcome.records
    return record
