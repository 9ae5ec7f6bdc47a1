"""What a run is about, in words for its screen."""

from __future__ import annotations

from k2.demo.options import DemoOptions
from k2.demo.sorts import SORT_OF_KIND
from k2.ingestion.options import SourceKind
from k2.ingestion.topic_plan import RAW, TopicPlan
from k2.live.text import ASCII, shortened

TRADES = "Trades"
_LONGEST_STREAMS = 30  # characters


def what_it_shows(options: DemoOptions) -> str:
    sorts = {SORT_OF_KIND.get(stream.kind.name if stream.kind else "") for stream in options.streams}
    return TRADES if sorts == {"trade"} else "Events"


def feed_in_words(options: DemoOptions) -> str:
    """Market, streams and pace: `spot aggTrade, 600/s`."""
    unit = "/s" if what_it_shows(options) == TRADES else " trades/s"
    return _what(options) + ("" if options.live else f", {options.rate:,.0f}{unit}")


def _what(options: DemoOptions) -> str:
    """Market and streams, or the profile where they are its own."""
    if options.settings.sources["feed.streams"].kind is SourceKind.PROFILE:
        return f"{options.market}, profile {options.settings.profile}"
    names = (stream.wish for stream in options.streams)
    return f"{options.market} {shortened(' '.join(dict.fromkeys(names)), _LONGEST_STREAMS, ASCII)}"


def no_events(options: DemoOptions) -> str:
    """Why nothing may have come though the exchange is connected."""
    if options.closed_only and any(stream.spec.startswith("kline_") for stream in options.streams):
        return "candles come once they are closed; --candles updates shows them while they form"
    return "perhaps nothing happens there now"


def form_in_words(plan: TopicPlan, schema_id: int | None) -> str:
    """How the values of a topic are decoded; the schema's id is known with its first record."""
    if not plan.needs_schema:
        return f"as JSON in layout {plan.layout}"
    frames = " of captured frames" if plan.layout == RAW else ""
    return f"through the registry{frames}" if schema_id is None else f"by the registry's schema {schema_id}{frames}"
