"""
What the books should hold, as far as it follows from what was asked for: which rows, and in how many topics an event lies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from k2.demo.options import DemoOptions
from k2.demo.recognition import group_of
from k2.demo.sheet import EventsHeld
from k2.demo.tally import Key, Tally
from k2.ingestion.topic_plan import AVRO, RAW

Group = tuple[str, str]  # symbol and what its stream is called in every form; for captured frames without symbol


def expected_rows(options: DemoOptions) -> Iterator[Key]:
    """Symbols and streams as the first topic that takes them will tell them, symbol by symbol."""
    for symbol in options.symbols:
        for stream in options.streams:
            if stream.symbol != symbol:
                continue
            plan = next(plan for plan in options.topics if plan.takes(stream))
            if plan.layout == RAW:
                yield symbol, stream.name
            else:
                yield symbol, stream.spec if plan.layout == AVRO else group_of(options.market, stream.spec)


def events_in_topics(options: DemoOptions, tally: Tally) -> EventsHeld | None:
    """
    How many different events lie in the topics, each counted once in however many topics it lies, and whether it lies in all.

    None where that cannot be told: streams that look alike in their records go to different topics.
    """
    takers: dict[str, frozenset[str]] = {}
    captured = set()
    for stream in options.streams:
        if not options.is_decoded(stream):
            captured.add(stream.name)
            continue
        group = group_of(options.market, stream.spec)
        topics = frozenset(plan.name for plan in options.topics if plan.layout != RAW and plan.takes(stream))
        if takers.setdefault(group, topics) != topics:
            return None
    held = {plan.name: _held(options, tally, plan.name) for plan in options.topics if plan.layout != RAW}
    most = {group: max(counts[group] for counts in held.values()) for group in set().union(*held.values())}
    return EventsHeld(
        events=sum(most.values()) + sum(_frames(options, tally, captured)),
        expected=sum(count * len(takers.get(stream, ())) for (_, stream), count in most.items()),
        found=sum(counts.total() for counts in held.values()),
    )


def _held(options: DemoOptions, tally: Tally, topic: str) -> Counter[Group]:
    """How many different records a topic holds of each stream of each symbol."""
    held: Counter[Group] = Counter()
    for (symbol, stream), series in tally.topics[topic].series.items():
        held[symbol, group_of(options.market, stream)] += series.distinct
    return held


def _frames(options: DemoOptions, tally: Tally, captured: set[str]) -> Iterator[int]:
    """Frames of streams that are captured only: these are events of their own."""
    for plan in options.topics:
        if plan.layout == RAW:
            yield from (series.distinct for (_, stream), series in tally.topics[plan.name].series.items() if stream in captured)
