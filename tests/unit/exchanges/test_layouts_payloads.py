"""The layouts that carry the exchange's own message, byte for byte: event and envelope."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.core.outcome import DeadLetter, FieldAppeared, Publish
from k2.ingestion.core.rows import Row, Writer
from k2.ingestion.exchanges.binance.kinds import KINDS, kind_of
from k2.ingestion.exchanges.binance.layouts import LAYOUTS, layout_output
from k2.ingestion.exchanges.binance.names import stream_of
from k2.ingestion.exchanges.binance.streams import RowBuilder, Subject
from unit.core import recordings
from unit.exchanges.layouts_shown import RECEIVED_AT_US, TOPIC, framed, new_row, record_of, shown

# The example of the client that the layout stands for, and what the exchange sent of it.
EXAMPLE = {
    "e": "aggTrade", "E": 1677000000000, "s": "BTCUSDT", "a": 123456, "p": "45000.00", "q": "0.5", "f": 123456, "l": 123456,
    "T": 1677000000000, "m": False, "M": True,
    "ingestion_timestamp": 1677000000123, "source": "binance_websocket", "event_type": "aggregate_trade",
}  # fmt: skip
STAMPS = ["ingestion_timestamp", "source", "event_type"]
AGG_TRADE = json.dumps({key: value for key, value in EXAMPLE.items() if key not in STAMPS}, separators=(",", ":"))
BOOK = '{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[["0.0026","100"]]}'
QUOTE = '{"u":400900217,"s":"BTCUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000"}'
LIQUIDATION = (
    '{"e":"forceOrder","E":1677000000000,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"0.014","p":"9910","ap":"9910",'
    '"X":"FILLED","l":"0.014","z":"0.014","T":1677000000000,"ps":"BTCUSDT","st":1}}'
)
# As futures send it: with spaces inside the candle.
SPACED_KLINE = (
    '{"e":"kline","E":1677000000010,"s":"BTCUSDT","k":{"t": 1676999940000, "T": 1676999999999, "s": "BTCUSDT", "i": "1m", '
    '"f": 100, "L": 199, "o": "24800.10", "c": "24850.00", "h": "24900.00", "l": "24790.25", "v": "1000.500", "n": 98, '
    '"x": true, "q": "24850000.7500", "V": "500.250", "Q": "12425000.0000", "B": "0"}}'
)
ENVELOPE_KEYS = ["original_data", "ingestion_timestamp", "source", "data_version", "symbol", "stream_type", "topic"]

KIND_EVENTS = {
    "aggTrade": "aggregate_trade",
    "trade": "trade",
    "blockTrade": "block_trade",
    "kline": "kline",
    "bookTicker": "book_ticker",
    "depth": "depth_update",
    "partialDepth": "partial_depth",
    "rpiDepth": "rpi_depth_update",
    "miniTicker": "mini_ticker",
    "ticker": "ticker",
    "windowTicker": "window_ticker",
    "avgPrice": "average_price",
    "referencePrice": "reference_price",
    "markPrice": "mark_price",
    "forceOrder": "liquidation",
}

# Names that clash with ours, or look as if they were, stand among the others.
NAMES = st.sampled_from(
    ["e", "s", "stream", "symbol", *STAMPS, "k2_source", "k2_k2_source", "k2_stream", "data", "original_data", '"', "%d", "源"]
) | st.text(max_size=5)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)
INDENTS = st.sampled_from([None, 1])


def writer_of(layout: str, symbol: str = "BTCUSDT", spec: str = "aggTrade") -> Writer:
    return LAYOUTS[layout].writer(Subject("spot", spec, symbol, "USDT", kind_of("spot", spec)), TOPIC)


def written(layout: str, frame: bytes) -> bytes:
    return writer_of(layout)(None, RECEIVED_AT_US, frame)


def test_the_documented_example_is_reproduced_field_by_field() -> None:
    """The same keys with the same values in the same order."""
    value = shown("event", "btcusdt@aggTrade", AGG_TRADE)
    assert list(value.items()) == list(EXAMPLE.items())


def test_an_event_begins_with_the_payloads_own_bytes() -> None:
    """Spaces and zeros at the end included: nothing was parsed and printed again."""
    value = record_of("event", "btcusdt@kline_1m", SPACED_KLINE, "usdm").value
    assert value.startswith(SPACED_KLINE.encode()[:-1] + b',"ingestion_timestamp":1677000000123,')


def test_an_envelope_reads_field_by_field_in_the_documented_order() -> None:
    """Seven keys around the message as it came."""
    record = record_of("envelope", "btcusdt@kline_1m", SPACED_KLINE)
    assert record.value.startswith(b'{"original_data":' + SPACED_KLINE.encode() + b",")
    value = json.loads(record.value)
    assert value == {
        "original_data": json.loads(SPACED_KLINE),
        "ingestion_timestamp": 1677000000123,
        "source": "binance",
        "data_version": "v1",
        "symbol": "BTCUSDT",
        "stream_type": "kline",
        "topic": TOPIC,
    }
    assert list(value) == ENVELOPE_KEYS


@pytest.mark.parametrize(
    ("name", "data", "market", "added"),
    [
        ("btcusdt@bookTicker", QUOTE, "spot", {"stream": "btcusdt@bookTicker"}),
        ("btcusdt@depth5@100ms", BOOK, "spot", {"stream": "btcusdt@depth5@100ms", "symbol": "BTCUSDT"}),
        ("btcusdt@forceOrder", LIQUIDATION, "usdm", {"symbol": "BTCUSDT"}),
        ("btcusdt@aggTrade", AGG_TRADE, "spot", {}),
    ],
)
def test_an_event_says_what_its_payload_leaves_to_the_streams_name(
    name: str, data: str, market: str, added: dict[str, str]
) -> None:
    """The stream where the exchange names no event type, the symbol where it names none; then the three that all have."""
    value, original = shown("event", name, data, market), json.loads(data)
    assert list(value)[: -len(STAMPS)] == [*original, *added]
    assert value | original | added == value
    assert list(value)[-len(STAMPS) :] == STAMPS


@pytest.mark.parametrize(
    ("market", "name", "event_type"),
    [
        ("spot", "btcusdt@depth@100ms", "depth_update"),
        ("spot", "btcusdt@depth20@100ms", "partial_depth"),
        ("usdm", "btcusdt@depth@500ms", "depth_update"),
        ("usdm", "btcusdt@depth5@500ms", "partial_depth"),
        ("spot", "btcusdt@ticker_4h", "window_ticker"),
        ("spot", "btcusdt@kline_1d@+08:00", "kline"),
        ("usdm", "!markPrice@arr@1s", "mark_price"),
    ],
)
def test_specs_of_one_kind_share_their_event_type(market: str, name: str, event_type: str) -> None:
    """Whatever their interval, depth and speed, while what looks alike on the wire is told apart."""
    kind = stream_of(market, name).kind
    assert kind is not None
    assert kind.event_name == event_type


def test_every_kind_has_an_event_type() -> None:
    """The names are a contract: none changes or goes missing unnoticed."""
    assert {kind.name: kind.event_name for kind in KINDS} == KIND_EVENTS


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.market} {kind.name}")
def test_an_envelope_names_the_kind_of_stream(kind: Any) -> None:
    """As the envelope's model calls a trade, a kline and a ticker."""
    write = LAYOUTS["envelope"].writer(Subject(kind.market, "any", "BTCUSDT", "USDT", kind), TOPIC)
    assert json.loads(write(None, RECEIVED_AT_US, framed("any", "{}")))["stream_type"] == kind.name


