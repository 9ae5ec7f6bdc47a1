"""What one symbol of a generated market trades: its takes and fills by number, and what any stretch of them amounts to."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from msgspec import Struct

from k2.simulator.instruments import Listing, decimal_text
from k2.simulator.rendering import Trade
from k2.simulator.tape import RING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k2.simulator.tape import Tape

EVENT_DELAY_MS = 1  # between a trade and the event that tells of it
_DEEPEST = 64  # steps below the lowest price that an order book still shows; prices stay positive there too


class Summary(Struct, frozen=True, gc=False):
    """
    What a stretch of takes amounts to. Prices count the last decimal of prices, lots those of the book, `quote` their products.

    Without a take all prices are the last one before, and the ids are -1, as the exchange has it.
    """

    open: int
    high: int
    low: int
    close: int
    lots: int
    quote: int
    bought_lots: int
    bought_quote: int
    trades: int
    first_id: int
    last_id: int

    @property
    def average(self) -> int:
        """The price weighted by quantity; the last one where nothing was traded."""
        return (self.quote + self.lots // 2) // self.lots if self.lots else self.close


class Book:
    """One symbol of a generated market: what its take or fill of a given number looks like."""

    def __init__(self, listing: Listing, tape: Tape, seed: int, first_id: int) -> None:
        self.listing, self.first_id = listing, first_id
        self.phase = crc32(f"{seed}:{listing.symbol}".encode())
        self.centre = max(listing.price, (_DEEPEST - tape.lowest) * listing.step)
        self._tape = tape
        self.sizes = tape.lots(listing.typical_lots)

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

    def summary(self, first: int, end: int) -> Summary:
        """What the takes `first` to `end` (exclusive) amount to, at a cost that does not grow with their number."""
        if first >= end:
            price = self.price(first - 1)
            return Summary(price, price, price, price, 0, 0, 0, 0, 0, -1, -1)
        place, end_place = first + self.phase, end + self.phase
        lots, weighted, bought, bought_weighted = self._tape.sums(self.listing.typical_lots).between(place, end_place)
        fills_before, fills_until = self._tape.fills_before(first), self._tape.fills_before(end)
        step = self.listing.step
        return Summary(
            self.price(first),
            self.centre + self._tape.high(place, end_place) * step,
            self.centre + self._tape.low(place, end_place) * step,
            self.price(end - 1),
            lots,
            self.centre * lots + step * weighted,
            bought,
            self.centre * bought + step * bought_weighted,
            fills_until - fills_before,
            self.first_id + fills_before,
            self.first_id + fills_until - 1,
        )

    def price(self, take: int) -> int:
        return self.centre + self.height(take) * self.listing.step

    def height(self, take: int) -> int:
        """Where the walk is, in steps from the centre."""
        return self._tape.walk[(take + self.phase) % RING]

    def reach(self, first: int, end: int) -> tuple[int, int]:
        """The lowest and the highest point of the walk over the takes `first` to `end` (exclusive), at least one."""
        first, end = first + self.phase, end + self.phase
        return self._tape.low(first, end), self._tape.high(first, end)

    def by_seller(self, take: int) -> bool:
        return self._tape.sellers[(take + self.phase) % RING]

    def lots(self, take: int) -> int:
        return self.sizes[(take + self.phase) % RING]

    def last_fill_lots(self, take: int) -> int:
        """The size of the last single trade of a take."""
        return self.lots(take) // self._tape.fills_of(take)

    def price_text(self, price: int) -> str:
        return decimal_text(price, self.listing.price_decimals)

    def quantity_text(self, lots: int) -> str:
        return decimal_text(lots * self.listing.lot, self.listing.quantity_decimals)

    def quote_text(self, quote: int, decimals: int) -> str:
        """A product of price and lots with so many decimals; what they cannot show is cut off."""
        printed = self.listing.price_decimals + self.listing.quantity_decimals
        value = quote * self.listing.lot
        exact = value // 10 ** (printed - decimals) if printed > decimals else value * 10 ** (decimals - printed)
        return decimal_text(exact, decimals)

    def _draw(self, take: int) -> tuple[str, int, bool]:
        """Price, size in lots, and whether a seller took it."""
        place = (take + self.phase) % RING
        price = self.centre + self._tape.walk[place] * self.listing.step
        return decimal_text(price, self.listing.price_decimals), self.sizes[place], self._tape.sellers[place]
