"""
The order book of a generated symbol, a function of the number of the last take.

Its levels lie on the grid of the price walk. The best two change with every take, each other level with every eighth one, and the
whole ladder moves with the price. Spot ids count without a hole, those of futures are common to all symbols and jump.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k2.simulator.lane import Lane

LEVELS = 25
_UPDATES_PER_TAKE = 7
_SPOT_FIRST_ID, _USDM_FIRST_ID = 10_000_000_000, 5_000_000_000_000
_USDM_STRIDE, _USDM_JITTER, _USDM_GAP = 97, 50, 13
_REMEMBERED_STATES = 8
_SIZE_MASK = (1 << 13) - 1


class Quote(NamedTuple):
    """The best bid and the best offer: a price and its lots each."""

    bid: int
    bid_lots: int
    ask: int
    ask_lots: int


class Levels(NamedTuple):
    """Lots by height on the price grid, the best first; in a change 0 removes a level."""

    bids: Mapping[int, int]
    asks: Mapping[int, int]


class UpdateIds(NamedTuple):
    """The ids of a change: the last one before it, its first and its last."""

    previous: int
    first: int
    last: int


class Ladder:
    """One symbol's order book after any of its takes; -1 is the book before the first."""

    def __init__(self, lane: Lane) -> None:
        self._lane, self._book = lane, lane.book
        self._spot = lane.venue == "spot"
        self._first_id = _SPOT_FIRST_ID + crc32(lane.symbol.encode()) if self._spot else _USDM_FIRST_ID
        self._sizes = lane.book.sizes
        self._states: dict[int, Levels] = {}

    def update_id(self, take: int) -> int:
        if self._spot:
            return self._first_id + (take + 1) * _UPDATES_PER_TAKE
        number = self._lane.number_of(take)
        return self._first_id + number * _USDM_STRIDE + number * 31 % _USDM_JITTER

    def quote(self, take: int) -> Quote:
        bid = self._best_bid(take)
        bid_lots, ask_lots = self._lots_at(bid, take, bid), self._lots_at(bid + 1, take, bid + 1)
        return Quote(self.price(bid), bid_lots, self.price(bid + 1), ask_lots)

    def price(self, height: int) -> int:
        return self._book.centre + height * self._book.listing.step

    def after(self, take: int) -> Levels:
        if take not in self._states:
            if len(self._states) >= _REMEMBERED_STATES:
                self._states.pop(next(iter(self._states)))
            self._states[take] = self._levels(take)
        return self._states[take]

    def ids(self, first: int, end: int) -> UpdateIds:
        """The ids of what the takes `first` to `end` (exclusive) did to the book."""
        previous = self.update_id(first - 1)
        return UpdateIds(previous, previous + 1 + (0 if self._spot else _USDM_GAP), self.update_id(end - 1))

    def change(self, first: int, end: int) -> Levels:
        """
        What they did: every level that they may have touched, as it is in the end, 0 where it is none.

        A level that is again what it was belongs to it too, for the sake of those whose book is of a moment in between.
        """
        take, low, high = end - 1, *self._book.reach(first - 1, end)
        bid, low_bid, high_bid = self._best_bid(take), low - 1, high  # a buyer leaves the best bid one step below its price
        bids = (
            h for h in range(high_bid, low_bid - LEVELS, -1) if h >= low_bid or h <= high_bid - LEVELS or _aged(h, first, end)
        )
        asks = (h for h in range(low, high + 1 + LEVELS) if h <= high_bid + 1 or h > low_bid + LEVELS or _aged(h, first, end))
        return Levels(
            {h: self._lots_at(h, take, bid) if bid - LEVELS < h <= bid else 0 for h in bids},
            {h: self._lots_at(h, take, bid + 1) if bid < h <= bid + LEVELS else 0 for h in asks},
        )

    def _best_bid(self, take: int) -> int:
        """A seller traded at the best bid, a buyer at the offer one step above it."""
        return self._book.height(take) - (0 if self._book.by_seller(take) else 1)

    def _levels(self, take: int) -> Levels:
        bid = self._best_bid(take)
        return Levels(
            {h: self._lots_at(h, take, bid) for h in range(bid, bid - LEVELS, -1)},
            {h: self._lots_at(h, take, bid + 1) for h in range(bid + 1, bid + 1 + LEVELS)},
        )

    def _lots_at(self, height: int, take: int, best: int) -> int:
        """How much lies at a height: another amount for every take at the best one, and for every version elsewhere."""
        version = take if height == best else _version(height, take)
        return 3 * self._sizes[(height * 40_503 + version * 977 + self._book.phase) & _SIZE_MASK]


def _aged(height: int, first: int, end: int) -> bool:
    """Whether a level that was never the best got another version."""
    return _version(height, first - 1) != _version(height, end - 1)


def _version(height: int, take: int) -> int:
    """Levels take turns in changing."""
    return (take + 5 * height) >> 3
