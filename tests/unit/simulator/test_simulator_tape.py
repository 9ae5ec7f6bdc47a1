"""What the tape says of stretches of takes, against going through them one by one."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from k2.simulator.book import Book
from k2.simulator.instruments import listing
from k2.simulator.schedule import EagerSchedule, PacedSchedule
from k2.simulator.tape import RING, Tape

_CHANCE = Random(4)  # noqa: S311 - chance to repeat
_TAPE = Tape(_CHANCE, (1, 1, 2, 7))
_BOOKS = [Book(listing(symbol, "spot", {}), _TAPE, seed=1, first_id=1_000) for symbol in ("BTCUSDT", "SHIBUSDT", "X")]
_PACED = PacedSchedule(333.3, _CHANCE)


@settings(deadline=None)
@given(st.sampled_from(_BOOKS), st.integers(0, 10**10), st.integers(1, 600))
def test_a_summary_is_the_sum_of_its_takes(book: Book, first: int, takes: int) -> None:
    """Wherever on the ring the stretch lies, and over its end."""
    numbers = range(first, first + takes)
    prices, lots = [book.price(n) for n in numbers], [book.lots(n) for n in numbers]
    bought = [0 if book.by_seller(n) else book.lots(n) for n in numbers]
    s = book.summary(first, first + takes)
    assert (s.open, s.high, s.low, s.close) == (prices[0], max(prices), min(prices), prices[-1])
    assert (s.lots, s.bought_lots) == (sum(lots), sum(bought))
    assert s.quote == sum(price * size for price, size in zip(prices, lots, strict=True))
    assert s.bought_quote == sum(price * size for price, size in zip(prices, bought, strict=True))
    assert s.trades == s.last_id - s.first_id + 1 == sum(_TAPE.fills_of(n) for n in numbers)


@settings(deadline=None)
@given(st.sampled_from(_BOOKS), st.integers(0, 10**9), st.integers(1, 10**9), st.integers(1, 10**9))
def test_summaries_add_up(book: Book, first: int, one: int, other: int) -> None:
    """Two stretches that follow each other amount to the whole, over any number of rounds."""
    left, right = book.summary(first, first + one), book.summary(first + one, first + one + other)
    whole = book.summary(first, first + one + other)
    assert whole.lots == left.lots + right.lots
    assert whole.quote == left.quote + right.quote
    assert (whole.high, whole.low) == (max(left.high, right.high), min(left.low, right.low))
    assert (whole.first_id, whole.last_id, left.last_id + 1) == (left.first_id, right.last_id, right.first_id)


@settings(deadline=None)
@given(st.integers(0, 3 * RING), st.integers(1, 2 * RING))
def test_the_extremes_are_those_of_the_walk(first: int, length: int) -> None:
    """For short stretches, for those over the end of the ring, and for whole rounds."""
    heights = [_TAPE.walk[place % RING] for place in range(first, first + length)]
    assert (_TAPE.low(first, first + length), _TAPE.high(first, first + length)) == (min(heights), max(heights))


@settings(deadline=None)
@given(st.integers(0, 10**11))
def test_events_are_counted_by_the_millisecond_that_they_tell(age_ms: int) -> None:
    """What is counted was told up to then, and the next event is later."""
    count = _PACED.count_until(age_ms)
    assert int(_PACED.due_s(count) * 1_000) > age_ms
    assert not count or int(_PACED.due_s(count - 1) * 1_000) <= age_ms


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=30), st.integers(-1, 160))
def test_batches_are_counted_by_their_time(batches: list[tuple[int, int]], age_ms: int) -> None:
    """An eager market's events belong to the moment of their batch; those not issued yet are beyond all counts."""
    schedule, told_ms, already, at_ms = EagerSchedule(), [], 0, 0
    for pause_ms, size in batches:
        at_ms += pause_ms
        already = schedule.due_count(at_ms / 1_000 + 0.0001, already, size)
        told_ms += [at_ms] * size
    assert min(schedule.count_until(age_ms), len(told_ms)) == sum(1 for told in told_ms if told <= age_ms)
