"""What there is to see at one moment, free of how it is shown; and the short memory that rates and price curves need."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct, field

from k2.demo.letters import LetterRow
from k2.demo.tally import RecordRow, TopicTally
from k2.live.rates import RateMeter
from k2.live.sheet import ClientSheet

CURVE_EVERY_S = 0.2
CURVE_POINTS = 240
STARTING, RUNNING, ENDING = "starting", "running", "ending"  # the phases of a run
TOTAL = ""  # the key of all symbols together


class Health(Struct, frozen=True):
    """The client's `/health`, as far as it is shown."""

    connection_state: str = "DISCONNECTED"
    reasons: tuple[str, ...] = ()
    balance: ClientSheet = field(default_factory=ClientSheet)
    latency_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def connected(self) -> bool:
        return self.connection_state == "CONNECTED"


class SymbolRow(Struct, frozen=True):
    """One symbol. `latest` is None before its first record; `missing` counts ids; `curve` holds prices, oldest first."""

    symbol: str
    latest: RecordRow | None
    per_s: float
    records: int
    missing: int
    curve: tuple[Decimal, ...] = ()


class Snapshot(Struct, frozen=True, kw_only=True):
    """
    One moment.

    Attributes:
        exchange: Whose trades these are, in words.
        feed: Market, stream and pace, in words.
        phase: One of the three above.
        elapsed_s: Time since the first record; 0 before it.
        health: None while the client does not answer.
        sent: Frames that the simulated exchange sent; None for the real one.
        consumed, distinct: Records read back, and message ids among them, when `health` was asked for: never ahead of it.
        letters: The latest dead letters, the newest last.
    """

    exchange: str
    feed: str
    topic: str
    schema_id: int | None
    phase: str
    elapsed_s: float
    seconds: float
    health: Health | None
    sent: int | None
    consumed: int
    distinct: int
    per_s: float
    symbols: tuple[SymbolRow, ...]
    letters: tuple[LetterRow, ...]
    letters_by_reason: Mapping[str, int]
    records: tuple[RecordRow, ...]

    @property
    def balance(self) -> ClientSheet:
        return self.health.balance if self.health else ClientSheet()

    @property
    def latency_seconds(self) -> Mapping[str, float]:
        return self.health.latency_seconds if self.health else {}

    @property
    def missing(self) -> int:
        return sum(row.missing for row in self.symbols)


class Memory:
    """Turns the growing tally into rows, with rates and price curves."""

    def __init__(self, symbols: Iterable[str]) -> None:
        self._curves: dict[str, deque[Decimal]] = {symbol: deque(maxlen=CURVE_POINTS) for symbol in symbols}
        self._curve_due_s = 0.0
        self._rates = RateMeter()

    @property
    def per_s(self) -> float:
        """Records of all symbols a second."""
        return self._rates.per_s(TOTAL)

    def observe(self, now_s: float, tally: TopicTally) -> None:
        """Look at the tally at `now_s` of a monotonic clock."""
        if not tally.records:
            return  # the time before the first record is no part of a rate
        counts = {symbol: held.records for symbol, held in tally.symbols.items()}
        self._rates.observe(now_s, counts | {TOTAL: tally.records})
        if now_s >= self._curve_due_s:
            self._curve_due_s = now_s + CURVE_EVERY_S
            for symbol, held in tally.symbols.items():
                self._curves.setdefault(symbol, deque(maxlen=CURVE_POINTS)).append(held.latest.price)

    def rows(self, tally: TopicTally) -> tuple[SymbolRow, ...]:
        return tuple(self._row(symbol, tally) for symbol in self._curves)

    def _row(self, symbol: str, tally: TopicTally) -> SymbolRow:
        held = tally.symbols.get(symbol)
        if held is None:
            return SymbolRow(symbol, None, 0.0, 0, 0)
        curve = tuple(self._curves[symbol])
        return SymbolRow(symbol, held.latest, self._rates.per_s(symbol), held.records, held.ids.missing, curve)
