"""The numbering of one stream against a model that remembers every id."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.ingestion.core import sequence as sequence_module
from k2.ingestion.core.outcome import GapFilled, GapForgotten, GapOpened, Notice, SequenceReset
from k2.ingestion.core.sequence import AnyOrder, ContiguousSequence, RisingSequence, RisingTimes

Verdict = tuple[bool, bool, tuple[Notice, ...]]

PUBLISHED: Verdict = (True, False, ())
IGNORED: Verdict = (False, False, ())


class Model:
    """What the numbering says, from sets of ids: slow, and simple enough to be seen right."""

    def __init__(self, max_gaps: int, reset_distance: int) -> None:
        self.max_gaps, self.reset_distance = max_gaps, reset_distance
        self.next_id: int | None = None
        self.latest_ms = 0
        self.missing: set[int] = set()

    def gaps(self) -> list[tuple[int, int]]:
        starts = sorted(number for number in self.missing if number - 1 not in self.missing)
        ends = sorted(number for number in self.missing if number + 1 not in self.missing)
        return list(zip(starts, ends, strict=True))

    def observe(self, number: int, time_ms: int) -> Verdict:
        if self.next_id is None or number >= self.next_id:
            return True, False, self._move_on(number, time_ms)
        if number in self.missing:
            first, last = next(gap for gap in self.gaps() if gap[0] <= number <= gap[1])
            self.missing.remove(number)
            return True, True, (GapFilled("trade", "X", number, last - first), *self._forget())
        if self.next_id - number > self.reset_distance and time_ms > self.latest_ms + 1_000:
            notice = SequenceReset("trade", "X", self.next_id - 1, number)
            self.missing.clear()
            self.next_id, self.latest_ms = number + 1, time_ms
            return True, False, (notice,)
        return IGNORED

    def _move_on(self, number: int, time_ms: int) -> tuple[Notice, ...]:
        skipped = range(number if self.next_id is None else self.next_id, number)
        self.next_id, self.latest_ms = number + 1, max(self.latest_ms, time_ms)
        self.missing.update(skipped)
        return (GapOpened("trade", "X", skipped[0], skipped[-1]), *self._forget()) if skipped else ()

    def _forget(self) -> tuple[Notice, ...]:
        gaps = self.gaps()
        if len(gaps) <= self.max_gaps:
            return ()
        first, last = gaps[0]
        self.missing -= set(range(first, last + 1))
        return (GapForgotten("trade", "X", first, last),)


STEPS = st.lists(st.tuples(st.integers(-30, 6), st.integers(-200, 2_500)), min_size=1, max_size=60)


@settings(max_examples=400)
@given(st.integers(0, 100), STEPS)
def test_numbering_agrees_with_the_model(first: int, steps: list[tuple[int, int]]) -> None:
    """Next, gap, late, duplicate, reset and the bound on gaps are what a memory of all ids says; steps start from the next id."""
    with mock.patch.multiple(sequence_module, MAX_OPEN_GAPS=3, RESET_MIN_DISTANCE=20):
        sequence, model = ContiguousSequence("trade", "X"), Model(3, 20)
        now_ms = 10_000
        for distance, later_ms in [(0, 0), *steps]:
            number = first if model.next_id is None else max(0, model.next_id + distance)
            now_ms += later_ms
            assert sequence.observe(number, now_ms) == model.observe(number, now_ms)
            assert (sequence.next_id, sequence.last_time_ms) == (model.next_id, model.latest_ms)
            assert sequence.gaps == model.gaps()
            assert sequence.ids_missing == len(model.missing)


def _started(at: int = 1_000_000, time_ms: int = 5_000) -> ContiguousSequence:
    sequence = ContiguousSequence("trade", "X")
    sequence.observe(at, time_ms)
    return sequence


@pytest.mark.parametrize("first", [0, 1, 2**63 - 1])
def test_first_id_opens_the_coverage(first: int) -> None:
    """Nothing is missing before the first id, whatever it is."""
    sequence = ContiguousSequence("trade", "X")
    assert sequence.observe(first, 0) == PUBLISHED
    assert (sequence.next_id, sequence.gaps) == (first + 1, [])


def test_at_most_a_thousand_gaps_are_kept_open() -> None:
    """The gap that makes it 1,001 pushes out the oldest, and the count of missing ids follows."""
    sequence = _started(0)
    verdicts = [sequence.observe(2 * index, index) for index in range(1, 1_002)]
    assert [len(notices) for _, _, notices in verdicts] == [1] * 1_000 + [2]
    assert verdicts[-1][2] == (GapOpened("trade", "X", 2_001, 2_001), GapForgotten("trade", "X", 1, 1))
    assert (len(sequence.gaps), sequence.ids_missing) == (1_000, 1_000)
    assert sequence.observe(1, 1_001) == IGNORED


def test_gap_filled_in_its_middle_keeps_the_bound() -> None:
    """A fill that cuts a gap in two makes one gap more, so the oldest goes here as well."""
    sequence = _started(0)
    for index in range(1, 1_001):
        sequence.observe(4 * index, index)
    late = sequence.observe(4 * 500 + 2, 1_001)
    assert late == (True, True, (GapFilled("trade", "X", 2_002, 2), GapForgotten("trade", "X", 1, 3)))
    assert len(sequence.gaps) == 1_000
    assert sequence.ids_missing == 3 * 1_000 - 1 - 3


def test_gap_of_any_size_costs_the_same() -> None:
    """A jump over half of all ids is one interval."""
    sequence = _started(0)
    assert sequence.observe(2**62, 1) == (True, False, (GapOpened("trade", "X", 1, 2**62 - 1),))
    assert sequence.observe(2**61, 2) == (True, True, (GapFilled("trade", "X", 2**61, 2**62 - 2),))
    assert sequence.ids_missing == 2**62 - 2


@pytest.mark.parametrize(
    ("number", "time_ms", "is_reset"),
    [
        pytest.param(5, 6_001, True, id="far-below-and-later"),
        pytest.param(5, 6_000, False, id="far-below-and-not-later-enough"),
        pytest.param(5, 4_000, False, id="far-below-and-earlier"),
        pytest.param(999_001, 60_000, False, id="thousand-below"),
        pytest.param(999_000, 60_000, True, id="thousand-and-one-below"),
    ],
)
def test_reset_needs_distance_and_a_later_time(number: int, time_ms: int, is_reset: bool) -> None:
    """Only an id far below the last one with a later time says that the exchange counts anew; everything else was seen before."""
    sequence = _started()
    notices = (SequenceReset("trade", "X", 1_000_000, number),)
    assert sequence.observe(number, time_ms) == ((True, False, notices) if is_reset else IGNORED)
    assert sequence.next_id == (number + 1 if is_reset else 1_000_001)


def test_reset_forgets_the_gaps_of_the_old_count() -> None:
    """Ids that were missing before the exchange began anew are other trades now."""
    sequence = _started()
    sequence.observe(1_000_010, 5_000)
    sequence.observe(7, 60_000)
    assert (sequence.gaps, sequence.ids_missing) == ([], 0)
    assert sequence.observe(8, 60_001) == PUBLISHED


def test_earlier_time_of_a_later_id_does_not_make_duplicates_resets() -> None:
    """The latest time counts, not the last one: a straggling clock must not let old trades through as a new count."""
    sequence = _started(time_ms=100_000)
    sequence.observe(1_000_001, 1_000)
    assert sequence.observe(5, 50_000) == IGNORED


@st.composite
def _ranges(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[bool]]:
    """Ranges of ids that follow each other without holes, and which of them arrive in time. The first does."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=30))
    next_id, ranges = draw(st.integers(0, 1_000)), []
    for length in lengths:
        ranges.append((next_id, next_id + length - 1))
        next_id += length
    return ranges, [True, *draw(st.lists(st.booleans(), min_size=len(ranges) - 1, max_size=len(ranges) - 1))]


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in ranges:
        if merged and merged[-1][1] + 1 == first:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged


