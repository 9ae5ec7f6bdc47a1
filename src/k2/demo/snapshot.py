"""What there is to see at one moment, free of how it is shown; and the short memory that rates and price curves need."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal

from msgspec import Struct, field

from k2.demo.letters import LetterRow
from k2.demo.sorts import RecordRow
from k2.demo.tally import Key, SeriesTally, Tally
from k2.live.rates import RateMeter
from k2.live.sheet import ClientSheet

CURVE_EVERY_S = 0.2
CURVE_POINTS = 240
MOST_ROWS = 60  # a screen has no more, and the streams of all symbols have thousands
STARTING, RUNNING, ENDING = "starting", "running", "ending"  # the phases of a run
TOTAL = ""  # the key of all topics together


class Health(Struct, frozen=True):
    """The client's `/health`, as far as it is shown."""

    connection_state: str = "DISCONNECTED"
    reasons: tuple[str, ...] = ()
    balance: ClientSheet = field(default_factory=ClientSheet)
    latency_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def connected(self) -> bool:
        return self.connection_state == "CONNECTED"


class SeriesRow(Struct, frozen=True):
    """One stream of one symbol. `latest` is None before its first record; `missing` counts ids; `curve` is oldest first."""

    symbol: str
    stream: str
    latest: RecordRow | None
    per_s: float
    records: int
    missing: int
    curve: tuple[Decimal, ...] = ()


class TopicRow(Struct, frozen=True):
    """One topic: what its values are, how many records of it were read back, and how fast they come."""

    name: str
    form: str
    records: int
    missing: int
    per_s: float


class Snapshot(Struct, frozen=True, kw_only=True):
    """
    One moment.

    Attributes:
        what: What the records are of: trades, or events of several sorts.
        exchange: Whose they are, in words.
        feed: Market, streams and pace, in words.
        speed: How many times as fast as the wall's the market's clock runs.
        phase: One of the three above.
        elapsed_s: Time since the first record; 0 before it.
        health: None while the client does not answer.
        sent: Frames that the simulated exchange sent; None for the real one.
        consumed, distinct: Records read back, and different ones among them, when `health` was asked for: never ahead of it.
        rows: Each stream of each symbol, as many as a screen can hold; `streams` is how many there are.
        letters: The latest dead letters, the newest last.
    """

    what: str
    exchange: str
    feed: str
    speed: int
    topics: tuple[TopicRow, ...]
    phase: str
    elapsed_s: float
    seconds: float
    health: Health | None
    sent: int | None
    consumed: int
    distinct: int
    per_s: float
    rows: tuple[SeriesRow, ...]
    streams: int
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
        return sum(topic.missing for topic in self.topics)


class Memory:
    """
    Turns the growing tally into rows, with rates and price curves.

    Args:
        expected: Symbols and streams that have a row before their first record.
    """

    def __init__(self, expected: Sequence[Key]) -> None:
        self._order: dict[Key, None] = dict.fromkeys(expected[:MOST_ROWS])
        self._curves: dict[Key, deque[Decimal]] = {}
        self._curve_due_s = 0.0
        self._rates = RateMeter()

    @property
    def per_s(self) -> float:
        """Records of all topics a second."""
        return self._rates.per_s(TOTAL)

    def topic_per_s(self, topic: str) -> float:
        return self._rates.per_s(topic)

    def observe(self, now_s: float, tally: Tally) -> None:
        """Look at the tally at `now_s` of a monotonic clock."""
        if not tally.records:
            return  # the time before the first record is no part of a rate
        shown = self._shown(tally)
        counts = {_rate_key(key): series.records for key, series in shown.items()}
        by_topic = {name: topic.records for name, topic in tally.topics.items()}
        self._rates.observe(now_s, counts | by_topic | {TOTAL: tally.records})
        if now_s >= self._curve_due_s:
            self._curve_due_s = now_s + CURVE_EVERY_S
            for key, series in shown.items():
                price = series.latest.price
                if price is not None:
                    self._curves.setdefault(key, deque(maxlen=CURVE_POINTS)).append(price)

    def rows(self, tally: Tally) -> tuple[SeriesRow, ...]:
        shown = self._shown(tally)
        return tuple(self._row(key, shown.get(key)) for key in self._order)

    def _shown(self, tally: Tally) -> dict[Key, SeriesTally]:
        """The series that have a row, each from the first topic that holds it."""
        found: dict[Key, SeriesTally] = {}
        for key, series in tally.series().items():
            if len(self._order) < MOST_ROWS:
                self._order[key] = None
            if key in self._order:
                found[key] = series
        return found

    def _row(self, key: Key, held: SeriesTally | None) -> SeriesRow:
        symbol, stream = key
        if held is None:
            return SeriesRow(symbol, stream, None, 0.0, 0, 0)
        curve = tuple(self._curves.get(key, ()))
        return SeriesRow(symbol, stream, held.latest, self._rates.per_s(_rate_key(key)), held.records, held.missing, curve)


def _rate_key(key: Key) -> str:
    symbol, stream = key
    return f"{symbol} {stream}"
