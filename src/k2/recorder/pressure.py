"""
Whether to go on reading while the disk is behind. Pure.

A disk that stalls for a moment is waited for: what the exchange sends meanwhile waits in the sockets, and nothing is lost. One
that stays behind is not, or the exchange would hang up on us: reading goes on, and what finds no room is dropped and counted.
"""

from __future__ import annotations

from msgspec import Struct

MIB = 1024 * 1024


class Room(Struct, frozen=True):
    """
    How much may wait for the disk.

    Attributes:
        low_bytes: Reading goes on once no more than this waits.
        high_bytes: Reading is paused when this much waits.
        most_bytes: What comes beyond this is dropped.
        patience_s: How long reading is paused at most.
    """

    low_bytes: int = 8 * MIB
    high_bytes: int = 32 * MIB
    most_bytes: int = 64 * MIB
    patience_s: float = 5.0


class Pressure:
    """Decides from how much waits, and since when it has been too much."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._behind_since_s: float | None = None

    def may_read(self, waiting_bytes: int, now_s: float) -> bool:
        """Whether reading may go on. `now_s` is of any steady clock."""
        if waiting_bytes <= self._room.low_bytes:
            self._behind_since_s = None
        elif self._behind_since_s is None and waiting_bytes >= self._room.high_bytes:
            self._behind_since_s = now_s
        return self._behind_since_s is None or now_s - self._behind_since_s >= self._room.patience_s
