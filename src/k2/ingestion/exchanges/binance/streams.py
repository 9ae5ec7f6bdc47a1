"""
The stream table: one row for each kind of stream that we carry.

A kind says everything that differs from the others: its wire type, mapping, schema, what its records have in common, and which
events of it are none. Adding a stream is adding a row, a wire type and a mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from k2.ingestion.core.avro import MapShape, Schema, frame_prefix
from k2.ingestion.core.avro_fallback import best_encoder
from k2.ingestion.core.pipeline import StreamRow
from k2.ingestion.core.sequence import ContiguousSequence
from k2.ingestion.core.wire import WireDecoder
from k2.ingestion.exchanges.binance import mapping
from k2.ingestion.exchanges.binance.events import FuturesAggTrade, FuturesTrade, SpotAggTrade, SpotTrade


class StreamKind(Struct, frozen=True):
    """One kind of stream. `stream` is the exchange's name for it, behind the `@`."""

    market: str
    stream: str
    event_type: type[Struct]
    to_value: Callable[..., bytes]
    asset_class: str
    vendor_data: MapShape
    is_no_event: Callable[[Any], bool] | None = None
    schema_name: str = "trade_v2"


KINDS = {
    (kind.market, kind.stream): kind
    for kind in (
        StreamKind(
            "spot", "aggTrade", SpotAggTrade, mapping.spot_trade, "crypto",
            mapping.vendor_shape("aggTrade", ()),
        ),
        StreamKind(
            "spot", "trade", SpotTrade, mapping.spot_trade, "crypto",
            mapping.vendor_shape("trade", ()),
        ),
        StreamKind(
            "usdm", "aggTrade", FuturesAggTrade, mapping.futures_agg_trade, "futures",
            mapping.vendor_shape("aggTrade", ("nq", "st")),
        ),
        StreamKind(
            "usdm", "trade", FuturesTrade, mapping.futures_trade, "futures",
            mapping.vendor_shape("trade", ("X", "st")), is_no_event=mapping.is_no_trade,
        ),
    )
}  # fmt: skip


def identity_prefix(market: str, stream: str) -> str:
    """How every message_id of a topic begins: one topic carries one market and one stream."""
    return f"binance.{market}.{stream}."


def stream_name(symbol: str, stream: str) -> str:
    """The exchange's name of a symbol's stream. Unicode symbols exist."""
    return f"{symbol.lower()}@{stream}"


def build_rows(
    kind: StreamKind,
    symbols: Iterable[str],
    quote_asset: Callable[[str], str],
    topic: str,
    schema: Schema,
    schema_id: int,
    *,
    sequence: Callable[[str, str], ContiguousSequence] = ContiguousSequence,
) -> dict[bytes, StreamRow]:
    """
    The rows of the routing table for these symbols, by the stream's name as it stands in a frame.

    Args:
        sequence: Makes what watches over a symbol's numbering, from the stream's kind and the symbol.
    """
    wire = WireDecoder(kind.stream, kind.event_type)
    rows = (
        _row(kind, wire, symbol, quote_asset(symbol), topic, schema, schema_id, sequence(kind.stream, symbol))
        for symbol in symbols
    )
    return {row.stream.encode(): row for row in rows}


def _row(
    kind: StreamKind,
    wire: WireDecoder,
    symbol: str,
    currency: str,
    topic: str,
    schema: Schema,
    schema_id: int,
    sequence: ContiguousSequence,
) -> StreamRow:
    encode = best_encoder(
        schema,
        prefix=frame_prefix(schema_id),
        constants=mapping.constant_fields(symbol, kind.asset_class, currency),
        maps={"vendor_data": kind.vendor_data},
    )
    return StreamRow(
        stream=stream_name(symbol, kind.stream),
        symbol=symbol,
        topic=topic,
        id_prefix=f"{identity_prefix(kind.market, kind.stream)}{symbol}.".encode(),
        wire=wire,
        encode=encode,
        to_value=kind.to_value,
        sequence=sequence,
        is_no_event=kind.is_no_event,
    )
