"""Every kind of stream but the trades': the record that a documented frame makes, field by field, and the way back."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import UNSET, Struct

from k2.ingestion.core.outcome import DeadLetter, FieldAppeared, Ignored, Publish, Reason, Stage
from k2.ingestion.exchanges.binance.kinds import KINDS
from unit.core.pipelines import fields_of, published_record
from unit.exchanges.goldens import GOLDENS, Golden, as_numbers, event_of, frame_with, in_words, kind_for, pipeline_for

EVERY_GOLDEN = pytest.mark.parametrize("golden", GOLDENS.values(), ids=list(GOLDENS))
TRADES = {"aggTrade", "trade"}  # their vectors lie with the data of all unit tests
# What no record keeps of an event: a field of candles that means nothing, and where the change began that ends in a book.
NOT_KEPT = {"kline_v2": {"B"}, "book_v2": {"U", "pu"}}


def _fields(golden: Golden, event: Any) -> dict[str, Any]:
    outcomes = pipeline_for(golden).process(frame_with(golden["stream"], event), golden["received_at_us"])
    fields: dict[str, Any] = in_words(fields_of(published_record(outcomes).value, golden["schema"]))
    return fields


@EVERY_GOLDEN
def test_documented_frame_makes_the_record(golden: Golden) -> None:
    """Every field, in the schema's order, with the record's key and its Kafka timestamp."""
    record = published_record(pipeline_for(golden).process(golden["frame"].encode(), golden["received_at_us"]))
    fields = in_words(fields_of(record.value, golden["schema"]))
    assert fields == golden["record"]
    assert kind_for(golden).schema_name == golden["schema"]
    assert record.key is not None
    assert (record.key.decode(), record.timestamp_ms) == (golden["key"], golden["timestamp_ms"])
    assert record.headers is None


@EVERY_GOLDEN
def test_record_happened_when_kafka_says(golden: Golden) -> None:
    """Retention and reads by time count from the record's own `timestamp`."""
    assert golden["record"]["timestamp"] // 1_000 == golden["timestamp_ms"]


def test_there_is_a_golden_frame_for_every_kind() -> None:
    """A kind that is added brings one."""
    covered = {(golden["market"], kind_for(golden).name) for golden in GOLDENS.values()}
    assert covered == {(kind.market, kind.name) for kind in KINDS if kind.name not in TRADES}


def _original(golden: Golden) -> dict[str, Any]:
    outcomes = pipeline_for(golden).process(golden["frame"].encode(), golden["received_at_us"])
    return kind_for(golden).original(fields_of(published_record(outcomes).value, golden["schema"]))


@EVERY_GOLDEN
def test_record_gives_the_event_back(golden: Golden) -> None:
    """Under the exchange's own keys, with what the record keeps of it, equal as numbers."""
    original, event = as_numbers(_original(golden)), as_numbers(event_of(golden))
    gone = NOT_KEPT.get(golden["schema"], set())
    if golden["schema"] == "liquidation_v2":  # what stood beside the order comes back inside it, where the wire has it
        event["o"] |= {key: event.pop(key) for key in ("ps", "st") if key in event}
    if golden["schema"] == "kline_v2":
        event["k"] = {key: value for key, value in event["k"].items() if key not in gone}
    assert original == {key: value for key, value in event.items() if key not in gone}


@EVERY_GOLDEN
def test_event_that_was_given_back_makes_the_same_record(golden: Golden) -> None:
    """A record that could not be delivered can be processed once more."""
    again = _fields(golden, _original(golden))
    assert again == golden["record"]


