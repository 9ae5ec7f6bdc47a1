"""
Frames of real connections: every quote, order book, candle and trade arrives field by field.

What must be there is said by an oracle of json, Decimal and fastavro that shares no code with what is tested.
"""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from k2.ingestion.core.outcome import GapOpened, Ignored, IgnoreReason, Notice, Outcome, Publish, Record
from k2.ingestion.core.pipeline import Pipeline
from unit.core import recordings
from unit.core.pipelines import fields_of, pipeline_of

pytestmark = pytest.mark.skipif(
    not recordings.are_there(), reason="the recordings of real connections are not beside the repository"
)

SCHEMAS = {
    "bookTicker": "quote_v2", "depth@100ms": "depth_v2", "depth@0ms": "depth_v2", "kline_1m": "kline_v2", "trade": "trade_v2",
    "aggTrade": "trade_v2",
}  # fmt: skip
# How many frames of each kind of stream a recording holds.
FRAMES = {
    "spot_btcusdt_20240808.gz": {"bookTicker": 28_040, "depth@100ms": 3_451, "trade": 9_757},
    "usdm_btcusdt_20240808.gz": {"bookTicker": 66_089, "depth@0ms": 6_551, "trade": 21_313},
    "spot_multi_20211012.txt": {"bookTicker": 84, "depth@100ms": 177, "kline_1m": 2, "aggTrade": 2},
    "usdm_multi_20210722.txt": {"bookTicker": 613, "depth@100ms": 764, "kline_1m": 67, "aggTrade": 91},
}
EVERY_RECORDING = pytest.mark.parametrize("name", recordings.RECORDINGS)
ASSET_CLASSES = {"spot": "crypto", "usdm": "futures"}


def _common(market: str, stream: str, symbol: str, ident: object) -> dict[str, Any]:
    return {
        "message_id": f"binance.{market}.{stream}.{symbol}.{ident}",
        "symbol": symbol,
        "exchange": "BINANCE",
        "asset_class": ASSET_CLASSES[market],
        "currency": "USDT",
    }


def _quote(event: dict[str, Any], received_at_us: int) -> dict[str, Any]:
    numbers = {"bid_price": "b", "bid_quantity": "B", "ask_price": "a", "ask_quantity": "A"}
    is_futures = "e" in event
    return {
        **{name: Decimal(event[key]) for name, key in numbers.items()},
        "source_sequence": event["u"],
        "timestamp": event["T"] * 1_000 if is_futures else received_at_us,
        "event_timestamp": event["E"] * 1_000 if is_futures else None,
        "vendor_data": {"event_type": "bookTicker"} if is_futures else None,
    }


def _depth(event: dict[str, Any], _received_at_us: int) -> dict[str, Any]:
    is_futures = "pu" in event
    sides = {
        name: [{"price": Decimal(price), "quantity": Decimal(quantity)} for price, quantity in event[key]]
        for name, key in (("bids", "b"), ("asks", "a"))
    }
    return {
        "first_update_id": event["U"],
        "final_update_id": event["u"],
        "previous_update_id": event.get("pu"),
        **sides,
        "timestamp": event.get("T", event["E"]) * 1_000,
        "event_timestamp": event["E"] * 1_000,
        "vendor_data": {"event_type": "depthUpdate"} if is_futures else None,
    }


def _candle(event: dict[str, Any], _received_at_us: int) -> dict[str, Any]:
    candle = event["k"]
    numbers = {
        "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "quote_volume": "q", "taker_buy_volume": "V",
        "taker_buy_quote_volume": "Q",
    }  # fmt: skip
    return {
        **{name: Decimal(candle[key]) for name, key in numbers.items()},
        "interval": candle["i"],
        "time_zone": "UTC",
        "open_time": candle["t"] * 1_000,
        "close_time": candle["T"] * 1_000,
        "trade_count": candle["n"],
        "first_trade_id": None if candle["f"] == -1 else candle["f"],
        "last_trade_id": None if candle["L"] == -1 else candle["L"],
        "is_closed": candle["x"],
        "timestamp": event["E"] * 1_000,
    }


def _trade(event: dict[str, Any], _received_at_us: int) -> dict[str, Any]:
    kind = event["e"]
    number = event["a"] if kind == "aggTrade" else event["t"]
    first, last = (event["f"], event["l"]) if kind == "aggTrade" else (number, number)
    vendor = {"event_type": kind, "event_time": event["E"], "first_trade_id": first, "last_trade_id": last}
    vendor |= {"X": event["X"]} if "X" in event else {}
    return {
        "trade_id": f"BINANCE-{number}",
        "price": Decimal(event["p"]),
        "quantity": Decimal(event["q"]),
        "side": "SELL" if event["m"] else "BUY",
        "trade_conditions": [],
        "source_sequence": number,
        "platform_sequence": None,
        "timestamp": event["T"] * 1_000,
        "vendor_data": {key: str(value) for key, value in vendor.items()},
    }


