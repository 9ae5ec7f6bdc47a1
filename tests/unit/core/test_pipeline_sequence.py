"""The pipeline's short cut for the usual id against the numbering itself, and what goes with an id that is not the next one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.ingestion.core.outcome import (
    DeadLetter,
    GapFilled,
    GapOpened,
    Ignored,
    IgnoreReason,
    Publish,
    Reason,
    SequenceReset,
)
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.core.sequence import ContiguousSequence, Sequence
from unit.core.pipelines import RECEIVED_AT_US, decoded, new_pipeline, published_record

NOW_MS = RECEIVED_AT_US // 1_000
LATE = [("k2-source", b"late")]


EVENT = (
    b'{"stream":"btcusdt@aggTrade","data":'
    b'{"e":"aggTrade","E":%d,"s":"BTCUSDT","a":%d,"p":"%s","q":"2","f":1,"l":2,"T":%d,"m":true}}'
)
FUTURES_EVENT = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"T":%d,"s":"BTCUSDT","t":%d,"p":"1","q":"2","X":"%s","m":true}}'
)


def _frame(number: int, traded_at_ms: int = NOW_MS, price: str = "1") -> bytes:
    return EVENT % (NOW_MS, number, price.encode(), traded_at_ms)


def _futures_frame(number: int, execution: str, traded_at_ms: int = NOW_MS) -> bytes:
    return FUTURES_EVENT % (NOW_MS, traded_at_ms, number, execution.encode())


def _state(sequence: Sequence) -> tuple[Any, ...]:
    return sequence.next_id, sequence.last_time_ms, sequence.gaps, sequence.ids_missing


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 12) | st.integers(3_000, 3_012), st.integers(-5_000, 5_000)), max_size=40))
def test_pipeline_numbers_as_the_sequence_does(events: list[tuple[int, int]]) -> None:
    """Published, late, ignored, noticed: what the numbering says of ids and times is what becomes of the frames."""
    pipeline, sequence = new_pipeline(), ContiguousSequence("aggTrade", "BTCUSDT")
    row = pipeline.rows[0]
    for number, later_ms in events:
        publish, late, notices = sequence.observe(number, NOW_MS + later_ms)
        (outcome,) = pipeline.process(_frame(number, NOW_MS + later_ms), RECEIVED_AT_US)
        assert _state(row.sequence) == _state(sequence)
        assert isinstance(outcome, Publish) is publish
        if isinstance(outcome, Publish):
            assert outcome.notices == notices
            assert outcome.records[0].headers == (LATE if late else None)
        else:
            assert outcome == Ignored(IgnoreReason.DUPLICATE)


def _outcomes(pipeline: Pipeline, *frames: bytes) -> list[Any]:
    return [outcome for frame in frames for outcome in pipeline.process(frame, RECEIVED_AT_US)]


@given(st.lists(st.integers(0, 60), max_size=60))
def test_ids_of_live_records_rise(numbers: list[int]) -> None:
    """What a consumer sees without the mark is in order, and nothing is published twice."""
    outcomes = [outcome for outcome in _outcomes(new_pipeline(), *map(_frame, numbers)) if isinstance(outcome, Publish)]
    ids = [decoded(outcome.records[0].value)["source_sequence"] for outcome in outcomes]
    live = [number for number, outcome in zip(ids, outcomes, strict=True) if outcome.records[0].headers is None]
    assert live == sorted(set(live))
    assert len(ids) == len(set(ids))


def test_late_record_is_marked_and_the_live_ones_are_not() -> None:
    """A consumer can tell which record breaks the rising order."""
    outcomes = _outcomes(new_pipeline(), _frame(5), _frame(8), _frame(6), _frame(9))
    assert [outcome.records[0].headers for outcome in outcomes] == [None, None, LATE, None]
    assert [outcome.notices for outcome in outcomes[1:3]] == [
        (GapOpened("aggTrade", "BTCUSDT", 6, 7),),
        (GapFilled("aggTrade", "BTCUSDT", 6, 1),),
    ]


def test_event_that_comes_twice_is_published_once() -> None:
    """As it does when a second connection takes over from the first."""
    outcomes = _outcomes(new_pipeline(), _frame(5), _frame(6), _frame(5), _frame(6), _frame(7))
    assert [type(outcome) for outcome in outcomes] == [Publish, Publish, Ignored, Ignored, Publish]


def test_exchange_that_counts_anew_is_followed() -> None:
    """After a wiped testnet everything would be a duplicate otherwise."""
    outcomes = _outcomes(new_pipeline(), _frame(5_000, NOW_MS - 10_000), _frame(1, NOW_MS), _frame(2, NOW_MS))
    assert [outcome.notices for outcome in outcomes] == [(), (SequenceReset("aggTrade", "BTCUSDT", 5_000, 1),), ()]


IN_VAIN = [
    pytest.param({"price": "NaN"}, Reason.NUMBER_INVALID, id="number"),
    pytest.param({"traded_at_ms": 0}, Reason.TIMESTAMP_OUT_OF_RANGE, id="time"),
]


@pytest.mark.parametrize(("fault", "reason"), IN_VAIN)
def test_next_id_of_a_dead_letter_is_accounted_for(fault: dict[str, Any], reason: Reason) -> None:
    """The event lies in the dead letters, so its id is no hole."""
    _, letter, after = _outcomes(new_pipeline(), _frame(5), _frame(6, **fault), _frame(7))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, after.notices) == (reason, ())


@pytest.mark.parametrize("number", [1, 5, 8, 4_000_000])
@pytest.mark.parametrize(("fault", "reason"), IN_VAIN)
def test_other_ids_of_dead_letters_leave_the_numbering_alone(fault: dict[str, Any], reason: Reason, number: int) -> None:
    """Such an id may be as wrong as the rest of its event: it neither opens a gap nor resets anything."""
    pipeline = new_pipeline()
    _, letter = _outcomes(pipeline, _frame(5), _frame(number, **fault))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, _state(pipeline.rows[0].sequence)) == (reason, (6, NOW_MS, [], 0))


def test_frame_without_a_trade_counts_in_the_numbering() -> None:
    """Its id is one of the exchange's, so the trade behind it follows without a gap."""
    outcomes = _outcomes(
        new_pipeline("usdm", "trade"), _futures_frame(5, "MARKET"), _futures_frame(6, "NA"), _futures_frame(7, "RPI")
    )
    assert [type(outcome) for outcome in outcomes] == [Publish, Ignored, Publish]
    assert [outcome.notices for outcome in outcomes] == [(), (), ()]


