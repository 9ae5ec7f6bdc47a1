"""What becomes of a frame: one file for each case under tests/unit/data/payloads, in the directory of its kind of stream."""

from __future__ import annotations

import msgspec
import pytest

from k2.ingestion.core.outcome import (
    EVENT_FAILURES,
    Control,
    ControlKind,
    DeadLetter,
    FieldAppeared,
    Ignored,
    IgnoreReason,
    Outcome,
    Publish,
    Reason,
    Stage,
)
from unit.core.pipelines import DATA, RECEIVED_AT_US, TOPIC, decoded, new_pipeline, published_record

PAYLOADS = DATA / "payloads"

# The field of the record that the case is about, and what it is to be.
PUBLISHED: dict[str, tuple[str, object]] = {
    "trade_of_august_2024": ("message_id", "binance.spot.aggTrade.BTCUSDT.3118034561"),
    "raw_event": ("message_id", "binance.spot.aggTrade.BTCUSDT.3118034561"),
    "raw_event_with_white_space": ("message_id", "binance.spot.aggTrade.BTCUSDT.3118034561"),
    "raw_event_with_field_result": ("message_id", "binance.spot.aggTrade.BTCUSDT.3118034561"),
    "white_space": ("message_id", "binance.spot.aggTrade.BTCUSDT.3118034561"),
    "white_space_with_field_error": ("message_id", "binance.spot.aggTrade.BTCUSDT.3118034561"),
    "line_feed_behind": ("message_id", "binance.spot.aggTrade.BTCUSDT.3118034561"),
    "data_before_stream": ("message_id", "binance.spot.aggTrade.BTCUSDT.3118034561"),
    "other_key_order": ("message_id", "binance.spot.aggTrade.BTCUSDT.3118034561"),
    "stream_name_escaped": ("message_id", "binance.spot.aggTrade.BTCUSDT.3118034561"),
    "symbol_escaped": ("symbol", "BTCUSDT"),
    "unicode_symbol": ("message_id", "binance.spot.aggTrade.牛来USDT.3118034561"),
    "unicode_symbol_escaped": ("symbol", "牛来USDT"),
    "unicode_symbol_of_the_tests": ("symbol", "这是测试币456"),
    "unknown_field_in_data": ("source_sequence", 3118034561),
    "unknown_field_in_envelope": ("source_sequence", 3118034561),
    "unknown_field_named_result": ("source_sequence", 3118034561),
    "without_m_of_spot": ("source_sequence", 3118034561),
    "id_zero": ("trade_id", "BINANCE-0"),
    "id_int64_max": ("source_sequence", 2**63 - 1),
    "spot_trade": ("trade_id", "BINANCE-3735683259"),
    "spot_trade_with_order_ids": ("trade_id", "BINANCE-3735683259"),
    "futures_agg_trade": ("asset_class", "futures"),
    "futures_agg_trade_of_2021": ("asset_class", "futures"),
    "futures_trade": ("asset_class", "futures"),
}
NUMBERS = {
    "duplicate_key_same_value": ("quantity", "0.02000000"),
    "price_of_38_digits": ("price", "999999999999999999999999999999.99999999"),
    "price_zero": ("price", "0E-8"),
    "price_padded_with_zeros": ("price", "61837.63000000"),
}
VENDOR_DATA = {
    "event_time_negative": ("event_time", "-1"),
    "trade_ids_at_int64_limits": ("first_trade_id", str(-(2**63))),
}
DEAD = {
    (Stage.DECODE, Reason.NOT_JSON): """
        empty one_nul_byte white_space_only truncated truncated_in_escape html bom utf16 nul_byte_behind two_frames brace_missing
        single_quotes nan minus_infinity leading_zero hex_number trailing_comma comment line_feed_in_string nul_byte_in_string
        lone_surrogate_high lone_surrogate_low lone_surrogate_in_key stream_with_lone_surrogate""",
    (Stage.DECODE, Reason.NOT_UTF8): "not_utf8_price not_utf8_symbol not_utf8_stream not_utf8_surrogate not_utf8_overlong",
    (Stage.DECODE, Reason.MISSING_FIELD): """
        missing_type missing_event_time missing_symbol missing_id missing_price missing_quantity missing_first_trade_id
        missing_last_trade_id missing_trade_time missing_maker missing_data empty_data keys_in_wrong_case""",
    (Stage.DECODE, Reason.WRONG_TYPE): """
        data_array data_null data_text duplicate_key_wrong_last event_of_another_type event_type_number
        event_type_that_reads_like_an_error event_time_bool event_time_exponent event_time_float event_time_text id_null id_text
        maker_null maker_number maker_text price_number quantity_null symbol_number""",
    (Stage.DECODE, Reason.NUMBER_OUT_OF_RANGE): """
        id_negative id_above_int64 id_above_uint64 id_of_thirty_digits first_trade_id_below_int64 trade_time_above_int64
        number_beyond_a_double futures_symbol_type_above_int64""",
    (Stage.ROUTE, Reason.UNKNOWN_STREAM): """
        array array_of_all_markets text number null true empty_object stream_not_asked_for stream_in_upper_case
        stream_of_another_kind stream_number stream_null stream_empty stream_of_another_symbol symbol_of_another_stream
        symbol_in_lower_case symbol_empty raw_event_not_asked_for raw_book_ticker raw_event_with_object_as_symbol
        answer_without_result error_null""",
    (Stage.MAP, Reason.TIMESTAMP_OUT_OF_RANGE): """
        trade_time_before_2017 trade_time_at_zero trade_time_negative trade_time_in_seconds trade_time_in_microseconds
        trade_time_eleven_minutes_ahead trade_time_int64_max trade_time_int64_min""",
    (Stage.ENCODE, Reason.NUMBER_INVALID): """
        price_empty price_nan price_infinity price_negative price_plus price_exponent price_underscore price_comma price_space
        price_point price_point_first price_point_last price_hex price_full_width price_arabic price_word quantity_negative""",
    (Stage.ENCODE, Reason.NUMBER_OUT_OF_RANGE): """
        price_of_nine_decimals price_of_39_digits quantity_of_31_whole_digits price_of_200_digits""",
}
CONTROLS = {
    "ack": Control(ControlKind.ACKNOWLEDGED, 1),
    "ack_of_a_property": Control(ControlKind.ACKNOWLEDGED, 2),
    "ack_of_a_list": Control(ControlKind.ACKNOWLEDGED, 3),
    "ack_with_text_id": Control(ControlKind.ACKNOWLEDGED),
    "ack_with_bool_id": Control(ControlKind.ACKNOWLEDGED),
    "ack_without_id": Control(ControlKind.ACKNOWLEDGED),
    "refusal_nested": Control(ControlKind.REFUSED, 20, "2: Invalid request: unknown variant"),
    "refusal_bare": Control(ControlKind.REFUSED, 21, "2: Invalid request: property name must be a string"),
    "refusal_of_text": Control(ControlKind.REFUSED, 22, "too many requests"),
    "refusal_of_odd_parts": Control(ControlKind.REFUSED, 23, "<list>: <dict>"),
    "refusal_of_a_list": Control(ControlKind.REFUSED, 24, "<list>"),
    "refusal_without_id": Control(ControlKind.REFUSED, None, "3: Invalid JSON: expected value at line 1 column 1"),
    "shutdown_raw": Control(ControlKind.SERVER_SHUTDOWN),
    "shutdown_combined": Control(ControlKind.SERVER_SHUTDOWN),
}
IGNORED = {"futures_no_trade": IgnoreReason.NOT_A_TRADE}
NOTICED = {
    "unknown_field_in_data": ["zz"],
    "unknown_field_in_envelope": ["zz"],
    "unknown_field_named_result": ["result", "error"],
    "keys_in_wrong_case": ["t"],
    "raw_event_with_field_result": ["result", "code", "msg"],
    "white_space_with_field_error": ["error"],
}

