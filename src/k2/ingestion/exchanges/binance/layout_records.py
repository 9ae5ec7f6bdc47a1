"""
The layouts with fields of their own: `candle`, `futures-kline` and `futures-quote`.

Every number is checked as on the way into Avro, but for its size: plain decimal text, or the event becomes a dead letter. In
`candle` it then becomes a JSON number, the double that is nearest to it; the two others keep the exchange's text.

None of them holds all that the exchange sent, so the way back gives a part of its message.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from k2.ingestion.core.decimals import plain_number
from k2.ingestion.core.rows import Writer
from k2.ingestion.exchanges.binance.candles import Kline
from k2.ingestion.exchanges.binance.originals import decimal_text
from k2.ingestion.exchanges.binance.streams import Subject

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_encode = msgspec.json.Encoder().encode


class _Candle(Struct, gc=False):
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_asset_volume: float
    number_of_trades: int
    taker_buy_base_asset_volume: float
    taker_buy_quote_asset_volume: float
    symbol: str
    interval: str
    ingested_at: str


class _FuturesKline(Struct, gc=False, rename="camel"):
    symbol: str
    interval: str
    open: str
    high: str
    close: str
    low: str
    kline_closed: bool
    volume: str
    num_trades: int
    start_time: int
    close_time: int


class _FuturesQuote(Struct, gc=False):
    update_id: int
    symbol: str
    bestbidprice: str
    bestbidqty: str
    bestaskprice: str
    bestaskqty: str
    eventtime: int | None
    transactiontime: int | None


class Quote(Protocol):
    """What `futures-quote` asks of a bookTicker event."""

    @property
    def exchange_id(self) -> int: ...
    @property
    def symbol(self) -> str: ...
    @property
    def bid_price(self) -> str: ...
    @property
    def bid_quantity(self) -> str: ...
    @property
    def ask_price(self) -> str: ...
    @property
    def ask_quantity(self) -> str: ...
    @property
    def occurred_at_ms(self) -> int | None: ...
    @property
    def event_time_ms(self) -> int: ...


def candle_writer(_subject: Subject, _topic: str) -> Writer:
    """Writes a candle with numbers. It has no field that tells an open candle from a closed one: give it closed ones only."""
    return _candle


def _candle(event: Kline, received_at_us: int, _frame: bytes) -> bytes:
    candle = event.candle
    return _encode(
        _Candle(
            candle.open_time_ms,
            _double(candle.open),
            _double(candle.high),
            _double(candle.low),
            _double(candle.close),
            _double(candle.volume),
            _double(candle.quote_volume),
            candle.trade_count,
            _double(candle.taker_buy_volume),
            _double(candle.taker_buy_quote_volume),
            event.symbol.upper(),
            candle.interval,
            (_EPOCH + timedelta(microseconds=received_at_us)).isoformat(),
        )
    )


def candle_original(value: Mapping[str, Any]) -> dict[str, Any]:
    """The candle's message under the exchange's keys, its numbers as text."""
    numbers = {
        "o": "open", "c": "close", "h": "high", "l": "low", "v": "volume", "q": "quote_asset_volume",
        "V": "taker_buy_base_asset_volume", "Q": "taker_buy_quote_asset_volume",
    }  # fmt: skip
    return {
        "e": "kline",
        "s": value["symbol"],
        "k": {
            "t": value["open_time"],
            "s": value["symbol"],
            "i": value["interval"],
            **{key: decimal_text(Decimal(str(value[name]))) for key, name in numbers.items()},
            "n": value["number_of_trades"],
        },
    }


def futures_kline_writer(_subject: Subject, _topic: str) -> Writer:
    """Writes a candle with its numbers as text. `volume` is that of the base asset (`v`)."""
    return _futures_kline


def _futures_kline(event: Kline, _received_at_us: int, _frame: bytes) -> bytes:
    candle = event.candle
    return _encode(
        _FuturesKline(
            event.symbol,
            candle.interval,
            plain_number(candle.open),
            plain_number(candle.high),
            plain_number(candle.close),
            plain_number(candle.low),
            candle.is_closed,
            plain_number(candle.volume),
            candle.trade_count,
            candle.open_time_ms,
            candle.close_time_ms,
        )
    )


def futures_kline_original(value: Mapping[str, Any]) -> dict[str, Any]:
    """The candle's message under the exchange's keys."""
    keys = {
        "t": "startTime", "T": "closeTime", "s": "symbol", "i": "interval", "o": "open", "c": "close", "h": "high", "l": "low",
        "v": "volume", "n": "numTrades", "x": "klineClosed",
    }  # fmt: skip
    return {"e": "kline", "s": value["symbol"], "k": {key: value[name] for key, name in keys.items()}}


def futures_quote_writer(_subject: Subject, _topic: str) -> Writer:
    """Writes the best bid and ask. Both times are null where the exchange sends none, as on spot."""
    return _futures_quote


def _futures_quote(event: Quote, _received_at_us: int, _frame: bytes) -> bytes:
    return _encode(
        _FuturesQuote(
            event.exchange_id,
            event.symbol,
            plain_number(event.bid_price),
            plain_number(event.bid_quantity),
            plain_number(event.ask_price),
            plain_number(event.ask_quantity),
            event.event_time_ms or None,
            event.occurred_at_ms,
        )
    )


def futures_quote_original(value: Mapping[str, Any]) -> dict[str, Any]:
    """The quote's message under the exchange's keys. That of spot has neither times nor an event type."""
    keys = {
        "u": "update_id", "s": "symbol", "b": "bestbidprice", "B": "bestbidqty", "a": "bestaskprice", "A": "bestaskqty",
        "T": "transactiontime", "E": "eventtime",
    }  # fmt: skip
    message = {key: value[name] for key, name in keys.items() if value[name] is not None}
    return {"e": "bookTicker", **message} if "E" in message else message


def _double(number: str) -> float:
    return float(plain_number(number))
