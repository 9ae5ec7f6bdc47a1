"""
A market that nobody recorded: any symbols, any rate, for as long as it is wanted.

Each event is a function of the seed and of its number: symbols take turns, ids count without a hole, prices follow a random walk
that closes into a ring. What comes by time (candles, tickers, order books and the like) is a function of the trades until then.
So nothing is stored, a run can be repeated, whoever comes late sees what the others see, and REST can give any issued trade
again.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING
from zlib import crc32

from msgspec import Struct
from msgspec.structs import replace

from k2.simulator import past, quotes
from k2.simulator.audience import Audience, audience_of
from k2.simulator.book import Book
from k2.simulator.candle_history import candle_rows
from k2.simulator.catalogue import CATALOGUES
from k2.simulator.instruments import listing
from k2.simulator.intervals import DAY_MS
from k2.simulator.lane import Lane
from k2.simulator.market import CandleWindow, Frame, Instrument, PastTrade, TradeKind, Venue, Window
from k2.simulator.schedule import EagerSchedule, PacedSchedule, Schedule, UnhurriedSchedule
from k2.simulator.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

CONTINUOUS_SINCE_MS = 1_704_067_200_000  # 2024-01-01: a beginning that servers started at different times share
COIN_M_SYMBOL = "BTCUSD_PERP"  # the futures' streams of all symbols carry the other futures market too
_HALTED: dict[Venue, str] = {"spot": "BREAK", "usdm": "SETTLING"}
_NO_LIMIT = 1 << 62


class GeneratedOptions(Struct, frozen=True, kw_only=True):
    """
    What to generate.

    Args:
        rate: Aggregated trades per second over all symbols, or None for as many as the readers take.
        event_rate: How many aggregated trades make up a second of the market's own clock, where that is not the wall's. With rate
            100 and event rate 1 a minute's candle closes after 0.6 seconds; with rate None the times of events no longer depend
            on how fast they are read, and every run has the same. The market then begins with its first moment in use, a day in
            the past unless `began_at_ms` says when, so that its events stay out of the future for a while.
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
    event_rate: float | None = None
    count: int | None = None
    seed: int = 1
    fills: tuple[int, ...] = (1, 1, 2, 1, 1, 3, 1, 1, 1, 5)
    first_ids: dict[str, int] | int | None = None
    began_at_ms: int | None = None
    quotes: dict[str, str] = {}