def _optional_keys(event_type: type[Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(event_type) if field.default is UNSET}


OPTIONAL = {
    ("spot", "kline"): set(),
    ("usdm", "bookTicker"): {"ps", "st"},
    ("usdm", "depth"): {"ps", "st"},
    ("usdm", "rpiDepth"): {"ps", "st"},
    ("usdm", "partialDepth"): {"ps", "st", "U", "pu"},
    ("usdm", "miniTicker"): {"ps", "st"},
    ("usdm", "ticker"): {"ps", "st"},
    ("usdm", "markPrice"): {"ps", "st", "ap"},
    ("usdm", "forceOrder"): {"ps", "st"},
}


NO_TRADES = [kind for kind in KINDS if kind.name not in TRADES]


@pytest.mark.parametrize("kind", NO_TRADES, ids=lambda kind: f"{kind.market}-{kind.name}")
def test_only_what_may_lack_is_optional(kind: Any) -> None:
    """What the exchange added in 2026 is absent from older frames; everything else is always there."""
    assert _optional_keys(kind.event_type) == OPTIONAL.get((kind.market, kind.name), set())


@EVERY_GOLDEN
def test_missing_field_is_a_dead_letter(golden: Golden) -> None:
    """Each field that is required is missed by its name."""
    event, optional = event_of(golden), _optional_keys(kind_for(golden).event_type)
    for key in event:
        frame = frame_with(golden["stream"], {name: value for name, value in event.items() if name != key})
        (outcome,) = pipeline_for(golden).process(frame, golden["received_at_us"])
        if key in optional:
            assert isinstance(outcome, Publish), key
        else:
            assert isinstance(outcome, DeadLetter), key
            assert (outcome.stage, outcome.reason, outcome.payload) == (Stage.DECODE, Reason.MISSING_FIELD, frame)
            assert f"`{key}`" in outcome.error


@EVERY_GOLDEN
def test_optional_fields_may_all_be_absent(golden: Golden) -> None:
    """Then they are absent from `vendor_data`, or null, and all else is as it was."""
    optional = _optional_keys(kind_for(golden).event_type)
    fields = _fields(golden, {key: value for key, value in event_of(golden).items() if key not in optional})
    expected = json.loads(json.dumps(golden["record"]))
    if "ap" in optional:
        expected["average_mark_price"] = None
    for key in optional & (expected.get("vendor_data") or {}).keys() & event_of(golden).keys():
        del expected["vendor_data"][key]
    assert fields == expected


@EVERY_GOLDEN
def test_new_field_is_noticed_once(golden: Golden) -> None:
    """Under the name of its kind of stream, and the event is published all the same."""
    pipeline, kind = pipeline_for(golden), kind_for(golden)
    frame = frame_with(golden["stream"], event_of(golden) | {"zz": {"deep": [1]}})
    first, again = (pipeline.process(frame, golden["received_at_us"])[0] for _ in range(2))
    assert isinstance(first, Publish)
    assert first.notices == (FieldAppeared(kind.name, "zz"),)
    assert isinstance(again, Publish | Ignored)
    assert again.notices == ()


@pytest.mark.parametrize(("name", "key"), [("usdm_force_order", "o"), ("spot_kline_1m", "k"), ("usdm_kline_1m", "k")])
def test_new_field_inside_an_event_is_tolerated(name: str, key: str) -> None:
    """The exchange adds some of its fields there."""
    golden = GOLDENS[name]
    event = event_of(golden)
    assert _fields(golden, event | {key: event[key] | {"zz": 1}}) == golden["record"]


NOT_NEGATIVE = [
    ("spot_block_trade", "p"), ("spot_block_trade", "q"), ("spot_book_ticker", "b"), ("spot_book_ticker", "A"),
    ("usdm_book_ticker", "a"), ("spot_mini_ticker", "c"), ("spot_ticker_falling", "w"), ("spot_ticker_falling", "x"),
    ("spot_ticker_1h", "v"), ("usdm_ticker", "Q"), ("spot_avg_price", "w"), ("spot_reference_price", "r"),
    ("usdm_mark_price_1s", "p"), ("usdm_mark_price_1s", "ap"), ("usdm_mark_price_1s", "i"), ("usdm_mark_price_1s", "P"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "key"), NOT_NEGATIVE)
def test_negative_price_or_quantity_is_a_dead_letter(name: str, key: str) -> None:
    """Only changes and rates may be negative."""
    golden = GOLDENS[name]
    frame = frame_with(golden["stream"], event_of(golden) | {key: "-1.5"})
    (letter,) = pipeline_for(golden).process(frame, golden["received_at_us"])
    assert isinstance(letter, DeadLetter)
    assert (letter.stage, letter.reason) == (Stage.ENCODE, Reason.NUMBER_INVALID)
    assert "'-1.5' is no plain decimal number" in letter.error


@pytest.mark.parametrize("name", ["spot_depth", "usdm_depth", "spot_partial_depth", "usdm_partial_depth_10_500ms"])
@pytest.mark.parametrize("level", [["-1", "1"], ["1", "-1"], ["1", "NaN"]])
def test_wrong_number_in_a_level_is_a_dead_letter(name: str, level: list[str]) -> None:
    """One level that makes no sense makes none of the book, and the letter says on which side."""
    golden = GOLDENS[name]
    key = "bids" if "bids" in event_of(golden) else "b"
    frame = frame_with(golden["stream"], event_of(golden) | {key: [["1", "1"], level]})
    (letter,) = pipeline_for(golden).process(frame, golden["received_at_us"])
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.error.partition(":")[0]) == (Reason.NUMBER_INVALID, "bids")