@pytest.mark.parametrize("layout", ["event", "envelope"])
@pytest.mark.parametrize(
    "frame",
    [
        '{"data":%s,"stream":"btcusdt@aggTrade"}',
        '{"stream":"btcusdt@aggTrade","data":%s,"extra":{"data":{"e":"no"}}}',
        ' {\n "stream" : "btcusdt@aggTrade" ,\t"data" : %s } \n',
        '{"d\\u0061ta":%s,"stream":"btcusdt@aggTrade"}',
    ],
)
def test_the_payload_is_found_wherever_it_stands_in_the_frame(layout: str, frame: str) -> None:
    """In another order, beside fields that are new, among spaces, under an escaped name."""
    usual = record_of(layout, "btcusdt@aggTrade", AGG_TRADE).value
    (outcome,) = new_row(layout, "btcusdt@aggTrade").process((frame % AGG_TRADE).encode(), RECEIVED_AT_US)
    assert isinstance(outcome, Publish)
    assert outcome.records[0].value == usual


@pytest.mark.parametrize(("layout", "inner"), [("event", None), ("envelope", "original_data")])
def test_a_field_that_is_new_is_carried_along(layout: str, inner: str | None) -> None:
    """And noticed as everywhere else."""
    (outcome,) = new_row(layout, "btcusdt@aggTrade").process(
        framed("btcusdt@aggTrade", AGG_TRADE[:-1] + ',"new":[1.10,{}]}'), RECEIVED_AT_US
    )
    assert isinstance(outcome, Publish)
    assert outcome.notices == (FieldAppeared("aggTrade", "new"),)
    value = json.loads(outcome.records[0].value)
    assert (value[inner] if inner else value)["new"] == [1.1, {}]


