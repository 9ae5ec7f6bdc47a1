"""
What may be asked of the demo, checked as a whole: every fault is reported at once, under the name of its option.

What concerns the client (profile, market, symbols, streams) is handed on to it in its own words, and its own settings judge it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec import Struct

from k2.demo.pace import Pace, pace_for
from k2.errors import ConfigurationError
from k2.ingestion.exchanges.binance.names import Stream
from k2.ingestion.routing import streams_for
from k2.ingestion.settings import Settings, load_settings
from k2.ingestion.topic_plan import RAW, TopicPlan
from k2.reading.options import Check
from k2.simulator.catalogue import CATALOGUES
from k2.simulator.market import Venue

DEFAULT_SECONDS = 12.0
DEFAULT_RATE = 600.0
MAX_SECONDS = 86_400.0
MAX_RATE = 10_000.0  # all parts share the machine, and the screen is to show the client and not their struggle for it
HANDED_ON = ("profile", "market", "symbols", "streams", "stream", "raw_streams", "candles")
NOWHERE = ("--ws-url", "ws://127.0.0.1:1", "--rest-url", "off")  # stands for the simulated exchange until it has an address
BASE_ASSETS = ("BTC", "ETH", "BNB")  # what the simulated exchange trades where all symbols of a quote asset are wanted
CLOSED = "closed"


class DemoOptions(Struct, frozen=True, kw_only=True, dict=True):
    """
    A valid wish.

    Attributes:
        settings: The client's, as far as they are known before anything has an address.
        words: What of its command line was asked for.
        seconds: How long to watch, counted from the first record that came back.
        rate: Trades per second over all symbols; of no meaning where `live`.
        live: The real exchange instead of the simulated one.
        keep: Where logs and dead letters go; None for a temporary directory.
    """

    settings: Settings
    words: tuple[str, ...] = ()
    seconds: float = DEFAULT_SECONDS
    rate: float = DEFAULT_RATE
    live: bool = False
    keep: Path | None = None

    @property
    def market(self) -> str:
        return self.settings.feed.market

    @property
    def profile(self) -> str:
        """The client's profile, by its name or as a path."""
        file = self.settings.profile_file
        return self.settings.profile if file is None else str(file)

    @property
    def venue(self) -> Venue:
        return "usdm" if self.market == "usdm" else "spot"

    @property
    def topics(self) -> tuple[TopicPlan, ...]:
        return self.settings.topics

    @property
    def closed_only(self) -> bool:
        """Whether candles come once they are closed."""
        return self.settings.feed.candles == CLOSED

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """Those whose streams are wished for, as far as they are known before the start."""
        feed = self.settings.feed
        of_assets = (base + asset for asset in feed.quote_assets for base in BASE_ASSETS if base != asset)
        return tuple(dict.fromkeys((*feed.symbols, *(() if self.live else of_assets))))

    @cached_property
    def streams(self) -> tuple[Stream, ...]:
        """What the client is to receive."""
        return streams_for(self.settings, self.symbols)

    @property
    def market_symbols(self) -> tuple[str, ...]:
        """What the simulated exchange trades: those of single streams as well, and for streams of all symbols some at least."""
        named = (stream.symbol for stream in self.streams if not stream.is_all_market)
        return tuple(dict.fromkeys(named)) or self.symbols

    def is_decoded(self, stream: Stream) -> bool:
        """Whether the client takes the stream's frames apart, rather than only keeping them."""
        return stream.kind is not None and any(plan.takes(stream) and plan.layout != RAW for plan in self.topics)

    @cached_property
    def decoded(self) -> tuple[Stream, ...]:
        """Those of the streams whose frames the client takes apart."""
        return tuple(stream for stream in self.streams if self.is_decoded(stream))

    @property
    def arrays(self) -> tuple[str, ...]:
        """The streams whose frames hold many events for the client."""
        known = CATALOGUES[self.venue].all_market
        return tuple(stream.name for stream in self.decoded if stream.name in known and known[stream.name].in_array)

    def pace(self, now_ms: int) -> Pace:
        """How fast the simulated market's clock runs."""
        closed_only = self.closed_only and any(stream.spec.startswith("kline_") for stream in self.decoded)
        return pace_for(self.streams, self.venue, len(self.market_symbols), self.seconds, closed_only=closed_only, now_ms=now_ms)


def make_options(values: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> DemoOptions:
    """
    Check what the command line gave.

    Args:
        values: Texts by option name; None or absent where not given. What takes several words is a list, `live` a bool.
        environ: What the client will find in its environment.

    Raises:
        ConfigurationError: with every fault found.
    """
    check = Check()
    live = bool(values.get("live"))
    if live and values.get("rate") is not None:
        check.faults.append("--rate: the real exchange has a pace of its own; leave it out with --live")
    seconds = check.parsed("--seconds", values.get("seconds"), lambda text: _number(text, MAX_SECONDS), DEFAULT_SECONDS)
    rate = check.parsed("--rate", values.get("rate"), lambda text: _number(text, MAX_RATE), DEFAULT_RATE)
    words = tuple(_handed_on(values))
    try:
        settings = load_settings([*words, *(() if live else NOWHERE)], environ or {})
    except ConfigurationError as error:
        raise ConfigurationError(*check.faults, *error.faults) from None
    keep = check.parsed("--keep", values.get("keep"), Path, None)
    options = DemoOptions(settings=settings, words=words, seconds=seconds, rate=rate, live=live, keep=keep)
    check.faults += _confusing(options)
    check.raise_faults()
    return options


def _handed_on(values: Mapping[str, Any]) -> Iterator[str]:
    for name in HANDED_ON:
        given: str | Sequence[str] | None = values.get(name)
        if given is not None:
            yield f"--{name.replace('_', '-')}"
            yield from [given] if isinstance(given, str) else given


def _confusing(options: DemoOptions) -> Iterator[str]:
    """Streams that the demo cannot keep books of."""
    if not options.live:
        kinds = frozenset(CATALOGUES[options.venue].kinds)
        names = (stream.wish for stream in options.streams)
        silent = [name for name in dict.fromkeys(names) if name not in kinds]
        if silent:
            yield f"--streams: the simulated exchange has no {', '.join(silent)}; take others, or --live"
    of_symbols = {stream.spec for stream in options.decoded if not stream.is_all_market}
    for stream in options.decoded:
        if stream.is_all_market and stream.spec in of_symbols:
            yield f"--streams: {stream.name} brings what {stream.spec} brings, under the same message_id: take one of them"


def _number(text: str, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= most:
        raise ValueError(f"{text!r} must be a number above 0 and at most {most:,.0f}")
    return number
