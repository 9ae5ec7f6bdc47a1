"""
Candles: the events of the kline streams, and how they become KlineV2.

A candle is sent again and again while it forms, and once more when it closes. Its number is how many candles of its interval
began since 1970, so that of closed candles none may be missing; updates are numbered by the time of the event.

Source: Binance spot API docs, "Kline/Candlestick Streams"; USD-M futures docs, the same. In the form with `@+08:00` days, weeks
and months begin at midnight in UTC+8; the times in the payload stay UTC, and its interval does not tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field

from k2.ingestion.core.avro import Encoder
from k2.ingestion.core.outcome import IgnoreReason
from k2.ingestion.core.rows import Writer
from k2.ingestion.exchanges.binance.events import Long, Milliseconds
from k2.ingestion.exchanges.binance.originals import decimal_text, milliseconds

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_MONTHS_PER_YEAR = 12
_COUNT = re.compile(r"[1-9][0-9]{0,3}")
_LONGEST_AGO_MS = 40 * 86_400_000  # a month, and some days for a server that is late
_LAST_DATE_MS = 253_402_300_799_999  # the end of year 9999
SPOT_INTERVALS = "1s|1m|3m|5m|15m|30m|1h|2h|4h|6h|8h|12h|1d|3d|1w|1M"
FUTURES_INTERVALS = SPOT_INTERVALS.removeprefix("1s|")
UTC_ZONE = "UTC"


class Candle(Struct, gc=False):
    """
    The candle inside a kline event. Ids are -1 where nobody traded.

    A new field in here is tolerated unseen: only those of the event itself can be adopted.
    """

    open_time_ms: Milliseconds = field(name="t")
    close_time_ms: Milliseconds = field(name="T")
    symbol: str = field(name="s")
    interval: str = field(name="i")
    first_trade_id: Long = field(name="f")
    last_trade_id: Long = field(name="L")
    open: str = field(name="o")
    close: str = field(name="c")
    high: str = field(name="h")
    low: str = field(name="l")
    volume: str = field(name="v")
    trade_count: Long = field(name="n")
    is_closed: bool = field(name="x")
    quote_volume: str = field(name="q")
    taker_buy_volume: str = field(name="V")
    taker_buy_quote_volume: str = field(name="Q")
    ignored: str | UnsetType = field(name="B", default=UNSET)


class Kline(Struct, gc=False, forbid_unknown_fields=True):
    """What a candle looks like now. Numbered by its place among the candles of its interval."""

    event_type: Literal["kline"] = field(name="e")
    event_time_ms: Milliseconds = field(name="E")
    symbol: str = field(name="s")
    candle: Candle = field(name="k")

    def __post_init__(self) -> None:
        # A candle's number follows from its opening: a wrong one would look like a hole of thousands of candles.
        if not 0 <= self.event_time_ms - self.candle.open_time_ms <= _LONGEST_AGO_MS:
            raise ValueError(f"Number out of range: a candle of {self.candle.open_time_ms} ms, told at {self.event_time_ms} ms")

    @property
    def exchange_id(self) -> int:
        return candle_number(self.candle.interval, self.candle.open_time_ms)

    @property
    def first_id(self) -> int:
        return self.exchange_id

    @property
    def occurred_at_ms(self) -> int:
        return self.event_time_ms


class KlineUpdate(Kline, gc=False, forbid_unknown_fields=True):
    """The same where every update is wanted: numbered by the time of the event."""

    @property
    def exchange_id(self) -> int:
        return self.event_time_ms


def candle_number(interval: str, open_time_ms: int) -> int:
    """
    How many candles of this interval began before this one since 1970. Neighbours differ by one, whatever the time zone.

    The exchange may add an interval, for which there is no number: then the opening time stands for it.
    """
    if interval[-1:] == "M" and 0 <= open_time_ms <= _LAST_DATE_MS:
        begin = datetime.fromtimestamp(open_time_ms / 1_000, UTC)
        return begin.year * _MONTHS_PER_YEAR + begin.month
    return open_time_ms // _length_ms(interval)


@lru_cache(maxsize=256)  # the text comes from the exchange
def _length_ms(interval: str) -> int:
    """1 for an interval that nobody knows."""
    count, unit = interval[:-1], interval[-1:]
    return int(count) * UNITS_MS[unit] if unit in UNITS_MS and _COUNT.fullmatch(count) else 1


def still_open(event: Kline) -> IgnoreReason | None:
    """Leaves out candles that are not closed yet."""
    return None if event.candle.is_closed else IgnoreReason.OPEN_CANDLE


def constants(spec: str) -> Mapping[str, Any]:
    """The interval and the time zone that a spec such as `kline_1d@+08:00` names."""
    interval, _, zone = spec.removeprefix("kline_").partition("@")
    return {"interval": interval, "time_zone": zone or UTC_ZONE}


def closed_candle(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: Kline, received_at_us: int, _frame: bytes) -> bytes:
        return _encoded(encode, id_prefix + b"%d" % event.candle.open_time_ms, event, received_at_us)

    return write


def any_candle(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: Kline, received_at_us: int, _frame: bytes) -> bytes:
        identity = id_prefix + b"%d.%d" % (event.candle.open_time_ms, event.event_time_ms)
        return _encoded(encode, identity, event, received_at_us)

    return write


def _encoded(encode: Encoder, identity: bytes, event: Kline, received_at_us: int) -> bytes:
    candle = event.candle
    return encode(
        identity,
        candle.open_time_ms * 1000,
        candle.close_time_ms * 1000,
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.quote_volume,
        candle.taker_buy_volume,
        candle.taker_buy_quote_volume,
        candle.trade_count,
        None if candle.first_trade_id < 0 else candle.first_trade_id,
        None if candle.last_trade_id < 0 else candle.last_trade_id,
        candle.is_closed,
        event.event_time_ms * 1000,
        received_at_us,
    )


def original_message(record: Mapping[str, Any]) -> dict[str, Any]:
    """A decoded KlineV2 under the exchange's own keys."""
    return {
        "e": "kline",
        "E": milliseconds(record["timestamp"]),
        "s": record["symbol"],
        "k": {
            "t": milliseconds(record["open_time"]),
            "T": milliseconds(record["close_time"]),
            "s": record["symbol"],
            "i": record["interval"],
            "f": -1 if record["first_trade_id"] is None else record["first_trade_id"],
            "L": -1 if record["last_trade_id"] is None else record["last_trade_id"],
            **{key: decimal_text(record[name]) for key, name in _NUMBERS.items()},
            "n": record["trade_count"],
            "x": record["is_closed"],
        },
    }


_NUMBERS = {
    "o": "open", "c": "close", "h": "high", "l": "low", "v": "volume", "q": "quote_volume",
    "V": "taker_buy_volume", "Q": "taker_buy_quote_volume",
}  # fmt: skip
