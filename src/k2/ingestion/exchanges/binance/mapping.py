"""
From Binance's trade events to TradeV2, field by field.

Each function hands the encoder its arguments in the schema's order; what is constant within a symbol was compiled into the
encoder. The way back, from a record to the exchange's own keys, serves dead letters of records that failed after encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from msgspec import UNSET, UnsetType

from k2.ingestion.core.avro import Encoder, MapShape
from k2.ingestion.core.outcome import IgnoreReason
from k2.ingestion.core.rows import Writer
from k2.ingestion.exchanges.binance.events import FuturesAggTrade, FuturesTrade, Trade

T = TypeVar("T")

VENUE_PREFIX = b"BINANCE-"
_TRADE_KEYS = ("event_time", "first_trade_id", "last_trade_id")


def vendor_shape(event_type: str, optional: tuple[str, ...]) -> MapShape:
    """What `vendor_data` holds for one kind of event."""
    return MapShape(required=_TRADE_KEYS, optional=optional, constants=(("event_type", event_type),))


CONSTANTS: Mapping[str, Any] = {"trade_conditions": [], "platform_sequence": None}


def spot_trade(encode: Callable[..., T], id_prefix: bytes) -> Callable[[Trade, int, bytes], T]:
    """Writes a trade's record, and an aggregate's: one trade is its own first and last."""

    def write(event: Trade, received_at_us: int, _frame: bytes) -> T:
        number = b"%d" % event.exchange_id
        return encode(
            id_prefix + number,
            VENUE_PREFIX + number,
            event.occurred_at_ms * 1000,
            event.price,
            event.quantity,
            # `m` says that the buyer was resting in the book, so it was the seller who crossed the spread.
            "SELL" if event.buyer_is_maker else "BUY",
            event.exchange_id,
            received_at_us,
            b"%d" % event.event_time_ms,
            b"%d" % event.first_trade_id,
            b"%d" % event.last_trade_id,
        )

    return write


def futures_agg_trade(encode: Encoder, id_prefix: bytes) -> Writer:
    fields = spot_trade(_together, id_prefix)

    def write(event: FuturesAggTrade, received_at_us: int, frame: bytes) -> bytes:
        return encode(*fields(event, received_at_us, frame), *_vendor_fields(event.normal_quantity, event.symbol_type))

    return write


def futures_trade(encode: Encoder, id_prefix: bytes) -> Writer:
    fields = spot_trade(_together, id_prefix)

    def write(event: FuturesTrade, received_at_us: int, frame: bytes) -> bytes:
        return encode(*fields(event, received_at_us, frame), *_vendor_fields(event.execution, event.symbol_type))

    return write


def _together(*fields: Any) -> tuple[Any, ...]:
    return fields


def _vendor_fields(text: str | UnsetType, symbol_type: int | UnsetType) -> tuple[bytes | None, bytes | None]:
    return None if text is UNSET else text.encode(), None if symbol_type is UNSET else b"%d" % symbol_type


def no_trade(event: FuturesTrade) -> IgnoreReason | None:
    """The futures trade stream sends frames that are no trade, with price and quantity 0."""
    return IgnoreReason.NOT_A_TRADE if event.execution == "NA" else None


def original_message(record: Mapping[str, Any]) -> dict[str, Any]:
    """
    A decoded TradeV2 under the exchange's own keys, as near to the event as the record allows.

    Numbers come back as decimal text without the exchange's padding.
    """
    vendor = record["vendor_data"] or {}
    event: dict[str, Any] = {
        "e": vendor.get("event_type", ""),
        "E": int(vendor.get("event_time", 0)),
        "s": record["symbol"],
        "p": f"{record['price']:f}",
        "q": f"{record['quantity']:f}",
        "T": record["timestamp"] // 1000,
        "m": record["side"] == "SELL",
    }
    if event["e"] in ("trade", "blockTrade"):
        return event | {"t": record["source_sequence"]} | _extras(vendor)
    ids = {"a": record["source_sequence"], "f": int(vendor.get("first_trade_id", -1)), "l": int(vendor.get("last_trade_id", -1))}
    return event | ids | _extras(vendor)


def _extras(vendor: Mapping[str, str]) -> dict[str, Any]:
    return {key: int(vendor[key]) if key == "st" else vendor[key] for key in ("nq", "X", "st") if key in vendor}
