"""The order book as the exchange streams it: the best prices, the changes, the upper levels; and as REST answers it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from k2.simulator.book import EVENT_DELAY_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from k2.simulator.ladder import Levels, UpdateIds
    from k2.simulator.lane import Lane
    from k2.simulator.market import Venue

_REPEATED_MS = 1_000  # spot repeats the upper levels of a book that did not change, but no more often than this


def spot_quote(lane: Lane, take: int, _at_ms: int) -> str:
    return f'{{"u":{lane.ladder.update_id(take)},"s":"{lane.symbol}",{best(lane, take)}}}'


def usdm_quote(lane: Lane, take: int, at_ms: int) -> str:
    return (
        f'{{"e":"bookTicker","u":{lane.ladder.update_id(take)},"s":"{lane.symbol}","ps":"{lane.pair}",{best(lane, take)},'
        f'"T":{at_ms - EVENT_DELAY_MS},"E":{at_ms},"st":{lane.symbol_type}}}'
    )


def usdm_quote_at(lane: Lane, moment_ms: int) -> str:
    """The best prices at a moment, for the stream of all symbols."""
    return usdm_quote(lane, lane.takes_before(moment_ms) - 1, moment_ms)


def usdm_take_depth(lane: Lane, take: int, at_ms: int) -> str:
    """What one take changed, for the stream that tells everything at once."""
    ids, levels = lane.ladder.ids(take, take + 1), lane.ladder.change(take, take + 1)
    return _usdm_depth(lane, ids, levels, at_ms, at_ms - EVENT_DELAY_MS)


class DepthTeller:
    """Tells what changed in the order book within a period; nothing where nothing did."""

    def __init__(self, venue: Venue, period_ms: int) -> None:
        self._print = _DEPTH_PRINTERS[venue]
        self._period_ms = period_ms

    def __call__(self, lane: Lane, moment_ms: int) -> str | None:
        first, end = lane.takes_before(moment_ms - self._period_ms), lane.takes_before(moment_ms)
        if first == end:
            return None
        ids, levels = lane.ladder.ids(first, end), lane.ladder.change(first, end)
        return self._print(lane, ids, levels, moment_ms, lane.traded_at_ms(end - 1))


class SpotTopTeller:
    """Tells the upper levels of a spot book: neither symbol nor time is in it."""

    def __init__(self, levels: int, period_ms: int) -> None:
        self._levels, self._period_ms = levels, period_ms

    def __call__(self, lane: Lane, moment_ms: int) -> str | None:
        end = lane.takes_before(moment_ms)
        if moment_ms % _REPEATED_MS and end == lane.takes_before(moment_ms - self._period_ms):
            return None
        return f'{{"lastUpdateId":{lane.ladder.update_id(end - 1)},{_book(lane, end - 1, self._levels)}}}'


class UsdmTopTeller:
    """Tells the upper levels of a futures book when it changed, in the very form of a change."""

    def __init__(self, levels: int, period_ms: int) -> None:
        self._levels, self._period_ms = levels, period_ms

    def __call__(self, lane: Lane, moment_ms: int) -> str | None:
        first, end = lane.takes_before(moment_ms - self._period_ms), lane.takes_before(moment_ms)
        if first == end:
            return None
        ids, levels = lane.ladder.ids(first, end), lane.ladder.after(end - 1)
        return _usdm_depth(lane, ids, levels, moment_ms, lane.traded_at_ms(end - 1), self._levels)


def snapshot(lane: Lane, issued: int, limit: int) -> str:
    """The book after the first `issued` events of the market, as REST answers it."""
    take = lane.takes_of(issued) - 1
    last_update_id, book = lane.ladder.update_id(take), _book(lane, take, limit)
    if lane.venue == "spot":
        return f'{{"lastUpdateId":{last_update_id},{book}}}'
    at_ms = lane.at_ms(max(take, 0))
    return f'{{"lastUpdateId":{last_update_id},"E":{at_ms},"T":{at_ms - EVENT_DELAY_MS},{book}}}'


def best(lane: Lane, take: int) -> str:
    """The best prices and quantities after a take, as quotes and tickers tell them."""
    quote, book = lane.ladder.quote(take), lane.book
    return (
        f'"b":"{book.price_text(quote.bid)}","B":"{book.quantity_text(quote.bid_lots)}",'
        f'"a":"{book.price_text(quote.ask)}","A":"{book.quantity_text(quote.ask_lots)}"'
    )


def _book(lane: Lane, take: int, limit: int) -> str:
    levels = lane.ladder.after(take)
    return f'"bids":{_side(lane, levels.bids, limit)},"asks":{_side(lane, levels.asks, limit)}'


def _spot_depth(lane: Lane, ids: UpdateIds, levels: Levels, at_ms: int, _traded_at_ms: int) -> str:
    return (
        f'{{"e":"depthUpdate","E":{at_ms},"s":"{lane.symbol}","U":{ids.first},"u":{ids.last},'
        f'"b":{_side(lane, levels.bids)},"a":{_side(lane, levels.asks)}}}'
    )


def _usdm_depth(lane: Lane, ids: UpdateIds, levels: Levels, at_ms: int, traded_at_ms: int, limit: int | None = None) -> str:
    return (
        f'{{"e":"depthUpdate","E":{at_ms},"T":{traded_at_ms},"s":"{lane.symbol}","ps":"{lane.pair}",'
        f'"U":{ids.first},"u":{ids.last},"pu":{ids.previous},'
        f'"b":{_side(lane, levels.bids, limit)},"a":{_side(lane, levels.asks, limit)},"st":{lane.symbol_type}}}'
    )


_DEPTH_PRINTERS: dict[Venue, Callable[[Lane, UpdateIds, Levels, int, int], str]] = {"spot": _spot_depth, "usdm": _usdm_depth}


def _side(lane: Lane, levels: Mapping[int, int], limit: int | None = None) -> str:
    book, price = lane.book, lane.ladder.price
    shown = islice(levels.items(), limit)
    texts = (f'["{book.price_text(price(height))}","{book.quantity_text(lots)}"]' for height, lots in shown)
    return f"[{','.join(texts)}]"
