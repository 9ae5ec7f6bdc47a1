"""Streams of all symbols: each element of a frame stands or falls for itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from k2.ingestion.core.outcome import DeadLetter, FieldAppeared, Ignored, IgnoreReason, Outcome, Publish, Reason, Stage
from unit.core.pipelines import TOPIC, fields_of, pipeline_of, published_record
from unit.exchanges.goldens import GOLDENS, Golden, event_of, frame_with, in_words, pipeline_for

# The stream of all symbols, the golden frame of one symbol, and whether a frame holds an array or one event.
STREAMS = {
    "spot-mini-ticker": ("!miniTicker@arr", "spot_mini_ticker", True),
    "spot-ticker-1h": ("!ticker_1h@arr", "spot_ticker_1h", True),
    "spot-ticker-4h": ("!ticker_4h@arr", "spot_ticker_4h", True),
    "spot-ticker-1d": ("!ticker_1d@arr", "spot_ticker_1d", True),
    "usdm-book-ticker": ("!bookTicker", "usdm_book_ticker", False),
    "usdm-mini-ticker": ("!miniTicker@arr", "usdm_mini_ticker", True),
    "usdm-ticker": ("!ticker@arr", "usdm_ticker", True),
    "usdm-mark-price-1s": ("!markPrice@arr@1s", "usdm_mark_price_1s", True),
    "usdm-mark-price": ("!markPrice@arr", "usdm_mark_price_without_funding", True),
    "usdm-force-order": ("!forceOrder@arr", "usdm_force_order", False),
    "usdm-force-order-as-modelled": ("!forceOrder@arr", "usdm_force_order_as_modelled", False),
}
CASES = pytest.mark.parametrize(
    ("stream", "golden", "is_array"),
    [(stream, GOLDENS[name], is_array) for stream, name, is_array in STREAMS.values()],
    ids=list(STREAMS),
)
ARRAYS = pytest.mark.parametrize(
    ("stream", "golden"),
    [(stream, GOLDENS[name]) for stream, name, is_array in STREAMS.values() if is_array],
    ids=[case for case, (*_, is_array) in STREAMS.items() if is_array],
)
FUTURES = pytest.mark.parametrize(
    ("stream", "golden", "is_array"),
    [(stream, GOLDENS[name], is_array) for stream, name, is_array in STREAMS.values() if name.startswith("usdm")],
    ids=[case for case in STREAMS if case.startswith("usdm")],
)


def _with_symbol(event: dict[str, Any], symbol: str) -> dict[str, Any]:
    if "o" in event and isinstance(event["o"], dict):
        return event | {"o": event["o"] | {"s": symbol}}
    return event | {"s": symbol}


def _coin_m(event: dict[str, Any], symbol: str = "BTCUSD_PERP") -> dict[str, Any]:
    event = _with_symbol(event, symbol)
    if "o" in event and isinstance(event["o"], dict) and "st" in event["o"]:
        return event | {"o": event["o"] | {"st": 2}}
    return event | {"st": 2}


def _process(stream: str, golden: Golden, data: Any) -> tuple[Outcome, ...]:
    return pipeline_for(golden, stream).process(frame_with(stream, data), golden["received_at_us"])


@CASES
def test_element_makes_the_record_of_its_symbols_own_stream(stream: str, golden: Golden, is_array: bool) -> None:
    """Field by field, under the same message_id and key, whichever of the two streams brought it."""
    event = event_of(golden)
    record = published_record(_process(stream, golden, [event] if is_array else event))
    assert in_words(fields_of(record.value, golden["schema"])) == golden["record"]
    assert (record.topic, record.key, record.timestamp_ms) == (TOPIC, golden["key"].encode(), golden["timestamp_ms"])


@ARRAYS
def test_every_element_is_an_event(stream: str, golden: Golden) -> None:
    """In their order, each under its own symbol, in whatever script."""
    symbols = ["BTCUSDT", "牛来USDT", "这是测试币456", "1000SATSUSDT", "BTCUSDT_260925"]
    outcomes = _process(stream, golden, [_with_symbol(event_of(golden), symbol) for symbol in symbols])
    records = [published_record((outcome,)) for outcome in outcomes]
    assert [record.key for record in records] == [symbol.encode() for symbol in symbols]
    assert [fields_of(record.value, golden["schema"])["symbol"] for record in records] == symbols


@ARRAYS
def test_broken_element_is_one_dead_letter(stream: str, golden: Golden) -> None:
    """Its payload is a frame with that element alone; the others are published."""
    event = event_of(golden)
    broken = {key: value for key, value in _with_symbol(event, "ETHUSDT").items() if key != "E"}
    outcomes = _process(stream, golden, [_with_symbol(event, "BNBUSDT"), broken, event])
    assert [type(outcome) for outcome in outcomes] == [Publish, DeadLetter, Publish]
    letter = outcomes[1]
    assert isinstance(letter, DeadLetter)
    assert (letter.stage, letter.reason) == (Stage.DECODE, Reason.MISSING_FIELD)
    assert json.loads(letter.payload) == {"stream": stream, "data": broken}
    assert (letter.stream, letter.symbol, letter.topic) == (stream, "ETHUSDT", TOPIC)


@ARRAYS
def test_dead_letter_of_an_element_can_be_processed_again(stream: str, golden: Golden) -> None:
    """Its payload goes the way of any frame of the stream: into the same letter while it is broken."""
    broken = _with_symbol(event_of(golden), "ETHUSDT") | {"E": "no time"}
    (letter,) = _process(stream, golden, [broken])
    assert isinstance(letter, DeadLetter)
    (again,) = pipeline_for(golden, stream).process(letter.payload, golden["received_at_us"])
    assert again == letter


NO_ELEMENTS: list[tuple[Any, Reason]] = [
    (None, Reason.WRONG_TYPE), (1, Reason.WRONG_TYPE), ("x", Reason.WRONG_TYPE), ([], Reason.WRONG_TYPE),
    ({}, Reason.UNKNOWN_STREAM), ({"s": ""}, Reason.UNKNOWN_STREAM), ({"s": 5}, Reason.WRONG_TYPE),
]  # fmt: skip


@pytest.mark.parametrize(("element", "reason"), NO_ELEMENTS)
def test_element_that_is_no_event_is_a_dead_letter(element: Any, reason: Reason) -> None:
    """Whatever it is, those beside it are published."""
    golden = GOLDENS["spot_mini_ticker"]
    letter, published = _process("!miniTicker@arr", golden, [element, event_of(golden)])
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.symbol) == (reason, "")
    assert json.loads(letter.payload) == {"stream": "!miniTicker@arr", "data": element}
    assert isinstance(published, Publish)


def test_array_without_elements_is_ignored() -> None:
    """Nothing changed, and the frame is still accounted for."""
    assert _process("!miniTicker@arr", GOLDENS["spot_mini_ticker"], []) == (Ignored(IgnoreReason.EMPTY),)


@FUTURES
def test_contract_of_coin_m_is_left_out(stream: str, golden: Golden, is_array: bool) -> None:
    """Streams of all symbols carry both markets since June 2026, and a quantity of the other is a number of contracts."""
    event = _coin_m(event_of(golden))
    assert _process(stream, golden, [event] if is_array else event) == (Ignored(IgnoreReason.OTHER_MARKET),)


@FUTURES
def test_contracts_of_both_markets_are_told_apart(stream: str, golden: Golden, is_array: bool) -> None:
    """What says that it is USD-M, or says nothing as frames did before, is published."""
    events = [_coin_m(event_of(golden)), event_of(golden), _with_symbol(event_of(golden), "ETHUSDT")]
    pipeline = pipeline_for(golden, stream)
    frames = [frame_with(stream, events)] if is_array else [frame_with(stream, event) for event in events]
    outcomes = [outcome for frame in frames for outcome in pipeline.process(frame, golden["received_at_us"])]
    assert [type(outcome) for outcome in outcomes] == [Ignored, Publish, Publish]
    assert [(row.published, row.ignored) for row in pipeline.rows] == [(2, 1)]


@ARRAYS
def test_symbols_of_an_array_are_numbered_apart(stream: str, golden: Golden) -> None:
    """The same time for two symbols is no repetition; the same for one is."""
    pipeline, event = pipeline_for(golden, stream), event_of(golden)
    data = [event, _with_symbol(event, "ETHUSDT"), event]
    outcomes = pipeline.process(frame_with(stream, data), golden["received_at_us"])
    assert [type(outcome) for outcome in outcomes] == [Publish, Publish, Ignored]
    assert outcomes[2] == Ignored(IgnoreReason.DUPLICATE)


@ARRAYS
def test_new_field_of_an_element_is_noticed_once(stream: str, golden: Golden) -> None:
    """Not once a symbol, and not once a frame."""
    pipeline, event = pipeline_for(golden, stream), event_of(golden) | {"zz": 1}
    first = pipeline.process(frame_with(stream, [event, _with_symbol(event, "ETHUSDT")]), golden["received_at_us"])
    later = pipeline.process(frame_with(stream, [_with_symbol(event, "BNBUSDT")]), golden["received_at_us"])
    notices = [notice for outcome in first + later if isinstance(outcome, Publish) for notice in outcome.notices]
    assert [notice.field for notice in notices if isinstance(notice, FieldAppeared)] == ["zz"]
    assert all(isinstance(outcome, Publish) for outcome in first + later)


def test_currency_of_each_element_is_that_of_its_symbol() -> None:
    """Looked up when a symbol comes for the first time."""
    golden, quotes = GOLDENS["spot_mini_ticker"], {"ETHBTC": "BTC", "BTCFDUSD": "FDUSD"}
    asked: list[str] = []

    def quote_asset(symbol: str) -> str:
        asked.append(symbol)
        return quotes[symbol]

    pipeline = pipeline_of("spot", ["!miniTicker@arr"], quote_asset)
    frame = frame_with("!miniTicker@arr", [_with_symbol(event_of(golden), symbol) for symbol in quotes])
    outcomes = pipeline.process(frame, golden["received_at_us"]) + pipeline.process(frame, golden["received_at_us"])
    records = [published_record((outcome,)) for outcome in outcomes[:2]]
    assert [fields_of(record.value, "ticker_v2")["currency"] for record in records] == ["BTC", "FDUSD"]
    assert asked == list(quotes)
