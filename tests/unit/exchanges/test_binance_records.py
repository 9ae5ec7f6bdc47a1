"""From Binance's events to TradeV2: golden vectors, real recordings, Confluent's reader, and the way back."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.ingestion.core.outcome import Publish
from k2.ingestion.exchanges.binance.mapping import original_message
from unit.core import recordings
from unit.core.pipelines import DATA, TOPIC, decoded, fields_of, new_pipeline, published_record, trade_schema

GOLDEN = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((DATA / "golden").glob("*.json"))}
GOLDEN_CASES = pytest.mark.parametrize("golden", GOLDEN.values(), ids=list(GOLDEN))
DECIMALS = ("price", "quantity")
TIMES = ("timestamp", "ingestion_timestamp")
STREAMS = [("spot", "aggTrade"), ("spot", "trade"), ("spot", "blockTrade"), ("usdm", "aggTrade"), ("usdm", "trade")]


def _fields(value: bytes) -> dict[str, Any]:
    """A record with its times in microseconds."""
    return fields_of(value, "trade_v2")


def _expected(golden: dict[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = golden["record"]
    return record | {name: Decimal(record[name]) for name in DECIMALS}


def _process(golden: dict[str, Any], frame: bytes | None = None) -> Any:
    pipeline = new_pipeline(golden["market"], golden["stream"], (golden["symbol"],), lambda _: golden["currency"])
    return published_record(pipeline.process(frame or golden["frame"].encode(), golden["received_at_us"]))


@GOLDEN_CASES
def test_golden_frame_makes_the_golden_record(golden: dict[str, Any]) -> None:
    """What consumers read today they read tomorrow: value, key and timestamp, byte for byte."""
    record = _process(golden)
    assert record.value.hex() == golden["value_hex"]
    assert (record.key.decode(), record.timestamp_ms) == (golden["key"], golden["timestamp_ms"])


@GOLDEN_CASES
def test_golden_value_decodes_into_the_golden_fields(golden: dict[str, Any]) -> None:
    """The vectors say in words what their bytes say."""
    value = bytes.fromhex(golden["value_hex"])
    assert _fields(value) == _expected(golden)
    assert list(_fields(value)["vendor_data"]) == list(golden["record"]["vendor_data"])
    assert value[:5] == b"\0" + golden["schema_id"].to_bytes(4, "big")


@pytest.fixture(scope="module")
def deserializer() -> Any:
    """Confluent's own reader, with the schema in its in-process registry."""
    registry = SchemaRegistryClient.new_client({"url": "mock://records"})
    registered = registry.register_schema(f"{TOPIC}-value", Schema(json.dumps(trade_schema()), "AVRO"))
    assert registered == 1
    return AvroDeserializer(registry, conf={"subject.name.strategy.type": "TOPIC"})


@GOLDEN_CASES
def test_confluent_reads_our_records(golden: dict[str, Any], deserializer: Any) -> None:
    """The usual consumer finds the schema by the id in front, and gets exact decimals."""
    record = deserializer(_process(golden).value, SerializationContext(TOPIC, MessageField.VALUE))
    expected = _expected(golden)
    assert [record[name] for name in DECIMALS] == [expected[name] for name in DECIMALS]
    assert {name: record[name] for name in record if name not in TIMES} == {
        name: value for name, value in expected.items() if name not in TIMES
    }
    assert [round(record[name].timestamp() * 1e6) for name in TIMES] == [expected[name] for name in TIMES]


def _rebuilt_frame(golden: dict[str, Any], record: dict[str, Any]) -> bytes:
    data = original_message(record)
    return json.dumps({"stream": f"{data['s'].lower()}@{golden['stream']}", "data": data}, separators=(",", ":")).encode()


@GOLDEN_CASES
def test_message_that_is_rebuilt_makes_the_same_record(golden: dict[str, Any]) -> None:
    """A dead letter of a record can be processed again: every field comes out as it was."""
    again = _process(golden, _rebuilt_frame(golden, _expected(golden)))
    assert again.value.hex() == golden["value_hex"]


@pytest.mark.parametrize("vendor_data", [None, {}])
def test_message_is_rebuilt_without_vendor_data_too(vendor_data: dict[str, str] | None) -> None:
    """A record of somebody else's making may lack it: what is known is given, the rest is empty."""
    record = _expected(GOLDEN["spot_agg_trade"]) | {"vendor_data": vendor_data}
    assert original_message(record) == {
        "e": "", "E": 0, "s": "BTCUSDT", "p": "61837.63000000", "q": "0.02000000", "T": 1723161255342, "m": True, "a": 3118034561,
        "f": -1, "l": -1,
    }  # fmt: skip


LONGS = st.integers(-(2**63), 2**63 - 1)
IDS = st.integers(0, 2**63 - 1)
TEXTS = st.integers(0, 10**38 - 1).map(lambda unscaled: f"{unscaled // 10**8}.{unscaled % 10**8:08d}")
TRADED_AT_MS = st.integers(1_483_228_800_000, 4_102_444_800_000)


