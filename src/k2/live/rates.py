"""Rates, from counts that are looked at now and then."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

RATE_WINDOW_S = 2.0


class RateMeter:
    """Rates over the last two seconds, from counts that are looked at now and then."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, dict[str, int]]] = deque()

    def observe(self, now_s: float, counts: Mapping[str, int]) -> None:
        self._seen.append((now_s, dict(counts)))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - RATE_WINDOW_S:  # noqa: PLR2004 - the two ends of the window
            self._seen.popleft()

    def per_s(self, key: str) -> float:
        if not self._seen:
            return 0.0
        (began_s, before), (now_s, now) = self._seen[0], self._seen[-1]
        return (now.get(key, 0) - before.get(key, 0)) / (now_s - began_s) if now_s > began_s else 0.0
