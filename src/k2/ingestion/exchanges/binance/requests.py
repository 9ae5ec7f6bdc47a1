"""Binance's control frames, and the limits that they are under. Source: spot docs, "Live Subscribing/Unsubscribing"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

STREAMS_PER_CONNECTION = 1024


def subscribe(request_id: int, streams: Sequence[str]) -> str:
    """The text of a SUBSCRIBE frame. Ids are integers: string ids are documented, and have gone unanswered."""
    return _request("SUBSCRIBE", request_id, streams)


def unsubscribe(request_id: int, streams: Sequence[str]) -> str:
    """The text of an UNSUBSCRIBE frame."""
    return _request("UNSUBSCRIBE", request_id, streams)


def batches(streams: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    """`streams` in order, `size` at a time."""
    for start in range(0, len(streams), size):
        yield tuple(streams[start : start + size])


def _request(method: str, request_id: int, streams: Sequence[str]) -> str:
    return msgspec.json.encode({"method": method, "params": list(streams), "id": request_id}).decode()
