"""The stream table and what is built from it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from k2.ingestion.core.avro import Encoder, compile_encoder, parameters
from k2.ingestion.core.outcome import FieldAppeared, Publish
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.core.rows import Row
from k2.ingestion.core.sequence import AnyOrder, ContiguousSequence, RisingSequence, RisingTimes
from k2.ingestion.exchanges.binance import mapping
from k2.ingestion.exchanges.binance.kinds import KINDS, StreamKind
from k2.ingestion.exchanges.binance.names import Stream, stream_name, stream_of
from k2.ingestion.exchanges.binance.streams import Output, RowBuilder, avro_output, identity_prefix, raw_output
from unit.core.pipelines import (
    RECEIVED_AT_US,
    TOPIC,
    avro_outputs,
    decoded,
    fields_of,
    new_pipeline,
    pipeline_of,
    published_record,
    schema_of,
    trade_schema,
)

EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.market}-{kind.name}")
TRADES = [kind for kind in KINDS if kind.schema_name == "trade_v2"]
RECORD_FIELDS = ["message_id", "trade_id", "timestamp", "price", "quantity", "side", "source_sequence", "ingestion_timestamp"]
VENDOR_KEYS = ["event_time", "first_trade_id", "last_trade_id"]
OF_SYMBOL = {"symbol": "BTCUSDT", "exchange": "BINANCE", "asset_class": "crypto", "currency": "USDT"}
A_SPEC = {"kline": "kline_1m", "partialDepth": "depth5", "windowTicker": "ticker_1h", "rpiDepth": "rpiDepth@500ms"}


def _maps(kind: StreamKind) -> dict[str, Any]:
    return {"vendor_data": kind.vendor_data} if kind.vendor_data else {}


def _spec(kind: StreamKind) -> str:
    return A_SPEC.get(kind.name, kind.name)


@EVERY_KIND
def test_schema_of_a_kind_is_compiled(kind: StreamKind) -> None:
    """The fallback is for schemas to come: those that we have take the fast way."""
    compile_encoder(schema_of(kind.schema_name), constants=OF_SYMBOL | dict(kind.constants(_spec(kind))), maps=_maps(kind))


@EVERY_KIND
def test_constants_of_a_kind_are_fields_of_its_schema(kind: StreamKind) -> None:
    """A name that is not in the schema would never be written, and a fallback could not take it."""
    names = {field["name"] for field in schema_of(kind.schema_name)["fields"]}
    assert set(kind.constants(_spec(kind))) <= names
    assert set(_maps(kind)) <= names


@pytest.mark.parametrize("kind", TRADES, ids=lambda kind: f"{kind.market}-{kind.name}")
def test_arguments_are_in_the_order_in_which_the_mapping_gives_them(kind: StreamKind) -> None:
    """The mapping hands them over by position, so a schema in another order must not go unseen."""
    assert kind.vendor_data is not None
    vendor = [f"vendor_data.{key}" for key in (*VENDOR_KEYS, *kind.vendor_data.optional)]
    expected = [*RECORD_FIELDS, *vendor]
    assert parameters(trade_schema(), OF_SYMBOL | dict(mapping.CONSTANTS), {"vendor_data": kind.vendor_data}) == expected


@EVERY_KIND
def test_kind_knows_every_field_that_it_reads(kind: StreamKind) -> None:
    """An event type is strict and has no two fields of one name on the wire."""
    names = [field.encode_name for field in msgspec.structs.fields(kind.event_type)]
    assert len(names) == len(set(names))
    assert kind.event_type.__struct_config__.forbid_unknown_fields


def _structs(event_type: type[Struct]) -> list[type[Struct]]:
    inside = [field.type for field in msgspec.structs.fields(event_type)]
    return [event_type, *(part for part in inside if isinstance(part, type) and issubclass(part, Struct))]


@EVERY_KIND
def test_event_is_left_alone_by_the_garbage_collector(kind: StreamKind) -> None:
    """It holds nothing that could hold it, and there is one for every frame."""
    assert not any(part.__struct_config__.gc for part in _structs(kind.event_type))


TOPICS = {
    ("spot", "aggTrade"): ("trades", "trade_v2", ContiguousSequence, False),
    ("spot", "trade"): ("trades", "trade_v2", ContiguousSequence, False),
    ("spot", "blockTrade"): ("block-trades", "trade_v2", RisingSequence, True),
    ("spot", "kline"): ("klines", "kline_v2", ContiguousSequence, False),
    ("spot", "bookTicker"): ("quotes", "quote_v2", RisingSequence, False),
    ("spot", "depth"): ("depth", "depth_v2", ContiguousSequence, False),
    ("spot", "partialDepth"): ("books", "book_v2", RisingSequence, False),
    ("spot", "miniTicker"): ("tickers", "ticker_v2", RisingSequence, False),
    ("spot", "ticker"): ("tickers", "ticker_v2", RisingSequence, False),
    ("spot", "windowTicker"): ("tickers", "ticker_v2", RisingSequence, False),
    ("spot", "avgPrice"): ("average-prices", "average_price_v2", RisingSequence, False),
    ("spot", "referencePrice"): ("reference-prices", "reference_price_v2", RisingSequence, False),
    ("usdm", "aggTrade"): ("trades", "trade_v2", ContiguousSequence, False),
    ("usdm", "trade"): ("trades", "trade_v2", ContiguousSequence, False),
    ("usdm", "kline"): ("klines", "kline_v2", ContiguousSequence, False),
    ("usdm", "bookTicker"): ("quotes", "quote_v2", RisingSequence, False),
    ("usdm", "depth"): ("depth", "depth_v2", ContiguousSequence, False),
    ("usdm", "rpiDepth"): ("rpi-depth", "depth_v2", ContiguousSequence, False),
    ("usdm", "partialDepth"): ("books", "book_v2", RisingSequence, False),
    ("usdm", "miniTicker"): ("tickers", "ticker_v2", RisingSequence, False),
    ("usdm", "ticker"): ("tickers", "ticker_v2", RisingSequence, False),
    ("usdm", "markPrice"): ("mark-prices", "mark_price_v2", RisingSequence, False),
    ("usdm", "forceOrder"): ("liquidations", "liquidation_v2", RisingTimes, True),
}


def test_table_says_where_each_kind_goes_and_how_it_is_numbered() -> None:
    """Every public stream of market data, with its topic, its schema, its numbering, and whether silence means nothing."""
    table = {(kind.market, kind.name): (kind.topic, kind.schema_name, kind.numbering, kind.sparse) for kind in KINDS}
    assert table == TOPICS
    assert len(KINDS) == len(TOPICS)


SYMBOLS = ["BTCUSDT", "1000SATSUSDT", "BTCUSDT_260327", "牛来USDT"]
STREAM_NAMES = ["btcusdt@trade", "1000satsusdt@trade", "btcusdt_260327@trade", "牛来usdt@trade"]


@pytest.mark.parametrize(("symbol", "name"), list(zip(SYMBOLS, STREAM_NAMES, strict=True)))
def test_stream_name_is_the_symbol_in_lower_case(symbol: str, name: str) -> None:
    """As the exchange writes it in its frames, in every script."""
    assert stream_name(symbol, "trade") == name


def test_identity_begins_with_market_and_stream() -> None:
    """What tells whose records a topic holds."""
    assert identity_prefix("usdm", "aggTrade") == "binance.usdm.aggTrade."


def _table(market: str, *names: str, outputs: Any = avro_outputs, **options: Any) -> dict[bytes, Row]:
    return RowBuilder(market, lambda _: "USDT", **options).table([stream_of(market, name) for name in names], outputs)


def test_rows_are_found_by_the_name_in_the_frame() -> None:
    """One row for each stream, under its name in UTF-8."""
    rows = _table("spot", "btcusdt@trade", "牛来usdt@trade", "!miniTicker@arr")
    assert list(rows) == [b"btcusdt@trade", "牛来usdt@trade".encode(), b"!miniTicker@arr"]
    expected = [("BTCUSDT", TOPIC), ("牛来USDT", TOPIC), ("ALL", TOPIC)]
    assert [(row.symbol, row.topic) for row in rows.values()] == expected


def _trade_frame() -> bytes:
    data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": 1, "p": "1", "q": "1", "T": 1723161255342, "m": True}
    return json.dumps({"stream": "btcusdt@trade", "data": data}).encode()


def test_schema_id_is_in_front_of_every_value() -> None:
    """Confluent's framing, with the id that the registry gave."""
    rows = _table("spot", "btcusdt@trade", outputs=lambda _: [avro_output(TOPIC, trade_schema(), 2**31 + 5)])
    assert published_record(Pipeline(rows).process(_trade_frame(), RECEIVED_AT_US)).value[:5] == b"\0\x80\0\0\5"