def test_gap_before_a_frame_without_a_trade_is_noticed() -> None:
    """Ids that are skipped are missing, whatever comes behind them."""
    _, ignored = _outcomes(new_pipeline("usdm", "trade"), _futures_frame(5, "MARKET"), _futures_frame(9, "NA"))
    assert ignored == Ignored(IgnoreReason.NOT_A_TRADE, (GapOpened("trade", "BTCUSDT", 6, 8),))


def test_time_of_a_frame_without_a_trade_moves_nothing() -> None:
    """It is not checked, and one from the far future would hide every reset to come."""
    pipeline = new_pipeline("usdm", "trade")
    _outcomes(pipeline, _futures_frame(5_000, "MARKET", NOW_MS - 10_000), _futures_frame(5_001, "NA", 2**62))
    (reset,) = _outcomes(pipeline, _futures_frame(1, "MARKET"))
    assert reset.notices == (SequenceReset("trade", "BTCUSDT", 5_001, 1),)


def test_symbols_are_numbered_apart() -> None:
    """The ids of one symbol say nothing about another."""
    pipeline = new_pipeline()
    other = _frame(5).replace(b"btcusdt", "牛来usdt".encode()).replace(b"BTCUSDT", "牛来USDT".encode())
    outcomes = _outcomes(pipeline, _frame(100), other, _frame(101))
    assert [outcome.notices for outcome in outcomes] == [(), (), ()]


def test_rows_count_what_they_published() -> None:
    """The break-down by symbol: duplicates and dead letters do not count, and the latest event's time is kept."""
    pipeline = new_pipeline()
    _outcomes(pipeline, _frame(5), _frame(5), _frame(6, price="NaN"), _frame(7), b"{}")
    assert [(row.published, row.last_event_ms) for row in pipeline.rows] == [(2, NOW_MS), (0, 0), (0, 0)]


def test_id_at_the_end_of_int64_does_not_end_the_numbering() -> None:
    """The next id would be no int64: it never comes, and nothing breaks."""
    pipeline = new_pipeline()
    first, duplicate = _outcomes(pipeline, _frame(2**63 - 1), _frame(2**63 - 1))
    assert decoded(published_record((first,)).value)["source_sequence"] == 2**63 - 1
    assert duplicate == Ignored(IgnoreReason.DUPLICATE)


@pytest.mark.parametrize(
    ("price", "why"), [("NaN", "price: 'NaN' is no plain decimal number"), ("1e5", "price: '1e5' is no plain")]
)
def test_letter_names_the_field(price: str, why: str) -> None:
    """Whoever reads it need not guess which number was wrong."""
    (letter,) = _outcomes(new_pipeline(), _frame(5, price=price))
    assert isinstance(letter, DeadLetter)
    assert letter.error.startswith(why)
