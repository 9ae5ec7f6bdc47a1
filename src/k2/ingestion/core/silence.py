"""
Which streams are silent, each for itself: an acknowledged subscription may stay silent for ever while its neighbours talk.

The exchange acknowledges streams that do not exist, so only events prove one. Counts and a clock come in, names go out.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from msgspec import Struct


class SilenceChange(Struct, frozen=True):
    """Streams that fell silent since the last look, and silent ones that spoke again."""

    fell_silent: tuple[str, ...] = ()
    spoke_again: tuple[str, ...] = ()


class SilenceWatch:
    """Watches streams by how many events each brought. `limit_s` 0 turns it off."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._last: dict[str, tuple[int, float]] = {}  # events, and since when it has been that many
        self.silent: tuple[str, ...] = ()

    def look(self, events: Mapping[str, int], now_s: float, *, listening: Container[str]) -> SilenceChange:
        """
        Compare with the last look.

        Args:
            events: How many events each stream ever brought. A stream that is not there any more is forgotten.
            listening: The streams that could be heard: there is a connection, and it is read. Of others nothing is concluded.
        """
        last = self._last
        self._last = {}
        for stream, count in events.items():
            before = last.get(stream)
            unchanged = before is not None and before[0] == count and stream in listening
            self._last[stream] = before if before is not None and unchanged else (count, now_s)
        silent = tuple(stream for stream in events if self._is_silent(stream, now_s))
        silent_now, silent_before = frozenset(silent), frozenset(self.silent)
        change = SilenceChange(
            tuple(stream for stream in silent if stream not in silent_before),
            tuple(stream for stream in self.silent if stream not in silent_now and stream in self._last),
        )
        self.silent = silent
        return change

    def never_heard(self) -> tuple[str, ...]:
        """The silent streams that never brought an event."""
        return tuple(stream for stream in self.silent if not self._last[stream][0])

    def _is_silent(self, stream: str, now_s: float) -> bool:
        return 0 < self._limit_s <= now_s - self._last[stream][1]
