"""Counting on the hot path: plain integers, no locks, no label look-ups. Rendered at scrape."""

from __future__ import annotations

from bisect import bisect_left

NS_PER_SECOND = 1_000_000_000
LATENCY_BOUNDS_S = (
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
# From what the fastest step takes to what the worst outage costs: every stage is drawn on one scale.
STAGE_BOUNDS_S = (
    0.000025, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0,
)  # fmt: skip


class DurationTally:
    """A histogram of durations in nanoseconds. A bucket holds what is at most its bound, as in Prometheus."""

    __slots__ = ("_bounds_ns", "bounds_s", "counts", "sum_ns")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self._bounds_ns = [round(bound * NS_PER_SECOND) for bound in bounds_s]
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_ns = 0

    def observe(self, duration_ns: int) -> None:
        self.counts[bisect_left(self._bounds_ns, duration_ns)] += 1
        self.sum_ns += duration_ns

    @property
    def count(self) -> int:
        return sum(self.counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """Buckets as Prometheus wants them: upper bound as text, and how many were at most that."""
        total, buckets = 0, []
        for bound, count in zip((*map(str, self.bounds_s), "+Inf"), self.counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return buckets

    def quantile_s(self, share: float) -> float:
        """The duration below which `share` of the observations lie, linear inside its bucket; the last bound at most."""
        wanted, below = share * self.count, 0
        for index, bound in enumerate(self.bounds_s):
            count = self.counts[index]
            if count and below + count >= wanted:
                lower = self.bounds_s[index - 1] if index else 0.0
                return lower + (bound - lower) * (wanted - below) / count
            below += count
        return self.bounds_s[-1] if self.count else 0.0
