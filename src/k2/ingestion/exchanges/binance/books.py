"""
Order books: changes as DepthV2, the best levels as BookV2.

A change covers a range of updates. On spot it begins behind the one before; on futures, where all symbols share their ids, it
names the last update of the one before, which is just as good. The best levels are whole each time: their numbers only rise.

Source: Binance spot API docs, "Diff. Depth Stream" and "Partial Book Depth Streams"; USD-M futures docs, the same and "RPI Diff.
Book Depth Streams". On futures all three send events of one form; the best levels on spot have no symbol, type or time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from msgspec import UNSET, Struct, UnsetType, field

from k2.ingestion.core.avro import Encoder
from k2.ingestion.core.rows import Writer
from k2.ingestion.exchanges.binance.events import Id, Long, Milliseconds, OneId, Untimed
from k2.ingestion.exchanges.binance.futures import FuturesEvent, extras, original_extras
from k2.ingestion.exchanges.binance.originals import level_texts, milliseconds

Levels = list[tuple[str, str]]  # price and quantity

SPOT_DEPTH_CONSTANTS: Mapping[str, Any] = {"previous_update_id": None, "vendor_data": None}


class SpotDepth(Struct, gc=False, forbid_unknown_fields=True):
    """The levels that changed."""

    event_type: Literal["depthUpdate"] = field(name="e")
    event_time_ms: Milliseconds = field(name="E")
    symbol: str = field(name="s")
    first_id: Id = field(name="U")
    exchange_id: Id = field(name="u")
    bids: Levels = field(name="b")
    asks: Levels = field(name="a")

    def __post_init__(self) -> None:
        _refuse_backwards(self.first_id, self.exchange_id)

    @property
    def occurred_at_ms(self) -> int:
        return self.event_time_ms


class FuturesDepth(FuturesEvent, gc=False, forbid_unknown_fields=True):
    """The levels that changed since `previous_update_id`."""

    event_type: Literal["depthUpdate"] = field(name="e")
    event_time_ms: Milliseconds = field(name="E")
    occurred_at_ms: Milliseconds = field(name="T")
    symbol: str = field(name="s")
    first_update_id: Id = field(name="U")
    exchange_id: Id = field(name="u")
    previous_update_id: Long = field(name="pu")
    bids: Levels = field(name="b")
    asks: Levels = field(name="a")

    def __post_init__(self) -> None:
        _refuse_backwards(self.first_id, self.exchange_id)

    @property
    def first_id(self) -> int:
        return self.previous_update_id + 1


def _refuse_backwards(first_id: int, last_id: int) -> None:
    """Updates that run backwards would spoil the numbering. The decoder makes its own error of this one."""
    if first_id > last_id:
        raise ValueError(f"updates from {first_id} to {last_id} run backwards")


class SpotBook(Struct, OneId, Untimed, gc=False, forbid_unknown_fields=True):
    """The best levels."""

    symbol: ClassVar[None] = None
    exchange_id: Id = field(name="lastUpdateId")
    bids: Levels
    asks: Levels


class FuturesBook(FuturesEvent, OneId, gc=False, forbid_unknown_fields=True):
    """The best levels, in the form of a change. Where the change began says nothing about them."""

    event_type: Literal["depthUpdate"] = field(name="e")
    event_time_ms: Milliseconds = field(name="E")
    occurred_at_ms: Milliseconds = field(name="T")
    symbol: str = field(name="s")
    exchange_id: Id = field(name="u")
    bids: Levels = field(name="b")
    asks: Levels = field(name="a")
    first_update_id: Long | UnsetType = field(name="U", default=UNSET)
    previous_update_id: Long | UnsetType = field(name="pu", default=UNSET)


def spot_depth(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: SpotDepth, received_at_us: int, _frame: bytes) -> bytes:
        sent_at_us = event.event_time_ms * 1000
        return encode(
            id_prefix + b"%d" % event.exchange_id,
            event.first_id,
            event.exchange_id,
            event.bids,
            event.asks,
            sent_at_us,
            sent_at_us,
            received_at_us,
        )

    return write


def futures_depth(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: FuturesDepth, received_at_us: int, _frame: bytes) -> bytes:
        return encode(
            id_prefix + b"%d" % event.exchange_id,
            event.first_update_id,
            event.exchange_id,
            event.previous_update_id,
            event.bids,
            event.asks,
            event.occurred_at_ms * 1000,
            event.event_time_ms * 1000,
            received_at_us,
            *extras(event),
        )

    return write


def book_constants(spec: str) -> Mapping[str, Any]:
    """How many levels a spec such as `depth20@100ms` names."""
    found = re.match(r"depth(\d+)", spec)
    return {"levels": int(found[1]) if found else 0}


def spot_book_constants(spec: str) -> Mapping[str, Any]:
    return {**book_constants(spec), "event_timestamp": None, "vendor_data": None}


def spot_book(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: SpotBook, received_at_us: int, _frame: bytes) -> bytes:
        number = event.exchange_id
        return encode(id_prefix + b"%d" % number, number, event.bids, event.asks, received_at_us, received_at_us)

    return write


def futures_book(encode: Encoder, id_prefix: bytes) -> Writer:
    def write(event: FuturesBook, received_at_us: int, _frame: bytes) -> bytes:
        return encode(
            id_prefix + b"%d" % event.exchange_id,
            event.exchange_id,
            event.bids,
            event.asks,
            event.occurred_at_ms * 1000,
            event.event_time_ms * 1000,
            received_at_us,
            *extras(event),
        )

    return write


def original_depth(record: Mapping[str, Any]) -> dict[str, Any]:
    """A decoded DepthV2 under the exchange's own keys."""
    event = _original_event(record) | {"U": record["first_update_id"], "u": record["final_update_id"]}
    if record["previous_update_id"] is None:
        return event
    return event | {"T": milliseconds(record["timestamp"]), "pu": record["previous_update_id"]} | original_extras(record)


def original_book(record: Mapping[str, Any]) -> dict[str, Any]:
    """A decoded BookV2 under the exchange's own keys."""
    if record["event_timestamp"] is None:
        levels = {"bids": level_texts(record["bids"]), "asks": level_texts(record["asks"])}
        return {"lastUpdateId": record["last_update_id"]} | levels
    times = {"T": milliseconds(record["timestamp"]), "u": record["last_update_id"]}
    return _original_event(record) | times | original_extras(record)


def _original_event(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "e": "depthUpdate",
        "E": milliseconds(record["event_timestamp"]),
        "s": record["symbol"],
        "b": level_texts(record["bids"]),
        "a": level_texts(record["asks"]),
    }
