"""
What a record read back is: of which stream and symbol, what tells it from all others, and which numbers it covers.

That comes from the record alone: from its `message_id` in Avro, from the exchange's own numbers where it carries the exchange's
payload, else from what it holds. Of those whose numbers have no holes (trades, closed candles, changes of an order book) none may
be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from k2.demo.sorts import AVRO, OTHER, PAYLOAD, SORT_OF_KIND, SORT_OF_LAYOUT, SORT_OF_SCHEMA, RecordRow, at
from k2.ingestion.exchanges.binance.kinds import kind_of
from k2.ingestion.topic_plan import AVRO as AVRO_LAYOUT
from k2.ingestion.topic_plan import RAW, TopicPlan
from k2.simulator.intervals import DAY_MS, next_opening_ms

Record = Mapping[str, Any]
Span = tuple[int, int]

NUMBERED_TRADES = frozenset({"aggTrade", "trade"})
_MONTH = "1M"
# What the layout `event` calls the events of a stream, where that is not the stream's own name.
_KIND_OF_EVENT_TYPE = {
    "aggregate_trade": "aggTrade", "block_trade": "blockTrade", "book_ticker": "bookTicker", "depth_update": "depth",
    "partial_depth": "partialDepth", "rpi_depth_update": "rpiDepth", "mini_ticker": "miniTicker", "window_ticker": "windowTicker",
    "average_price": "avgPrice", "reference_price": "referencePrice", "mark_price": "markPrice", "liquidation": "forceOrder",
}  # fmt: skip
_STAMPS = ("ingestion_timestamp", "ingested_at")  # differ though the event is the same
_IDS = "a|t|k.t|lastUpdateId|u|E"
_encode = msgspec.json.Encoder().encode


class Seen(Struct, frozen=True):
    """
    A record that was recognised.

    Attributes:
        stream: The spec of its stream, as far as the record tells it.
        identity: What no other record of its topic, stream and symbol may have.
        span: The first and the last number that it covers, where the next record is to begin behind it; else None.
    """

    symbol: str
    stream: str
    identity: Hashable
    span: Span | None
    row: RecordRow


Recognise = Callable[[Record, int], Seen]  # from a decoded record and its Kafka timestamp in milliseconds


def recogniser(plan: TopicPlan, market: str, *, closed_only: bool) -> Recognise:
    """
    What recognises the records of a topic.

    Args:
        closed_only: Candles come once they are closed, so that of these none may be missing.
    """
    if plan.layout == RAW:
        return _frame
    if plan.layout == AVRO_LAYOUT:
        return _Avro(plan.schema_name, closed_only=closed_only).seen
    if plan.layout in {"event", "envelope"}:
        return _Payload(plan.layout, market, closed_only=closed_only).seen
    return _OwnLayout(plan.layout, closed_only=closed_only).seen


def group_of(market: str, stream: str) -> str:
    """
    What a stream is called where only its payload tells what it is: there depth@100ms and depth are alike.

    The interval of candles is in the payload.
    """
    if stream.startswith("kline_"):
        return stream.partition("@")[0]
    kind = kind_of(market, stream)
    return kind.name if kind else stream


def candle_number(interval: str, opened_ms: int) -> int | None:
    """A number for a candle, one more than that of the candle before; None for an interval that nobody knows."""
    if interval == _MONTH:
        within = datetime.fromtimestamp((opened_ms + 15 * DAY_MS) / 1000, UTC)  # whatever the time zone of its first day
        return within.year * 12 + within.month
    try:
        return opened_ms // (next_opening_ms(interval, opened_ms) - opened_ms)
    except KeyError:
        return None


def _one(number: int | None) -> Span | None:
    return None if number is None else (number, number)


def _changes(first: Any, last: Any, previous: Any) -> Span | None:
    """The updates that a change of an order book covers; on futures it names the last one before."""
    return (first if previous is None else previous + 1, last)


class _Avro:
    """Records under one of the client's schemas, told by their message_id: venue, market, spec, symbol, number."""

    def __init__(self, schema_name: str, *, closed_only: bool) -> None:
        self._sort, self._closed_only = SORT_OF_SCHEMA.get(schema_name, OTHER), closed_only

    def seen(self, record: Record, _at_ms: int) -> Seen:
        message_id = record["message_id"]
        _, _, spec, symbol, number = (*message_id.split(".", 4), "", "", "", "")[:5]
        row = RecordRow(message_id, record["symbol"], spec, self._sort, AVRO, record)
        return Seen(symbol, spec, number, self._span(spec, number, record), row)

    def _span(self, spec: str, number: str, record: Record) -> Span | None:
        if spec in NUMBERED_TRADES:
            return _one(int(number))
        if self._sort == "candle" and self._closed_only:
            return _one(candle_number(record["interval"], int(record["open_time"].timestamp() * 1000)))
        if self._sort == "depth":
            return _changes(record["first_update_id"], record["final_update_id"], record["previous_update_id"])
        return None