class GeneratedMarket:
    """A `Market` made of chance. It has every stream of its venue: see `k2.simulator.catalogue`."""

    def __init__(self, options: GeneratedOptions | None = None) -> None:
        self.options = options or GeneratedOptions()
        random = Random(self.options.seed)  # noqa: S311 - a market to look at, not a secret
        self._tape = Tape(random, self.options.fills)
        self._schedule = _schedule(self.options, random)
        self._turns = len(self.options.symbols)
        self._lanes = {symbol: self._lane(symbol, turn) for turn, symbol in enumerate(self.options.symbols)}
        self._foreign = [self._lane(COIN_M_SYMBOL, 0, symbol_type=2)] if self.venue == "usdm" else []
        self._instruments = {symbol: lane.book.listing.instrument for symbol, lane in self._lanes.items()}
        self._heard: frozenset[str] | None = None
        self._audience = self._gather(())
        self._speed = self._clock_speed()
        self._began_s: float | None = None
        self._began_ms = self._told_ms = 0
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
        """Aggregated trades issued so far, over all symbols that were there from the beginning."""
        return self._issued

    def begin(self, now_s: float, wall_ms: int) -> None:
        if self._began_s is not None:
            return
        own_clock, given_ms = self.options.event_rate is not None, self.options.began_at_ms
        self._began_ms = given_ms if given_ms is not None else wall_ms - (DAY_MS if own_clock else 0)
        self._began_s = now_s if own_clock else now_s - (wall_ms - self._began_ms) / 1_000
        if not own_clock and given_ms is not None:
            self._issued = self._due_count(now_s, _NO_LIMIT)
        self._told_ms = max(self._began_ms, self._settled_ms(now_s))

    def pull(self, now_s: float, wanted: Collection[str], limit: int) -> list[Frame]:
        first, self._issued = self._issued, self._due_count(now_s, limit)
        self._listen(wanted)
        after_ms, self._told_ms = self._told_ms, max(self._told_ms, self._settled_ms(now_s))
        frames: list[Frame] = []
        for moment_ms in self._audience.timetable.moments(after_ms, self._told_ms):
            end = max(first, self.count_until(moment_ms))
            self._render(first, end, frames)
            frames.extend(self._audience.timetable.at(moment_ms))
            first = end
        self._render(first, self._issued, frames)
        return frames

    def idle_s(self, now_s: float) -> float | None:
        if self._issued == self.options.count:
            return None
        if self.eager:
            return 0.0
        due_s = self._schedule.due_s(self._issued)
        if (moment_ms := self._audience.timetable.next_ms(self._told_ms)) is not None:
            due_s = min(due_s, (moment_ms + 1 - self._began_ms) / 1_000)
        return max(0.0, due_s - self._age_s(now_s)) / self._speed

    def instruments(self) -> Mapping[str, Instrument]:
        return self._instruments

    def stream_kinds(self) -> Sequence[str]:
        return CATALOGUES[self.venue].kinds

    def history(self, kind: TradeKind, symbol: str, window: Window) -> list[PastTrade]:
        return past.find(kind, self._lanes[symbol], self._tape, self._issued, window)

    def klines(self, symbol: str, window: CandleWindow) -> list[list[object]]:
        return candle_rows(self._lanes[symbol], self._began_ms, self._newest_ms(), window)

    def depth(self, symbol: str, limit: int) -> bytes | None:
        return quotes.snapshot(self._lanes[symbol], self._issued, limit).encode()

    def list_symbol(self, symbol: str) -> None:
        """
        Let a symbol trade from now on, a new one or one that was delisted.

        Raises:
            ValueError: it is trading already, or is no symbol.
        """
        lane = self._lanes.get(symbol)
        if not symbol or symbol != symbol.upper():
            raise ValueError(f"symbol {symbol!r} must be in upper case, as BTCUSDT")
        if lane is not None and lane.trading:
            raise ValueError(f"symbol {symbol} is listed already")
        if lane is not None:
            lane.resume(self._issued)
        else:
            turn = len(self._lanes) % self._turns
            lane = self._lane(symbol, turn, since_round=max(0, -(-(self._issued - turn) // self._turns)))
        self._lanes[symbol], self._heard = lane, None
        self._instruments = {**self._instruments, symbol: lane.book.listing.instrument}

    def delist(self, symbol: str, *, listed: bool = True) -> None:
        """
        Let a symbol trade no more: its streams fall silent.

        Args:
            listed: Whether exchangeInfo still has it, with the status of a halted symbol.

        Raises:
            ValueError: it is not trading.
        """
        lane = self._lanes.get(symbol)
        if lane is None or not lane.trading:
            raise ValueError(f"symbol {symbol} is not listed")
        lane.halt(self._issued)
        self._heard = None
        halted = {symbol: replace(self._instruments[symbol], status=_HALTED[self.venue])} if listed else {}
        self._instruments = {name: what for name, what in self._instruments.items() if name != symbol} | halted

    def at_ms(self, number: int) -> int:
        return self._began_ms + int(self._schedule.due_s(number) * 1_000)

    def count_until(self, at_ms: int) -> int:
        return min(self._issued, self._schedule.count_until(at_ms - self._began_ms))

    def _lane(self, symbol: str, turn: int, since_round: int = 0, symbol_type: int = 1) -> Lane:
        first_ids = self.options.first_ids
        given = first_ids.get(symbol) if isinstance(first_ids, dict) else first_ids
        first_id = 100_000_000 + crc32(symbol.encode()) % 1_000_000_000 if given is None else given
        book = Book(listing(symbol, self.venue, self.options.quotes), self._tape, self.options.seed, first_id)
        return Lane(book, self.venue, self, turn, self._turns, since_round, symbol_type)

    def _listen(self, wanted: Collection[str]) -> None:
        heard = frozenset(wanted)
        if heard != self._heard:
            self._heard, self._audience = heard, self._gather(heard)

    def _gather(self, wanted: Collection[str]) -> Audience:
        return audience_of(sorted(wanted), self.venue, list(self._lanes.values()), self._foreign, self._turns)

    def _render(self, first: int, end: int, frames: list[Frame]) -> None:
        """Append what there is to tell of the market's events `first` to `end` (exclusive)."""
        printers, turns = self._audience.printers, self._turns
        if not self._audience.hears_takes:
            return
        for number in range(first, end):
            if of_turn := printers[number % turns]:
                at_ms = self.at_ms(number)
                for printer in of_turn:
                    printer.render(number // turns, at_ms, frames)

    def _settled_ms(self, now_s: float) -> int:
        """Up to when everything has been issued that will ever have happened."""
        if self._issued == self.options.count:
            return self.at_ms(self._issued - 1)
        before_next_ms = self.at_ms(self._issued) - 1
        return before_next_ms if self.eager else min(before_next_ms, self._began_ms + int(self._age_s(now_s) * 1_000) - 1)

    def _newest_ms(self) -> int:
        """The time of the newest event."""
        return max(self._told_ms, self.at_ms(self._issued - 1) if self._issued else self._began_ms)

    def _age_s(self, now_s: float) -> float:
        """How old the market is by its own clock."""
        return (now_s - self._began_s) * self._speed if self._began_s is not None else 0.0

    def _clock_speed(self) -> float:
        rate, event_rate = self.options.rate, self.options.event_rate
        return rate / event_rate if rate is not None and event_rate is not None else 1.0

    def _due_count(self, now_s: float, limit: int) -> int:
        due = self._schedule.due_count(self._age_s(now_s), self._issued, limit)
        return due if self.options.count is None else min(due, self.options.count)


def _schedule(options: GeneratedOptions, random: Random) -> Schedule:
    if options.rate is not None:
        return PacedSchedule(options.event_rate or options.rate, random)
    return UnhurriedSchedule(PacedSchedule(options.event_rate, random)) if options.event_rate else EagerSchedule()