def test_schema_that_is_not_compiled_makes_the_same_records() -> None:
    """With a type that only fastavro writes, everything works as before, more slowly."""
    fields: list[Any] = [*trade_schema()["fields"], {"name": "hash", "type": ["null", "string", "long"], "default": None}]
    schema = trade_schema() | {"fields": fields}
    stream = stream_of("spot", "btcusdt@aggTrade")
    assert stream.kind is not None
    hashed = msgspec.structs.replace(stream, kind=_with_hash(stream.kind))
    rows = RowBuilder("spot", lambda _: "USDT").table([hashed], lambda _: [avro_output(TOPIC, schema, 1)])
    data = {"e": "aggTrade", "E": 1, "s": "BTCUSDT", "a": 1, "p": "1.50", "q": "2", "f": 1, "l": 2, "T": 1723161255342, "m": True}
    frame = json.dumps({"stream": "btcusdt@aggTrade", "data": data}).encode()
    compiled = published_record(new_pipeline().process(frame, RECEIVED_AT_US))
    slow = published_record(Pipeline(rows).process(frame, RECEIVED_AT_US))
    assert slow.value == compiled.value + b"\0"
    assert decoded(compiled.value)["source_sequence"] == 1


def _with_hash(kind: StreamKind) -> StreamKind:
    def writer(encode: Encoder, id_prefix: bytes) -> Any:
        return kind.writer(lambda *fields: encode(*fields, None), id_prefix)

    return msgspec.structs.replace(kind, writer=writer)


