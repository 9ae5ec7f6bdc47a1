"""The layouts with fields of their own, field by field: candle, futures-kline, futures-quote."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.core.outcome import DeadLetter, Ignored, IgnoreReason, Publish, Reason, Stage
from k2.ingestion.exchanges.binance.kinds import KINDS
from k2.ingestion.exchanges.binance.layouts import LAYOUTS
from unit.exchanges.layouts_shown import RECEIVED_AT_US, TOPIC, framed, new_row, outcomes_of, record_of, shown

KLINE = {
    "e": "kline", "E": 1677000000010, "s": "BTCUSDT",
    "k": {
        "t": 1676998200000, "T": 1676999999999, "s": "BTCUSDT", "i": "30m", "f": 100, "L": 199, "o": "24800.10000000",
        "c": "24850.00000000", "h": "24900.00000000", "l": "24790.25000000", "v": "1000.50000000", "n": 100, "x": True,
        "q": "24850000.75000000", "V": "500.25000000", "Q": "12425000.00000000", "B": "0",
    },
}  # fmt: skip
FUTURES_QUOTE = {
    "e": "bookTicker", "u": 400900217, "s": "BNBUSDT", "ps": "BNBUSDT", "b": "25.35190000", "B": "31.21000000",
    "a": "25.36520000", "A": "40.66000000", "T": 1677000000012, "E": 1677000000014, "st": 1,
}  # fmt: skip
SPOT_QUOTE = {key: FUTURES_QUOTE[key] for key in ("u", "s", "b", "B", "a", "A")}

CANDLE_KEYS = [
    "open_time", "open", "high", "low", "close", "volume", "quote_asset_volume", "number_of_trades",
    "taker_buy_base_asset_volume", "taker_buy_quote_asset_volume", "symbol", "interval", "ingested_at",
]  # fmt: skip
FUTURES_KLINE_KEYS = [
    "symbol", "interval", "open", "high", "close", "low", "klineClosed", "volume", "numTrades", "startTime", "closeTime",
]  # fmt: skip
FUTURES_QUOTE_KEYS = [
    "update_id", "symbol", "bestbidprice", "bestbidqty", "bestaskprice", "bestaskqty", "eventtime", "transactiontime",
]  # fmt: skip

NO_PLAIN_NUMBERS = [
    "", "nan", "NaN", "inf", "-inf", "Infinity", "1e5", "1_000", " 1", "1 ", "1\n", "-1", "+1", ".5", "1.", "0x10",
    "\u0661", "1,5",
]  # fmt: skip
PLAIN_NUMBERS = st.from_regex(r"[0-9]{1,40}(\.[0-9]{1,40})?", fullmatch=True, alphabet=st.characters(codec="ascii"))


def kline(symbol: str = "BTCUSDT", **fields: Any) -> str:
    candle = {**KLINE["k"], "s": symbol, **fields}  # type: ignore[dict-item]
    return json.dumps({**KLINE, "s": symbol, "k": candle}, ensure_ascii=False)


def test_a_candle_reads_field_by_field_as_its_model_builds_it() -> None:
    """Thirteen keys in the document's order: floats from text, integers as they are, the time of receipt in ISO 8601."""
    value = shown("candle", "btcusdt@kline_30m", kline())
    assert value == {
        "open_time": 1676998200000,
        "open": 24800.1,
        "high": 24900.0,
        "low": 24790.25,
        "close": 24850.0,
        "volume": 1000.5,
        "quote_asset_volume": 24850000.75,
        "number_of_trades": 100,
        "taker_buy_base_asset_volume": 500.25,
        "taker_buy_quote_asset_volume": 12425000.0,
        "symbol": "BTCUSDT",
        "interval": "30m",
        "ingested_at": "2023-02-21T17:20:00.123456+00:00",
    }
    assert list(value) == CANDLE_KEYS


def test_a_candle_has_floats_even_for_whole_numbers_and_integers_for_counts() -> None:
    """A reader that tells 1000.0 from 1000 gets what the document's float() and int() give."""
    value = shown("candle", "btcusdt@kline_30m", kline(v="1000", o="0", q="007.50"))
    types = {name: type(value[name]) for name in CANDLE_KEYS}
    integers, texts = {"open_time", "number_of_trades"}, {"symbol", "interval", "ingested_at"}
    assert types == {name: int if name in integers else str if name in texts else float for name in CANDLE_KEYS}
    assert (value["volume"], value["open"], value["quote_asset_volume"]) == (1000.0, 0.0, 7.5)


