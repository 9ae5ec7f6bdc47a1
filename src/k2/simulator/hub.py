"""Who gets which frame, and the count of it: the simulated exchange as an oracle."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from msgspec import Struct

from k2.simulator.recording import trade_id
from k2.simulator.streams import delivers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from k2.simulator.connection import Connection
    from k2.simulator.market import Frame
    from k2.simulator.options import ExchangeOptions

_REMEMBERED_CONNECTIONS = 10_000


class Withheld(Struct):
    """Frames of one stream that are issued but sent to nobody: the next `remaining`, or all where that is None."""

    remaining: int | None
    hidden_from_rest: bool = False


class Hub:
    """The connections of an exchange and what they are subscribed to."""

    def __init__(self, options: ExchangeOptions, on_subscribed: Callable[[], None]) -> None:
        self.connections: deque[Connection] = deque(maxlen=_REMEMBERED_CONNECTIONS)
        self._open: dict[int, Connection] = {}
        self.withheld: dict[str, Withheld] = {}
        self.withheld_frames: Counter[str] = Counter()
        self.hidden_ids: dict[str, set[int]] = {}
        self._options, self._on_subscribed = options, on_subscribed
        self._subscribers: dict[str, list[Connection]] = {}
        self._followed: dict[int, list[str]] = {}
        self._sent_on_closed: Counter[str] = Counter()

    @property
    def wanted(self) -> Collection[str]:
        """Streams that somebody is subscribed to."""
        return self._subscribers.keys()

    @property
    def has_readers(self) -> bool:
        return bool(self._subscribers)

    @property
    def open(self) -> list[Connection]:
        return list(self._open.values())

    @property
    def sent(self) -> Counter[str]:
        """Market frames sent over all connections, by stream."""
        return sum((connection.sent for connection in self.open), start=Counter(self._sent_on_closed))

    def enter(self, connection: Connection) -> None:
        self._open[connection.number] = connection
        self._followed[connection.number] = []
        self.connections.append(connection)

    def follow(self, connection: Connection) -> None:
        """Take over what the connection is subscribed to now."""
        if connection.number not in self._followed:
            return
        self._forget(connection)
        legacy = self._options.legacy_is_public
        names = [s for s in connection.subscriptions.streams if delivers(connection.path, s, legacy_is_public=legacy)]
        for name in names:
            self._subscribers.setdefault(name, []).append(connection)
        self._followed[connection.number] = names
        if connection.subscriptions.streams:
            self._on_subscribed()

    def leave(self, connection: Connection) -> None:
        self._forget(connection)
        del self._followed[connection.number], self._open[connection.number]
        self._sent_on_closed.update(connection.sent)

    def deliver(self, frames: list[Frame], *, bounded: bool) -> list[Connection]:
        """Send the frames to their subscribers, in order; returns who got some. `bounded` cuts off slow ones."""
        receivers: dict[int, Connection] = {}
        for frame in frames:
            if self.withheld and self._withhold(frame):
                continue
            for connection in self._subscribers.get(frame.stream, ()):
                connection.enqueue(frame)
                receivers[connection.number] = connection
        for connection in receivers.values():
            connection.flush(bounded=bounded)
        return list(receivers.values())

    def _withhold(self, frame: Frame) -> bool:
        rule = self.withheld.get(frame.stream)
        if rule is None:
            return False
        self.withheld_frames[frame.stream] += 1
        if rule.hidden_from_rest and (hidden := trade_id(frame)) >= 0:
            self.hidden_ids.setdefault(frame.stream, set()).add(hidden)
        if rule.remaining is not None:
            rule.remaining -= 1
            if not rule.remaining:
                del self.withheld[frame.stream]
        return True

    def _forget(self, connection: Connection) -> None:
        for name in self._followed[connection.number]:
            self._subscribers[name].remove(connection)
            if not self._subscribers[name]:
                del self._subscribers[name]
