"""Frames that no honest exchange would send, by name. Each is a valid event of its stream with one thing wrong."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

from k2.simulator.framing import BINARY, TEXT
from k2.simulator.samples import sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from k2.simulator.market import Venue

_INT64_MAX = 2**63 - 1
_FAR_FUTURE_MS = 32_503_680_000_000  # the year 3000
_ABSENT = object()

Path = tuple[str | int, ...]


class _Fields(NamedTuple):
    """Where an event has what garbage spoils; None where it has nothing of the kind. Numbers are ids, or counts without any."""

    price: Path | None = None
    symbol: Path | None = ("s",)
    time: Path | None = None
    number: Path | None = None
    flag: Path | None = None


# By a part of the stream's kind; the first that fits. The last fits all: they are trades.
_FIELDS: dict[str, _Fields] = {
    "kline_": _Fields(("k", "c"), ("s",), ("k", "t"), ("k", "n"), ("k", "x")),
    "bookTicker": _Fields(("b",), ("s",), ("T",), ("u",)),
    "miniTicker": _Fields(("c",), ("s",), ("E",)),
    "ticker": _Fields(("c",), ("s",), ("C",), ("n",)),
    "depth": _Fields(("b", 0, 0), ("s",), ("E",), ("u",)),
    "markPrice": _Fields(("p",), ("s",), ("E",)),
    "forceOrder": _Fields(("o", "p"), ("o", "s"), ("o", "T")),
    "avgPrice": _Fields(("w",), ("s",), ("T",)),
    "referencePrice": _Fields(("r",), ("s",), ("t",)),
    "aggTrade": _Fields(("p",), ("s",), ("T",), ("a",), ("m",)),
    "": _Fields(("p",), ("s",), ("T",), ("t",), ("m",)),
}
_SPOT_TOP = _Fields(("bids", 0, 0), None, None, ("lastUpdateId",))

# What is spoilt, and the value it gets.
_EVENTS: dict[str, tuple[str, object]] = {
    "missing_price": ("price", _ABSENT),
    "missing_symbol": ("symbol", _ABSENT),
    "missing_time": ("time", _ABSENT),
    "empty_object": ("event", {}),
    "price_as_number": ("price", 1.5),
    "price_null": ("price", None),
    "side_as_text": ("flag", "true"),
    "id_as_text": ("number", "1"),
    "id_as_fraction": ("number", 1.5),
    "id_huge": ("number", _INT64_MAX + 1),
    "id_negative": ("number", -1),
    "price_nan": ("price", "NaN"),
    "price_infinite": ("price", "Infinity"),
    "price_empty": ("price", ""),
    "price_exponent": ("price", "1E+30"),
    "price_negative": ("price", "-1.00000000"),
    "price_nine_decimals": ("price", "1.000000001"),
    "price_39_digits": ("price", "1" * 31 + ".00000001"),
    "time_zero": ("time", 0),
    "time_far_future": ("time", _FAR_FUTURE_MS),
    "time_huge": ("time", 10**30),
    "symbol_of_another": ("symbol", "NOTTHISONE"),
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


def names_for(venue: Venue, stream: str) -> tuple[str, ...]:
    """The garbage that is garbage on a stream: it has the field that is spoilt, and what it gets is no value of it."""
    event = sample(venue, stream, 0)
    return tuple(name for name in NAMES if _fits(name, stream, event))


def frame(name: str, venue: Venue, stream: str, event_at_ms: int) -> tuple[bytes, int]:
    """
    The bytes of a malformed frame and the opcode it travels under.

    Raises:
        ValueError: the garbage does not fit the stream.
        KeyError: no garbage has this name.
    """
    event = sample(venue, stream, event_at_ms)
    if not _fits(name, stream, event):
        raise ValueError(f"garbage {name} does not fit {stream}; its events have no such field")
    if name in _ENVELOPES:
        return _ENVELOPES[name](stream, _compact(event)), BINARY if name == "binary" else TEXT
    return _envelope(stream, _compact(_spoilt(name, stream, event))), TEXT


def _fits(name: str, stream: str, event: Any) -> bool:
    if name in _EVENTS:
        return _place(name, stream, event) is not None and not (name == "price_null" and "referencePrice" in stream)
    if name == "data_array":
        return not isinstance(event, list)
    return name != "not_utf8" or '"s":"' in _compact(event)


def _spoilt(name: str, stream: str, event: Any) -> Any:
    value = _EVENTS[name][1]
    place = _place(name, stream, event)
    if not place:
        return value
    spoilt = deepcopy(event)
    parent, last = _at(spoilt, place[:-1]), place[-1]
    if value is _ABSENT:
        del parent[last]
    else:
        parent[last] = value
    return spoilt


def _place(name: str, stream: str, event: Any) -> Path | None:
    """Where the event has what the garbage spoils: nowhere is None, and everything is the empty path."""
    within: Path = (0,) if isinstance(event, list) else ()
    field = _EVENTS[name][0]
    if field == "event":
        return within
    path: Path | None = getattr(_fields_of(stream, event), field)
    if path is None:
        return None
    try:
        _at(event, (*within, *path))
    except (KeyError, IndexError):
        return None
    return (*within, *path)


def _fields_of(stream: str, event: Any) -> _Fields:
    if isinstance(event, dict) and "lastUpdateId" in event:
        return _SPOT_TOP
    return next(fields for part, fields in _FIELDS.items() if part in stream)


def _at(event: Any, path: Path) -> Any:
    for step in path:
        event = event[step]
    return event


def _compact(event: Any) -> str:
    return json.dumps(event, separators=(",", ":"))


def _envelope(stream: str, data: str) -> bytes:
    return f'{{"stream":"{stream}","data":{data}}}'.encode()