@pytest.mark.parametrize("name", ["ingestion_timestamp", "source", "event_type"])
@pytest.mark.parametrize("key", ["%s", "\\u%04x%s"])
def test_a_key_that_the_exchange_sends_itself_stays_the_exchanges(name: str, key: str) -> None:
    """Ours is called k2_source and so on then, however the exchange spells its key."""
    spelled = key % name if key == "%s" else key % (ord(name[0]), name[1:])
    payload = AGG_TRADE[:-1] + f',"{spelled}":"theirs"}}'
    value = shown("event", "btcusdt@aggTrade", payload)
    assert value[name] == "theirs"
    assert value[f"k2_{name}"] == EXAMPLE[name]
    assert LAYOUTS["event"].original(value) == json.loads(payload)


@pytest.mark.parametrize(("key", "value"), [("stream", "x"), ("symbol", "y")])
def test_a_stream_or_symbol_of_the_exchange_stays_where_ours_is_needed_as_well(key: str, value: str) -> None:
    """The best levels of a book that say more than they do today."""
    payload = BOOK[:-1] + f',"{key}":"{value}"}}'
    event = json.loads(writer_of("event", spec="depth5")(None, RECEIVED_AT_US, framed("btcusdt@depth5", payload)))
    assert event[key] == value
    assert event[f"k2_{key}"] == {"stream": "btcusdt@depth5", "symbol": "BTCUSDT"}[key]


@given(OBJECTS, INDENTS, st.booleans())
def test_an_event_holds_the_payload_with_our_keys_behind_it_whatever_the_object(
    payload: dict[str, Any], indent: int | None, escaped: bool
) -> None:
    """Every key and value of the exchange, in its order and bytes, then ours; and the way back is exact."""
    data = json.dumps(payload, indent=indent, ensure_ascii=escaped).encode()
    text = written("event", b'{"stream":"btcusdt@aggTrade","data":' + data + b"}")
    value = json.loads(text)
    assert text.startswith(data[:-1])
    assert list(value.items())[: len(payload)] == list(payload.items())
    added = list(value.items())[len(payload) :]
    assert [item for _, item in added][-3:] == [1677000000123, "binance_websocket", "aggregate_trade"]
    assert len(added) == 3 + ("e" not in payload) + ("s" not in payload)
    assert LAYOUTS["event"].original(value) == payload


@given(OBJECTS, INDENTS, st.booleans())
def test_an_envelope_holds_the_payload_whatever_the_object(payload: dict[str, Any], indent: int | None, escaped: bool) -> None:
    """In its bytes; and the way back is exact."""
    data = json.dumps(payload, indent=indent, ensure_ascii=escaped).encode()
    text = written("envelope", b'{"stream":"btcusdt@aggTrade","data":' + data + b"}")
    assert text.startswith(b'{"original_data":' + data + b',"ingestion_timestamp":1677000000123,')
    value = json.loads(text)
    assert list(value) == ENVELOPE_KEYS
    assert LAYOUTS["envelope"].original(value) == payload


@pytest.mark.parametrize("layout", ["event", "envelope"])
@pytest.mark.parametrize("symbol", ["这是测试币456", "牛来USDT"])
def test_a_unicode_symbol_stays_as_it_is(layout: str, symbol: str) -> None:
    """In the payload, the added keys and the record's key."""
    name = f"{symbol.lower()}@aggTrade"
    record = record_of(layout, name, AGG_TRADE.replace("BTCUSDT", symbol))
    value = json.loads(record.value)
    assert value.get("symbol", value.get("s")) == symbol
    assert LAYOUTS[layout].original(value)["s"] == symbol
    assert record.key == symbol.encode()


@pytest.mark.parametrize("symbol", ["牛来USDT", '50%d"'])
def test_any_symbol_stands_in_the_keys_that_the_stream_adds(symbol: str) -> None:
    """The name in lower case as the exchange writes it, the symbol in upper case, whatever its characters."""
    value = json.loads(writer_of("event", symbol, "depth5")(None, RECEIVED_AT_US, framed("x", BOOK)))
    assert (value["stream"], value["symbol"]) == (f"{symbol.lower()}@depth5", symbol)


