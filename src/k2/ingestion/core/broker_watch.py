"""
Is a broker there? Told from two signs, as neither alone is enough.

A broker that hangs keeps its connections up, and one that is gone while nothing is sent shows in no acknowledgement. Times are
in nanoseconds of one steady clock.
"""

from __future__ import annotations


class BrokerWatch:
    """`slow_answer_ns`: a broker that takes longer to acknowledge what was sent is taken for lost."""

    def __init__(self, slow_answer_ns: int, now_ns: int) -> None:
        self._slow_answer_ns = slow_answer_ns
        self._acknowledged_at_ns = now_ns
        self._disconnected_since_ns: int | None = None

    def lost_for_ns(self, now_ns: int) -> int:
        """How long no broker was there, 0 while there is one."""
        unanswered_ns = now_ns - self._acknowledged_at_ns
        disconnected_ns = 0 if self._disconnected_since_ns is None else now_ns - self._disconnected_since_ns
        return max(disconnected_ns, unanswered_ns if unanswered_ns > self._slow_answer_ns else 0)

    def disconnected(self, now_ns: int) -> None:
        """No connection to any broker is up."""
        if self._disconnected_since_ns is None:
            self._disconnected_since_ns = now_ns

    def connected(self) -> None:
        self._disconnected_since_ns = None

    def nothing_awaited(self, now_ns: int) -> None:
        """All that was sent is acknowledged or failed."""
        self._acknowledged_at_ns = now_ns

    def acknowledged(self, now_ns: int) -> None:
        """
        An acknowledgement came, which proves a broker seconds before librdkafka's next statistics do.

        Not against a loss of the same moment: of what one poll brings, nobody knows which came first.
        """
        self._acknowledged_at_ns = now_ns
        if self._disconnected_since_ns != now_ns:
            self._disconnected_since_ns = None
