"""
The view of a running client: one look as a screen of a given size, as one plain line, and as one JSON object.

Streams get the rows that the rest leaves. Where even the rest has too few, what matters least goes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k2.ingestion.core.times import rfc3339_of_us
from k2.live.blocks import BAD, DIM, GOOD, HEAD, LABEL, labelled, latency_line
from k2.live.sheet import Check, books
from k2.live.text import Glyphs, duration, latency, milliseconds, printable, shortened
from k2.top.snapshot import Health, Seen, StreamRow

REASONS = 3  # that are shown at most
LEAST_STREAM_ROWS = 2  # the heading and one stream
WIDE = 70  # columns from which on there is room for what was published
SECONDS = len("2026-01-01T00:00:00")
DECIMALS_BELOW = 10  # events a second
STATUS_STYLES = {"healthy": GOOD, "degraded": "bold yellow"}
READING = {"flowing": "reading flows", "paused": "reading is paused", "held": "connection closed on purpose"}


class Block(Struct, frozen=True):
    """A part of the screen. Those of the highest rank go first where there is too little room; 0 stays."""

    rank: int
    rows: int
    picture: RenderableType


def screen(seen: Seen, width: int, height: int, glyphs: Glyphs) -> RenderableType:
    """The whole screen."""
    blocks = _fitting(list(_blocks(seen, seen.health, width, glyphs)), height)
    room = height - sum(block.rows for block in blocks)
    shown = [_streams(seen, room, glyphs, wide=width >= WIDE) if block.picture is _STREAMS else block.picture for block in blocks]
    return Group(*shown)


_STREAMS = Text()  # stands where the streams come, until it is known how many rows there are for them
_BLANK = Block(8, 1, Text())


def _blocks(seen: Seen, health: Health | None, width: int, glyphs: Glyphs) -> Iterator[Block]:
    yield Block(0, 1, _title(seen, glyphs))
    if seen.fault:
        yield Block(0, 1, _away(seen, width, glyphs))
    if health is None:
        return
    yield Block(1, 1, _facts(seen, health, width, glyphs))
    reasons = list(_reasons(health.reasons, width, glyphs))
    yield Block(2, len(reasons), Group(*reasons))
    yield _BLANK
    yield Block(3, LEAST_STREAM_ROWS if seen.streams else 1, _STREAMS)
    yield _BLANK
    for check in books(health.balance):
        yield Block(1, 1, labelled(check.title, *_equation(check, width - LABEL, glyphs)))
    yield Block(5, 1, latency_line(health.latency_seconds))
    yield _BLANK
    yield Block(4, 1, labelled("Letters", *_letters(health, width, glyphs)))
    yield Block(6, 1, labelled("Links", shortened(_links(health), width - LABEL, glyphs)))
    yield Block(7, 1, labelled("Versions", (shortened(_versions(health), width - LABEL, glyphs), DIM)))
    if seen.interval_s:
        yield Block(9, 1, Text(f"every {seen.interval_s:g} s; Ctrl-C ends it", DIM, no_wrap=True, overflow="ellipsis"))


def _fitting(blocks: list[Block], height: int) -> list[Block]:
    """As many of the blocks as there is room for."""
    for rank in sorted({block.rank for block in blocks} - {0}, reverse=True):
        if sum(block.rows for block in blocks) <= height:
            break
        blocks = [block for block in blocks if block.rank != rank]
    # The streams' own block counts what it needs at least: the rest of the room is its as well.
    return [Block(block.rank, 0, _STREAMS) if block.picture is _STREAMS else block for block in blocks]


def _title(seen: Seen, glyphs: Glyphs) -> RenderableType:
    line = Table.grid(expand=True, padding=(0, 1, 0, 0))
    line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    line.add_column(justify="right", no_wrap=True)
    line.add_row(Text.assemble(("k2 top", HEAD), f"   {printable(seen.url)}"), _state(seen, glyphs))
    return line


def _state(seen: Seen, glyphs: Glyphs) -> Text:
    if seen.fault:
        return Text(f"{glyphs.dot} no answer for {duration(seen.away_for_s)}", BAD)
    status = printable(seen.health.status) if seen.health else "asking"
    return Text(f"{glyphs.dot} {status}", STATUS_STYLES.get(status, BAD))


def _away(seen: Seen, width: int, glyphs: Glyphs) -> Text:
    of_then = "; what follows is from before" if seen.health else ""
    return Text(shortened(f"No answer: {seen.fault}. Trying again{of_then}.", width, glyphs), BAD)


def _facts(seen: Seen, health: Health, width: int, glyphs: Glyphs) -> Text:
    reading = READING.get(health.reading, health.reading)
    parts = (
        health.connection_state,
        f"up {duration(health.uptime_seconds)}",
        f"{rate(seen.per_s)} events/s",
        f"lag {milliseconds(health.exchange_lag_seconds)}",
        reading,
    )
    return Text(shortened(",  ".join(filter(None, parts)), width, glyphs), "bold" if health.reading == "flowing" else "yellow")


def _reasons(reasons: tuple[str, ...], width: int, glyphs: Glyphs) -> Iterator[Text]:
    shown = reasons if len(reasons) <= REASONS else reasons[: REASONS - 1]
    for reason in shown:
        yield Text(shortened(f"{glyphs.arrow} {reason}", width, glyphs), "yellow")
    if len(shown) < len(reasons):
        yield Text(f"{glyphs.arrow} and {len(reasons) - len(shown)} more", "yellow")


def _streams(seen: Seen, room: int, glyphs: Glyphs, *, wide: bool) -> RenderableType:
    """A table of as many streams as there is room for, its heading included."""
    if not seen.streams:
        return Text("No streams yet", DIM)
    table = Table(box=None, expand=True, padding=(0, 2, 0, 0), pad_edge=False, header_style=HEAD)
    table.add_column("Stream", ratio=1, no_wrap=True, overflow="ellipsis")
    for name in ("Per s", *(["Published"] if wide else []), "Last event", "Missing ids"):
        table.add_column(name, justify="right", no_wrap=True)
    rows, total = room - 1, max(len(seen.streams), seen.health.streams_total if seen.health else 0)
    shown = seen.streams[:rows] if total <= rows else seen.streams[: max(1, rows - 1)]
    for row in shown:
        table.add_row(*_cells(row, glyphs, wide=wide))
    if len(shown) == total or rows == len(shown):
        return table
    return Group(table, Text(f"and {total - len(shown):,} more", DIM))


def _cells(row: StreamRow, glyphs: Glyphs, *, wide: bool) -> list[RenderableType]:
    name = shortened(row.stream, len(row.stream), glyphs)
    published = [f"{row.published:,}"] if wide else []
    age = Text("never", DIM) if row.age_s is None else Text(f"{duration(row.age_s)} ago")
    gaps = f" in {row.gaps_open:,} gap{'' if row.gaps_open == 1 else 's'}" if wide else ""
    missing = Text(f"{row.ids_missing:,}{gaps}", BAD) if row.ids_missing else Text("none", DIM)
    return [Text(name), rate(row.per_s), *published, age, missing]


def _equation(check: Check, width: int, glyphs: Glyphs) -> list[tuple[str, str]]:
    """A ledger behind its tick, or what is too much. Where it is too long for the screen, terms of 0 go: they change no sum."""
    verdict = (f"{glyphs.tick} ", GOOD) if check.holds else (f"{glyphs.cross} off by {check.difference:+,}: ", BAD)
    whole = [verdict, *_terms(check.left, check.parts)]
    if sum(len(text) for text, _ in whole) <= width:
        return whole
    return [verdict, *_terms(check.left, [part for part in check.parts if part[0]] or check.parts[:1])]


def _terms(left: tuple[int, str], parts: Sequence[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    for index, (number, words) in enumerate((left, *parts)):
        if index:
            yield " = " if index == 1 else " + ", DIM
        yield f"{number:,}", "bold" if number else DIM
        yield f" {words}", ""


def _letters(health: Health, width: int, glyphs: Glyphs) -> Iterator[str | tuple[str, str]]:
    letters = health.dead_letters
    told = f"{letters.total:,}: {counted(letters.by_reason)}" if letters.total else "none so far"
    waiting = f"{letters.pending:,} not on the disk yet, of " if letters.pending else ""
    trouble = "" if letters.writable else "CANNOT BE WRITTEN, "
    yield trouble, BAD
    yield shortened(waiting + told, width - LABEL - len(trouble), glyphs), "" if letters.total else DIM


def _links(health: Health) -> str:
    links = health.connections
    told = f"{links.established:,} made, {links.failed_attempts:,} attempts failed"
    return f"{told}; ended: {counted(links.disconnections)}" if links.disconnections else told


def _versions(health: Health) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in health.versions.items())
    schema = health.schema
    return f"{versions}; schema {schema.id if schema.id is not None else 'not known yet'} ({schema.source or '-'})"


def counted(counts: Mapping[str, int]) -> str:
    """Names and their counts, the largest first."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def rate(per_s: float | None) -> str:
    """A rate; a dash where one look alone tells none."""
    if per_s is None:
        return "-"
    return f"{per_s:.1f}" if 0 < per_s < DECIMALS_BELOW else f"{per_s:,.0f}"


