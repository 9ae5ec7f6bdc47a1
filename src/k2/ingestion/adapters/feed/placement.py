"""Which connection carries which stream. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct


class Load(Struct, frozen=True):
    """One connection: where it leads, what it carries, and what it is about to let go of."""

    url: str
    streams: tuple[str, ...] = ()
    leaving: frozenset[str] = frozenset()


def place(wanted: Iterable[str], loads: Sequence[Load], url_of: Callable[[str], str], limit: int) -> list[Load]:
    """
    The loads that carry every wanted stream once, at most `limit` on each: the given ones in their order, then new ones.

    A stream stays where it is. One that a connection is about to let go of returns there if it can, so that no two carry it at a
    time. Connections with room are filled first. One without streams has nothing left to do.

    Args:
        url_of: Where a stream's connection must lead; asked for the new ones only.
    """
    names = dict.fromkeys(wanted)
    rooms = [_Room(load, [stream for stream in load.streams if stream in names], limit) for load in loads]
    placed = {stream for room in rooms for stream in room.streams}
    for stream in [name for name in names if name not in placed]:
        room = _find_room(stream, url_of(stream), rooms)
        if room is None:
            room = _Room(Load(url_of(stream)), [], limit)
            rooms.append(room)
        room.streams.append(stream)
    return [Load(room.load.url, tuple(room.streams)) for room in rooms]


class _Room:
    def __init__(self, load: Load, streams: list[str], limit: int) -> None:
        self.load, self.streams, self._limit = load, streams, limit

    @property
    def full(self) -> bool:
        return len(self.streams) >= self._limit


def _find_room(stream: str, url: str, rooms: Sequence[_Room]) -> _Room | None:
    fitting = [room for room in rooms if room.load.url == url and not room.full]
    return next((room for room in fitting if stream in room.load.leaving), fitting[0] if fitting else None)
