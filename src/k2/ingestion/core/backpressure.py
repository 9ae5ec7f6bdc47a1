"""
When to stop reading, and for how long: decisions only, the shell carries them out.

Records wait for the broker in librdkafka's queue. At its high-water mark reading pauses; what was buffered already goes to a
bounded overflow. A pause that would leave the exchange's pings unanswered becomes a hold: the connection is closed on
purpose until there is room again, and the ids missed meanwhile are a gap that is known.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Flow(StrEnum):
    FLOWING = "flowing"
    PAUSED = "paused"
    HELD = "held"


class Limits(Struct, frozen=True):
    """`pause_at` and `resume_at` count records in flight; `overflow_at` those that the queue did not take."""

    pause_at: int
    resume_at: int
    overflow_at: int
    hold_after_s: float = 45.0  # the exchange waits 60 s for a pong; what remains is for the queue to drain


class Backpressure:
    """The state of the intake. `decide` is called after every read and every timer tick."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.flow = Flow.FLOWING
        self._paused_since_s = 0.0

    def decide(self, in_flight: int, overflow: int, now_s: float) -> Flow | None:
        """The flow to change to, or None where it stays. `in_flight` includes the overflow."""
        wanted = self._wanted(in_flight, overflow, now_s)
        if wanted is self.flow:
            return None
        if wanted is Flow.PAUSED:
            self._paused_since_s = now_s
        self.flow = wanted
        return wanted

    def _wanted(self, in_flight: int, overflow: int, now_s: float) -> Flow:
        limits = self._limits
        if overflow >= limits.overflow_at:
            return Flow.HELD
        if self.flow is not Flow.FLOWING and in_flight <= limits.resume_at and not overflow:
            return Flow.FLOWING
        if self.flow is Flow.PAUSED and now_s - self._paused_since_s >= limits.hold_after_s:
            return Flow.HELD
        if self.flow is Flow.FLOWING and (in_flight >= limits.pause_at or overflow):
            return Flow.PAUSED
        return self.flow
