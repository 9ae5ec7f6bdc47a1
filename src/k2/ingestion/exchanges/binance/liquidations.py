"""
Liquidations: the events of the forceOrder streams, and how they become LiquidationV2.

The exchange sends the latest liquidation of a symbol within a second, not each. They have no number but their time.

Source: USD-M futures docs, "Liquidation Order Streams" and "All Market Liquidation Order Streams". What was added in June 2026
stands beside the order there, and inside it on the wire: both are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import field

from k2.ingestion.core.avro import Encoder
from k2.ingestion.core.outcome import IgnoreReason
from k2.ingestion.core.rows import Writer
from k2.ingestion.exchanges.binance import futures
from k2.ingestion.exchanges.binance.events import Milliseconds, NumberedByTime
from k2.ingestion.exchanges.binance.futures import Extras, FuturesEvent
from k2.ingestion.exchanges.binance.originals import decimal_texts, milliseconds


class Order(FuturesEvent, gc=False, forbid_unknown_fields=False):
    """The order that closed a position. A new field in here is tolerated unseen: only one of the event itself can be adopted."""

    symbol: str = field(name="s")
    side: Literal["BUY", "SELL"] = field(name="S")
    order_type: str = field(name="o")
    time_in_force: str = field(name="f")
    quantity: str = field(name="q")
    price: str = field(name="p")
    average_price: str = field(name="ap")
    order_status: str = field(name="X")
    last_filled_quantity: str = field(name="l")
    filled_quantity: str = field(name="z")
    filled_at_ms: Milliseconds = field(name="T")


class Liquidation(FuturesEvent, NumberedByTime, gc=False, forbid_unknown_fields=True):
    """What happened to the order, and when the exchange told."""

    event_type: Literal["forceOrder"] = field(name="e")
    event_time_ms: Milliseconds = field(name="E")
    order: Order = field(name="o")

    @property
    def symbol(self) -> str:
        return self.order.symbol

    @property
    def occurred_at_ms(self) -> int:
        return self.order.filled_at_ms


def other_market(event: Liquidation) -> IgnoreReason | None:
    """Leaves out the contracts of COIN-M."""
    return futures.other_market(event) or futures.other_market(event.order)


def liquidation(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: Liquidation, received_at_us: int, _frame: bytes) -> bytes:
        order = event.order
        return encode(
            id_prefix + b"%d" % event.event_time_ms,
            order.side,
            order.order_type.encode(),
            order.time_in_force.encode(),
            order.quantity,
            order.price,
            order.average_price,
            order.order_status.encode(),
            order.last_filled_quantity,
            order.filled_quantity,
            order.filled_at_ms * 1000,
            event.event_time_ms * 1000,
            received_at_us,
            *_extras(event),
        )

    return write


def _extras(event: Liquidation) -> Extras:
    pair, symbol_type = futures.extras(event)
    pair_inside, symbol_type_inside = futures.extras(event.order)
    return pair or pair_inside, symbol_type or symbol_type_inside


def original_message(record: Mapping[str, Any]) -> dict[str, Any]:
    """A decoded LiquidationV2 under the exchange's own keys."""
    order = {
        "s": record["symbol"],
        "S": record["side"],
        "o": record["order_type"],
        "f": record["time_in_force"],
        "X": record["order_status"],
        **decimal_texts(record, _NUMBERS),
        "T": milliseconds(record["timestamp"]),
        **futures.original_extras(record),
    }
    return {"e": "forceOrder", "E": milliseconds(record["event_timestamp"]), "o": order}


_NUMBERS = {"q": "quantity", "p": "price", "ap": "average_price", "l": "last_filled_quantity", "z": "filled_quantity"}