@pytest.mark.parametrize("level", [["1"], ["1", "1", []], "1", {"price": "1"}, [1, 2], None])
def test_level_that_is_no_pair_of_texts_is_a_dead_letter(level: Any) -> None:
    """Nothing is guessed about the shape of a level."""
    golden = GOLDENS["spot_depth"]
    (letter,) = pipeline_for(golden).process(
        frame_with(golden["stream"], event_of(golden) | {"a": [level]}), golden["received_at_us"]
    )
    assert isinstance(letter, DeadLetter)
    assert (letter.stage, letter.reason) == (Stage.DECODE, Reason.WRONG_TYPE)


@pytest.mark.parametrize(("name", "ids"), [("spot_depth", {"U": 161}), ("usdm_depth", {"pu": 9123107837557})])
def test_updates_that_run_backwards_are_a_dead_letter(name: str, ids: dict[str, int]) -> None:
    """They would spoil the numbering, and nobody could apply them."""
    golden = GOLDENS[name]
    (letter,) = pipeline_for(golden).process(frame_with(golden["stream"], event_of(golden) | ids), golden["received_at_us"])
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.WRONG_TYPE
    assert "run backwards" in letter.error


BOUNDS = [2**63 // 1000 + 1, -(2**63 // 1000) - 1, 2**63 - 1, -(2**63)]
TIMES = [
    ("usdm_book_ticker", "E"), ("usdm_depth", "E"), ("usdm_partial_depth_10_500ms", "E"), ("spot_ticker_falling", "O"),
    ("spot_ticker_1h", "C"), ("spot_avg_price", "T"), ("usdm_mark_price_1s", "T"), ("usdm_force_order", "E"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "key"), TIMES)
@pytest.mark.parametrize("time_ms", BOUNDS)
def test_time_that_fits_no_long_in_microseconds_is_a_dead_letter(name: str, key: str, time_ms: int) -> None:
    """Every time of an event, not only the one that it happened at."""
    golden = GOLDENS[name]
    frame = frame_with(golden["stream"], event_of(golden) | {key: time_ms})
    (letter,) = pipeline_for(golden).process(frame, golden["received_at_us"])
    assert isinstance(letter, DeadLetter)
    assert (letter.stage, letter.reason) == (Stage.DECODE, Reason.NUMBER_OUT_OF_RANGE)


@pytest.mark.parametrize("name", ["usdm_force_order", "usdm_force_order_as_modelled"])
def test_side_of_a_liquidation_is_one_of_two(name: str) -> None:
    """What is neither is a dead letter and no guess."""
    golden = GOLDENS[name]
    event = event_of(golden)
    frame = frame_with(golden["stream"], event | {"o": event["o"] | {"S": "BOTH"}})
    (letter,) = pipeline_for(golden).process(frame, golden["received_at_us"])
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.WRONG_TYPE


POSITIVE = [("usdm_mark_price_1s", "r", "funding_rate"), ("spot_ticker_falling", "p", "price_change")]


@pytest.mark.parametrize(("name", "key", "field"), POSITIVE)
@pytest.mark.parametrize("text", ["0.00010000", "0", "-0.00000001", "-30000"])
def test_change_or_rate_has_either_sign(name: str, key: str, field: str, text: str) -> None:
    """Exactly as the exchange sent it."""
    golden = GOLDENS[name]
    fields = _fields(golden, event_of(golden) | {key: text})
    assert as_numbers(fields[field]) == as_numbers(text)
