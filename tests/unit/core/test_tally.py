"""Counting durations against counting them naively."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.core.tally import NS_PER_SECOND, DurationTally

BOUNDS_S = (0.001, 0.005, 0.01, 0.1, 1.0)
DURATIONS = st.lists(st.integers(-5, 3 * NS_PER_SECOND) | st.sampled_from([round(bound * NS_PER_SECOND) for bound in BOUNDS_S]))


def _tally(durations_ns: list[int]) -> DurationTally:
    tally = DurationTally(BOUNDS_S)
    for duration_ns in durations_ns:
        tally.observe(duration_ns)
    return tally


@given(DURATIONS)
def test_buckets_are_cumulative_and_inclusive(durations_ns: list[int]) -> None:
    """A bucket counts what took at most its bound, the last one everything; sum and count are those of the durations."""
    tally = _tally(durations_ns)
    naive = [(str(bound), sum(ns <= round(bound * NS_PER_SECOND) for ns in durations_ns)) for bound in BOUNDS_S]
    assert tally.cumulative() == [*naive, ("+Inf", len(durations_ns))]
    assert (tally.sum_ns, tally.count) == (sum(durations_ns), len(durations_ns))


@given(st.lists(st.integers(0, NS_PER_SECOND), min_size=1), st.floats(0.001, 1))
def test_quantile_lies_in_the_bucket_of_the_true_one(durations_ns: list[int], share: float) -> None:
    """What a histogram can know: the bounds between which the wanted duration lies."""
    wanted = sorted(durations_ns)[min(len(durations_ns) - 1, max(0, -int(-share * len(durations_ns) // 1) - 1))] / NS_PER_SECOND
    upper = next(bound for bound in BOUNDS_S if wanted <= bound)
    lower = max((bound for bound in BOUNDS_S if bound < upper), default=0.0)
    assert lower <= _tally(durations_ns).quantile_s(share) <= upper + 1e-9


@given(DURATIONS, st.floats(0, 1), st.floats(0, 1))
def test_quantiles_do_not_fall_with_their_share(durations_ns: list[int], one: float, other: float) -> None:
    """More of the observations lie below a longer duration."""
    tally = _tally(durations_ns)
    assert tally.quantile_s(min(one, other)) <= tally.quantile_s(max(one, other)) + 1e-12


@pytest.mark.parametrize(
    ("durations_ms", "share", "quantile_s"),
    [
        pytest.param([], 0.5, 0.0, id="nothing-observed"),
        pytest.param([1] * 10, 0.5, 0.0005, id="half-way-into-the-first-bucket"),
        pytest.param([1] * 10, 1.0, 0.001, id="all-of-the-first-bucket"),
        pytest.param([3] * 4 + [50] * 4, 0.75, 0.055, id="half-way-into-a-later-bucket"),
        pytest.param([5_000], 0.99, 1.0, id="beyond-the-last-bound"),
    ],
)
def test_quantile_is_linear_inside_its_bucket(durations_ms: list[int], share: float, quantile_s: float) -> None:
    """As Prometheus' histogram_quantile has it, and the last bound at most."""
    assert _tally([ms * 1_000_000 for ms in durations_ms]).quantile_s(share) == pytest.approx(quantile_s)