def _two_outputs(stream: Stream) -> list[Output]:
    return [*avro_outputs(stream), raw_output("raw.test", schema_of("raw_v2"), 1)]


def test_event_may_go_to_two_topics() -> None:
    """Decoded in one and as it came in the other: one event, two records, under the same key."""
    rows = _table("spot", "btcusdt@trade", outputs=_two_outputs)
    (outcome,) = Pipeline(rows).process(_trade_frame(), RECEIVED_AT_US)
    assert isinstance(outcome, Publish)
    assert [(record.topic, record.key, record.timestamp_ms) for record in outcome.records] == [
        (TOPIC, b"BTCUSDT", 1723161255342),
        ("raw.test", b"BTCUSDT", RECEIVED_AT_US // 1_000),
    ]
    raw = fields_of(outcome.records[1].value, "raw_v2")
    assert (raw["payload"], raw["stream"]) == (_trade_frame(), "btcusdt@trade")


@pytest.mark.parametrize(("name", "is_sparse"), [("btcusdt@trade", False), ("btcusdt@blockTrade", True), ("btcusdt@odd", True)])
def test_silence_of_a_captured_stream_means_what_its_kind_says(name: str, is_sparse: bool) -> None:
    """Of a stream without a kind nothing is known, so it may be silent."""
    rows = _table("spot", name, outputs=lambda _: [raw_output("raw.test", schema_of("raw_v2"), 1)])
    assert [row.sparse for row in rows.values()] == [is_sparse]


def test_numbering_can_be_another_one() -> None:
    """Where events come again in any order, as they do in a replay."""
    rows = _table("spot", "btcusdt@trade", sequence=AnyOrder)
    first, again = (Pipeline(rows).process(_trade_frame(), RECEIVED_AT_US)[0] for _ in range(2))
    assert isinstance(first, Publish)
    assert isinstance(again, Publish)


def test_symbols_of_a_kind_share_what_is_known_of_new_fields() -> None:
    """A thousand symbols make no thousand notices, in streams of one symbol and of all together."""
    pipeline = pipeline_of("spot", ["btcusdt@miniTicker", "ethusdt@miniTicker", "!miniTicker@arr"])
    event: dict[str, Any] = {"e": "24hrMiniTicker", "E": 1723161255342} | dict.fromkeys("cohlvq", "1") | {"zz": 1}
    frames = [
        json.dumps({"stream": stream, "data": data}).encode()
        for stream, data in [
            ("btcusdt@miniTicker", event | {"s": "BTCUSDT"}),
            ("ethusdt@miniTicker", event | {"s": "ETHUSDT"}),
            ("!miniTicker@arr", [event | {"s": "BTCUSDT"}, event | {"s": "BNBUSDT"}]),
        ]
    ]
    outcomes = [outcome for frame in frames for outcome in pipeline.process(frame, RECEIVED_AT_US)]
    assert all(isinstance(outcome, Publish) for outcome in outcomes)
    assert [notice for outcome in outcomes if isinstance(outcome, Publish) for notice in outcome.notices] == [
        FieldAppeared("miniTicker", "zz")
    ]