@settings(max_examples=300)
@given(_ranges(), st.randoms(use_true_random=False))
def test_ranges_that_are_missing_are_the_gaps_until_they_come(plan: tuple[Any, list[bool]], shuffled: Any) -> None:
    """As the updates of an order book: what did not come lies open, and every range of it that comes late fills its part."""
    ranges, in_time = plan
    sequence = ContiguousSequence("depth", "X")
    for (first, last), arrives in zip(ranges, in_time, strict=True):
        if arrives:
            publish, late, _ = sequence.observe(last, last, first)
            assert (publish, late) == (True, False)
    end = max(last for (_, last), arrives in zip(ranges, in_time, strict=True) if arrives)
    missing = [pair for pair, arrives in zip(ranges, in_time, strict=True) if not arrives and pair[1] < end]
    assert sequence.gaps == _merged(missing)
    shuffled.shuffle(missing)
    while missing:
        first, last = missing.pop()
        publish, late, _ = sequence.observe(last, last, first)
        assert (publish, late) == (True, True)
        assert sequence.ids_missing == sum(last - first + 1 for first, last in missing)
        assert sequence.observe(last, last, first) == IGNORED
    assert (sequence.gaps, sequence.next_id) == ([], end + 1)


RANGES = [
    pytest.param((1_000_001, 1_000_005), PUBLISHED, 1_000_006, id="next"),
    pytest.param((999_998, 1_000_005), PUBLISHED, 1_000_006, id="overlaps-what-came"),
    pytest.param((999_998, 1_000_001), PUBLISHED, 1_000_002, id="ends-at-the-next"),
    pytest.param((999_990, 1_000_000), IGNORED, 1_000_001, id="came-before"),
    pytest.param(
        (1_000_004, 1_000_005), (True, False, (GapOpened("trade", "X", 1_000_001, 1_000_003),)), 1_000_006, id="after-a-hole"
    ),
]


