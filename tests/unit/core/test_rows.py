"""The rows: one stream to one topic or several, all symbols in one stream, and streams that are captured as they are."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, field

from k2.ingestion.core import array_rows as array_rows_module
from k2.ingestion.core.array_rows import ArrayRow
from k2.ingestion.core.decimals import NumberError
from k2.ingestion.core.identity import digest
from k2.ingestion.core.outcome import DeadLetter, Ignored, IgnoreReason, Outcome, Publish, Reason, Record, Stage
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.core.rows import Destination, RawRow, StreamRow
from k2.ingestion.core.sequence import ContiguousSequence, RisingSequence
from k2.ingestion.core.wire import WireDecoder

NOW_US = 1_784_894_400_123_456
NOW_MS = NOW_US // 1_000


class Tick(Struct):
    """An event with as little as a row asks for."""

    symbol: str | None = field(name="s", default=None)
    exchange_id: int = field(name="n", default=0)
    occurred_at_ms: int | None = field(name="T", default=None)
    event_time_ms: int = field(name="E", default=0)
    text: str = field(name="x", default="")

    @property
    def first_id(self) -> int:
        return self.exchange_id


def _writes(mark: str) -> Any:
    """A value that tells who wrote it, and of what."""

    def write(event: Tick | None, received_at_us: int, frame: bytes) -> bytes:
        if event is None:
            return mark.encode() + frame
        if event.text == mark:
            raise NumberError(Reason.NUMBER_INVALID, event.text, "is not wanted here")
        return f"{mark} {event.symbol} {event.exchange_id} {received_at_us}".encode()

    return write


def _row(*marks: str, symbol: str = "X", skip: Any = None) -> StreamRow:
    return StreamRow(
        stream="x@tick",
        symbol=symbol,
        wire=WireDecoder("tick", Tick),
        destinations=[Destination(f"topic.{mark}", mark.encode(), _writes(mark)) for mark in marks],
        sequence=ContiguousSequence("tick", symbol),
        skip=skip,
    )


def _frame(stream: str = "x@tick", **data: Any) -> bytes:
    return json.dumps({"stream": stream, "data": data}, ensure_ascii=False).encode()


def _only(outcomes: tuple[Outcome, ...]) -> Any:
    (outcome,) = outcomes
    return outcome


def test_event_without_a_time_happened_when_it_came() -> None:
    """And without a symbol it is of the row's."""
    published = _only(_row("a").process(_frame(n=5), NOW_US))
    assert published == Publish((Record("topic.a", b"a", f"a None 5 {NOW_US}".encode(), NOW_MS),), 0)


def test_event_goes_to_every_destination() -> None:
    """One event, one outcome, and a record for each topic under that topic's key, all of one time."""
    row = _row("a", "b", "c")
    published = _only(row.process(_frame(s="X", n=5, T=NOW_MS - 3, E=NOW_MS), NOW_US))
    assert isinstance(published, Publish)
    assert [(record.topic, record.key, record.timestamp_ms) for record in published.records] == [
        (f"topic.{mark}", mark.encode(), NOW_MS - 3) for mark in "abc"
    ]
    assert [record.value[:1] for record in published.records] == [b"a", b"b", b"c"]
    assert (row.published, row.topic) == (1, "topic.a")


def test_late_event_is_marked_in_every_topic() -> None:
    """Whichever topic is read, the record that breaks the order is told apart."""
    row = _row("a", "b")
    outcomes = [_only(row.process(_frame(s="X", n=number), NOW_US)) for number in (5, 7, 6)]
    assert [[record.headers for record in outcome.records] for outcome in outcomes] == [
        [None, None],
        [None, None],
        [[("k2-source", b"late")]] * 2,
    ]


@pytest.mark.parametrize("mark", ["a", "b"])
def test_event_that_one_destination_cannot_hold_goes_to_none(mark: str) -> None:
    """Stands or falls as a whole, and is accounted for: its id is no hole."""
    row = _row("a", "b")
    outcomes = [_only(row.process(_frame(s="X", **data), NOW_US)) for data in ({"n": 5}, {"n": 6, "x": mark}, {"n": 7})]
    assert [type(outcome) for outcome in outcomes] == [Publish, DeadLetter, Publish]
    letter = outcomes[1]
    assert (letter.stage, letter.reason, letter.error) == (
        Stage.ENCODE,
        Reason.NUMBER_INVALID,
        f"text: '{mark}' is not wanted here",
    )
    assert outcomes[2].notices == ()


