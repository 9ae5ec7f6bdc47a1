"""Claims about the demo's own half of the books: what was read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.demo.ranges import IdRanges, Recent
from k2.demo.tally import LATEST_RECORDS
from k2.ingestion.topic_plan import TopicPlan
from unit.demo.samples import TOPIC, record, trade_tally

OTHER = TopicPlan(name="other", streams=("aggTrade",), schema_name="trade_v2")


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(-1, 5))))
def test_ranges_are_a_set(spans: list[tuple[int, int]]) -> None:
    """Whatever comes in whatever order: the ranges know each number once, the ends, and the holes in between."""
    ranges, known = IdRanges(), set[int]()
    for first, more in spans:
        numbers = set(range(first, first + more + 1))
        assert ranges.cover(first, first + more) == bool(numbers - known)
        known |= numbers
    assert ranges.count == len(known)
    assert ranges.missing == (max(known) - min(known) + 1 - len(known) if known else 0)
    assert not known or (ranges.first, ranges.last) == (min(known), max(known))


def test_numbers_without_holes_take_no_room() -> None:
    """However many ids come, one interval holds them as long as none is missing, whatever their order."""
    ranges = IdRanges()
    for number in (5, 6, 9, 8, 7, 4):
        ranges.cover(number, number)
    assert (ranges._starts, ranges._ends) == ([4], [9])


def test_only_the_latest_are_known_again() -> None:
    """A long run needs no more memory than a short one: what came long ago is forgotten."""
    recent = Recent(most=3)
    assert [recent.add(word) for word in "abcab"] == [True, True, True, False, False]
    recent.add("d")
    assert [recent.add(word) for word in "ad"] == [True, False]


@pytest.mark.parametrize(
    ("numbers", "records", "distinct", "missing"),
    [
        pytest.param([], 0, 0, 0, id="nothing"),
        pytest.param([7, 8, 9], 3, 3, 0, id="contiguous"),
        pytest.param([7, 8, 8], 3, 2, 0, id="one-twice"),
        pytest.param([7, 10], 2, 2, 2, id="two-missing"),
        pytest.param([9, 7, 8], 3, 3, 0, id="late-ones-fill-the-hole"),
    ],
)
def test_records_are_told_apart_by_their_message_id(numbers: list[int], records: int, distinct: int, missing: int) -> None:
    """Records, different message ids and missing ids are counted from what was decoded, and from nothing else."""
    tally = trade_tally()
    for number in numbers:
        tally.take(TOPIC, record(number))
    assert (tally.records, tally.distinct, tally.missing) == (records, distinct, missing)


def test_symbols_have_numberings_of_their_own() -> None:
    """The same number of two symbols is two trades; each symbol shows its latest one."""
    tally = trade_tally()
    tally.take(TOPIC, record(7))
    tally.take(TOPIC, record(7, "ETHUSDT"))
    tally.take(TOPIC, record(8, "ETHUSDT", side="SELL"))
    assert tally.distinct == 3
    assert {series.symbol: (series.records, series.latest.word) for series in tally.series().values()} == {
        "BTCUSDT": (1, "BUY"),
        "ETHUSDT": (2, "SELL"),
    }


def test_the_same_record_in_two_topics_is_no_twin() -> None:
    """Each topic has books of its own; a stream is listed once, from the first topic that holds it."""
    tally = trade_tally(OTHER)
    tally.take(TOPIC, record(7))
    tally.take("other", record(7))
    tally.take("other", record(8))
    assert (tally.records, tally.distinct) == (3, 3)
    ((key, series),) = tally.series().items()
    assert series is tally.topics[TOPIC].series[key]
    assert series.records == 1


def test_only_the_latest_records_are_remembered() -> None:
    """A long run needs no more memory than a short one."""
    tally = trade_tally()
    for number in range(1_000):
        tally.take(TOPIC, record(number))
    assert len(tally.latest) == LATEST_RECORDS
    assert tally.latest[-1].message_id.endswith(".999")