@pytest.mark.parametrize(("ids", "verdict", "next_id"), RANGES)
def test_range_is_placed_by_both_its_ends(ids: tuple[int, int], verdict: Verdict, next_id: int) -> None:
    """A hole lies before its first id, and what follows is behind its last."""
    sequence = _started()
    assert sequence.observe(ids[1], 5_000, ids[0]) == verdict
    assert sequence.next_id == next_id


LATE_RANGES = [
    ((10, 19), [(30, 39)], (GapFilled("trade", "X", 19, 0, ids=10),)),
    ((10, 12), [(13, 19), (30, 39)], (GapFilled("trade", "X", 12, 7, ids=3),)),
    ((17, 19), [(10, 16), (30, 39)], (GapFilled("trade", "X", 19, 7, ids=3),)),
    ((13, 16), [(10, 12), (17, 19), (30, 39)], (GapFilled("trade", "X", 16, 6, ids=4),)),
]


@pytest.mark.parametrize(("ids", "gaps", "notices"), LATE_RANGES)
def test_late_range_fills_its_part_of_a_gap(
    ids: tuple[int, int], gaps: list[tuple[int, int]], notices: tuple[Notice, ...]
) -> None:
    """The whole of it, an end, or the middle: what is left stays open."""
    sequence = _with_gaps()
    assert sequence.observe(ids[1], 5_000, ids[0]) == (True, True, notices)
    assert sequence.gaps == gaps
    assert sequence.ids_missing == sum(last - first + 1 for first, last in gaps)


@pytest.mark.parametrize("ids", [(5, 12), (15, 22), (9, 19), (10, 20), (15, 35)])
def test_late_range_that_lies_in_no_one_gap_fills_none(ids: tuple[int, int]) -> None:
    """Part of it came already, so it is another form of what is there and proves nothing."""
    sequence = _with_gaps()
    assert sequence.observe(ids[1], 5_000, ids[0]) == IGNORED
    assert (sequence.gaps, sequence.ids_missing) == ([(10, 19), (30, 39)], 20)


def _with_gaps() -> ContiguousSequence:
    """9 came, and 20 to 29, and 40."""
    sequence = _started(9)
    sequence.observe(29, 5_000, 20)
    sequence.observe(40, 5_000, 40)
    return sequence


@pytest.mark.parametrize(
    ("ids", "next_id"),
    [((1_000_001, 1_000_005), 1_000_006), ((1_000_002, 1_000_005), 1_000_001), ((999_000, 1_000_005), 1_000_001)],
)
def test_range_of_a_dead_letter_is_accounted_for_where_it_is_the_next(ids: tuple[int, int], next_id: int) -> None:
    """Elsewhere it may be as wrong as the rest of its event."""
    sequence = _started()
    sequence.account_for(ids[1], ids[0])
    assert (sequence.next_id, sequence.gaps) == (next_id, [])


