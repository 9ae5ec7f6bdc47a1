"""Frames that no honest exchange would send, by name. Each is a valid trade with one thing wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from k2.simulator.framing import BINARY, TEXT
from k2.simulator.market import TradeKind, Venue
from k2.simulator.rendering import RENDERERS, Trade

if TYPE_CHECKING:
    from collections.abc import Callable

_INT64_MAX = 2**63 - 1
_FAR_FUTURE_MS = 32_503_680_000_000  # the year 3000


def _trade(venue: Venue, stream: str, event_at_ms: int) -> dict[str, Any]:
    """A well-formed event for `stream`. Its id is 1, which no stream in use is near."""
    symbol, _, kind = stream.partition("@")
    known: TradeKind = "trade" if kind == "trade" else "aggTrade"
    event = RENDERERS[venue, known](Trade(symbol.upper(), 1, "1.00000000", "1.00000000", 1, 1, event_at_ms, event_at_ms, False))
    return json.loads(event)  # type: ignore[no-any-return]


def _with(**fields: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda event: {**event, **fields}


def _id(value: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda event: {**event, ("a" if event["e"] == "aggTrade" else "t"): value}


def _without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda event: {key: value for key, value in event.items() if key != name}


_EVENTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "missing_price": _without("p"),
    "missing_symbol": _without("s"),
    "missing_time": _without("T"),
    "empty_object": lambda _event: {},
    "price_as_number": _with(p=1.5),
    "price_null": _with(p=None),
    "side_as_text": _with(m="true"),
    "id_as_text": _id("1"),
    "id_as_fraction": _id(1.5),
    "id_huge": _id(_INT64_MAX + 1),
    "id_negative": _id(-1),
    "price_nan": _with(p="NaN"),
    "price_infinite": _with(p="Infinity"),
    "price_empty": _with(p=""),
    "price_exponent": _with(p="1E+30"),
    "price_negative": _with(p="-1.00000000"),
    "price_nine_decimals": _with(p="1.000000001"),
    "price_39_digits": _with(p="1" * 31 + ".00000001"),
    "time_zero": _with(T=0),
    "time_far_future": _with(T=_FAR_FUTURE_MS),
    "time_huge": _with(T=10**30),
    "symbol_of_another": _with(s="NOTTHISONE"),
}
_ENVELOPES: dict[str, Callable[[str, str], bytes]] = {
    "not_json": lambda _stream, _event: b"garbage",
    "empty": lambda _stream, _event: b"",
    "truncated": lambda stream, event: _envelope(stream, event)[:-20],
    "not_utf8": lambda stream, event: _envelope(stream, event).replace(b'"s":"', b'"s":"\xff\xfe'),
    "number": lambda _stream, _event: b"42",
    "unknown_stream": lambda _stream, event: _envelope("btcusdt@noSuchStream", event),
    "data_missing": lambda stream, _event: json.dumps({"stream": stream}).encode(),
    "data_null": lambda stream, _event: _envelope(stream, "null"),
    "data_array": lambda stream, _event: _envelope(stream, "[]"),
    "deeply_nested": lambda stream, _event: _envelope(stream, "[" * 5_000 + "]" * 5_000),
    "binary": lambda _stream, _event: bytes(range(256)),
}
NAMES = (*_ENVELOPES, *_EVENTS)


def frame(name: str, venue: Venue, stream: str, event_at_ms: int) -> tuple[bytes, int]:
    """
    The bytes of a malformed frame and the opcode it travels under.

    Raises:
        KeyError: no garbage has this name.
    """
    event = _trade(venue, stream, event_at_ms)
    if name in _EVENTS:
        return _envelope(stream, _compact(_EVENTS[name](event))), TEXT
    return _ENVELOPES[name](stream, _compact(event)), BINARY if name == "binary" else TEXT


def _compact(event: dict[str, Any]) -> str:
    return json.dumps(event, separators=(",", ":"))


def _envelope(stream: str, data: str) -> bytes:
    return f'{{"stream":"{stream}","data":{data}}}'.encode()
