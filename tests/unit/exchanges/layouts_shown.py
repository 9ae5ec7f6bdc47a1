"""Frames on their way through a row into a layout, and what the records' values say."""

from __future__ import annotations

import json
from typing import Any

from k2.ingestion.core.outcome import Outcome, Publish, Record
from k2.ingestion.core.rows import Row
from k2.ingestion.exchanges.binance.layouts import LAYOUTS, layout_output
from k2.ingestion.exchanges.binance.names import stream_of
from k2.ingestion.exchanges.binance.streams import RowBuilder

RECEIVED_AT_US = 1_677_000_000_123_456
TOPIC = "some-topic"


def new_row(layout: str, name: str, market: str = "spot") -> Row:
    """The row of one stream that writes in one layout."""
    output = layout_output(TOPIC, LAYOUTS[layout], keyed=True)
    return RowBuilder(market, lambda _: "USDT").row(stream_of(market, name), [output])


def framed(name: str, data: str) -> bytes:
    return f'{{"stream":"{name}","data":{data}}}'.encode()


def outcomes_of(layout: str, name: str, data: str, market: str = "spot") -> tuple[Outcome, ...]:
    return new_row(layout, name, market).process(framed(name, data), RECEIVED_AT_US)


def record_of(layout: str, name: str, data: str, market: str = "spot") -> Record:
    """The one record that a payload gives."""
    (outcome,) = outcomes_of(layout, name, data, market)
    assert isinstance(outcome, Publish), outcome
    (record,) = outcome.records
    return record


def shown(layout: str, name: str, data: str, market: str = "spot") -> dict[str, Any]:
    """What the one record's value says."""
    value = json.loads(record_of(layout, name, data, market).value)
    assert isinstance(value, dict)
    return value
