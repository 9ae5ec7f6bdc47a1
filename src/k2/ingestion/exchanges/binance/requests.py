"""Binance's control frames, and the limits that they are under. Source: spot docs, "Live Subscribing/Unsubscribing"."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

STREAMS_PER_CONNECTION = 1024


class Method(StrEnum):
    """What a control frame of ours asks for."""

    SUBSCRIBE = "SUBSCRIBE"
    UNSUBSCRIBE = "UNSUBSCRIBE"


def request_text(method: Method, request_id: int, streams: Sequence[str]) -> str:
    """The text of a control frame. Ids are integers: string ids are documented, and have gone unanswered."""
    return msgspec.json.encode({"method": method, "params": list(streams), "id": request_id}).decode()
