"""
The balance sheet at the end: the client's two ledgers, and whether what it says is what the topics and the disk hold.

The client's numbers are its own, from its last log line. What the exchange sent, what was read back and which dead letters lie
on the disk are counted by the demo, so that each side of an equation comes from somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, to_builtins

from k2.demo.tally import Key, SeriesTally, Tally
from k2.ingestion.topic_plan import TopicPlan
from k2.live.sheet import Check, ClientSheet


class SeriesRange(Struct, frozen=True):
    """
    What came back of one stream of one symbol. `records` counts repetitions too.

    The ids are None where they have holes by design, and nothing can be said to be missing.
    """

    symbol: str
    stream: str
    first_id: int | None
    last_id: int | None
    records: int
    missing: int

    @property
    def is_numbered(self) -> bool:
        return self.first_id is not None


class TopicBooks(Struct, frozen=True):
    """What one topic holds. `form` is what its values are: avro, raw, or the name of a JSON layout."""

    name: str
    form: str
    consumed: int
    distinct: int
    missing: int
    series: tuple[SeriesRange, ...] = ()


class Sent(Struct, frozen=True):
    """
    What the simulated exchange sent: well-formed frames and the events that they hold, and frames broken on purpose.

    A frame of an all-market stream holds an event for each symbol. A broken one counts as one event.
    """

    frames: int
    events: int
    malformed: int

    @property
    def all_events(self) -> int:
        return self.events + self.malformed


class EventsHeld(Struct, frozen=True):
    """
    What the topics hold of events, counted from their records alone.

    Attributes:
        events: How many different ones, whether in one topic or in several.
        expected: How many records these make, one for each topic that takes their stream. Captured frames are left out.
        found: How many different records there are, captured frames left out.
    """

    events: int
    expected: int
    found: int


class Sheet(Struct, frozen=True, kw_only=True):
    """
    Everything counted in one run.

    Attributes:
        series: Each stream of each symbol once, from the first topic that holds it.
        held: None where it cannot be told what the topics hold of events.
        letters: Dead letters found on the disk, by reason.
        sent: None for the real exchange, which does not tell.
        speed: How many times as fast as the wall's the market's clock ran.
        seconds: How long records were watched.
    """

    client: ClientSheet
    topics: tuple[TopicBooks, ...]
    series: tuple[SeriesRange, ...]
    held: EventsHeld | None
    letters: dict[str, int]
    sent: Sent | None
    speed: int
    seconds: float

    @property
    def consumed(self) -> int:
        return sum(topic.consumed for topic in self.topics)

    @property
    def distinct(self) -> int:
        return sum(topic.distinct for topic in self.topics)

    @property
    def missing(self) -> int:
        return sum(topic.missing for topic in self.topics)

    @property
    def event_check(self) -> Check:
        client = self.client
        return Check("Events", (client.received, "received"), (
            (client.published, "published"),
            (client.dead_lettered, "dead-lettered"),
            (client.ignored, "ignored"),
        ))  # fmt: skip

    @property
    def record_check(self) -> Check:
        client = self.client
        several = "" if client.records == client.published else f" of {client.published:,} events, one for each of their topics"
        return Check("Records", (client.records, f"made{several}"), (
            (client.delivered, "delivered: Kafka acknowledged them"),
            (client.dead_lettered_records, "dead-lettered"),
            (client.spooled, "spooled"),
            (client.in_flight, "in flight"),
        ))  # fmt: skip

    @property
    def topic_check(self) -> Check:
        where = self.topics[0].name if len(self.topics) == 1 else f"{len(self.topics)} topics"
        return Check("Topic", (self.consumed, f"read back from {where}"), ((self.client.delivered, "delivered"),))

    @property
    def further_checks(self) -> tuple[Check, ...]:
        """Those that need not be shown where they hold."""
        client = self.client
        twins = Check("Twins", (self.consumed, "read back"), ((self.distinct, "different records"),))
        dead = client.dead_lettered + client.dead_lettered_records
        letters = Check("Letters", (sum(self.letters.values()), "dead letters on the disk"), ((dead, "dead-lettered"),))
        if self.held is None or client.records != client.delivered:
            return twins, letters
        streams = Check("Streams", (client.published, "published"), ((self.held.events, "different events in the topics"),))
        copies = Check("Copies", (self.held.found, "different records"), ((self.held.expected, "for each event in each topic"),))
        return twins, letters, streams, copies

    @property
    def checks(self) -> tuple[Check, ...]:
        """The equations that must all hold."""
        return self.event_check, self.record_check, self.topic_check, *self.further_checks

    @property
    def balanced(self) -> bool:
        """
        Both ledgers hold, each delivered record came back exactly once, each published event lies in every topic that takes it,
        and each dead letter lies on the disk.
        """
        return self.client.balanced and all(check.holds for check in self.checks)


def make_sheet(
    client: ClientSheet,
    tally: Tally,
    letters: Mapping[str, int],
    *,
    plans: Iterable[TopicPlan],
    rows: Iterable[Key],
    held: EventsHeld | None,
    sent: Sent | None,
    speed: int,
    seconds: float,
) -> Sheet:
    """Put together what was counted; `rows` is the order in which symbols and streams are listed."""
    order = {key: place for place, key in enumerate(dict.fromkeys(rows))}
    topics = tuple(_books(plan, tally, order) for plan in plans)
    each_once = _ordered(tally.series().values(), order)
    return Sheet(
        client=client, topics=topics, series=each_once, held=held, letters=dict(letters), sent=sent, speed=speed,
        seconds=seconds,
    )  # fmt: skip


def _books(plan: TopicPlan, tally: Tally, order: Mapping[Key, int]) -> TopicBooks:
    held = tally.topics[plan.name]
    return TopicBooks(plan.name, plan.layout, held.records, held.distinct, held.missing, _ordered(held.series.values(), order))


def _ordered(series: Iterable[SeriesTally], order: Mapping[Key, int]) -> tuple[SeriesRange, ...]:
    listed = sorted(series, key=lambda held: order.get((held.symbol, held.stream), len(order)))
    return tuple(_range(held) for held in listed)


def _range(held: SeriesTally) -> SeriesRange:
    ids = held.ids
    first, last = (ids.first, ids.last) if ids else (None, None)
    return SeriesRange(held.symbol, held.stream, first, last, held.records, held.missing)


def to_json(sheet: Sheet) -> dict[str, Any]:
    """The sheet as one object; `balanced` is the verdict on all of it."""
    return {
        **to_builtins(sheet.client),
        "consumed": sheet.consumed,
        "distinct": sheet.distinct,
        "missing": sheet.missing,
        "events_in_topics": sheet.held.events if sheet.held else None,
        "sent": sheet.sent.frames if sheet.sent else None,
        "sent_events": sheet.sent.events if sheet.sent else None,
        "malformed": sheet.sent.malformed if sheet.sent else 0,
        "dead_letters": sheet.letters,
        "topic": sheet.topics[0].name,
        "topics": {topic.name: _topic_json(topic) for topic in sheet.topics},
        "symbols": _symbols_json(sheet.series),
        "market_speed": sheet.speed,
        "seconds": round(sheet.seconds, 1),
        "balanced": sheet.balanced,
    }


def _topic_json(topic: TopicBooks) -> dict[str, Any]:
    streams: dict[str, dict[str, Any]] = {}
    for row in topic.series:
        streams.setdefault(row.stream, {})[row.symbol] = to_builtins(row)
    return {**to_builtins(topic), "series": streams}


def _symbols_json(series: Iterable[SeriesRange]) -> dict[str, Any]:
    """What came of each symbol over all its streams; the ids are those of its only numbered one."""
    by_symbol: dict[str, list[SeriesRange]] = {}
    for row in series:
        by_symbol.setdefault(row.symbol, []).append(row)
    return {symbol: _symbol_json(symbol, rows) for symbol, rows in by_symbol.items()}


def _symbol_json(symbol: str, rows: list[SeriesRange]) -> dict[str, Any]:
    numbered = [row for row in rows if row.is_numbered]
    alone = numbered[0] if len(numbered) == 1 else None
    return {
        "symbol": symbol,
        "first_id": alone.first_id if alone else None,
        "last_id": alone.last_id if alone else None,
        "records": sum(row.records for row in rows),
        "missing": sum(row.missing for row in rows),
    }