def plain_line(seen: Seen) -> str:
    """One look at a client that answered, on one line."""
    health = seen.health
    assert health is not None  # noqa: S101 - for the type checker
    books = health.balance
    parts = [
        f"{_at(seen)[:SECONDS]}Z {health.status} {health.connection_state}",
        f"{rate(seen.per_s)} events/s",
        f"{books.received:,} received = {books.published:,} published + {books.dead_lettered:,} dead + {books.ignored:,} ignored",
        f"{books.delivered:,} delivered, {books.in_flight:,} in flight",
        " ".join(f"{name} {value}" for name, value in latency(health.latency_seconds)),
        f"{health.ids_missing:,} ids missing",
        f"reading {health.reading}",
        *health.reasons,
    ]
    return printable(" | ".join(parts))


def _at(seen: Seen) -> str:
    return rfc3339_of_us(seen.at_ms * 1_000)


def json_object(seen: Seen) -> dict[str, Any]:
    """One look for programs. Where nobody answered `health` is null and `error` says why; rates are null after one look."""
    answered = not seen.fault
    return {
        "at": _at(seen),
        "url": seen.url,
        "answered": answered,
        "error": seen.fault or None,
        "http_status": seen.http_status if answered else None,
        "events_per_s": _rounded(seen.per_s) if answered else None,
        "streams_per_s": dict(_rates(seen.streams)) if answered else {},
        "health": seen.body if answered else None,
    }


def _rates(rows: Iterable[StreamRow]) -> Iterator[tuple[str, float | None]]:
    return ((row.stream, _rounded(row.per_s)) for row in rows)


def _rounded(per_s: float | None) -> float | None:
    return None if per_s is None else round(per_s, 1)