@pytest.mark.parametrize("layout", ["event", "envelope"])
def test_bytes_that_are_no_utf8_do_not_make_a_value_that_is_no_json(layout: str) -> None:
    """They can come in a field that we do not know: there, and only there, a replacement character stands for them."""
    payload = AGG_TRADE.encode()[:-1] + b',"new":"a\xff\xe7\x89"}'
    row = new_row(layout, "btcusdt@aggTrade")
    (outcome,) = row.process(b'{"stream":"btcusdt@aggTrade","data":' + payload + b"}", RECEIVED_AT_US)
    assert isinstance(outcome, Publish)
    original = LAYOUTS[layout].original(json.loads(outcome.records[0].value.decode()))
    assert original == {**json.loads(AGG_TRADE), "new": "a\ufffd\ufffd"}


@pytest.mark.parametrize("layout", ["event", "envelope"])
def test_no_depth_of_nesting_makes_a_row_raise(layout: str) -> None:
    """Around the depth that can just be decoded, what cannot be cut out of the frame any more is a dead letter."""
    fates = set()
    for depth in range(900, 1_010):
        payload = AGG_TRADE[:-1] + ',"new":' + "[" * depth + "]" * depth + "}"
        (outcome,) = new_row(layout, "btcusdt@aggTrade").process(framed("btcusdt@aggTrade", payload), RECEIVED_AT_US)
        fates.add(type(outcome))
    assert fates <= {Publish, DeadLetter}


def test_the_numbers_of_a_payload_are_not_checked() -> None:
    """An event is the payload as it came; its types are what decoding asks for."""
    payload = AGG_TRADE.replace("45000.00", "1e5")
    assert shown("event", "btcusdt@aggTrade", payload)["p"] == "1e5"


def test_each_element_of_an_all_market_stream_is_an_event() -> None:
    """With the symbol of its own."""
    element = '{"e":"24hrMiniTicker","E":1677000000000,"s":"%s","c":"1","o":"1","h":"1","l":"1","v":"1","q":"1"}'
    elements = [element % symbol for symbol in ("BTCUSDT", "牛来USDT")]
    outcomes = new_row("event", "!miniTicker@arr").process(framed("!miniTicker@arr", f"[{','.join(elements)}]"), RECEIVED_AT_US)
    assert all(isinstance(outcome, Publish) for outcome in outcomes)
    values = [json.loads(outcome.records[0].value) for outcome in outcomes if isinstance(outcome, Publish)]
    assert [LAYOUTS["event"].original(value) for value in values] == [json.loads(text) for text in elements]
    assert {value["event_type"] for value in values} == {"mini_ticker"}


@pytest.mark.skipif(not recordings.are_there(), reason="the recordings of real frames lie outside the repository")
@pytest.mark.parametrize("recording", sorted(recordings.RECORDINGS))
def test_real_frames_come_back_from_both_layouts_as_they_were(recording: str) -> None:
    """A sample of every stream that was recorded."""
    market, *_ = recordings.RECORDINGS[recording]
    rows: dict[str, Row] = {}
    for recorded in islice(recordings.frames_of(recording), 0, None, 20):
        frame = json.loads(recorded.frame)
        name = frame["stream"]
        if name not in rows:
            outputs = [layout_output(layout, LAYOUTS[layout], keyed=True) for layout in ("event", "envelope")]
            rows[name] = RowBuilder(market, lambda _: "USDT", updates=True).row(stream_of(market, name), outputs)
        for outcome in rows[name].process(recorded.frame, recorded.received_at_us):
            if isinstance(outcome, Publish):
                originals = [LAYOUTS[record.topic].original(json.loads(record.value)) for record in outcome.records]
                assert originals == [frame["data"]] * 2
    assert sum(row.published for row in rows.values()) > 10


def test_one_event_can_go_to_two_topics_in_two_layouts() -> None:
    """Each with its own topic's name in it."""
    outputs = [layout_output("all", LAYOUTS["event"], keyed=False), layout_output("raw_trades", LAYOUTS["envelope"], keyed=True)]
    row = RowBuilder("spot", lambda _: "USDT").row(stream_of("spot", "btcusdt@aggTrade"), outputs)
    (outcome,) = row.process(framed("btcusdt@aggTrade", AGG_TRADE), RECEIVED_AT_US)
    assert isinstance(outcome, Publish)
    event, envelope = outcome.records
    assert (event.topic, event.key, json.loads(event.value)["source"]) == ("all", None, "binance_websocket")
    assert (envelope.topic, envelope.key, json.loads(envelope.value)["topic"]) == ("raw_trades", b"BTCUSDT", "raw_trades")