def _frame(record: Record, _at_ms: int) -> Seen:
    """A captured frame. The exchange may send the same bytes again, and then they are received at another time."""
    stream = record["stream"]
    row = RecordRow(record["message_id"], record["symbol"], stream, "frame", AVRO, record)
    return Seen(record["symbol"], stream, (record["message_id"], record["ingestion_timestamp"]), None, row)


class _Payload:
    """The exchange's own message in JSON, beside or inside what the layout adds."""

    def __init__(self, layout: str, market: str, *, closed_only: bool) -> None:
        self._envelope, self._market, self._closed_only = layout == "envelope", market, closed_only

    def seen(self, record: Record, at_ms: int) -> Seen:
        event, kind, symbol = self._opened(record)
        stream = f"kline_{at(event, 'k.i')}" if kind == "kline" else kind
        label = f"{kind}.{symbol}.{at(event, _IDS)}"
        row = RecordRow(label, symbol, stream, SORT_OF_KIND.get(kind, OTHER), PAYLOAD, event)
        return Seen(symbol, stream, _content(record, at_ms), self._span(kind, event), row)

    def _opened(self, record: Record) -> tuple[Record, str, str]:
        """The exchange's message, the kind of its stream and its symbol."""
        if self._envelope:
            return record["original_data"], record["stream_type"], record["symbol"]
        event_type = str(record.get("k2_event_type", record.get("event_type", "")))
        symbol = at(record, "s|o.s|symbol") or ""
        return record, _KIND_OF_EVENT_TYPE.get(event_type, event_type), symbol

    def _span(self, kind: str, event: Record) -> Span | None:
        if kind in NUMBERED_TRADES:
            return _one(event["a" if kind == "aggTrade" else "t"])
        if kind == "kline" and self._closed_only:
            return _one(candle_number(event["k"]["i"], event["k"]["t"]))
        if kind in {"depth", "rpiDepth"}:
            return _changes(event["U"], event["u"], event.get("pu"))
        return None


class _OwnLayout:
    """A JSON layout with fields of its own: candles and quotes."""

    def __init__(self, layout: str, *, closed_only: bool) -> None:
        self._layout, self._closed_only = layout, closed_only
        self._sort = SORT_OF_LAYOUT.get(layout, OTHER)

    def seen(self, record: Record, at_ms: int) -> Seen:
        symbol, is_candle = str(record.get("symbol", "")), self._sort == "candle"
        opened_ms = at(record, "open_time|startTime")
        stream = f"kline_{record.get('interval')}" if is_candle else "bookTicker" if self._sort == "quote" else self._layout
        label = f"{stream}.{symbol}.{opened_ms if is_candle else at(record, 'update_id')}"
        span = _one(candle_number(record["interval"], opened_ms)) if is_candle and self._closed_only else None
        row = RecordRow(label, symbol, stream, self._sort, self._layout, record)
        return Seen(symbol, stream, _content(record, at_ms), span, row)


def _content(record: Record, at_ms: int) -> Hashable:
    """
    What a record holds, without when it was received, and the exchange's time, which is that of the record in Kafka.

    Two updates of a candle may hold the same, and differ in their time alone.
    """
    return hash(_encode({name: value for name, value in record.items() if name not in _STAMPS})), at_ms