@pytest.mark.parametrize("received_at_us", [RECEIVED_AT_US, 1_677_000_000_000_000, 1_677_000_000_000_001, 1_677_000_000_100_000])
def test_a_candle_tells_its_receipt_as_pythons_isoformat_does(received_at_us: int) -> None:
    """`datetime.now(timezone.utc).isoformat()` is the document's form, which leaves out a fraction of zero."""
    (outcome,) = new_row("candle", "btcusdt@kline_30m").process(framed("btcusdt@kline_30m", kline()), received_at_us)
    assert isinstance(outcome, Publish)
    received_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=received_at_us)
    assert json.loads(outcome.records[0].value)["ingested_at"] == received_at.isoformat()


@given(PLAIN_NUMBERS)
def test_every_plain_number_becomes_the_nearest_finite_float(text: str) -> None:
    """Whatever the size, what a reader gets is what float() makes of the exchange's text."""
    close = shown("candle", "btcusdt@kline_30m", kline(c=text))["close"]
    assert math.isfinite(close)
    assert close == float(text)


@pytest.mark.parametrize("layout", ["candle", "futures-kline"])
@pytest.mark.parametrize("text", NO_PLAIN_NUMBERS)
@pytest.mark.parametrize("field", ["o", "v"])
def test_a_candle_with_a_text_that_is_no_plain_number_becomes_a_dead_letter(layout: str, text: str, field: str) -> None:
    """Neither NaN nor null nor a guess gets into the topic."""
    (outcome,) = outcomes_of(layout, "btcusdt@kline_30m", kline(**{field: text}))
    assert isinstance(outcome, DeadLetter)
    assert (outcome.stage, outcome.reason) == (Stage.ENCODE, Reason.NUMBER_INVALID)
    assert outcome.error == f"candle: {text!r} is no plain decimal number"


@pytest.mark.parametrize("field", ["b", "B", "a", "A"])
@pytest.mark.parametrize("text", NO_PLAIN_NUMBERS)
def test_a_quote_with_a_text_that_is_no_plain_number_becomes_a_dead_letter(text: str, field: str) -> None:
    """Each of its four numbers is checked."""
    (outcome,) = outcomes_of("futures-quote", "bnbusdt@bookTicker", json.dumps({**SPOT_QUOTE, field: text}))
    assert isinstance(outcome, DeadLetter)
    assert outcome.reason is Reason.NUMBER_INVALID


@pytest.mark.parametrize("layout", ["candle", "futures-kline"])
def test_a_number_beyond_all_reason_is_out_of_range(layout: str) -> None:
    """A double would be infinite, and a reader choke on a megabyte of digits."""
    (outcome,) = outcomes_of(layout, "btcusdt@kline_30m", kline(h="9" * 400))
    assert isinstance(outcome, DeadLetter)
    assert outcome.reason is Reason.NUMBER_OUT_OF_RANGE


@pytest.mark.parametrize("layout", ["candle", "futures-kline"])
def test_a_candle_that_is_still_open_is_left_out(layout: str) -> None:
    """Closed ones are what is wanted unless a row is told otherwise."""
    assert outcomes_of(layout, "btcusdt@kline_30m", kline(x=False)) == (Ignored(IgnoreReason.OPEN_CANDLE),)


def test_a_futures_kline_reads_field_by_field_as_its_readers_expect() -> None:
    """Eleven keys: prices and volume as the exchange's text, a boolean, numbers for count and times; the volume is the base's."""
    value = shown("futures-kline", "btcusdt@kline_30m", kline(), "usdm")
    assert value == {
        "symbol": "BTCUSDT",
        "interval": "30m",
        "open": "24800.10000000",
        "high": "24900.00000000",
        "close": "24850.00000000",
        "low": "24790.25000000",
        "klineClosed": True,
        "volume": "1000.50000000",
        "numTrades": 100,
        "startTime": 1676998200000,
        "closeTime": 1676999999999,
    }
    assert list(value) == FUTURES_KLINE_KEYS