FILES = {path.stem: path for path in sorted(PAYLOADS.glob("*/*.frame"))}
DEAD_CASES = [(name, stage, reason) for (stage, reason), names in DEAD.items() for name in names.split()]


def _frame(name: str) -> bytes:
    return FILES[name].read_bytes()


def _outcome(name: str) -> Outcome:
    market, _, stream = FILES[name].parent.name.partition("_")
    (outcome,) = new_pipeline(market, stream).process(_frame(name), RECEIVED_AT_US)
    return outcome


@pytest.mark.parametrize(("name", "stage", "reason"), DEAD_CASES)
def test_event_that_cannot_be_published_is_a_dead_letter(name: str, stage: Stage, reason: Reason) -> None:
    """Each has its stage, its reason, a text that says more, and the frame byte for byte."""
    letter = _outcome(name)
    assert isinstance(letter, DeadLetter)
    assert (letter.stage, letter.reason) == (stage, reason), letter.error
    assert letter.payload == _frame(name)
    assert letter.error
    assert len(letter.error) < 300


@pytest.mark.parametrize("name", [*PUBLISHED, *NUMBERS, *VENDOR_DATA])
def test_event_that_is_sound_is_published(name: str) -> None:
    """However the exchange spells it, a sound event makes one record, and what matters of it arrives."""
    record = decoded(published_record((_outcome(name),)).value)
    if name in PUBLISHED:
        field, expected = PUBLISHED[name]
        assert record[field] == expected
    elif name in NUMBERS:
        field, text = NUMBERS[name]
        assert str(record[field]) == text
    else:
        key, text = VENDOR_DATA[name]
        assert record["vendor_data"][key] == text


