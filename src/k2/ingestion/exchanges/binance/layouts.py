"""
Named JSON layouts: the shapes in which other deployments want the exchange's events.

A layout makes the value of a record from an event and its frame. Numbers that the exchange sends as text stay exact unless the
layout's own contract wants numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from k2.ingestion.core.rows import Writer
from k2.ingestion.exchanges.binance import layout_payloads, layout_records
from k2.ingestion.exchanges.binance.streams import Output, Subject


class Layout(Struct, frozen=True):
    """
    One JSON layout.

    Attributes:
        meaning: What its values hold, for people.
        kinds: Names of the stream kinds that it can show (`StreamKind.name`); empty for every kind.
        writer: Makes the writer of a symbol's values, for a topic.
        original: Makes the exchange's message of a decoded value again, as near as it allows.
    """

    name: str
    meaning: str
    kinds: frozenset[str]
    writer: Callable[[Subject, str], Writer]
    original: Callable[[Mapping[str, Any]], dict[str, Any]]


_EVERY_KIND: frozenset[str] = frozenset()
_KLINES = frozenset({"kline"})
_QUOTES = frozenset({"bookTicker"})

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "candle", "candles under thirteen long names, prices and volumes as JSON numbers",
            _KLINES, layout_records.candle_writer, layout_records.candle_original,
        ),
        Layout(
            "event", "the exchange's message as it came, with the time of receipt, the source and the sort of event at its end",
            _EVERY_KIND, layout_payloads.event_writer, layout_payloads.event_original,
        ),
        Layout(
            "envelope", "the exchange's message as it came, inside an envelope that says what it is and where it was sent",
            _EVERY_KIND, layout_payloads.envelope_writer, layout_payloads.envelope_original,
        ),
        Layout(
            "futures-kline", "candles under eleven names, prices and volume as text; the volume is that of the base asset",
            _KLINES, layout_records.futures_kline_writer, layout_records.futures_kline_original,
        ),
        Layout(
            "futures-quote", "the best bid and ask as text; both times are null on spot, where the exchange sends none",
            _QUOTES, layout_records.futures_quote_writer, layout_records.futures_quote_original,
        ),
    )
}  # fmt: skip


def layout_output(topic: str, layout: Layout, *, keyed: bool) -> Output:
    """Records in this layout."""
    return Output(topic, lambda subject: layout.writer(subject, topic), keyed=keyed)
