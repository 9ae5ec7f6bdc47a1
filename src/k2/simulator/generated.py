"""
A market that nobody recorded: any symbols, any rate, for as long as it is wanted.

Each event is a function of the seed and of its number: symbols take turns, ids count without a hole, prices follow a random walk
that closes into a ring. So nothing is stored, a run can be repeated, and REST can give any issued trade again.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING
from zlib import crc32

from msgspec import Struct

from k2.simulator.instruments import listing
from k2.simulator.market import Frame, Instrument, PastTrade, TradeKind, Venue, Window, select
from k2.simulator.rendering import RENDERERS, Trade, envelope_head
from k2.simulator.schedule import EagerSchedule, PacedSchedule, Schedule
from k2.simulator.tape import EVENT_DELAY_MS, Book, Tape

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

HISTORY_PER_SYMBOL = 200_000
CONTINUOUS_SINCE_MS = 1_704_067_200_000  # 2024-01-01: a beginning that servers started at different times share
_NO_LIMIT = 1 << 62


class GeneratedOptions(Struct, frozen=True, kw_only=True):
    """
    What to generate.

    Args:
        rate: Aggregated trades per second over all symbols, or None for as many as the readers take.
        count: Stop after this many aggregated trades; None for no end.
        fills: How many single trades make up each aggregated trade, repeated for ever. (1,) makes them one and the same.
        first_ids: The first id of trades and of aggregated trades, by symbol or one for all; where missing, from the symbol.
        began_at_ms: When the market began, in milliseconds since the Unix epoch; None for its first moment in use. A market with
            a beginning in the past goes on where another server of the same options left it.
        quotes: Quote assets by symbol, where the symbol's suffix misleads.
    """

    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
    venue: Venue = "spot"
    rate: float | None = 100.0
    count: int | None = None
    seed: int = 1
    fills: tuple[int, ...] = (1, 1, 2, 1, 1, 3, 1, 1, 1, 5)
    first_ids: dict[str, int] | int | None = None
    began_at_ms: int | None = None
    quotes: dict[str, str] = {}


class GeneratedMarket:
    """A `Market` made of chance. Its streams are `<symbol>@aggTrade` and `<symbol>@trade`."""

    def __init__(self, options: GeneratedOptions | None = None) -> None:
        self.options = options or GeneratedOptions()
        random = Random(self.options.seed)  # noqa: S311 - a market to look at, not a secret
        self._tape = Tape(random, self.options.fills)
        self._schedule: Schedule = PacedSchedule(self.options.rate, random) if self.options.rate else EagerSchedule()
        self._books = [self._book(symbol) for symbol in self.options.symbols]
        self._turns = {book.listing.symbol: turn for turn, book in enumerate(self._books)}
        self._printers = [_Printer(book, self.options.venue) for book in self._books]
        self._began_s: float | None = None
        self._began_ms = 0
        self._issued = 0

    @property
    def venue(self) -> Venue:
        return self.options.venue

    @property
    def eager(self) -> bool:
        return self.options.rate is None

    @property
    def waits_for_reader(self) -> bool:
        return self.eager or self.options.count is not None

    @property
    def issued(self) -> int:
        """Aggregated trades issued so far, over all symbols."""
        return self._issued

    def begin(self, now_s: float, wall_ms: int) -> None:
        if self._began_s is not None:
            return
        self._began_ms = wall_ms if self.options.began_at_ms is None else self.options.began_at_ms
        self._began_s = now_s - (wall_ms - self._began_ms) / 1_000
        if self.options.began_at_ms is not None:
            self._issued = self._due_count(now_s, _NO_LIMIT)

    def pull(self, now_s: float, wanted: Container[str], limit: int) -> list[Frame]:
        first, self._issued = self._issued, self._due_count(now_s, limit)
        active = [printer if printer.listen(wanted) else None for printer in self._printers]
        frames: list[Frame] = []
        if not any(active):
            return frames
        turns = len(active)
        for number in range(first, self._issued):
            if printer := active[number % turns]:
                printer.render(number // turns, self._at_ms(number), frames)
        return frames

    def idle_s(self, now_s: float) -> float | None:
        if self._issued == self.options.count:
            return None
        return max(0.0, self._schedule.due_s(self._issued) - self._age_s(now_s))

    def instruments(self) -> Mapping[str, Instrument]:
        return {book.listing.symbol: book.listing.instrument for book in self._books}

    def stream_kinds(self) -> Sequence[str]:
        return ("aggTrade", "trade")

    def history(self, kind: TradeKind, symbol: str, window: Window) -> list[PastTrade]:
        turn, turns = self._turns[symbol], len(self._books)
        takes = max(0, -(-(self._issued - turn) // turns))
        past = _PastFills if kind == "trade" else _PastTakes
        oldest = max(0, takes - HISTORY_PER_SYMBOL)
        return past(self._books[turn], self._tape, oldest, takes, lambda take: self._at_ms(take * turns + turn)).find(window)

    def depth(self, symbol: str) -> bytes | None:  # noqa: ARG002 - the port's signature; no order book is generated
        return None

    def _book(self, symbol: str) -> Book:
        first_ids = self.options.first_ids
        given = first_ids.get(symbol) if isinstance(first_ids, dict) else first_ids
        first_id = 100_000_000 + crc32(symbol.encode()) % 1_000_000_000 if given is None else given
        return Book(listing(symbol, self.venue, self.options.quotes), self._tape, self.options.seed, first_id)

    def _at_ms(self, number: int) -> int:
        return self._began_ms + int(self._schedule.due_s(number) * 1_000)

    def _age_s(self, now_s: float) -> float:
        return now_s - self._began_s if self._began_s is not None else 0.0

    def _due_count(self, now_s: float, limit: int) -> int:
        due = self._schedule.due_count(self._age_s(now_s), self._issued, limit)
        return due if self.options.count is None else min(due, self.options.count)


class _Printer:
    """Renders the takes of one book for the streams that somebody listens to."""

    def __init__(self, book: Book, venue: Venue) -> None:
        self._book = book
        self._agg, self._trade = RENDERERS[venue, "aggTrade"], RENDERERS[venue, "trade"]
        self._agg_head, self._trade_head = envelope_head(book.agg_stream), envelope_head(book.trade_stream)
        self._agg_wanted = self._trade_wanted = False

    def listen(self, wanted: Container[str]) -> bool:
        self._agg_wanted, self._trade_wanted = self._book.agg_stream in wanted, self._book.trade_stream in wanted
        return self._agg_wanted or self._trade_wanted

    def render(self, take: int, event_at_ms: int, frames: list[Frame]) -> None:
        """Append the frames of a take: its trades first, then their aggregate, as the exchange does."""
        if self._trade_wanted:
            fills = self._book.fills(take, event_at_ms)
            frames.extend(_frame(self._book.trade_stream, self._trade_head, self._trade(fill)) for fill in fills)
        if self._agg_wanted:
            aggregate = self._book.aggregate(take, event_at_ms)
            frames.append(_frame(self._book.agg_stream, self._agg_head, self._agg(aggregate)))


class _PastTakes:
    """The takes `oldest` to `end` (exclusive) of a book, as REST finds them."""

    def __init__(self, book: Book, tape: Tape, oldest: int, end: int, at_ms: Callable[[int], int]) -> None:
        self._book, self._tape, self._at_ms = book, tape, at_ms
        self._first, self._count = self._position(oldest), self._position(end) - self._position(oldest)

    def find(self, window: Window) -> list[PastTrade]:
        found = select(self._count, self._id_at, self._traded_at_ms, window)
        return [_past(self._trade(self._first + i)) for i in found]

    def _id_at(self, i: int) -> int:
        return self._book.first_id + self._first + i

    def _traded_at_ms(self, i: int) -> int:
        return self._at_ms(self._take(self._first + i)) - EVENT_DELAY_MS

    def _position(self, take: int) -> int:
        return take

    def _take(self, position: int) -> int:
        return position

    def _trade(self, position: int) -> Trade:
        return self._book.aggregate(position, self._at_ms(position))


class _PastFills(_PastTakes):
    """The same for single trades."""

    def _position(self, take: int) -> int:
        return self._tape.fills_before(take)

    def _take(self, position: int) -> int:
        return self._tape.take_of(position)

    def _trade(self, position: int) -> Trade:
        take = self._take(position)
        return list(self._book.fills(take, self._at_ms(take)))[position - self._position(take)]


def _frame(stream: str, head: str, event: str) -> Frame:
    return Frame(stream, f"{head}{event}}}".encode(), len(head))


def _past(t: Trade) -> PastTrade:
    return PastTrade(t.id, t.price, t.quantity, t.first_id, t.last_id, t.traded_at_ms, t.buyer_is_maker)