ORACLES = {"quote_v2": _quote, "depth_v2": _depth, "kline_v2": _candle, "trade_v2": _trade}


def _number(stream: str, event: dict[str, Any]) -> str:
    if stream.startswith("kline"):
        return f"{event['k']['t']}.{event['E']}"
    return str(event["a"] if stream == "aggTrade" else event["t"] if stream == "trade" else event["u"])


def _symbol(event: dict[str, Any]) -> str:
    symbol: str = event["s"]
    return symbol


def _expected(market: str, stream: str, event: dict[str, Any], received_at_us: int) -> dict[str, Any]:
    said = ORACLES[SCHEMAS[stream]](event, received_at_us)
    return {**_common(market, stream, _symbol(event), _number(stream, event)), **said, "ingestion_timestamp": received_at_us}


def _names(name: str) -> list[str]:
    *_, symbols, _ = recordings.RECORDINGS[name]
    return [f"{symbol.lower()}@{stream}" for symbol in symbols for stream in FRAMES[name]]


def _pipeline(name: str, *, updates: bool) -> Pipeline:
    return pipeline_of(recordings.RECORDINGS[name][0], _names(name), updates=updates)


def _published(outcomes: tuple[Outcome, ...], frame: bytes) -> Record:
    (outcome,) = outcomes
    assert isinstance(outcome, Publish), (outcome, frame)
    assert outcome.notices == (), frame
    (record,) = outcome.records
    return record


@EVERY_RECORDING
def test_recorded_frames_arrive_field_by_field(name: str) -> None:
    """All of them, under their key and the time that they happened at, and nothing is noticed but what repeats."""
    market = recordings.RECORDINGS[name][0]
    pipeline, counts = _pipeline(name, updates=True), Counter[str]()
    for recorded in recordings.frames_of(name):
        frame = json.loads(recorded.frame)
        stream, event = frame["stream"].partition("@")[2], frame["data"]
        record = _published(pipeline.process(recorded.frame, recorded.received_at_us), recorded.frame)
        fields = fields_of(record.value, SCHEMAS[stream])
        assert fields == _expected(market, stream, event, recorded.received_at_us)
        assert (record.key, record.timestamp_ms) == (_symbol(event).encode(), fields["timestamp"] // 1_000)
        counts[stream] += 1
    assert counts == FRAMES[name]


@EVERY_RECORDING
def test_recorded_streams_have_no_hole(name: str) -> None:
    """Order books on spot and on futures, trades and quotes: every event follows the one before."""
    pipeline = _pipeline(name, updates=True)
    for recorded in recordings.frames_of(name):
        pipeline.process(recorded.frame, recorded.received_at_us)
    assert [row.stream for row in pipeline.rows if row.sequence.gaps or row.sequence.ids_missing] == []
    assert sum(row.published for row in pipeline.rows) == sum(FRAMES[name].values())


def test_hole_in_a_recorded_order_book_is_seen() -> None:
    """Where one frame is left out, the ids that it covered are missing."""
    name, opened = "usdm_btcusdt_20240808.gz", list[Notice]()
    pipeline = pipeline_of("usdm", ["btcusdt@depth@0ms"])
    changes = [recorded for recorded in recordings.frames_of(name) if b'@depth@0ms"' in recorded.frame[:40]][:100]
    for recorded in changes[:50] + changes[51:]:
        (outcome,) = pipeline.process(recorded.frame, recorded.received_at_us)
        assert isinstance(outcome, Publish)
        opened += list(outcome.notices)
    missing = json.loads(changes[50].frame)["data"]
    assert opened == [GapOpened("depth@0ms", "BTCUSDT", missing["pu"] + 1, missing["u"])]


@pytest.mark.parametrize("name", [name for name, frames in FRAMES.items() if "kline_1m" in frames])
def test_recorded_candles_are_published_once_they_are_closed(name: str) -> None:
    """Where updates are not asked for, an open candle is left out and a closed one comes under its own number."""
    market = recordings.RECORDINGS[name][0]
    pipeline, published = _pipeline(name, updates=False), []
    for recorded in recordings.frames_of(name):
        if b'@kline_1m"' not in recorded.frame[:60]:
            continue
        event = json.loads(recorded.frame)["data"]
        (outcome,) = pipeline.process(recorded.frame, recorded.received_at_us)
        if not event["k"]["x"]:
            assert outcome == Ignored(IgnoreReason.OPEN_CANDLE)
            continue
        assert isinstance(outcome, Publish)
        published.append(fields_of(outcome.records[0].value, "kline_v2")["message_id"])
        assert published[-1] == f"binance.{market}.kline_1m.{event['s']}.{event['k']['t']}"
    assert len(published) == len(set(published))


def test_every_recording_is_read() -> None:
    """None lies about unused."""
    assert set(FRAMES) == set(recordings.RECORDINGS)
