"""Is a connection still alive? Decided once a tick from what was heard since the last one. Pure."""

from __future__ import annotations

from enum import Enum, auto

from k2.ingestion.adapters.feed.policy import FeedPolicy

LONGEST_SILENCE_S = 1800.0


class Verdict(Enum):
    """What to do about a connection."""

    WELL = auto()
    PING = auto()
    DEAD = auto()
    SILENT = auto()


def silence_limit_s(policy: FeedPolicy, silent_connections: int) -> float:
    """
    How long a connection may bring no data; 0 for ever.

    It doubles with every silent connection in a row: a quiet market is not to be reconnected again and again.
    """
    doubled_s = policy.silence_timeout_s * (1 << min(silent_connections, 16))
    return min(doubled_s, max(LONGEST_SILENCE_S, policy.silence_timeout_s))


class Watch:
    """Watches one connection. Times in seconds on any steady clock."""

    def __init__(self, policy: FeedPolicy, silence_limit_s: float, data_frames: int, now_s: float) -> None:
        self._policy = policy
        self._silence_limit_s = silence_limit_s
        self._data_frames = data_frames
        self._heard_at_s = self._data_at_s = self._heartbeat_at_s = now_s
        self._pinged_at_s: float | None = None

    def tick(self, now_s: float, *, heard: bool, data_frames: int, reading: bool) -> Verdict:
        """
        Judge the time since the last tick.

        Args:
            heard: Anything arrived, control frames included.
            data_frames: How many data frames ever came; only its change matters.
            reading: False while paused on purpose, when nothing can be heard and nothing can be concluded.
        """
        if heard or not reading:
            self._heard_at_s, self._pinged_at_s = now_s, None
        if data_frames != self._data_frames or not reading:
            self._data_at_s, self._data_frames = now_s, data_frames
        if self._unanswered(now_s):
            return Verdict.DEAD
        if 0 < self._silence_limit_s <= now_s - self._data_at_s:
            return Verdict.SILENT
        return Verdict.PING if self._ping_is_due(now_s) else Verdict.WELL

    def _unanswered(self, now_s: float) -> bool:
        return self._pinged_at_s is not None and now_s - self._pinged_at_s >= self._policy.pong_timeout_s

    def _ping_is_due(self, now_s: float) -> bool:
        heartbeat = 0 < self._policy.heartbeat_interval_s <= now_s - self._heartbeat_at_s
        if heartbeat:
            self._heartbeat_at_s = now_s
        idle = self._pinged_at_s is None and 0 < self._policy.idle_ping_after_s <= now_s - self._heard_at_s
        if idle:
            self._pinged_at_s = now_s
        return heartbeat or idle
