"""The issued takes of a lane, as REST finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k2.simulator.market import PastTrade, TradeKind, Window, select

if TYPE_CHECKING:
    from k2.simulator.lane import Lane
    from k2.simulator.rendering import Trade
    from k2.simulator.tape import Tape

_HISTORY_PER_SYMBOL = 200_000


def find(kind: TradeKind, lane: Lane, tape: Tape, issued: int, window: Window) -> list[PastTrade]:
    """The trades that `window` asks for among the newest of the market's first `issued` events."""
    takes = lane.takes_of(issued)
    past = _PastFills if kind == "trade" else _PastTakes
    return past(lane, tape, max(0, takes - _HISTORY_PER_SYMBOL), takes).find(window)


class _PastTakes:
    """The takes `oldest` to `end` (exclusive)."""

    def __init__(self, lane: Lane, tape: Tape, oldest: int, end: int) -> None:
        self._lane, self._tape = lane, tape
        self._first, self._count = self._position(oldest), self._position(end) - self._position(oldest)

    def find(self, window: Window) -> list[PastTrade]:
        found = select(self._count, self._id_at, self._traded_at_ms, window)
        return [_past(self._trade(self._first + i)) for i in found]

    def _id_at(self, i: int) -> int:
        return self._lane.book.first_id + self._first + i

    def _traded_at_ms(self, i: int) -> int:
        return self._lane.traded_at_ms(self._take(self._first + i))

    def _position(self, take: int) -> int:
        return take

    def _take(self, position: int) -> int:
        return position

    def _trade(self, position: int) -> Trade:
        return self._lane.book.aggregate(position, self._lane.at_ms(position))


class _PastFills(_PastTakes):
    """The same for single trades."""

    def _position(self, take: int) -> int:
        return self._tape.fills_before(take)

    def _take(self, position: int) -> int:
        return self._tape.take_of(position)

    def _trade(self, position: int) -> Trade:
        take = self._take(position)
        return list(self._lane.book.fills(take, self._lane.at_ms(take)))[position - self._position(take)]


def _past(t: Trade) -> PastTrade:
    return PastTrade(t.id, t.price, t.quantity, t.first_id, t.last_id, t.traded_at_ms, t.buyer_is_maker)