def test_event_of_another_symbol_is_a_dead_letter() -> None:
    """The stream's name and the event contradict each other."""
    letter = _only(_row("a").process(_frame(s="Y", n=5), NOW_US))
    assert (letter.stage, letter.reason, letter.symbol) == (Stage.ROUTE, Reason.UNKNOWN_STREAM, "X")


@pytest.mark.parametrize(
    ("reason", "next_id"),
    [(IgnoreReason.NOT_A_TRADE, 7), (IgnoreReason.OPEN_CANDLE, 6), (IgnoreReason.OTHER_MARKET, 6)],
)
def test_what_is_left_out_counts_in_the_numbering_where_it_has_a_number(reason: IgnoreReason, next_id: int) -> None:
    """A frame without a trade is numbered like one; an open candle will come again under its number."""
    row = _row("a", skip=lambda event: reason if event.text == "skip" else None)
    row.process(_frame(s="X", n=5), NOW_US)
    assert _only(row.process(_frame(s="X", n=6, x="skip"), NOW_US)) == Ignored(reason)
    assert (row.sequence.next_id, row.published, row.ignored) == (next_id, 1, 1)


# All symbols in one stream.


def _array(capture: Destination | None = None, made: list[str] | None = None) -> ArrayRow:
    def make(symbol: str) -> StreamRow:
        if made is not None:
            made.append(symbol)
        return StreamRow(
            stream="!tick@arr",
            symbol=symbol,
            wire=WireDecoder("tick", Tick),
            destinations=[Destination("topic.a", symbol.encode(), _writes("a"))],
            sequence=RisingSequence("tick", symbol),
        )

    return ArrayRow("!tick@arr", "topic.a", make, captures=[] if capture is None else [capture])


def _elements(*elements: Any) -> bytes:
    return json.dumps({"stream": "!tick@arr", "data": list(elements)}, ensure_ascii=False).encode()


def test_row_of_a_symbol_is_made_when_it_comes_first() -> None:
    """And kept: its numbering goes on with the next frame."""
    made: list[str] = []
    row = _array(made=made)
    first = row.process(_elements({"s": "X", "n": 5}, {"s": "牛来", "n": 5}), NOW_US)
    again = row.process(_elements({"s": "X", "n": 5}, {"s": "牛来", "n": 6}), NOW_US)
    assert [type(outcome) for outcome in first + again] == [Publish, Publish, Ignored, Publish]
    assert made == ["X", "牛来"]
    assert (row.published, row.ignored) == (3, 1)


def test_symbol_is_found_inside_an_order_as_well() -> None:
    """Where the element has none of its own."""
    made: list[str] = []
    _array(made=made).process(_elements({"o": {"s": "X"}}, {"o": "s", "s": "Y"}, {"o": []}), NOW_US)
    assert made == ["X", "Y"]


def test_single_event_instead_of_an_array_is_its_one_element() -> None:
    """As some of the streams of all symbols send them."""
    row = _array()
    frame = json.dumps({"stream": "!tick@arr", "data": {"s": "X", "n": 5}}).encode()
    assert isinstance(_only(row.process(frame, NOW_US)), Publish)


def test_symbols_of_a_stream_are_bounded() -> None:
    """A peer that makes up symbols cannot fill the memory: those that are known go on."""
    with mock.patch.object(array_rows_module, "MOST_SYMBOLS", 2):
        row = _array()
        outcomes = row.process(_elements(*({"s": symbol, "n": 1} for symbol in "ABC"), {"s": "A", "n": 2}), NOW_US)
    assert [type(outcome) for outcome in outcomes] == [Publish, Publish, DeadLetter, Publish]
    letter = outcomes[2]
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.error, letter.symbol) == (Reason.UNKNOWN_STREAM, "more than 2 symbols", "C")


