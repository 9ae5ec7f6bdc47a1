"""REST's budget: weight used per minute, as the exchange counts and announces it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k2.simulator.market import Venue

HEADER = "X-MBX-USED-WEIGHT-1M"
PER_MINUTE: dict[Venue, int] = {"spot": 6_000, "usdm": 2_400}
_MINUTE_S = 60
_SPOT_DEPTH = ((100, 5), (500, 25), (1_000, 50), (5_000, 250))  # up to so many levels, weight
_USDM_DEPTH = ((50, 2), (100, 5), (500, 10), (1_000, 20))
_SPOT_KLINES = ((1_000, 2),)  # up to so many candles, weight
_USDM_KLINES = ((99, 1), (499, 2), (1_000, 5), (1_500, 10))


class Weight:
    """Weight used in the current minute of the wall clock."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self.used = 0
        self._minute = -1

    def charge(self, weight: int, wall_s: float) -> int | None:
        """Count a request; the seconds to wait when it is over the budget, else None."""
        minute, second = divmod(int(wall_s), _MINUTE_S)
        if minute != self._minute:
            self._minute, self.used = minute, 0
        self.used += weight
        return _MINUTE_S - second if self.used > self.per_minute else None


def of_depth(venue: Venue, levels: int) -> int:
    """The weight of an order book with so many levels a side."""
    return _of(_SPOT_DEPTH if venue == "spot" else _USDM_DEPTH, levels)


def of_klines(venue: Venue, candles: int) -> int:
    """The weight of so many candles."""
    return _of(_SPOT_KLINES if venue == "spot" else _USDM_KLINES, candles)


def _of(table: tuple[tuple[int, int], ...], asked: int) -> int:
    return next((weight for up_to, weight in table if asked <= up_to), table[-1][1])
