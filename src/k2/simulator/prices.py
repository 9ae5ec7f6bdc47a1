"""What else the exchange tells of prices: averages, reference and mark prices, liquidations, and trades in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k2.simulator.book import EVENT_DELAY_MS
from k2.simulator.instruments import decimal_text, signed_text
from k2.simulator.intervals import FUNDING_MS, MINUTE_MS, SECOND_MS

if TYPE_CHECKING:
    from k2.simulator.lane import Lane

AVERAGED_MS = 5 * MINUTE_MS
LIQUIDATION_EVERY, _LIQUIDATION_REST = 50, 17  # takes; every one with this rest is a liquidation
_WORSE = 200  # the order of a liquidation is limited to the so-manieth part of the price beside it
BLOCK_EVERY, _BLOCK_REST, _BLOCK_SIZE = 100, 7, 40  # takes; a block is so many times as large as the take it follows
UNKNOWN_EVERY = 15  # every so-manieth reference price is none
_PRICE_DECIMALS = _RATE_DECIMALS = 8
_SPREAD = 20_000  # mark prices lie the so-manieth part beside the index
_SMOOTHED = (1, 8, 32)  # how many takes back an index looks


def average(lane: Lane, moment_ms: int) -> str:
    book, end = lane.book, lane.takes_before(moment_ms)
    price = book.price_text(book.summary(lane.takes_before(moment_ms - AVERAGED_MS), end).average)
    traded_at_ms = lane.traded_at_ms(end - 1) if end else 0
    return f'{{"e":"avgPrice","E":{moment_ms},"s":"{lane.symbol}","i":"5m","w":"{price}","T":{traded_at_ms}}}'


def reference(lane: Lane, moment_ms: int) -> str:
    """The only event with a price that may be null."""
    known = (moment_ms // SECOND_MS + lane.book.phase) % UNKNOWN_EVERY
    price = f'"{lane.book.price_text(_index(lane, moment_ms, lane.book.listing.price_decimals))}"' if known else "null"
    return f'{{"e":"referencePrice","s":"{lane.symbol}","r":{price},"t":{moment_ms}}}'


def block_trade(lane: Lane, take: int, at_ms: int) -> str | None:
    """A block that was agreed upon beside the book; it has ids of its own and is no part of any candle."""
    if take % BLOCK_EVERY != _BLOCK_REST:
        return None
    book = lane.book
    price, quantity = book.price_text(book.price(take)), book.quantity_text(book.lots(take) * _BLOCK_SIZE)
    return (
        f'{{"e":"blockTrade","E":{at_ms},"s":"{lane.symbol}","t":{1 + take // BLOCK_EVERY},"p":"{price}","q":"{quantity}",'
        f'"T":{at_ms - EVENT_DELAY_MS},"m":{"true" if book.by_seller(take) else "false"}}}'
    )


def mark(lane: Lane, moment_ms: int) -> str:
    index = _index(lane, moment_ms, _PRICE_DECIMALS)
    last = lane.book.height(lane.takes_before(moment_ms) - 1)
    marked = index + (index // _SPREAD) * (1 if last % 2 else -1)
    funding_ms = moment_ms - moment_ms % FUNDING_MS + FUNDING_MS
    return (
        f'{{"e":"markPriceUpdate","E":{moment_ms},"s":"{lane.symbol}","p":"{_mark_text(marked)}","ap":"{_mark_text(marked)}",'
        f'"P":"{_mark_text(index - index // _SPREAD)}","i":"{_mark_text(index)}","r":"{_funding_rate(last)}","T":{funding_ms},'
        f'"st":{lane.symbol_type}}}'
    )


def liquidation(lane: Lane, moment_ms: int) -> str | None:
    """The latest forced order of the second; earlier ones are never told."""
    end = lane.takes_before(moment_ms)
    take = end - 1 - (end - 1 - _LIQUIDATION_REST) % LIQUIDATION_EVERY
    if take < lane.takes_before(moment_ms - SECOND_MS) or take < 0:
        return None
    book, price = lane.book, lane.book.price(take)
    worse = price // _WORSE // book.listing.tick * book.listing.tick
    side, limit = ("SELL", price - worse) if book.by_seller(take) else ("BUY", price + worse)
    quantity, filled = book.quantity_text(book.lots(take)), book.quantity_text(book.last_fill_lots(take))
    return (
        f'{{"e":"forceOrder","E":{moment_ms},"o":{{"s":"{lane.symbol}","S":"{side}","o":"LIMIT","f":"IOC",'
        f'"q":"{quantity}","p":"{book.price_text(limit)}","ap":"{book.price_text(price)}","X":"FILLED",'
        f'"l":"{filled}","z":"{quantity}","T":{lane.traded_at_ms(take)},"ps":"{lane.pair}","st":{lane.symbol_type}}}}}'
    )


def _index(lane: Lane, moment_ms: int, decimals: int) -> int:
    """A price that follows the trades smoothly."""
    end = lane.takes_before(moment_ms)
    total = sum(lane.book.price(end - back) for back in _SMOOTHED)
    return int(total * 10 ** (decimals - lane.book.listing.price_decimals)) // len(_SMOOTHED)


def _mark_text(price: int) -> str:
    return decimal_text(price, _PRICE_DECIMALS)


def _funding_rate(height: int) -> str:
    return signed_text(10_000 + height * 37 % 12_000 - 9_000, _RATE_DECIMALS)
