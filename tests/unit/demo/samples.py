"""A record and a balance sheet for the demo's tests to vary."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from k2.demo.sheet import Sheet, SymbolRange
from k2.live.sheet import ClientSheet

GOOD_CLIENT = ClientSheet(
    received=1_008, published=1_000, dead_lettered=5, ignored=3, ignored_by_reason={"duplicate": 3},
    records=1_000, delivered=1_000, balanced=True,
)  # fmt: skip
GOOD = Sheet(
    client=GOOD_CLIENT,
    topic="market.crypto.trades.binance",
    consumed=1_000,
    distinct=1_000,
    symbols=(SymbolRange("BTCUSDT", 1, 1_000, 1_000, 0),),
    letters={"not_json": 4, "missing_field": 1},
    sent=1_003,
    malformed=5,
    seconds=12.0,
)


def changed(**fields: Any) -> Sheet:
    """The good sheet with fields of its own or of the client's changed."""
    client = {name: fields.pop(name) for name in list(fields) if name in ClientSheet.__struct_fields__}
    return msgspec.structs.replace(GOOD, client=msgspec.structs.replace(GOOD_CLIENT, **client), **fields)


def record(number: int, symbol: str = "BTCUSDT", side: str = "BUY") -> dict[str, Any]:
    """A decoded TradeV2, as far as the demo reads it."""
    return {
        "message_id": f"binance.spot.aggTrade.{symbol}.{number}",
        "symbol": symbol,
        "side": side,
        "price": Decimal("61837.63"),
        "quantity": Decimal("0.5"),
        "currency": "USDT",
        "source_sequence": number,
    }