@st.composite
def _events(draw: st.DrawFn) -> tuple[str, str, dict[str, Any]]:
    """Market, stream and any sound event of it, under the exchange's keys."""
    market, stream = draw(st.sampled_from(STREAMS))
    fields: dict[str, Any] = {"E": LONGS, "p": TEXTS, "q": TEXTS, "T": TRADED_AT_MS, "m": st.booleans()}
    fields |= {"a": IDS, "f": LONGS, "l": LONGS} if stream == "aggTrade" else {"t": IDS}
    extras: dict[str, Any] = {} if stream == "blockTrade" else {"M": st.booleans()}
    if market == "usdm":
        extras = {"st": LONGS} | (
            {"nq": st.text()} if stream == "aggTrade" else {"X": st.text().filter(lambda text: text != "NA")}
        )
    return market, stream, {"e": stream, "s": "BTCUSDT"} | draw(st.fixed_dictionaries(fields, optional=extras))


@settings(max_examples=300)
@given(_events())
def test_any_sound_event_arrives_field_by_field(event_of: tuple[str, str, dict[str, Any]]) -> None:
    """Whatever the values, the record says what the event said, and rebuilding the event loses nothing but what is not kept."""
    market, stream, event = event_of
    frame = json.dumps({"stream": f"btcusdt@{stream}", "data": event}).encode()
    received_at_us = event["T"] * 1_000 + 5
    record = published_record(new_pipeline(market, stream).process(frame, received_at_us))
    fields = _fields(record.value)
    assert fields == _expected_fields(market, stream, event, received_at_us)
    assert original_message(fields) == {key: value for key, value in event.items() if key != "M"}
    assert (record.key, record.timestamp_ms) == (b"BTCUSDT", event["T"])


def _expected_fields(market: str, stream: str, event: dict[str, Any], received_at_us: int) -> dict[str, Any]:
    """TradeV2 as the contract has it, written down once more."""
    number = event["a"] if stream == "aggTrade" else event["t"]
    first, last = (event["f"], event["l"]) if stream == "aggTrade" else (number, number)
    vendor = {"event_type": stream, "event_time": event["E"], "first_trade_id": first, "last_trade_id": last}
    vendor |= {key: event[key] for key in ("nq", "X", "st") if key in event}
    return {
        "message_id": f"binance.{market}.{stream}.{event['s']}.{number}",
        "trade_id": f"BINANCE-{number}",
        "symbol": event["s"],
        "exchange": "BINANCE",
        "asset_class": {"spot": "crypto", "usdm": "futures"}[market],
        "timestamp": event["T"] * 1_000,
        "price": Decimal(event["p"]),
        "quantity": Decimal(event["q"]),
        "currency": "USDT",
        "side": "SELL" if event["m"] else "BUY",
        "trade_conditions": [],
        "source_sequence": number,
        "ingestion_timestamp": received_at_us,
        "platform_sequence": None,
        "vendor_data": {key: str(value) for key, value in vendor.items()},
    }


def test_currency_is_that_of_the_symbol() -> None:
    """Each symbol's quote asset is looked up once, when its row is built."""
    quotes = {"ETHBTC": "BTC", "BTCFDUSD": "FDUSD", "BTCJPY": "JPY"}
    pipeline = new_pipeline("spot", "trade", tuple(quotes), quotes.__getitem__)
    template = '{"stream":"%s@trade","data":{"e":"trade","E":1,"s":"%s","t":1,"p":"1","q":"1","T":1723161255342,"m":true}}'
    frames = [(template % (symbol.lower(), symbol)).encode() for symbol in quotes]
    records = [published_record(pipeline.process(frame, 1_723_161_255_342_000)) for frame in frames]
    assert {decoded(record.value)["symbol"]: decoded(record.value)["currency"] for record in records} == quotes


@pytest.mark.skipif(not recordings.are_there(), reason="the recordings of real connections are not beside the repository")
@pytest.mark.parametrize("name", recordings.RECORDINGS)
def test_recorded_trades_arrive_field_by_field(name: str) -> None:
    """Every trade of a real connection is published with all that it said, its ids follow each other, and nothing is noticed."""
    market, stream, symbols, count = recordings.RECORDINGS[name]
    pipeline = new_pipeline(market, stream, symbols)
    published = 0
    for recorded in recordings.frames_of(name):
        if f'@{stream}"'.encode() not in recorded.frame[:60]:
            continue
        (outcome,) = pipeline.process(recorded.frame, recorded.received_at_us)
        assert isinstance(outcome, Publish), outcome
        assert outcome.notices == ()
        event = json.loads(recorded.frame)["data"]
        assert _fields(outcome.records[0].value) == _expected_fields(market, stream, event, recorded.received_at_us)
        published += 1
    assert published == count
    assert all(row.sequence.gaps == [] for row in pipeline.rows)
