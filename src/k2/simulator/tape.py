"""
The chance behind a generated market: one ring of price steps, sizes and sides that all its symbols read at different places.

Everything is a function of the number of a take (what one order took from the book: an aggregated trade), so that any trade can
be produced again without having been stored. The sums over any stretch of takes are functions too: the rings close together, so
that running sums over one round give those over any number of rounds. A candle of a month costs as much as one of a second.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from itertools import accumulate
from math import exp
from operator import mul
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from random import Random

RING = 1 << 16
_SIZES = 1 << 13  # divides the ring, so that prices and sizes repeat together and can be summed up beforehand
_SIZE_SPREAD = 1.3  # standard deviation of the logarithm of a size
_MOVES, _MOVE_WEIGHTS = (-2, -1, 0, 1, 2), (4, 16, 60, 16, 4)
_BLOCK = 256


class Tape:
    """The shared randomness, and how takes and their fills number each other."""

    def __init__(self, random: Random, fills: Sequence[int]) -> None:
        self.walk = _ring(random)
        self._sizes = [exp(random.gauss(0.0, _SIZE_SPREAD)) for _ in range(_SIZES)]
        coins = [random.random() < 0.5 for _ in range(_SIZES)] * (RING // _SIZES)  # noqa: PLR2004 - a fair coin
        before = [self.walk[-1], *self.walk[:-1]]
        self.sellers = [coin if now == then else now < then for now, then, coin in zip(self.walk, before, coins, strict=True)]
        self.fills = tuple(fills)
        self._before = [0, *accumulate(fills)]
        self._lots: dict[int, list[int]] = {}
        self._sums: dict[int, Sums] = {}

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

    def lots(self, typical: int) -> list[int]:
        """The ring of sizes for a symbol of that median; each can be shared by as many fills as a take may have."""
        if typical not in self._lots:
            least = max(self.fills)
            self._lots[typical] = [max(least, int(size * typical)) for size in self._sizes] * (RING // _SIZES)
        return self._lots[typical]

    def sums(self, typical: int) -> Sums:
        if typical not in self._sums:
            self._sums[typical] = Sums(self, self.lots(typical))
        return self._sums[typical]

    @cached_property
    def lowest(self) -> int:
        return min(self.walk)

    def low(self, first: int, end: int) -> int:
        """The lowest point of the walk over the places `first` to `end` (exclusive), of which there is at least one."""
        return _extreme(min, self.walk, self._block_lows, first, end)

    def high(self, first: int, end: int) -> int:
        return _extreme(max, self.walk, self._block_highs, first, end)

    @cached_property
    def _block_lows(self) -> list[int]:
        return [min(self.walk[i : i + _BLOCK]) for i in range(0, RING, _BLOCK)]

    @cached_property
    def _block_highs(self) -> list[int]:
        return [max(self.walk[i : i + _BLOCK]) for i in range(0, RING, _BLOCK)]


class Sums:
    """Sums over stretches of the ring: lots, lots times the walk's height, and both for what buyers took."""

    def __init__(self, tape: Tape, lots: Sequence[int]) -> None:
        bought = [0 if seller else size for seller, size in zip(tape.sellers, lots, strict=True)]
        self._running = [_running(values) for values in (lots, map(mul, lots, tape.walk), bought, map(mul, bought, tape.walk))]

    def between(self, first: int, end: int) -> tuple[int, int, int, int]:
        lots, weighted, bought, bought_weighted = (_up_to(running, end) - _up_to(running, first) for running in self._running)
        return lots, weighted, bought, bought_weighted


def _running(values: Iterable[int]) -> list[int]:
    return [0, *accumulate(values)]


def _up_to(running: list[int], place: int) -> int:
    rounds, within = divmod(place, RING)
    return rounds * running[-1] + running[within]


def _extreme(pick: Callable[[Iterable[int]], int], walk: list[int], blocks: list[int], first: int, end: int) -> int:
    if end - first >= RING:
        return pick(blocks)
    start, stop = first % RING, (end - 1) % RING + 1
    if start < stop:
        return _within(pick, walk, blocks, start, stop)
    return pick((_within(pick, walk, blocks, start, RING), _within(pick, walk, blocks, 0, stop)))


def _within(pick: Callable[[Iterable[int]], int], walk: list[int], blocks: list[int], start: int, stop: int) -> int:
    first_block, last_block = -(-start // _BLOCK), stop // _BLOCK
    if first_block >= last_block:
        return pick(walk[start:stop])
    return pick([*walk[start : first_block * _BLOCK], *blocks[first_block:last_block], *walk[last_block * _BLOCK : stop]])


def _ring(random: Random) -> list[int]:
    """A random walk that ends where it began: its drift is taken out step by step."""
    walk = list(accumulate(random.choices(_MOVES, _MOVE_WEIGHTS, k=RING)))
    drift = walk[-1]
    return [height - drift * i // RING for i, height in enumerate(walk)]
