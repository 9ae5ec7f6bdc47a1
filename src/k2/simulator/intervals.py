"""
The exchange's candle intervals, and where their candles begin and end.

Candles are counted from the Unix epoch; weeks begin on Monday, months on their first day. Streams with an offset count in its
time zone instead, and still tell UTC times. Source: binance-spot-api-docs, "Kline/Candlestick Streams".
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k2.simulator.market import Venue

SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000
EAST_8_MS = 8 * HOUR_MS  # the one offset that streams know
FUNDING_MS = 8 * HOUR_MS  # futures pay each other so often
_MONDAY_MS = 4 * DAY_MS  # the epoch was a Thursday
_MONTH = "1M"
_LENGTHS_MS = {
    "1s": SECOND_MS,
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": 7 * DAY_MS,
}
INTERVALS: dict[Venue, tuple[str, ...]] = {
    "spot": (*_LENGTHS_MS, _MONTH),
    "usdm": (*(interval for interval in _LENGTHS_MS if interval != "1s"), _MONTH),
}


def candle_of(kind: str) -> tuple[str, int]:
    """Interval and offset in milliseconds of a stream of candles, such as `kline_1d@+08:00`."""
    interval, _, zone = kind.removeprefix("kline_").partition("@")
    return interval, EAST_8_MS if zone else 0


def opening_ms(interval: str, at_ms: int, offset_ms: int = 0) -> int:
    """
    When the candle that contains a moment began.

    Args:
        offset_ms: How far the time zone whose days count is ahead of UTC.
    """
    local_ms = at_ms + offset_ms
    if interval == _MONTH:
        return _month_ms(local_ms, 0) - offset_ms
    since_ms = _MONDAY_MS if interval == "1w" else 0
    return local_ms - (local_ms - since_ms) % _LENGTHS_MS[interval] - offset_ms


def next_opening_ms(interval: str, opened_ms: int, offset_ms: int = 0) -> int:
    """When the candle after the one that began at `opened_ms` begins."""
    if interval == _MONTH:
        return _month_ms(opened_ms + offset_ms, 1) - offset_ms
    return opened_ms + _LENGTHS_MS[interval]


def _month_ms(local_ms: int, later: int) -> int:
    day = datetime.fromtimestamp(local_ms / SECOND_MS, UTC)
    years, month = divmod(day.month - 1 + later, 12)
    return int(datetime(day.year + years, month + 1, 1, tzinfo=UTC).timestamp()) * SECOND_MS
