"""Records, options and a balance sheet for the demo's tests to vary."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from k2.demo.options import DemoOptions, make_options
from k2.demo.recognition import recogniser
from k2.demo.sheet import EventsHeld, Sent, SeriesRange, Sheet, TopicBooks
from k2.demo.sorts import RecordRow
from k2.demo.tally import Tally
from k2.ingestion.topic_plan import TopicPlan
from k2.live.sheet import ClientSheet

TOPIC = "market.crypto.trades.binance"
TRADES = TopicPlan(name=TOPIC, streams=("aggTrade",), schema_name="trade_v2")

GOOD_CLIENT = ClientSheet(
    received=1_008, published=1_000, dead_lettered=5, ignored=3, ignored_by_reason={"duplicate": 3},
    records=1_000, delivered=1_000, balanced=True,
)  # fmt: skip
RANGE = SeriesRange("BTCUSDT", "aggTrade", 1, 1_000, 1_000, 0)
BOOKS = TopicBooks(TOPIC, "avro", 1_000, 1_000, 0, (RANGE,))
GOOD = Sheet(
    client=GOOD_CLIENT,
    topics=(BOOKS,),
    series=(RANGE,),
    held=EventsHeld(1_000, 1_000, 1_000),
    letters={"not_json": 4, "missing_field": 1},
    sent=Sent(1_003, 1_003, 5),
    speed=1,
    seconds=12.0,
)


def changed(**fields: Any) -> Sheet:
    """The good sheet with fields of its own, of its only topic's or of the client's changed."""
    of_client = {name: fields.pop(name) for name in list(fields) if name in ClientSheet.__struct_fields__}
    of_topic = {name: fields.pop(name) for name in ("consumed", "distinct") if name in fields}
    parts = {
        "client": msgspec.structs.replace(GOOD_CLIENT, **of_client),
        "topics": (msgspec.structs.replace(BOOKS, **of_topic),),
    }
    return msgspec.structs.replace(GOOD, **{**parts, **fields})


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


def row_of(number: int, symbol: str = "BTCUSDT", side: str = "BUY") -> RecordRow:
    """The same, as it is shown."""
    return recogniser(TRADES, "spot", closed_only=True)(record(number, symbol, side), 0).row


def trade_tally(*others: TopicPlan) -> Tally:
    """An empty tally of a topic of trades, and of other topics."""
    return Tally((TRADES, *others), "spot", closed_only=True)


def asked(**values: Any) -> DemoOptions:
    """Options as the command line gives them: words in lists."""
    return make_options(values)
