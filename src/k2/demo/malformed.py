"""Frames that are broken on purpose: for each stream some that the client can only make dead letters of, each of one event."""

from __future__ import annotations

import json
from collections.abc import Iterable

from k2.simulator import garbage
from k2.simulator.market import TRADE_KINDS, Venue
from k2.simulator.streams import kind_of

ANYWHERE = ("not_json", "unknown_stream")
# For five reasons. Those that carry an id carry 1: with a valid rest they would count as seen before.
OF_TRADES = ("not_json", "missing_price", "id_as_text", "unknown_stream", "time_far_future")
OF_OTHERS = ("not_json", "missing_price", "price_as_number", "unknown_stream")


def target(streams: Iterable[str]) -> str | None:
    """Which of a connection's decoded streams the frames pretend to be of: one of trades, else the first."""
    named = list(streams)
    return next((name for name in named if kind_of(name) in TRADE_KINDS), named[0] if named else None)


def malformed_frames(venue: Venue, stream: str | None, now_ms: int) -> tuple[bytes, ...]:
    """The frames. Where no stream is decoded, those that belong to none."""
    if stream is None:
        return tuple(garbage.frame(name, venue, "btcusdt@aggTrade", now_ms)[0] for name in ANYWHERE)
    names = OF_TRADES if kind_of(stream) in TRADE_KINDS else OF_OTHERS
    return tuple(_of_one_event(garbage.frame(name, venue, stream, now_ms)[0]) for name in names)


def _of_one_event(frame: bytes) -> bytes:
    """An array of all symbols with its first element alone, which is the broken one."""
    try:
        message = json.loads(frame)
    except ValueError:
        return frame
    if not isinstance(message["data"], list):
        return frame
    return json.dumps({**message, "data": message["data"][:1]}, separators=(",", ":")).encode()
