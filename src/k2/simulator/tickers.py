"""
The rolling figures of a symbol: the last 24 hours in short and in full, and the windows of one hour, four hours and one day.

The windows of the latter, and of the futures' full ticker, begin at a whole minute, as the exchange's do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k2.simulator.instruments import signed_text
from k2.simulator.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from k2.simulator.quotes import best

if TYPE_CHECKING:
    from collections.abc import Callable

    from k2.simulator.book import Book, Summary
    from k2.simulator.lane import Lane

WINDOWS_MS = {"1h": HOUR_MS, "4h": 4 * HOUR_MS, "1d": DAY_MS}
_PERCENT_DECIMALS = 3
_USDM_QUOTE_DECIMALS = 2


def spot_mini(lane: Lane, moment_ms: int) -> str:
    s, book = _day(lane, moment_ms), lane.book
    return (
        f'{{"e":"24hrMiniTicker","E":{moment_ms},"s":"{lane.symbol}","c":"{book.price_text(s.close)}",{_range(book, s)},'
        f"{_volumes(book, s, 8)}}}"
    )


def usdm_mini(lane: Lane, moment_ms: int) -> str:
    s, book = _day(lane, moment_ms), lane.book
    return (
        f'{{"e":"24hrMiniTicker","E":{moment_ms},"s":"{lane.symbol}","ps":"{lane.pair}","c":"{book.price_text(s.close)}",'
        f'{_range(book, s)},{_volumes(book, s, _USDM_QUOTE_DECIMALS)},"st":{lane.symbol_type}}}'
    )


def spot_full(lane: Lane, moment_ms: int) -> str:
    """Everything about the last 24 hours, and the best prices at their end."""
    book, opens_ms = lane.book, moment_ms - 1 - DAY_MS
    first, end = lane.takes_before(opens_ms), lane.takes_before(moment_ms)
    s = book.summary(first, end)
    return (
        f'{{"e":"24hrTicker","E":{moment_ms},"s":"{lane.symbol}",{_change(book, s)},"w":"{book.price_text(s.average)}",'
        f'"x":"{book.price_text(book.price(first - 1))}","c":"{book.price_text(s.close)}",'
        f'"Q":"{book.quantity_text(book.last_fill_lots(end - 1))}",'
        f"{best(lane, end - 1)},{_range(book, s)},{_volumes(book, s, 8)},{_ends(s, opens_ms, moment_ms)}}}"
    )


def usdm_full(lane: Lane, moment_ms: int) -> str:
    book, opens_ms = lane.book, _whole_minute(moment_ms - DAY_MS)
    end = lane.takes_before(moment_ms)
    s = book.summary(lane.takes_before(opens_ms), end)
    return (
        f'{{"e":"24hrTicker","E":{moment_ms},"s":"{lane.symbol}","ps":"{lane.pair}",{_change(book, s)},'
        f'"w":"{book.price_text(s.average)}","c":"{book.price_text(s.close)}",'
        f'"Q":"{book.quantity_text(book.last_fill_lots(end - 1))}",'
        f"{_range(book, s)},{_volumes(book, s, _USDM_QUOTE_DECIMALS)},{_ends(s, opens_ms, moment_ms)},"
        f'"st":{lane.symbol_type}}}'
    )


def rolling(window: str) -> Callable[[Lane, int], str]:
    """Tells one of the spot windows: "1h", "4h" or "1d"."""
    length_ms = WINDOWS_MS[window]

    def tell(lane: Lane, moment_ms: int) -> str:
        book, opens_ms = lane.book, _whole_minute(moment_ms - length_ms)
        s = lane.summary(opens_ms, moment_ms)
        return (
            f'{{"e":"{window}Ticker","E":{moment_ms},"s":"{lane.symbol}",{_change(book, s)},{_range(book, s)},'
            f'"c":"{book.price_text(s.close)}","w":"{book.price_text(s.average)}",'
            f"{_volumes(book, s, 8)},{_ends(s, opens_ms, moment_ms)}}}"
        )

    return tell


def if_traded(tell: Callable[[Lane, int], str | None], period_ms: int) -> Callable[[Lane, int], str | None]:
    """Tells what `tell` does where a lane traded within the period: streams of all symbols leave out the others."""

    def told(lane: Lane, moment_ms: int) -> str | None:
        changed = lane.takes_before(moment_ms) != lane.takes_before(moment_ms - period_ms)
        return tell(lane, moment_ms) if changed else None

    return told


def _day(lane: Lane, moment_ms: int) -> Summary:
    return lane.summary(moment_ms - 1 - DAY_MS, moment_ms)


def _whole_minute(at_ms: int) -> int:
    return at_ms - at_ms % MINUTE_MS


def _change(book: Book, s: Summary) -> str:
    percent = round((s.close - s.open) * 100 * 10**_PERCENT_DECIMALS / s.open)
    change = signed_text(s.close - s.open, book.listing.price_decimals)
    return f'"p":"{change}","P":"{signed_text(percent, _PERCENT_DECIMALS)}"'


def _range(book: Book, s: Summary) -> str:
    return f'"o":"{book.price_text(s.open)}","h":"{book.price_text(s.high)}","l":"{book.price_text(s.low)}"'


def _volumes(book: Book, s: Summary, quote_decimals: int) -> str:
    return f'"v":"{book.quantity_text(s.lots)}","q":"{book.quote_text(s.quote, quote_decimals)}"'


def _ends(s: Summary, opens_ms: int, moment_ms: int) -> str:
    return f'"O":{opens_ms},"C":{moment_ms - 1},"F":{s.first_id},"L":{s.last_id},"n":{s.trades}'
