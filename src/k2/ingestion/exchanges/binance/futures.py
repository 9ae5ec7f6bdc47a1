"""
What all events of the futures streams may say since USD-M and COIN-M share them, in June 2026.

Streams of all symbols carry the contracts of both markets then, and tell them apart by `st`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import UNSET, Struct, UnsetType, field

from k2.ingestion.core.avro import MapShape
from k2.ingestion.core.outcome import IgnoreReason
from k2.ingestion.exchanges.binance.events import Long

_COIN_M = 2
_PAIR, _SYMBOL_TYPE = "ps", "st"

Extras = tuple[bytes | None, bytes | None]


class Shared(Protocol):
    """`symbol_type` 1 is USD-M, 2 COIN-M; `pair` is that of the contract's underlying."""

    @property
    def pair(self) -> str | UnsetType: ...
    @property
    def symbol_type(self) -> int | UnsetType: ...


class FuturesEvent(Struct, kw_only=True, gc=False, forbid_unknown_fields=True):
    """What a futures event is built upon. One that has another base repeats the two fields: a Struct has only one."""

    pair: str | UnsetType = field(name=_PAIR, default=UNSET)
    symbol_type: Long | UnsetType = field(name=_SYMBOL_TYPE, default=UNSET)


def other_market(event: Shared) -> IgnoreReason | None:
    """Leaves out the contracts of COIN-M, whose quantities are contracts and not units."""
    return IgnoreReason.OTHER_MARKET if event.symbol_type == _COIN_M else None


def vendor_shape(event_type: str) -> MapShape:
    """What `vendor_data` holds for one kind of futures event."""
    return MapShape(required=(), optional=(_PAIR, _SYMBOL_TYPE), constants=(("event_type", event_type),))


def extras(event: Shared) -> Extras:
    """The values of that map, in its order."""
    pair, symbol_type = event.pair, event.symbol_type
    return None if pair is UNSET else pair.encode(), None if symbol_type is UNSET else b"%d" % symbol_type


def original_extras(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record kept of them, under the exchange's keys."""
    vendor = record["vendor_data"] or {}
    pair = {_PAIR: vendor[_PAIR]} if _PAIR in vendor else {}
    symbol_type = {_SYMBOL_TYPE: int(vendor[_SYMBOL_TYPE])} if _SYMBOL_TYPE in vendor else {}
    return pair | symbol_type
