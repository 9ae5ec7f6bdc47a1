"""The stream table and what is built from it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from k2.ingestion.core.avro import compile_encoder, parameters
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.exchanges.binance import mapping
from k2.ingestion.exchanges.binance.streams import KINDS, StreamKind, build_rows, identity_prefix, stream_name
from unit.core.pipelines import RECEIVED_AT_US, TOPIC, decoded, new_pipeline, published_record, trade_schema

EVERY_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=["/".join(key) for key in KINDS])
RECORD_FIELDS = ["message_id", "trade_id", "timestamp", "price", "quantity", "side", "source_sequence", "ingestion_timestamp"]
VENDOR_KEYS = ["event_time", "first_trade_id", "last_trade_id"]


@EVERY_KIND
def test_schema_of_a_kind_is_compiled(kind: StreamKind) -> None:
    """The fallback is for schemas to come: those that we have take the fast way."""
    constants = mapping.constant_fields("BTCUSDT", kind.asset_class, "USDT")
    compile_encoder(trade_schema(), constants=constants, maps={"vendor_data": kind.vendor_data})


@EVERY_KIND
def test_arguments_are_in_the_order_in_which_the_mapping_gives_them(kind: StreamKind) -> None:
    """The mapping hands them over by position, so a schema in another order must not go unseen."""
    constants = mapping.constant_fields("BTCUSDT", kind.asset_class, "USDT")
    vendor = [f"vendor_data.{key}" for key in (*VENDOR_KEYS, *kind.vendor_data.optional)]
    assert parameters(trade_schema(), constants, {"vendor_data": kind.vendor_data}) == [*RECORD_FIELDS, *vendor]


@EVERY_KIND
def test_kind_knows_every_field_that_it_reads(kind: StreamKind) -> None:
    """An event type is strict and has no two fields of one name on the wire."""
    names = [field.encode_name for field in msgspec.structs.fields(kind.event_type)]
    assert len(names) == len(set(names))
    assert kind.event_type.__struct_config__.forbid_unknown_fields


def test_kinds_are_the_streams_that_are_carried() -> None:
    """Both trade streams of both markets."""
    assert sorted(KINDS) == [("spot", "aggTrade"), ("spot", "trade"), ("usdm", "aggTrade"), ("usdm", "trade")]


SYMBOLS = ["BTCUSDT", "1000SATSUSDT", "BTCUSDT_260327", "牛来USDT"]
STREAM_NAMES = ["btcusdt@trade", "1000satsusdt@trade", "btcusdt_260327@trade", "牛来usdt@trade"]


@pytest.mark.parametrize(("symbol", "name"), list(zip(SYMBOLS, STREAM_NAMES, strict=True)))
def test_stream_name_is_the_symbol_in_lower_case(symbol: str, name: str) -> None:
    """As the exchange writes it in its frames, in every script."""
    assert stream_name(symbol, "trade") == name


def test_identity_begins_with_market_and_stream() -> None:
    """What tells whose records a topic holds."""
    assert identity_prefix("usdm", "aggTrade") == "binance.usdm.aggTrade."


def test_rows_are_found_by_the_name_in_the_frame() -> None:
    """One row for each symbol, under its stream's name in UTF-8."""
    rows = build_rows(KINDS["spot", "trade"], ("BTCUSDT", "牛来USDT"), lambda _: "USDT", TOPIC, trade_schema(), 7)
    assert list(rows) == [b"btcusdt@trade", "牛来usdt@trade".encode()]
    assert [(row.symbol, row.topic) for row in rows.values()] == [("BTCUSDT", TOPIC), ("牛来USDT", TOPIC)]


def test_schema_id_is_in_front_of_every_value() -> None:
    """Confluent's framing, with the id that the registry gave."""
    rows = build_rows(KINDS["spot", "trade"], ("BTCUSDT",), lambda _: "USDT", TOPIC, trade_schema(), 2**31 + 5)
    data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": 1, "p": "1", "q": "1", "T": 1723161255342, "m": True}
    frame = json.dumps({"stream": "btcusdt@trade", "data": data}).encode()
    assert published_record(Pipeline(rows).process(frame, RECEIVED_AT_US)).value[:5] == b"\0\x80\0\0\5"


def test_schema_that_is_not_compiled_makes_the_same_records() -> None:
    """With a type that only fastavro writes, everything works as before, more slowly."""
    fields: list[Any] = [*trade_schema()["fields"], {"name": "hash", "type": ["null", "string", "long"], "default": None}]
    schema = trade_schema() | {"fields": fields}
    kind = KINDS["spot", "aggTrade"]
    rows = build_rows(_with_hash(kind), ("BTCUSDT",), lambda _: "USDT", TOPIC, schema, 1)
    data = {"e": "aggTrade", "E": 1, "s": "BTCUSDT", "a": 1, "p": "1.50", "q": "2", "f": 1, "l": 2, "T": 1723161255342, "m": True}
    frame = json.dumps({"stream": "btcusdt@aggTrade", "data": data}).encode()
    compiled = published_record(new_pipeline().process(frame, RECEIVED_AT_US))
    slow = published_record(Pipeline(rows).process(frame, RECEIVED_AT_US))
    assert slow.value == compiled.value + b"\0"
    assert decoded(compiled.value)["source_sequence"] == 1


def _with_hash(kind: StreamKind) -> StreamKind:
    def to_value(encode: Any, id_prefix: bytes, event: Any, received_at_us: int) -> bytes:
        return kind.to_value(lambda *fields: encode(*fields, None), id_prefix, event, received_at_us)

    return msgspec.structs.replace(kind, to_value=to_value)