@pytest.mark.parametrize("name", FILES)
def test_only_unknown_fields_are_noticed(name: str) -> None:
    """A lone frame opens no gap, and every unknown field of a published one is noticed."""
    outcome = _outcome(name)
    notices = () if isinstance(outcome, Control) else outcome.notices
    assert list(notices) == [FieldAppeared("aggTrade", field) for field in NOTICED.get(name, [])]


@pytest.mark.parametrize(("name", "control"), CONTROLS.items())
def test_frame_of_the_protocol_is_a_control(name: str, control: Control) -> None:
    """Answers in both of the exchange's forms and announcements in both framings are read, with the id where it is ours."""
    assert _outcome(name) == control


@pytest.mark.parametrize(("name", "reason"), IGNORED.items())
def test_event_that_is_none_is_ignored(name: str, reason: IgnoreReason) -> None:
    """The futures stream sends frames without a trade in them."""
    assert _outcome(name) == Ignored(reason)


def test_every_file_is_a_case_and_every_case_has_a_file() -> None:
    """No payload lies about unused."""
    cases = [name for name, _, _ in DEAD_CASES] + [*PUBLISHED, *NUMBERS, *VENDOR_DATA, *CONTROLS, *IGNORED]
    assert sorted(cases) == sorted(FILES)


def test_dead_letters_of_events_are_a_closed_set() -> None:
    """The combinations of stage and reason that are promised are those that there are payloads for."""
    assert sorted(DEAD) == sorted(EVENT_FAILURES)


@pytest.mark.parametrize("name", ["price_nan", "trade_time_at_zero", "missing_price", "symbol_of_another_stream"])
def test_dead_letter_of_a_known_stream_says_whose_it_is(name: str) -> None:
    """Stream, symbol and topic are known from the frame's head, whatever the rest is."""
    letter = _outcome(name)
    assert isinstance(letter, DeadLetter)
    assert (letter.stream, letter.symbol, letter.topic) == ("btcusdt@aggTrade", "BTCUSDT", TOPIC)


def test_dead_letter_of_a_raw_event_holds_the_frame_that_was_received() -> None:
    """An event without its envelope is wrapped on the way; nobody gets to see that."""
    frame = _frame("raw_event").replace(b"61837.63000000", b"NaN")
    (letter,) = new_pipeline().process(frame, RECEIVED_AT_US)
    assert isinstance(letter, DeadLetter)
    assert (letter.payload, letter.reason) == (frame, Reason.NUMBER_INVALID)


