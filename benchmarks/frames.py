"""
The load: aggregated trades as the exchange prints them, ready for the wire and ready for Kafka.

What a trade costs depends on whether its price and its quantity were seen a moment ago, for the client remembers their encoded
form. In a recording of 9,757 real BTCUSDT trades (spot, 8 August 2024) 73 % of the prices and 76 % of the quantities had come
before. So here a number repeats a recent one with probability 0.74, and is otherwise one that never came before.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
from msgspec import Struct

from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.core.outcome import Publish, Record
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.exchanges.binance.streams import avro_output, rows_of
from k2.ingestion.exchanges.binance.symbols import quote_asset
from k2.simulator.framing import PlainFramer
from k2.simulator.rendering import Trade, envelope_head, spot_agg_trade

REPEATED_SHARE = 0.74
RECENT = 64
EVENTS_PER_MS = 10  # the event times advance as at the peak of 10,000 trades a second
ANY_SCHEMA_ID = 1  # the floor's values are never decoded


class _Level(Struct, frozen=True):
    """A symbol's first price in ticks of 0.01, its typical quantity in lots, and what its first id is."""

    price_ticks: int
    lots: int
    lot_decimals: int
    first_id: int


LEVELS = {
    "BTCUSDT": _Level(6_183_763, 1_000, 5, 3_123_456_789),
    "ETHUSDT": _Level(268_450, 2_000, 4, 1_523_456_789),
    "BNBUSDT": _Level(51_740, 500, 3, 823_456_789),
}
SYMBOLS = tuple(LEVELS)


class _Repeating:
    """Texts of which most repeat a recent one."""

    def __init__(self, random: Random, fresh: Iterator[str]) -> None:
        self._random, self._fresh = random, fresh
        self._recent = deque([next(fresh)], maxlen=RECENT)

    def draw(self) -> str:
        if self._random.random() < REPEATED_SHARE:
            return self._random.choice(self._recent)
        self._recent.append(next(self._fresh))
        return self._recent[-1]


class _Tape:
    """The trades of one symbol, one after the other, with contiguous ids."""

    def __init__(self, random: Random, symbol: str) -> None:
        level = LEVELS[symbol]
        self._random, self._symbol = random, symbol
        self._id = self._last_trade_id = level.first_id
        self._price = _Repeating(random, _prices(random, level))
        self._quantity = _Repeating(random, _quantities(random, level))

    def next(self, event_at_ms: int) -> Trade:
        fills = 1 if self._random.random() < 0.7 else self._random.randint(2, 5)
        first, last = self._last_trade_id + 1, self._last_trade_id + fills
        self._id, self._last_trade_id = self._id + 1, last
        return Trade(
            self._symbol, self._id, self._price.draw(), self._quantity.draw(), first, last,
            event_at_ms - 1, event_at_ms, self._random.random() < 0.5,
        )  # fmt: skip


class Market:
    """Trades of all symbols in random turns; the same seed gives the same trades."""

    def __init__(self, seed: int = 1) -> None:
        self._random = Random(seed)  # noqa: S311 - a load, not a secret
        self._tapes = [_Tape(self._random, symbol) for symbol in SYMBOLS]
        self._heads = {symbol: envelope_head(f"{symbol.lower()}@aggTrade") for symbol in SYMBOLS}

    def frame(self, event_at_ms: int) -> bytes:
        """The next message of a combined connection."""
        trade = self._random.choice(self._tapes).next(event_at_ms)
        return f"{self._heads[trade.symbol]}{spot_agg_trade(trade)}}}".encode()


def flood(count: int) -> list[bytes]:
    """`count` messages of the recent past."""
    market, first_ms = Market(), time.time_ns() // 1_000_000 - count // EVENTS_PER_MS
    return [market.frame(first_ms + i // EVENTS_PER_MS) for i in range(count)]


def write_wire(messages: list[bytes], path: Path) -> Path:
    """The messages as one run of WebSocket frames."""
    path.write_bytes(PlainFramer().frames(messages))
    return path


def write_records(messages: list[bytes], path: Path) -> Path:
    """What the client makes of the messages: key, value and timestamp of each record, for the floor to produce."""
    schema = load_schema("trade_v2").parsed
    pipeline = Pipeline(rows_of("spot", "aggTrade", SYMBOLS, quote_asset, avro_output("", schema, ANY_SCHEMA_ID)))
    now_us = time.time_ns() // 1_000
    records = [_record(pipeline, message, now_us) for message in messages]
    path.write_bytes(msgspec.msgpack.encode([(record.key, record.value, record.timestamp_ms) for record in records]))
    return path


def read_records(path: Path) -> list[tuple[bytes, bytes, int]]:
    """Key, value and timestamp (ms) of each record."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[tuple[bytes, bytes, int]])


def _record(pipeline: Pipeline, message: bytes, received_at_us: int) -> Record:
    (outcome,) = pipeline.process(message, received_at_us)
    if not isinstance(outcome, Publish):
        raise TypeError(f"the client would not publish {message!r}: {outcome}")
    return outcome.records[0]


def _prices(random: Random, level: _Level) -> Iterator[str]:
    """Rising, so that a new price has never been there before."""
    ticks = level.price_ticks
    while True:
        yield f"{ticks // 100}.{ticks % 100:02d}000000"
        ticks += random.randint(1, 3)


def _quantities(random: Random, level: _Level) -> Iterator[str]:
    """Spread over four orders of magnitude; a repetition by chance is seldom enough."""
    unit, padding = 10**level.lot_decimals, "0" * (8 - level.lot_decimals)
    while True:
        lots = 1 + int(level.lots * random.lognormvariate(0, 1.3) * 100)
        yield f"{lots // unit}.{lots % unit:0{level.lot_decimals}d}{padding}"
