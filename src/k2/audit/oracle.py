"""
What a record must say about a recorded event, worked out with the standard library alone.

On purpose not by the client's own decoding, mapping and encoding: two that share a mistake agree. Sources: the data dictionary,
and the exchange's documentation of its trade streams.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Struct

MARKETS = ("spot", "usdm")
STREAMS = ("aggTrade", "trade")

_ASSET_CLASSES = {"spot": "crypto", "usdm": "futures"}
_ID_KEYS = {"aggTrade": "a", "trade": "t"}
_EXTRAS: dict[tuple[str, str], dict[str, type]] = {
    ("usdm", "aggTrade"): {"nq": str, "st": int},
    ("usdm", "trade"): {"X": str, "st": int},
}
_TYPES = {"e": str, "E": int, "s": str, "p": str, "q": str, "T": int, "m": bool}
_AGGREGATE_TYPES = {"f": int, "l": int}
_NUMBER = re.compile(r"([0-9]+)(?:\.([0-9]+))?", re.ASCII)
_MOST_DECIMALS, _MOST_WHOLE_DIGITS = 8, 30  # decimal(38, 8)
_LONGS = range(-(2**63), 2**63)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES_MS = range(1_483_228_800_000, 253_402_300_800_000)  # from 2017, the year in which Binance opened, to the year 9999
_NO_TRADE = "NA"

Event = Mapping[str, Any]


class NoRecordError(ValueError):
    """An event that no record can be made of: the client makes a dead letter of it. The text says why."""


class Expected(Struct, frozen=True):
    """What the topic must hold for an event. `fields` are those of the record, but for the time at which it was received."""

    message_id: str
    key: bytes
    timestamp_ms: int
    fields: dict[str, Any]


def message_in(frame: bytes) -> tuple[str, Event]:
    """
    The stream's name and the event of a combined frame.

    Raises:
        NoRecordError: it is none.
    """
    try:
        message = json.loads(frame)
        json.dumps(message, ensure_ascii=False).encode()  # half of a surrogate pair is JSON and yet no text
        stream, event = message["stream"], message["data"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NoRecordError(f"no combined frame: {error}") from error
    if not isinstance(stream, str) or not isinstance(event, dict):
        raise NoRecordError("no combined frame: its stream is no text, or its data no object")
    return stream, event


def is_no_trade(event: Event, market: str) -> bool:
    """The futures trade stream carries events that are none, and that make neither a record nor a dead letter."""
    return market == "usdm" and event.get("e") == "trade" and event.get("X") == _NO_TRADE


def expected_record(event: Event, market: str, stream: str) -> Expected:
    """
    The record of an event of this market and stream.

    Raises:
        NoRecordError: none can be made of it.
    """
    _check(event, market, stream)
    symbol, exchange_id = event["s"], event[_ID_KEYS[stream]]
    message_id = f"binance.{market}.{stream}.{symbol}.{exchange_id}"
    vendor_data = {
        "event_type": stream,
        "event_time": str(event["E"]),
        "first_trade_id": str(event["f"] if stream == "aggTrade" else exchange_id),
        "last_trade_id": str(event["l"] if stream == "aggTrade" else exchange_id),
        **{key: str(event[key]) for key in _EXTRAS.get((market, stream), ()) if key in event},
    }
    fields = {
        "message_id": message_id,
        "trade_id": f"BINANCE-{exchange_id}",
        "symbol": symbol,
        "exchange": "BINANCE",
        "asset_class": _ASSET_CLASSES[market],
        "timestamp": _EPOCH + timedelta(milliseconds=event["T"]),
        "price": _exact(event["p"]),
        "quantity": _exact(event["q"]),
        # `m` says that the buyer was resting in the book: then it was the seller who took.
        "side": "SELL" if event["m"] else "BUY",
        "trade_conditions": [],
        "source_sequence": exchange_id,
        "platform_sequence": None,
        "vendor_data": vendor_data,
    }
    return Expected(message_id, symbol.encode(), event["T"], fields)


def _check(event: Event, market: str, stream: str) -> None:
    required = _TYPES | {_ID_KEYS[stream]: int} | (_AGGREGATE_TYPES if stream == "aggTrade" else {})
    extras = {key: kind for key, kind in _EXTRAS.get((market, stream), {}).items() if key in event}
    for key, kind in (required | extras).items():
        value = event.get(key)
        if type(value) is not kind or (kind is int and value not in _LONGS):
            raise NoRecordError(f"{key} is {value!r}, which is no {kind.__name__} of ours")
    if event["e"] != stream:
        raise NoRecordError(f"it is of the type {event['e']!r}")
    if event[_ID_KEYS[stream]] < 0 or event["T"] not in _TIMES_MS:
        raise NoRecordError(f"its id {event[_ID_KEYS[stream]]} or its time {event['T']} cannot be")


def _exact(text: str) -> Decimal:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise NoRecordError(f"{text!r} is no plain number")
    whole, decimals = match[1].lstrip("0"), (match[2] or "").rstrip("0")
    if len(whole) > _MOST_WHOLE_DIGITS or len(decimals) > _MOST_DECIMALS:
        raise NoRecordError(f"{text!r} does not fit into 38 digits, 8 of them decimals")
    return Decimal(text)