def test_a_futures_quote_reads_field_by_field_as_its_model_builds_it() -> None:
    """Eight keys in the document's order, numbers as the exchange's text."""
    value = shown("futures-quote", "bnbusdt@bookTicker", json.dumps(FUTURES_QUOTE), "usdm")
    assert value == {
        "update_id": 400900217,
        "symbol": "BNBUSDT",
        "bestbidprice": "25.35190000",
        "bestbidqty": "31.21000000",
        "bestaskprice": "25.36520000",
        "bestaskqty": "40.66000000",
        "eventtime": 1677000000014,
        "transactiontime": 1677000000012,
    }
    assert list(value) == FUTURES_QUOTE_KEYS


def test_a_quote_of_spot_has_null_for_both_times() -> None:
    """Spot sends no time with a quote, and none is made up."""
    value = shown("futures-quote", "bnbusdt@bookTicker", json.dumps(SPOT_QUOTE))
    assert (value["eventtime"], value["transactiontime"]) == (None, None)
    assert list(value) == FUTURES_QUOTE_KEYS


@pytest.mark.parametrize("layout", ["candle", "futures-kline"])
def test_a_unicode_symbol_stays_as_it_is(layout: str) -> None:
    """In the value as in the key."""
    record = record_of(layout, "这是测试币456@kline_1m", kline("这是测试币456", i="1m"))
    assert json.loads(record.value)["symbol"] == "这是测试币456"
    assert record.key == "这是测试币456".encode()


def same_numbers(value: Any) -> Any:
    """The same value with decimal text made comparable."""
    if isinstance(value, dict):
        return {key: same_numbers(item) for key, item in value.items()}
    return Decimal(value) if isinstance(value, str) and value[:1].isdigit() and value[-1:].isdigit() else value


@pytest.mark.parametrize(
    ("layout", "market", "name", "data", "keys"),
    [
        ("candle", "spot", "btcusdt@kline_30m", KLINE, ("t", "s", "i", "o", "h", "l", "c", "v", "q", "V", "Q", "n")),
        ("futures-kline", "usdm", "btcusdt@kline_30m", KLINE, ("t", "T", "s", "i", "o", "c", "h", "l", "v", "n", "x")),
    ],
)
def test_a_candles_message_comes_back_under_the_exchanges_keys(
    layout: str, market: str, name: str, data: dict[str, Any], keys: tuple[str, ...]
) -> None:
    """What a value holds of the candle, and no more, with equal numbers."""
    original = LAYOUTS[layout].original(shown(layout, name, json.dumps(data), market))
    assert same_numbers(original) == same_numbers(
        {"e": "kline", "s": data["s"], "k": {key: data["k"][key] for key in keys}},
    )


@pytest.mark.parametrize(("text", "back"), [("0.00000001", "0.00000001"), ("123456789012345678", "123456789012345680")])
def test_a_candles_number_comes_back_as_plain_text(text: str, back: str) -> None:
    """Without an exponent, and with no more digits than the float had."""
    original = LAYOUTS["candle"].original(shown("candle", "btcusdt@kline_30m", kline(o=text)))
    assert Decimal(original["k"]["o"]) == Decimal(back)
    assert "e" not in original["k"]["o"].lower()


@pytest.mark.parametrize(("market", "data"), [("spot", SPOT_QUOTE), ("usdm", FUTURES_QUOTE)])
def test_a_quotes_message_comes_back_under_the_exchanges_keys(market: str, data: dict[str, Any]) -> None:
    """All but what the layout has no field for: of spot, nothing is missing."""
    original = LAYOUTS["futures-quote"].original(shown("futures-quote", "bnbusdt@bookTicker", json.dumps(data), market))
    assert original == {key: value for key, value in data.items() if key not in {"ps", "st"}}


def test_records_go_to_the_layouts_topic_under_their_symbol() -> None:
    """With the exchange's time as theirs."""
    record = record_of("candle", "btcusdt@kline_30m", kline())
    assert (record.topic, record.key, record.timestamp_ms) == (TOPIC, b"BTCUSDT", 1677000000010)


def test_every_layout_is_found_by_its_own_name_and_shows_kinds_that_exist() -> None:
    """No layout asks for a kind that the stream table lacks."""
    assert list(LAYOUTS) == ["candle", "event", "envelope", "futures-kline", "futures-quote"]
    assert all(name == layout.name and layout.meaning for name, layout in LAYOUTS.items())
    assert {kind for layout in LAYOUTS.values() for kind in layout.kinds} <= {kind.name for kind in KINDS}
