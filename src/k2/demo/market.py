"""The simulated market of a run, and how many events its frames hold: counted from what was sent, before the client has it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from k2.demo.options import DemoOptions
from k2.demo.pace import Pace
from k2.simulator.generated import GeneratedMarket, GeneratedOptions
from k2.simulator.market import Frame


class CountedMarket(GeneratedMarket):
    """
    Remembers how many elements each frame of an all-market stream holds.

    Args:
        arrays: Streams whose frames hold many events, as far as the client takes them apart.
    """

    def __init__(self, options: GeneratedOptions, arrays: Iterable[str]) -> None:
        super().__init__(options)
        self._elements: dict[str, list[int]] = {stream: [] for stream in arrays}

    def pull(self, now_s: float, wanted: Collection[str], limit: int) -> list[Frame]:
        frames = super().pull(now_s, wanted, limit)
        if self._elements:
            for frame in frames:
                if frame.stream in self._elements:
                    self._elements[frame.stream].append(_elements_in(frame.raw))
        return frames

    def events_in(self, sent: Mapping[str, int]) -> int:
        """
        How many events were sent.

        Args:
            sent: How many frames of each stream were: the first ones, as nobody else is subscribed.
        """
        return sum(
            sum(islice(self._elements[stream], frames)) if stream in self._elements else frames for stream, frames in sent.items()
        )


def _elements_in(data: bytes) -> int:
    elements = json.loads(data)
    return len(elements) if isinstance(elements, list) else 1


def market_for(options: DemoOptions, pace: Pace) -> CountedMarket:
    """The market that has what was asked for."""
    return CountedMarket(_market_options(options, pace), options.arrays)


def _market_options(options: DemoOptions, pace: Pace) -> GeneratedOptions:
    usual = GeneratedOptions(symbols=options.market_symbols, venue=options.venue)
    rate = options.rate if _counts_aggregates(options) else options.rate * len(usual.fills) / sum(usual.fills)
    own_clock = rate / pace.speed if pace.speed > 1 else None
    return GeneratedOptions(
        symbols=usual.symbols, venue=usual.venue, rate=rate, event_rate=own_clock, began_at_ms=pace.began_at_ms
    )


def _counts_aggregates(options: DemoOptions) -> bool:
    """The market counts its rate in aggregated trades, of which some are several single ones."""
    kinds = {stream.spec for stream in options.streams}
    return "aggTrade" in kinds or "trade" not in kinds
