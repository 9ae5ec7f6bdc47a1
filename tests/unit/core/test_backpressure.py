"""When reading stops and starts again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.core.backpressure import Backpressure, Flow, Limits

LIMITS = Limits(pause_at=100, resume_at=20, overflow_at=50, hold_after_s=45.0)
Step = tuple[int, int, float]  # records in flight, overflow among them, seconds


def _flows(steps: list[Step]) -> list[Flow | None]:
    backpressure = Backpressure(LIMITS)
    return [backpressure.decide(*step) for step in steps]


@pytest.mark.parametrize(
    ("steps", "changes"),
    [
        pytest.param([(0, 0, 0), (99, 0, 1)], [None, None], id="flows-below-the-mark"),
        pytest.param([(100, 0, 0)], [Flow.PAUSED], id="pauses-at-the-mark"),
        pytest.param([(5, 1, 0)], [Flow.PAUSED], id="pauses-when-anything-overflows"),
        pytest.param([(100, 0, 0), (21, 0, 1), (20, 0, 2)], [Flow.PAUSED, None, Flow.FLOWING], id="resumes-at-the-lower-mark"),
        pytest.param([(100, 0, 0), (20, 1, 1)], [Flow.PAUSED, None], id="overflow-first"),
        pytest.param([(100, 0, 7), (100, 0, 51.9), (100, 0, 52)], [Flow.PAUSED, None, Flow.HELD], id="holds-after-45-s-of-pause"),
        pytest.param([(100, 50, 0)], [Flow.HELD], id="holds-at-once-when-the-overflow-is-full"),
        pytest.param([(100, 1, 0), (150, 50, 1)], [Flow.PAUSED, Flow.HELD], id="pause-becomes-a-hold"),
        pytest.param([(100, 50, 0), (60, 0, 1), (20, 0, 2)], [Flow.HELD, None, Flow.FLOWING], id="hold-ends-only-when-drained"),
        pytest.param(
            [(100, 0, 0), (20, 0, 40), (100, 0, 41), (100, 0, 85.9), (100, 0, 86)],
            [Flow.PAUSED, Flow.FLOWING, Flow.PAUSED, None, Flow.HELD],
            id="every-pause-has-its-own-45-s",
        ),
        pytest.param([(20, 0, 100)], [None], id="nothing-to-resume"),
    ],
)
def test_flow_changes(steps: list[Step], changes: list[Flow | None]) -> None:
    """What is decided for a history of the queue; None where nothing is to be done."""
    assert _flows(steps) == changes


RANDOM_STEPS = st.lists(st.tuples(st.integers(0, 160), st.integers(0, 60), st.floats(0, 30)))


@given(RANDOM_STEPS)
def test_flow_keeps_its_promises(steps: list[tuple[int, int, float]]) -> None:
    """
    Over any history: the overflow never grows past its bound while frames come in, no pause outlasts the limit, reading starts
    again only with room, and only changes are reported.
    """
    backpressure, now_s, paused_since_s = Backpressure(LIMITS), 0.0, 0.0
    for in_flight, overflow, pass_s in steps:
        now_s += pass_s
        before = backpressure.flow
        change = backpressure.decide(in_flight, overflow, now_s)
        assert (change is not None) == (backpressure.flow is not before)
        if change is Flow.PAUSED:
            paused_since_s = now_s
        if change is Flow.FLOWING:
            assert in_flight <= LIMITS.resume_at
            assert not overflow
        if backpressure.flow is Flow.FLOWING:
            assert in_flight < LIMITS.pause_at
            assert not overflow
        if backpressure.flow is not Flow.HELD:
            assert overflow < LIMITS.overflow_at
        if backpressure.flow is Flow.PAUSED:
            assert now_s - paused_since_s < LIMITS.hold_after_s


def test_limits_leave_room_for_a_pong() -> None:
    """The exchange closes a connection after 60 s without a pong: a hold comes before that by default."""
    assert Limits(2, 1, 1).hold_after_s < 60