BROKEN = [b"", b"[]", b"{}", b'{"stream":"!tick@arr"}', b'{"stream":"!tick@arr","data":[1,}', b"\xff", b'{"data":[{"s":"X"}']


@pytest.mark.parametrize("frame", BROKEN)
def test_frame_that_is_broken_as_a_whole_is_one_dead_letter(frame: bytes) -> None:
    """There are no elements to tell apart, so all of it is kept."""
    letter = _only(_array().process(frame, NOW_US))
    assert isinstance(letter, DeadLetter)
    assert (letter.stage, letter.payload, letter.stream) == (Stage.DECODE, frame, "!tick@arr")


@pytest.mark.parametrize(
    "elements", [({"s": 1}, {"s": "X", "n": 1}, {"s": "Y", "n": 1}), ({"s": "X", "n": 1},), ({"s": 1},), ()], ids=str
)
def test_a_frame_is_captured_whatever_becomes_of_its_events(elements: tuple[dict[str, Any], ...]) -> None:
    """Once, however many elements it has and however many of them fail, and byte for byte; not when we made it ourselves."""
    row = _array(Destination("topic.raw", None, _writes("raw:")))
    pipeline, frame = Pipeline({row.stream.encode(): row}), _elements(*elements)
    outcomes = pipeline.process(frame, NOW_US)
    kept = [record for outcome in outcomes for record in _captured_of(outcome)]
    assert kept == [Record("topic.raw", None, b"raw:" + frame, NOW_MS)]
    again = pipeline.process_history(frame, NOW_US)
    assert [record for outcome in again for record in _captured_of(outcome)] == []
    assert len(again) == len(outcomes) == max(1, len(elements))


def _captured_of(outcome: Outcome) -> list[Record]:
    if isinstance(outcome, Publish):
        return [record for record in outcome.records if record.topic == "topic.raw"]
    return list(outcome.captured) if isinstance(outcome, DeadLetter | Ignored) else []


ELEMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.just("X"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["s", "o", "n", "T", "E", "x", "zz"]), inner),
    max_leaves=6,
)


@settings(max_examples=400)
@given(st.lists(ELEMENTS, max_size=5))
def test_every_element_has_one_outcome(elements: list[Any]) -> None:
    """Whatever they are: as many outcomes as elements, and one for an array without any."""
    row = _array()
    outcomes = row.process(_elements(*elements), NOW_US)
    assert len(outcomes) == max(1, len(elements))
    assert row.published == sum(isinstance(outcome, Publish) for outcome in outcomes)
    for element, outcome in zip(elements, outcomes, strict=False):
        if isinstance(outcome, DeadLetter):
            assert json.loads(outcome.payload) == {"stream": "!tick@arr", "data": element}


@given(st.binary(max_size=60))
def test_any_bytes_of_a_stream_of_all_symbols_have_an_outcome(rest: bytes) -> None:
    """Behind a head that leads there."""
    assert _array().process(b'{"stream":"!tick@arr","data":' + rest, NOW_US)


# Streams that are captured as they are.


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_captured_frame_is_a_record_whatever_it_holds(frame: bytes) -> None:
    """Byte for byte, at the time of its receipt."""
    row = RawRow("x@odd", "X", [Destination("topic.raw", b"X", _writes("raw:"))])
    published = _only(row.process(frame, NOW_US))
    assert published == Publish((Record("topic.raw", b"X", b"raw:" + frame, NOW_MS),), 0)
    assert (row.published, row.ignored, row.symbol, row.topic) == (1, 0, "X", "topic.raw")


def test_captured_stream_misses_nothing_and_repeats() -> None:
    """Nothing is known of its numbers: equal frames are equal records."""
    row = RawRow("x@odd", "X", [Destination("topic.raw", b"X", _writes("raw:"))])
    assert row.process(b"{}", NOW_US) == row.process(b"{}", NOW_US)
    assert (row.published, row.sequence.gaps, row.sequence.ids_missing) == (2, [], 0)


def test_frame_is_numbered_by_its_digest() -> None:
    """The first half of its SHA-256, in hex."""
    assert digest(b"{}") == hashlib.sha256(b"{}").hexdigest()[:32]
