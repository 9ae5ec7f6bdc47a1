"""
The chance behind a generated market: one ring of price steps, sizes and sides that all its symbols read at different places.

Everything is a function of the number of a take (what one order took from the book: an aggregated trade), so that any trade can
be produced again without having been stored.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import exp
from typing import TYPE_CHECKING
from zlib import crc32

from k2.simulator.instruments import Listing, decimal_text
from k2.simulator.rendering import Trade

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

EVENT_DELAY_MS = 1  # between a trade and the event that tells of it
_WALK_STEPS = 1 << 16
_SIZES = 8_191  # prime, so that prices and sizes repeat together only after half a milliard takes
_SIZE_SPREAD = 1.3  # standard deviation of the logarithm of a size
_MOVES, _MOVE_WEIGHTS = (-2, -1, 0, 1, 2), (4, 16, 60, 16, 4)


class Tape:
    """The shared randomness, and how takes and their fills number each other."""

    def __init__(self, random: Random, fills: Sequence[int]) -> None:
        self.walk = _ring(random)
        self.sizes = [exp(random.gauss(0.0, _SIZE_SPREAD)) for _ in range(_SIZES)]
        self.coins = [random.random() < 0.5 for _ in range(_SIZES)]  # noqa: PLR2004 - a fair coin
        self.fills = tuple(fills)
        self._before = [0, *accumulate(fills)]

    def fills_of(self, take: int) -> int:
        return self.fills[take % len(self.fills)]

    def fills_before(self, take: int) -> int:
        """How many fills all takes before this one had together."""
        rounds, within = divmod(take, len(self.fills))
        return rounds * self._before[-1] + self._before[within]

    def take_of(self, fill: int) -> int:
        """The take that a fill belongs to; both count from 0."""
        rounds, within = divmod(fill, self._before[-1])
        return rounds * len(self.fills) + bisect_right(self._before, within) - 1


class Book:
    """One symbol of a generated market: what its take or fill of a given number looks like."""

    def __init__(self, listing: Listing, tape: Tape, seed: int, first_id: int) -> None:
        self.listing, self.first_id = listing, first_id
        self.agg_stream = f"{listing.symbol.lower()}@aggTrade"
        self.trade_stream = f"{listing.symbol.lower()}@trade"
        self._tape = tape
        self._phase = crc32(f"{seed}:{listing.symbol}".encode())

    def aggregate(self, take: int, event_at_ms: int) -> Trade:
        price, lots, by_seller = self._draw(take)
        first_fill = self.first_id + self._tape.fills_before(take)
        last_fill = first_fill + self._tape.fills_of(take) - 1
        quantity = decimal_text(lots * self.listing.lot, self.listing.quantity_decimals)
        traded_at_ms = event_at_ms - EVENT_DELAY_MS
        number = self.first_id + take
        return Trade(self.listing.symbol, number, price, quantity, first_fill, last_fill, traded_at_ms, event_at_ms, by_seller)

    def fills(self, take: int, event_at_ms: int) -> Iterator[Trade]:
        """The single trades of a take; their quantities add up to its own."""
        price, lots, by_seller = self._draw(take)
        first, count = self.first_id + self._tape.fills_before(take), self._tape.fills_of(take)
        share, rest = divmod(lots, count)
        for i in range(count):
            number = first + i
            quantity = decimal_text((share + (rest if i == 0 else 0)) * self.listing.lot, self.listing.quantity_decimals)
            traded_at_ms = event_at_ms - EVENT_DELAY_MS
            yield Trade(self.listing.symbol, number, price, quantity, number, number, traded_at_ms, event_at_ms, by_seller)

    def _draw(self, take: int) -> tuple[str, int, bool]:
        """Price, size in lots, and whether a seller took it."""
        tape, place = self._tape, take + self._phase
        now, before = tape.walk[place % _WALK_STEPS], tape.walk[(place - 1) % _WALK_STEPS]
        price = max(self.listing.tick, self.listing.price + now * self.listing.step)
        lots = max(tape.fills_of(take), int(tape.sizes[place % _SIZES] * self.listing.typical_lots))
        by_seller = now < before if now != before else tape.coins[place % _SIZES]
        return decimal_text(price, self.listing.price_decimals), lots, by_seller


def _ring(random: Random) -> list[int]:
    """A random walk that ends where it began: its drift is taken out step by step."""
    walk = list(accumulate(random.choices(_MOVES, _MOVE_WEIGHTS, k=_WALK_STEPS)))
    drift = walk[-1]
    return [height - drift * i // _WALK_STEPS for i, height in enumerate(walk)]
