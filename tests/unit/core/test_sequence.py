"""The numbering of one stream against a model that remembers every id."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.ingestion.core import sequence as sequence_module
from k2.ingestion.core.outcome import GapFilled, GapForgotten, GapOpened, Notice, SequenceReset
from k2.ingestion.core.sequence import ContiguousSequence

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
