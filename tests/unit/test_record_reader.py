"""What a record tells about itself, long after its frame is gone: for dead letters of records that could not be delivered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.core.outcome import Record
from k2.ingestion.core.rows import Destination, RawRow
from k2.ingestion.exchanges.binance.layouts import LAYOUTS, layout_output
from k2.ingestion.exchanges.binance.names import stream_of
from k2.ingestion.exchanges.binance.streams import RowBuilder, Subject, raw_output
from k2.ingestion.record_reader import NOTHING, RecordReader
from k2.ingestion.topic_plan import RAW, TopicPlan
from unit.core.pipelines import TOPIC, published_record, schema_of
from unit.exchanges.goldens import GOLDENS, Golden, as_numbers, event_of, kind_for, pipeline_for

RECEIVED_AT_US = 1_790_000_000_123_456
EVERY_GOLDEN = pytest.mark.parametrize("golden", GOLDENS.values(), ids=GOLDENS)


def reader(market: str, schema_name: str, *streams: str, layout: str = "avro") -> RecordReader:
    plan = TopicPlan(name=TOPIC, streams=streams or ("*",), layout=layout, schema_name=schema_name)
    return RecordReader(market, {TOPIC: plan}, {TOPIC: schema_of(schema_name)} if schema_name else {})


def golden_record(golden: Golden) -> Record:
    return published_record(pipeline_for(golden).process(golden["frame"].encode(), RECEIVED_AT_US))


@EVERY_GOLDEN
def test_every_kind_is_shown_under_the_exchanges_keys(golden: Golden) -> None:
    """Stream, time of receipt and message; what the record has no field for is not there, and what is there is true."""
    kind, stream = kind_for(golden), stream_of(golden["market"], golden["stream"])
    told = reader(golden["market"], kind.schema_name).told_by(golden_record(golden))
    assert (told.stream, told.received_at_us) == (stream.spec, RECEIVED_AT_US)
    assert told.original_message
    event = as_numbers(_first(event_of(golden)))
    assert _holds(event, as_numbers(told.original_message)), (event, told.original_message)


def _first(event: Any) -> Any:
    """The one event, or the first of an array. What stands beside a forced order stands inside it on the wire."""
    event = event[0] if isinstance(event, list) else event
    order = event.get("o")
    beside = {key: event[key] for key in ("ps", "st") if key in event}
    return {**event, "o": {**beside, **order}} if isinstance(order, dict) else event


def _holds(event: Any, shown: Any) -> bool:
    """Whether all that is shown stands in the event as well."""
    if isinstance(shown, dict):
        return all(key in event and _holds(event[key], value) for key, value in shown.items())
    return bool(event == shown)


@pytest.mark.parametrize("layout", ["event", "envelope"])
def test_json_is_shown_without_what_we_added(layout: str) -> None:
    """The exchange's message as it came, and the stream where the topic has one only."""
    data = {"e": "trade", "E": 1_790_000_000_000, "s": "BTCUSDT", "t": 7, "p": "1.5", "q": "2", "T": 1_790_000_000_000, "m": True}
    row = RowBuilder("spot", lambda _: "USDT").row(
        stream_of("spot", "btcusdt@trade"), [layout_output(TOPIC, LAYOUTS[layout], keyed=True)]
    )
    frame = json.dumps({"stream": "btcusdt@trade", "data": data}).encode()
    record = published_record(row.process(frame, RECEIVED_AT_US))
    told = reader("spot", "", "trade", layout=layout).told_by(record)
    assert (told.stream, told.original_message) == ("trade", data)
    assert reader("spot", "", "trade", "aggTrade", layout=layout).told_by(record).stream == ""


def test_a_captured_frame_is_shown_by_what_is_in_it() -> None:
    """With the name of its stream, known to us or not."""
    output = raw_output(TOPIC, schema_of("raw_v2"), 1)
    write = output.writer(Subject("spot", "odd", "BTCUSDT", "USDT"))
    row = RawRow("btcusdt@odd", "BTCUSDT", [Destination(TOPIC, b"BTCUSDT", write)])
    frame = b'{"stream":"btcusdt@odd","data":{"e":"odd","s":"BTCUSDT"}}'
    told = reader("spot", "raw_v2", layout=RAW).told_by(published_record(row.process(frame, RECEIVED_AT_US)))
    assert (told.stream, told.original_message) == ("btcusdt@odd", {"e": "odd", "s": "BTCUSDT"})
    assert told.received_at_us == RECEIVED_AT_US


@given(st.binary(max_size=200), st.sampled_from(["avro", RAW, "event", "candle", "futures-quote"]))
def test_whatever_the_bytes_it_never_raises(value: bytes, layout: str) -> None:
    """It runs inside librdkafka's callback."""
    schema_name = {"avro": "quote_v2", RAW: "raw_v2"}.get(layout, "")
    reader("spot", schema_name, layout=layout).told_by(Record(TOPIC, None, value, 0))


def test_a_topic_that_is_not_ours_tells_nothing() -> None:
    """As long as the schemas are not known it is so with all of them."""
    assert RecordReader("spot", {}, {}).told_by(Record("other", b"X", b"\0\0\0\0\1", 0)) == NOTHING