@pytest.mark.parametrize(
    ("traded_at_ms", "is_published"),
    [
        (1_483_228_799_999, False),
        (1_483_228_800_000, True),
        (RECEIVED_AT_US // 1_000 + 600_000, True),
        (RECEIVED_AT_US // 1_000 + 600_001, False),
    ],
)
def test_times_from_2017_to_ten_minutes_ahead_are_published(traded_at_ms: int, is_published: bool) -> None:
    """Both ends belong to the range."""
    frame = _frame("trade_of_august_2024").replace(b'"T":1723161255342', b'"T":%d' % traded_at_ms)
    (outcome,) = new_pipeline().process(frame, RECEIVED_AT_US)
    assert isinstance(outcome, Publish) is is_published


def test_record_is_ready_to_be_produced() -> None:
    """Topic, key, the exchange's time as timestamp, and no header on a live record."""
    record = published_record((_outcome("unicode_symbol"),))
    assert (record.topic, record.key, record.timestamp_ms) == (TOPIC, "牛来USDT".encode(), 1_723_161_255_342)
    assert record.headers is None


def _huge_frames() -> dict[str, bytes]:
    frame, digits = _frame("trade_of_august_2024"), b"9" * 1_000_000
    return {
        "digits-alone": digits,
        "digits-as-id": frame.replace(b'"a":3118034561', b'"a":' + digits),
        "digits-as-price": frame.replace(b"61837.63000000", digits),
        "digits-as-symbol": frame.replace(b'"BTCUSDT"', b'"' + digits + b'"'),
        "digits-as-number-in-symbol": frame.replace(b'"BTCUSDT"', digits),
        "digits-in-raw-event": b'{"s":' + digits + b',"e":"aggTrade"}',
        "digits-as-error": b'{"error":' + digits + b"}",
        "digits-as-request-id": b'{"result":null,"id":' + digits + b"}",
        "digits-as-stream": frame.replace(b'"btcusdt@aggTrade"', digits),
        "stream-name": frame.replace(b"btcusdt@aggTrade", b"x" * 1_000_000),
        "no-quote": b"x" * 1_000_000,
        "white-space": b" " * 1_000_000,
    }


@pytest.mark.parametrize(("_", "frame"), _huge_frames().items(), ids=list(_huge_frames()))
def test_enormous_frame_is_a_dead_letter_with_a_short_text(_: str, frame: bytes) -> None:
    """A megabyte where a few bytes are expected is refused like anything else, and kept exactly."""
    (letter,) = new_pipeline().process(frame, RECEIVED_AT_US)
    assert isinstance(letter, DeadLetter)
    assert letter.payload is frame
    assert len(letter.error) + len(letter.stream) < 1_000


# Python gives up at 1,000 levels, those of the callers included.
DEPTHS = [10, *range(850, 1_010), 100_000]


@pytest.mark.parametrize(
    "pattern",
    [
        '{"s":%s}',
        '{"s":%s,"e":"aggTrade"}',
        '{"e":%s,"s":"BTCUSDT"}',
        '{"error":%s}',
        '{"error":{"code":%s}}',
        '{"stream":%s}',
        '{"id":%s,"result":0}',
        "%s",
    ],
)
def test_nesting_of_any_depth_has_an_outcome(pattern: str) -> None:
    """Around the depth at which Python gives up, something can be read that can no longer be printed."""
    pipeline = new_pipeline()
    for depth in DEPTHS:
        for nested in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
            assert len(pipeline.process((pattern % nested).encode(), RECEIVED_AT_US)) == 1


def test_deep_nesting_in_an_unknown_field_has_an_outcome() -> None:
    """The same inside a frame that is all right otherwise."""
    for depth in DEPTHS:
        frame = _frame("trade_of_august_2024").replace(b'"M":true', b'"M":true,"zz":' + b"[" * depth + b"]" * depth)
        (outcome,) = new_pipeline().process(frame, RECEIVED_AT_US)
        if not isinstance(outcome, Publish):
            assert isinstance(outcome, DeadLetter)
            assert (outcome.reason, outcome.payload) == (Reason.NOT_JSON, frame)


def test_outcomes_can_be_told_apart_by_their_type() -> None:
    """The shell does so, one `is` each."""
    names = ["trade_of_august_2024", "empty", "futures_no_trade", "ack"]
    assert [type(_outcome(name)) for name in names] == [Publish, DeadLetter, Ignored, Control]
    assert all(isinstance(_outcome(name), msgspec.Struct) for name in names)
