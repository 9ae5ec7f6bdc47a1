"""
Tickers: what happened to a symbol in a rolling window, as TickerV2.

They have no number but their time. The small form of the window of 24 hours says the least, the spot form the most.

Source: Binance spot API docs, "Individual Symbol Mini Ticker Stream", "Individual Symbol Ticker Streams", "Individual Symbol
Rolling Window Statistics Streams" and their forms for all markets; USD-M futures docs, the first two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field

from k2.ingestion.core.avro import Encoder
from k2.ingestion.core.rows import Writer
from k2.ingestion.exchanges.binance.events import Long, Milliseconds, TimedWhenSent
from k2.ingestion.exchanges.binance.futures import extras, original_extras
from k2.ingestion.exchanges.binance.originals import decimal_texts, milliseconds

WINDOWS = "1h|4h|1d"
_DAY = "24h"
_NO_BOOK = dict.fromkeys(("previous_close", "bid_price", "bid_quantity", "ask_price", "ask_quantity"))
_NO_CHANGE = dict.fromkeys((
    "price_change", "price_change_percent", "weighted_average_price", "last_quantity", "open_time", "close_time",
    "first_trade_id", "last_trade_id", "trade_count",
))  # fmt: skip

FUTURES_CONSTANTS: Mapping[str, Any] = {"window": _DAY, **_NO_BOOK}
FUTURES_MINI_CONSTANTS: Mapping[str, Any] = {**FUTURES_CONSTANTS, **_NO_CHANGE}
SPOT_CONSTANTS: Mapping[str, Any] = {"window": _DAY, "vendor_data": None}
SPOT_MINI_CONSTANTS: Mapping[str, Any] = {**FUTURES_MINI_CONSTANTS, "vendor_data": None}


class Prices(Struct, TimedWhenSent, gc=False, forbid_unknown_fields=True):
    """What every ticker says."""

    event_time_ms: Milliseconds = field(name="E")
    symbol: str = field(name="s")
    open: str = field(name="o")
    high: str = field(name="h")
    low: str = field(name="l")
    close: str = field(name="c")
    volume: str = field(name="v")
    quote_volume: str = field(name="q")


class Statistics(Prices, gc=False, forbid_unknown_fields=True):
    """What every ticker but the small one says beside. Ids are -1 where nobody traded."""

    price_change: str = field(name="p")
    price_change_percent: str = field(name="P")
    weighted_average_price: str = field(name="w")
    open_time_ms: Milliseconds = field(name="O")
    close_time_ms: Milliseconds = field(name="C")
    first_trade_id: Long = field(name="F")
    last_trade_id: Long = field(name="L")
    trade_count: Long = field(name="n")


class SpotMiniTicker(Prices, gc=False, forbid_unknown_fields=True):
    event_type: Literal["24hrMiniTicker"] = field(name="e")


class FuturesMiniTicker(Prices, gc=False, forbid_unknown_fields=True):
    event_type: Literal["24hrMiniTicker"] = field(name="e")
    pair: str | UnsetType = field(name="ps", default=UNSET)
    symbol_type: Long | UnsetType = field(name="st", default=UNSET)


class SpotTicker(Statistics, gc=False, forbid_unknown_fields=True):
    event_type: Literal["24hrTicker"] = field(name="e")
    previous_close: str = field(name="x")
    last_quantity: str = field(name="Q")
    bid_price: str = field(name="b")
    bid_quantity: str = field(name="B")
    ask_price: str = field(name="a")
    ask_quantity: str = field(name="A")


class FuturesTicker(Statistics, gc=False, forbid_unknown_fields=True):
    event_type: Literal["24hrTicker"] = field(name="e")
    last_quantity: str = field(name="Q")
    pair: str | UnsetType = field(name="ps", default=UNSET)
    symbol_type: Long | UnsetType = field(name="st", default=UNSET)


class WindowTicker(Statistics, gc=False, forbid_unknown_fields=True):
    event_type: Literal["1hTicker", "4hTicker", "1dTicker"] = field(name="e")


def window_constants(spec: str) -> Mapping[str, Any]:
    """The window that a spec such as `ticker_1h` names."""
    return {"window": spec.removeprefix("ticker_"), **_NO_BOOK, "last_quantity": None, "vendor_data": None}


def spot_mini_ticker(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: SpotMiniTicker, received_at_us: int, _frame: bytes) -> bytes:
        return encode(*_prices(id_prefix, event), event.event_time_ms * 1000, received_at_us)

    return write


def futures_mini_ticker(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: FuturesMiniTicker, received_at_us: int, _frame: bytes) -> bytes:
        return encode(*_prices(id_prefix, event), event.event_time_ms * 1000, received_at_us, *extras(event))

    return write


def spot_ticker(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: SpotTicker, received_at_us: int, _frame: bytes) -> bytes:
        return encode(
            *_prices(id_prefix, event),
            *_changes(event),
            event.previous_close,
            event.last_quantity,
            event.bid_price,
            event.bid_quantity,
            event.ask_price,
            event.ask_quantity,
            *_extent(event),
            event.event_time_ms * 1000,
            received_at_us,
        )

    return write


def futures_ticker(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: FuturesTicker, received_at_us: int, _frame: bytes) -> bytes:
        return encode(
            *_prices(id_prefix, event),
            *_changes(event),
            event.last_quantity,
            *_extent(event),
            event.event_time_ms * 1000,
            received_at_us,
            *extras(event),
        )

    return write


def window_ticker(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: WindowTicker, received_at_us: int, _frame: bytes) -> bytes:
        sent_at_us = event.event_time_ms * 1000
        return encode(*_prices(id_prefix, event), *_changes(event), *_extent(event), sent_at_us, received_at_us)

    return write


def _prices(id_prefix: bytes, event: Prices) -> tuple[bytes | str, ...]:
    identity = id_prefix + b"%d" % event.event_time_ms
    return identity, event.open, event.high, event.low, event.close, event.volume, event.quote_volume


def _changes(event: Statistics) -> tuple[str, ...]:
    return event.price_change, event.price_change_percent, event.weighted_average_price


def _extent(event: Statistics) -> tuple[int | None, ...]:
    return (
        event.open_time_ms * 1000,
        event.close_time_ms * 1000,
        None if event.first_trade_id < 0 else event.first_trade_id,
        None if event.last_trade_id < 0 else event.last_trade_id,
        event.trade_count,
    )


def original_message(record: Mapping[str, Any]) -> dict[str, Any]:
    """A decoded TickerV2 under the exchange's own keys."""
    numbers = decimal_texts(record, _NUMBERS)
    event = {"E": milliseconds(record["timestamp"]), "s": record["symbol"], **numbers, **original_extras(record)}
    if record["price_change"] is None:
        return {"e": "24hrMiniTicker"} | event
    window = record["window"]
    return {"e": "24hrTicker" if window == _DAY else f"{window}Ticker"} | event | _original_extent(record)


def _original_extent(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "O": milliseconds(record["open_time"]),
        "C": milliseconds(record["close_time"]),
        "F": -1 if record["first_trade_id"] is None else record["first_trade_id"],
        "L": -1 if record["last_trade_id"] is None else record["last_trade_id"],
        "n": record["trade_count"],
    }


_NUMBERS = {
    "o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "q": "quote_volume", "p": "price_change",
    "P": "price_change_percent", "w": "weighted_average_price", "x": "previous_close", "Q": "last_quantity", "b": "bid_price",
    "B": "bid_quantity", "a": "ask_price", "A": "ask_quantity",
}  # fmt: skip
