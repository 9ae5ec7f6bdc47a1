"""
Prices that are computed and not traded at: averages, reference prices and mark prices, each with a schema of its own.

They have no number but their time.

Source: Binance spot API docs, "Average Price" and "Reference Price"; USD-M futures docs, "Mark Price Stream" and "Mark Price
Stream for All market"; COIN-M docs, the same, for what contracts without funding send.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field

from k2.ingestion.core.avro import Encoder
from k2.ingestion.core.rows import Writer
from k2.ingestion.exchanges.binance.events import Milliseconds, TimedWhenSent
from k2.ingestion.exchanges.binance.futures import FuturesEvent, extras, original_extras
from k2.ingestion.exchanges.binance.originals import decimal_text, decimal_texts, milliseconds


class AveragePrice(Struct, TimedWhenSent, gc=False, forbid_unknown_fields=True):
    """The average over `interval`, which is five minutes."""

    event_type: Literal["avgPrice"] = field(name="e")
    event_time_ms: Milliseconds = field(name="E")
    symbol: str = field(name="s")
    interval: str = field(name="i")
    price: str = field(name="w")
    last_trade_time_ms: Milliseconds = field(name="T")


class ReferencePrice(Struct, TimedWhenSent, gc=False, forbid_unknown_fields=True):
    """`price` is None where there is none. The one time is the matching engine's."""

    event_type: Literal["referencePrice"] = field(name="e")
    symbol: str = field(name="s")
    price: str | None = field(name="r")
    event_time_ms: Milliseconds = field(name="t")


class MarkPrice(FuturesEvent, TimedWhenSent, gc=False, forbid_unknown_fields=True):
    """A contract without funding has an empty `funding_rate`, and 0 as its next time."""

    event_type: Literal["markPriceUpdate"] = field(name="e")
    event_time_ms: Milliseconds = field(name="E")
    symbol: str = field(name="s")
    mark_price: str = field(name="p")
    settlement_price: str = field(name="P")
    index_price: str = field(name="i")
    funding_rate: str = field(name="r")
    next_funding_time_ms: Milliseconds = field(name="T")
    average_mark_price: str | UnsetType = field(name="ap", default=UNSET)


def average_price(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: AveragePrice, received_at_us: int, _frame: bytes) -> bytes:
        return encode(
            id_prefix + b"%d" % event.event_time_ms,
            event.interval.encode(),
            event.price,
            event.last_trade_time_ms * 1000,
            event.event_time_ms * 1000,
            received_at_us,
        )

    return write


def reference_price(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: ReferencePrice, received_at_us: int, _frame: bytes) -> bytes:
        set_at_ms = event.event_time_ms
        return encode(id_prefix + b"%d" % set_at_ms, event.price, set_at_ms * 1000, received_at_us)

    return write


def mark_price(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: MarkPrice, received_at_us: int, _frame: bytes) -> bytes:
        return encode(
            id_prefix + b"%d" % event.event_time_ms,
            event.mark_price,
            None if event.average_mark_price is UNSET else event.average_mark_price,
            event.index_price,
            event.settlement_price,
            event.funding_rate or None,
            event.next_funding_time_ms * 1000 or None,
            event.event_time_ms * 1000,
            received_at_us,
            *extras(event),
        )

    return write


def original_average_price(record: Mapping[str, Any]) -> dict[str, Any]:
    """A decoded AveragePriceV2 under the exchange's own keys."""
    return {
        "e": "avgPrice",
        "E": milliseconds(record["timestamp"]),
        "s": record["symbol"],
        "i": record["interval"],
        "w": decimal_text(record["price"]),
        "T": milliseconds(record["last_trade_time"]),
    }


def original_reference_price(record: Mapping[str, Any]) -> dict[str, Any]:
    """A decoded ReferencePriceV2 under the exchange's own keys."""
    price = None if record["price"] is None else decimal_text(record["price"])
    return {"e": "referencePrice", "s": record["symbol"], "r": price, "t": milliseconds(record["timestamp"])}


def original_mark_price(record: Mapping[str, Any]) -> dict[str, Any]:
    """A decoded MarkPriceV2 under the exchange's own keys."""
    return {
        "e": "markPriceUpdate",
        "E": milliseconds(record["timestamp"]),
        "s": record["symbol"],
        "r": "",
        **decimal_texts(record, _MARK_PRICE_NUMBERS),
        "T": milliseconds(record["next_funding_time"] or 0),
        **original_extras(record),
    }


_MARK_PRICE_NUMBERS = {
    "p": "mark_price", "ap": "average_mark_price", "P": "settlement_price", "i": "index_price", "r": "funding_rate",
}  # fmt: skip
