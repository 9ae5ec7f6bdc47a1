"""
How fast the simulated market's own clock runs.

Where candles are wanted once they are closed, nobody would see one of a minute within a few seconds. So the clock then runs fast
enough that several close, and the market begins in the past, shortly before a candle of the longest interval does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec import Struct

from k2.ingestion.exchanges.binance.names import Stream
from k2.simulator.catalogue import CATALOGUES, Catalogue
from k2.simulator.intervals import candle_of, next_opening_ms, opening_ms
from k2.simulator.market import Venue

CLOSINGS = 5  # candles of the longest interval in the time that is watched
MOST_FRAMES_PER_S = 2_000  # of the streams that speak by the market's clock
CLOSES_AFTER_S = 2.0
PREPARED_FOR_S = 180.0  # start and end of a run, before and after it is watched


class Pace(Struct, frozen=True):
    """How many times as fast as the wall's the market's clock runs, and its first moment; None for now."""

    speed: int = 1
    began_at_ms: int | None = None


def pace_for(streams: Iterable[Stream], venue: Venue, symbols: int, seconds: float, *, closed_only: bool, now_ms: int) -> Pace:
    """
    The pace for a run.

    Args:
        streams: Those that the client is to receive.
        symbols: How many the market has.
        seconds: How long it is watched.
    """
    wanted = list(streams)
    candles = [stream.spec for stream in wanted if stream.spec.startswith("kline_")] if closed_only else []
    if not candles:
        return Pace()
    longest = max(candles, key=_length_ms)
    needed = CLOSINGS * _length_ms(longest) / 1000 / seconds
    bearable = MOST_FRAMES_PER_S / sum(_frames_per_s(stream, CATALOGUES[venue], symbols) for stream in wanted)
    speed = max(1, min(math.ceil(needed), int(bearable)))
    return Pace(speed, _beginning_ms(longest, speed, seconds, now_ms)) if speed > 1 else Pace()


def _length_ms(spec: str) -> int:
    interval, _ = candle_of(spec)
    return next_opening_ms(interval, 0)


def _frames_per_s(stream: Stream, catalogue: Catalogue, symbols: int) -> float:
    """Frames in a second of the market's own time, or what is as much work: an array of all symbols counts for each."""
    if stream.name in catalogue.all_market:
        return symbols * 1000 / catalogue.all_market[stream.name].period_ms
    return 1000 / catalogue.timed[stream.spec].period_ms if stream.spec in catalogue.timed else 0.0


def _beginning_ms(spec: str, speed: int, seconds: float, now_ms: int) -> int:
    """Far enough in the past that no event comes from the future, and shortly before a candle closes."""
    interval, offset_ms = candle_of(spec)
    latest_ms = now_ms - int((seconds + PREPARED_FOR_S) * speed * 1000)
    return opening_ms(interval, latest_ms, offset_ms) - int(CLOSES_AFTER_S * speed * 1000)
