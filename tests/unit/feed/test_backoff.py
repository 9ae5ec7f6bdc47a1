"""Pacing of connection attempts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.adapters.feed.backoff import AttemptBudget, Backoff, meaning_of, refusal_delay_s


@given(
    min_s=st.floats(0.001, 10),
    span_s=st.floats(0, 600),
    failures=st.integers(0, 200),
    seed=st.integers(0, 1000),
)
def test_delay_stays_within_its_bounds(min_s: float, span_s: float, failures: int, seed: int) -> None:
    """The delay after the n-th failure in a row lies between the minimum and the smaller of the maximum and min * 2^(n+1)."""
    max_s = min_s + span_s
    backoff = Backoff(min_s, max_s, random.Random(seed).uniform)  # noqa: S311 - jitter, no secret
    for number in range(failures + 1):
        delay_s = backoff.next_delay_s()
        assert min_s <= delay_s <= min(max_s, min_s * 2.0 ** (number + 1)) * (1 + 1e-9)


def test_ceiling_doubles_up_to_the_maximum() -> None:
    """With no luck at all, the delays double from twice the minimum up to the maximum."""
    backoff = Backoff(1, 60, lambda _low, high: high)
    assert [backoff.next_delay_s() for _ in range(8)] == [2, 4, 8, 16, 32, 60, 60, 60]


def test_reset_begins_anew() -> None:
    """After data came, the next failure is the first again."""
    backoff = Backoff(1, 60, lambda _low, high: high)
    for _ in range(5):
        backoff.next_delay_s()
    backoff.reset()
    assert (backoff.next_delay_s(), backoff.failures) == (2, 1)


@given(st.lists(st.floats(0, 50), max_size=120), st.integers(1, 20), st.floats(1, 300))
def test_no_window_holds_more_attempts_than_allowed(pauses: list[float], attempts: int, window_s: float) -> None:
    """Whenever attempts are wished for, no window of time holds more than the ceiling."""
    budget, now_s = AttemptBudget(attempts, window_s), 0.0
    made_at_s: list[float] = []
    for pause_s in pauses:
        now_s += pause_s
        while (wait_s := budget.wait_s(now_s)) > 0:
            now_s = max(now_s + wait_s, now_s + 1e-6)
        budget.spend(now_s)
        made_at_s.append(now_s)
    for first, last in zip(made_at_s, made_at_s[attempts:], strict=False):
        assert last - first >= window_s * (1 - 1e-9)


def test_budget_is_free_until_it_is_spent() -> None:
    """Attempts within the budget need not wait, the next one waits until the first is out of the window."""
    budget = AttemptBudget(attempts=3, window_s=300)
    for now_s in (0.0, 10.0, 20.0):
        assert budget.wait_s(now_s) == 0
        budget.spend(now_s)
    assert budget.wait_s(20.0) == 280
    assert budget.wait_s(300.0) == 0


def test_budget_spreads_attempts() -> None:
    """Two may be made at once, the next two half a second later, and the window bounds them all."""
    budget = AttemptBudget(attempts=5, window_s=300, at_once=2, spacing_s=0.5)
    made = []
    for now_s in (0.0, 0.0, 0.0, 0.4, 0.5, 0.5, 0.5, 1.0, 1.0):
        if not budget.wait_s(now_s):
            budget.spend(now_s)
            made.append(now_s)
    assert made == [0.0, 0.0, 0.5, 0.5, 1.0]
    assert budget.wait_s(1.0) == 299


@pytest.mark.parametrize(
    ("status", "retry_after_s", "delay_s"),
    [
        pytest.param(429, None, 60, id="throttled"),
        pytest.param(429, 7, 7, id="throttled-with-a-time"),
        pytest.param(429, 1, 2, id="never-under-the-back-off"),
        pytest.param(418, None, 120, id="banned"),
        pytest.param(418, 3600, 3600, id="banned-for-an-hour"),
        pytest.param(418, 1e9, 3 * 24 * 3600, id="no-ban-lasts-thirty-years"),
        pytest.param(451, None, 300, id="restricted"),
        pytest.param(451, 1, 300, id="restricted-stays-slow"),
        pytest.param(403, None, 2, id="forbidden"),
        pytest.param(503, None, 2, id="server-error"),
        pytest.param(503, 30, 30, id="server-error-with-a-time"),
    ],
)
def test_refusals_are_waited_for(status: int, retry_after_s: float | None, delay_s: float) -> None:
    """What the server asks for is obeyed; otherwise the status has its own floor; never less than the ordinary delay."""
    assert refusal_delay_s(status, retry_after_s, ordinary_s=2) == delay_s


def test_restricted_location_is_named() -> None:
    """A 451 is explained, with the host that may help; an ordinary status is not."""
    assert "location" in meaning_of(451)
    assert "data-stream.binance.vision" in meaning_of(451)
    assert meaning_of(500) == ""