RISING = [
    pytest.param(1_000_000, IGNORED, 1_000_000, id="same"),
    pytest.param(1_000_001, PUBLISHED, 1_000_001, id="next"),
    pytest.param(9_000_000, PUBLISHED, 9_000_000, id="far-above"),
    pytest.param(999_999, IGNORED, 1_000_000, id="below"),
    pytest.param(500_000, IGNORED, 1_000_000, id="half"),
    pytest.param(499_999, (True, False, (SequenceReset("quote", "X", 1_000_000, 499_999),)), 499_999, id="less-than-half"),
    pytest.param(0, (True, False, (SequenceReset("quote", "X", 1_000_000, 0),)), 0, id="from-the-beginning"),
]


@pytest.mark.parametrize(("number", "verdict", "last_id"), RISING)
def test_rising_ids_are_new_or_came_before(number: int, verdict: Verdict, last_id: int) -> None:
    """A jump says nothing, a lower id was seen, and one of less than half means that the exchange counts anew."""
    sequence = RisingSequence("quote", "X")
    assert sequence.observe(1_000_000, 5_000) == PUBLISHED
    assert sequence.observe(number, 6_000) == verdict
    assert sequence.observe(last_id, 7_000) == IGNORED
    assert sequence.observe(last_id + 1, 7_000) == PUBLISHED


@given(st.lists(st.integers(0, 2**63 - 1), max_size=30))
def test_rising_ids_never_miss_anything(numbers: list[int]) -> None:
    """Whatever comes: no gap, no short cut for a next id, and what is published rises but for resets."""
    sequence, last_id = RisingSequence("quote", "X"), -1
    for number in numbers:
        publish, late, notices = sequence.observe(number, 1, number)
        sequence.account_for(number + 1, number)
        assert (late, sequence.gaps, sequence.ids_missing, sequence.next_id) == (False, [], 0, None)
        assert publish is (number > last_id or bool(notices))
        last_id = number if publish else last_id


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=30))
def test_any_order_welcomes_everything(ranges: list[tuple[int, int]]) -> None:
    """For what comes again: nothing is late, seen before or missing."""
    sequence = AnyOrder("trade", "X")
    for number, first in ranges:
        assert sequence.observe(number, 0, first) == PUBLISHED
        sequence.account_for(number, first)
    assert (sequence.gaps, sequence.ids_missing, sequence.next_id) == ([], 0, None)


def test_what_is_on_its_way_tells_of_what_was_missed() -> None:
    """A candle that forms says that all before it are closed: the hole is known at once, and the candle itself still to come."""
    sequence = ContiguousSequence("kline_1m", "X")
    sequence.observe(10, 1)
    assert sequence.foresee(11, 2) == ()
    assert sequence.foresee(13, 3) == (GapOpened("kline_1m", "X", 11, 12),)
    assert sequence.foresee(13, 4) == ()
    assert sequence.observe(12, 5) == (True, True, (GapFilled("kline_1m", "X", 12, 1),))
    assert sequence.observe(13, 6) == PUBLISHED
    assert (sequence.gaps, sequence.ids_missing, sequence.next_id) == ([(11, 11)], 1, 14)


def test_what_is_on_its_way_opens_the_coverage() -> None:
    """The first candle that is seen forming is missed if it never closes; nothing before it is."""
    sequence = ContiguousSequence("kline_1h", "X")
    assert sequence.foresee(12, 0) == ()
    assert sequence.foresee(13, 1) == (GapOpened("kline_1h", "X", 12, 12),)


def test_what_passed_while_nobody_wanted_it_is_not_missing() -> None:
    """A stream that comes back opens its coverage anew."""
    sequence = _started(10)
    sequence.observe(15, 6_000)
    sequence.forget()
    assert (sequence.gaps, sequence.ids_missing) == ([], 0)
    assert sequence.observe(900, 7_000) == PUBLISHED


def test_one_wrong_clock_does_not_silence_what_follows() -> None:
    """A time far ahead of when the event happened is let through and not remembered."""
    sequence = RisingTimes("forceOrder", "X")
    for number, time_ms in ((1_000, 900), (10**15, 2_000), (3_000, 2_900)):
        assert sequence.observe(number, time_ms) == PUBLISHED
    assert sequence.observe(3_000, 2_900) == IGNORED
