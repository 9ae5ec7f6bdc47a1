"""What a record must say, told by the audit's oracle, against everything else that tells it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.audit.comparison import differences
from k2.audit.oracle import Expected, NoRecordError, expected_record, message_in
from unit.audit_topics import agg_trade, events_in, frame_of, recording_of, topic_of
from unit.core.pipelines import DATA, RECEIVED_AT_US, SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GOLDEN = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((DATA / "golden").glob("*.json"))}
NOT_DETERMINED = {"currency", "ingestion_timestamp"}
KINDS = ["spot_aggTrade", "spot_trade", "usdm_aggTrade", "usdm_trade"]
# Refused for being in the future of the moment at which it was received, which a recording does not tell.
OF_THE_MOMENT = {"trade_time_eleven_minutes_ahead"}


def payloads(kind: str) -> dict[str, bytes]:
    """The payload files that a recording can hold: frames on one line that begin as combined ones do."""
    files = {path.stem: path.read_bytes() for path in sorted((DATA / "payloads" / kind).glob("*.frame"))}
    return {name: frame for name, frame in files.items() if frame.startswith(b'{"stream":') and b"\n" not in frame}


PAYLOADS = [
    pytest.param(kind, frame, id=f"{kind}-{name}")
    for kind in KINDS
    for name, frame in payloads(kind).items()
    if name not in OF_THE_MOMENT and frame.rstrip().endswith(b"}")
]


def as_read(record: Mapping[str, Any]) -> dict[str, Any]:
    """A golden record as a reader of Avro gives it, of the fields that an event determines."""
    read = {
        **record,
        "timestamp": EPOCH + timedelta(microseconds=record["timestamp"]),
        "price": Decimal(record["price"]),
        "quantity": Decimal(record["quantity"]),
    }
    return {name: value for name, value in read.items() if name not in NOT_DETERMINED}


@pytest.mark.parametrize("golden", GOLDEN.values(), ids=list(GOLDEN))
def test_golden_frames_must_make_the_golden_records(golden: dict[str, Any]) -> None:
    """Two ways that share no code say the same of every golden vector, key and Kafka timestamp included."""
    _, event = message_in(golden["frame"].encode())
    record = golden["record"]
    assert expected_record(event, golden["market"], golden["stream"]) == Expected(
        record["message_id"], golden["key"].encode(), golden["timestamp_ms"], as_read(record)
    )


@pytest.mark.parametrize(("kind", "frame"), PAYLOADS)
def test_the_client_and_the_oracle_take_the_same_frames(kind: str, frame: bytes, tmp_path: Path) -> None:
    """Whatever the payload: either both make the same record of it, or neither makes any."""
    market, stream = kind.split("_")
    recorded = events_in(recording_of(tmp_path / "recording", [frame, frame_of(agg_trade(1), "x@y")]), market, stream)
    records = topic_of([frame], market, stream, SYMBOLS)
    assert set(recorded.events) == {record.fields["message_id"] for record in records if record.fields}
    for record in records:
        assert record.fields
        assert list(differences(recorded.expected(record.fields["message_id"]), record)) == []


@given(
    st.integers(0, 2**63 - 1),
    st.integers(1_483_228_800_000, RECEIVED_AT_US // 1_000),
    st.integers(0, 10**38 - 1),
    st.integers(0, 8),
    st.booleans(),
)
def test_the_client_and_the_oracle_make_the_same_of_any_trade(
    exchange_id: int, at_ms: int, unscaled: int, decimals: int, buyer_is_maker: bool
) -> None:
    """Ids, times and numbers to the ends of their ranges, however the exchange pads them."""
    digits = f"{unscaled:039d}"
    price = f"{digits[:-8]}.{digits[-8:]}"
    quantity = str(unscaled % 10**30) if decimals == 0 else f"{unscaled % 10**20}.{'0' * decimals}"
    event = agg_trade(exchange_id, p=price, q=quantity, T=at_ms, E=at_ms, f=0, l=1, m=buyer_is_maker)
    (record,) = topic_of([frame_of(event)])
    assert list(differences(expected_record(event, "spot", "aggTrade"), record)) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"p": "0.123456789"}, "38 digits"),
        ({"q": "1" * 31}, "38 digits"),
        ({"p": "1e5"}, "no plain number"),
        ({"p": "-1"}, "no plain number"),
        ({"p": 1}, "p is 1, which is no str"),
        ({"a": True}, "a is True, which is no int"),
        ({"a": -1}, "cannot be"),
        ({"a": 2**63}, "no int"),
        ({"T": 0}, "cannot be"),
        ({"T": 10**17}, "cannot be"),
        ({"e": "trade"}, "of the type 'trade'"),
        ({"m": None}, "m is None"),
    ],
)
def test_what_no_record_can_be_made_of(changes: dict[str, Any], told: str) -> None:
    """The client makes a dead letter of it, so the topic need not hold it."""
    with pytest.raises(NoRecordError, match=told):
        expected_record(agg_trade(7, **changes), "spot", "aggTrade")


@pytest.mark.parametrize(
    "frame", [b"", b"[]", b"{}", b'{"stream":1,"data":{}}', b'{"stream":"a","data":[]}', b'"\\ud800"', b"\xff"]
)
def test_what_is_no_frame(frame: bytes) -> None:
    """Anything but an object with a stream's name and an event."""
    with pytest.raises(NoRecordError, match="no combined frame"):
        message_in(frame)


def test_frames_that_are_no_trade_are_no_events(tmp_path: Path) -> None:
    """The futures trade stream sends some; spot's of the same kind would be trades."""
    trade = {
        "e": "trade",
        "E": 1_723_161_255_342,
        "T": 1_723_161_255_342,
        "s": "BTCUSDT",
        "t": 7,
        "p": "0",
        "q": "0",
        "X": "NA",
        "m": True,
    }
    recording = recording_of(tmp_path / "recording", [frame_of(trade)])
    assert events_in(recording, "usdm", "trade").events == {}
    assert list(events_in(recording, "spot", "trade").events) == ["binance.spot.trade.BTCUSDT.7"]


def test_events_of_a_recording(tmp_path: Path) -> None:
    """Those of the stream and the symbols, each once and in order; what cannot be published is counted, the rest left out."""
    frames = [
        frame_of(agg_trade(1)),
        frame_of(agg_trade(1, "ETHUSDT")),
        frame_of(agg_trade(2)),
        frame_of(agg_trade(1, p="9.00000000")),  # comes again, other than before: the first one counts
        frame_of(agg_trade(3, p="NaN")),
        frame_of(agg_trade(4, "ETHUSDT"), "btcusdt@aggTrade"),
        frame_of(agg_trade(5), "btcusdt@depth"),
    ]
    recording = recording_of(tmp_path / "recording", frames)
    every = events_in(recording)
    assert list(every.events) == [
        "binance.spot.aggTrade.BTCUSDT.1", "binance.spot.aggTrade.ETHUSDT.1", "binance.spot.aggTrade.BTCUSDT.2",
    ]  # fmt: skip
    assert every.symbols == {"BTCUSDT", "ETHUSDT"}
    assert every.unpublishable == 2
    assert every.expected("binance.spot.aggTrade.BTCUSDT.1").fields["price"] == Decimal("60001.5")
    assert events_in(recording, symbols=["ETHUSDT"]).symbols == {"ETHUSDT"}
