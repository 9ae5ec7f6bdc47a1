"""What the tests of the generated streams share: a market that is listened to from its beginning, without a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from k2.simulator.generated import GeneratedMarket, GeneratedOptions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from k2.simulator.market import Frame, Venue

BEGAN_MS = 1_763_699_990_000  # ten seconds before a whole minute
VENUES: tuple[Venue, ...] = ("spot", "usdm")


def begun(**options: Any) -> GeneratedMarket:
    """A market of one symbol and 50 aggregated trades per second, unless told otherwise."""
    market = GeneratedMarket(GeneratedOptions(**{"symbols": ("BTCUSDT",), "rate": 50.0, **options}))
    market.begin(0.0, BEGAN_MS)
    return market


def frames(market: GeneratedMarket, streams: Collection[str], until_s: float, since_s: float = 0.0) -> list[Frame]:
    """What a server that asks ten times a second sends to a subscriber of these streams."""
    moments = [since_s + tenth / 10 for tenth in range(1, round((until_s - since_s) * 10) + 1)]
    return [frame for now_s in moments for frame in market.pull(now_s, streams, 100_000)]


def events(market: GeneratedMarket, streams: Collection[str], until_s: float, since_s: float = 0.0) -> list[tuple[str, Any]]:
    """The same as pairs of stream and payload."""
    return [(frame.stream, json.loads(frame.raw)) for frame in frames(market, streams, until_s, since_s)]


def of(pairs: Iterable[tuple[str, Any]], stream: str) -> list[Any]:
    return [payload for name, payload in pairs if name == stream]
