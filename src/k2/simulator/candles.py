"""Candles as the exchange streams them, and as its REST side lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from k2.simulator.intervals import next_opening_ms, opening_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from k2.simulator.book import Book, Summary
    from k2.simulator.lane import Lane
    from k2.simulator.market import Venue

_REPEATED_MS = 2_000  # a candle in which nothing changed is told no more often than this


class Candle(Struct, frozen=True, gc=False):
    """A candle's bounds (`closes_ms` is the next one's beginning), its interval, and what was traded in it so far."""

    opens_ms: int
    closes_ms: int
    interval: str
    summary: Summary
    closed: bool


class CandleTeller:
    """Tells a lane's candle of one interval at a moment. What ends at that very moment is told as closed, and only then."""

    def __init__(self, venue: Venue, interval: str, period_ms: int, offset_ms: int = 0) -> None:
        self._print = _PRINTERS[venue]
        self._interval, self._period_ms, self._offset_ms = interval, period_ms, offset_ms

    def __call__(self, lane: Lane, moment_ms: int) -> str | None:
        opens_ms = opening_ms(self._interval, moment_ms - 1, self._offset_ms)
        closes_ms = next_opening_ms(self._interval, opens_ms, self._offset_ms)
        closed, end = closes_ms == moment_ms, lane.takes_before(moment_ms)
        if not closed and moment_ms % _REPEATED_MS and end == lane.takes_before(moment_ms - self._period_ms):
            return None
        summary = lane.book.summary(lane.takes_before(opens_ms), end)
        return self._print(lane, Candle(opens_ms, closes_ms, self._interval, summary, closed), moment_ms)


def row(book: Book, candle: Candle) -> list[object]:
    """A candle as REST lists it: twelve values, of which the last means nothing."""
    s = candle.summary
    decimals = _quote_decimals(book)
    prices = [book.price_text(price) for price in (s.open, s.high, s.low, s.close)]
    volumes = [book.quote_text(s.quote, decimals), s.trades, book.quantity_text(s.bought_lots)]
    bought = book.quote_text(s.bought_quote, decimals)
    return [candle.opens_ms, *prices, book.quantity_text(s.lots), candle.closes_ms - 1, *volumes, bought, "0"]


def _spot(lane: Lane, candle: Candle, at_ms: int) -> str:
    return f'{{"e":"kline","E":{at_ms},"s":"{lane.symbol}","k":{{{",".join(_fields(lane, candle))}}}}}'


def _usdm(lane: Lane, candle: Candle, at_ms: int) -> str:
    """The fields of the candle itself are spaced, as on the wire."""
    return f'{{"e":"kline","E":{at_ms},"s":"{lane.symbol}","k":{{{", ".join(_fields(lane, candle))}}}}}'


_PRINTERS: dict[Venue, Callable[[Lane, Candle, int], str]] = {"spot": _spot, "usdm": _usdm}


def _fields(lane: Lane, candle: Candle) -> list[str]:
    s, book = candle.summary, lane.book
    decimals = _quote_decimals(book)
    return [
        f'"t":{candle.opens_ms}',
        f'"T":{candle.closes_ms - 1}',
        f'"s":"{lane.symbol}"',
        f'"i":"{candle.interval}"',
        f'"f":{s.first_id}',
        f'"L":{s.last_id}',
        f'"o":"{book.price_text(s.open)}"',
        f'"c":"{book.price_text(s.close)}"',
        f'"h":"{book.price_text(s.high)}"',
        f'"l":"{book.price_text(s.low)}"',
        f'"v":"{book.quantity_text(s.lots)}"',
        f'"n":{s.trades}',
        f'"x":{"true" if candle.closed else "false"}',
        f'"q":"{book.quote_text(s.quote, decimals)}"',
        f'"V":"{book.quantity_text(s.bought_lots)}"',
        f'"Q":"{book.quote_text(s.bought_quote, decimals)}"',
        '"B":"0"',
    ]


def _quote_decimals(book: Book) -> int:
    """Spot shows eight, futures as many as a product of price and quantity has."""
    return min(8, book.listing.price_decimals + book.listing.quantity_decimals)
