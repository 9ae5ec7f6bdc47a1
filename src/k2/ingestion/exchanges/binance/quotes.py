"""
Quotes: the events of the bookTicker streams, and how they become QuoteV2.

They are numbered by the order book's updates, most of which leave the best bid and ask as they are: the numbers rise with jumps.

Source: Binance spot API docs, "Individual Symbol Book Ticker Streams"; USD-M futures docs, the same and "All Book Tickers
Stream". The spot event has neither a type nor a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field

from k2.ingestion.core.avro import Encoder
from k2.ingestion.core.rows import Writer
from k2.ingestion.exchanges.binance.events import Id, Milliseconds, OneId, Untimed
from k2.ingestion.exchanges.binance.futures import FuturesEvent, extras, original_extras
from k2.ingestion.exchanges.binance.originals import decimal_texts, milliseconds

SPOT_CONSTANTS: Mapping[str, Any] = {"event_timestamp": None, "vendor_data": None}


class SpotQuote(Struct, OneId, Untimed, gc=False, forbid_unknown_fields=True):
    """The best bid and ask. `exchange_id` is the order book's last update."""

    exchange_id: Id = field(name="u")
    symbol: str = field(name="s")
    bid_price: str = field(name="b")
    bid_quantity: str = field(name="B")
    ask_price: str = field(name="a")
    ask_quantity: str = field(name="A")


class FuturesQuote(FuturesEvent, OneId, gc=False, forbid_unknown_fields=True):
    """The same with its times."""

    event_type: Literal["bookTicker"] = field(name="e")
    exchange_id: Id = field(name="u")
    symbol: str = field(name="s")
    bid_price: str = field(name="b")
    bid_quantity: str = field(name="B")
    ask_price: str = field(name="a")
    ask_quantity: str = field(name="A")
    occurred_at_ms: Milliseconds = field(name="T")
    event_time_ms: Milliseconds = field(name="E")


def spot_quote(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: SpotQuote, received_at_us: int, _frame: bytes) -> bytes:
        return encode(
            id_prefix + b"%d" % event.exchange_id,
            event.bid_price,
            event.bid_quantity,
            event.ask_price,
            event.ask_quantity,
            event.exchange_id,
            received_at_us,
            received_at_us,
        )

    return write


def futures_quote(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: FuturesQuote, received_at_us: int, _frame: bytes) -> bytes:
        return encode(
            id_prefix + b"%d" % event.exchange_id,
            event.bid_price,
            event.bid_quantity,
            event.ask_price,
            event.ask_quantity,
            event.exchange_id,
            event.occurred_at_ms * 1000,
            event.event_time_ms * 1000,
            received_at_us,
            *extras(event),
        )

    return write


def original_message(record: Mapping[str, Any]) -> dict[str, Any]:
    """A decoded QuoteV2 under the exchange's own keys."""
    quote = {"u": record["source_sequence"], "s": record["symbol"], **decimal_texts(record, _NUMBERS)}
    if record["event_timestamp"] is None:
        return quote
    times = {"T": milliseconds(record["timestamp"]), "E": milliseconds(record["event_timestamp"])}
    return {"e": "bookTicker"} | quote | times | original_extras(record)


_NUMBERS = {"b": "bid_price", "B": "bid_quantity", "a": "ask_price", "A": "ask_quantity"}
