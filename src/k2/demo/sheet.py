"""
The balance sheet at the end: the client's two ledgers, and whether what it says is what the topic and the disk hold.

The client's numbers are its own, from its last log line. What the exchange sent, what was read back and which dead letters lie
on the disk are counted by the demo, so that each side of an equation comes from somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from textwrap import wrap
from typing import Any

from msgspec import Struct, to_builtins

from k2.demo.tally import SymbolTally, TopicTally
from k2.live.sheet import Check, ClientSheet

_GOOD, _BAD, _HEADING, _PLAIN = "bold green", "bold red", "bold", ""
_NUMBER_WIDTH = 12
_WIDTH, _INDENT = 79, 25


class SymbolRange(Struct, frozen=True):
    """Which ids of a symbol came back. `records` counts repetitions too."""

    symbol: str
    first_id: int
    last_id: int
    records: int
    missing: int


class Line(Struct, frozen=True):
    """A line of text and the style for those who show styles."""

    text: str
    style: str = _PLAIN


class Sheet(Struct, frozen=True, kw_only=True):
    """
    Everything counted in one run.

    Attributes:
        letters: Dead letters found on the disk, by reason.
        sent: Frames of trades that the simulated exchange sent; None for the real one, which does not tell.
        malformed: Frames that it sent broken on purpose.
        seconds: How long records were watched.
    """

    client: ClientSheet
    topic: str
    consumed: int
    distinct: int
    symbols: tuple[SymbolRange, ...]
    letters: dict[str, int]
    sent: int | None
    malformed: int
    seconds: float

    @property
    def missing(self) -> int:
        return sum(symbol.missing for symbol in self.symbols)

    @property
    def checks(self) -> tuple[Check, ...]:
        """The equations that must all hold."""
        client = self.client
        events = Check("Events", (client.received, "received"), (
            (client.published, "published"),
            (client.dead_lettered, "dead-lettered"),
            (client.ignored, "ignored"),
        ))  # fmt: skip
        records = Check("Records", (client.records, "made"), (
            (client.delivered, "delivered: Kafka acknowledged them"),
            (client.dead_lettered_records, "dead-lettered"),
            (client.spooled, "spooled"),
            (client.in_flight, "in flight"),
        ))  # fmt: skip
        topic = Check("Topic", (self.consumed, f"read back from {self.topic}"), ((client.delivered, "delivered"),))
        twins = Check("Twins", (self.consumed, "read back"), ((self.distinct, "different message ids"),))
        dead = client.dead_lettered + client.dead_lettered_records
        letters = Check("Letters", (sum(self.letters.values()), "dead letters on the disk"), ((dead, "dead-lettered"),))
        return events, records, topic, twins, letters

    @property
    def balanced(self) -> bool:
        """Both ledgers hold, each delivered record came back exactly once, and each dead letter lies on the disk."""
        return self.client.balanced and all(check.holds for check in self.checks)


def make_sheet(
    client: ClientSheet,
    tally: TopicTally,
    letters: Mapping[str, int],
    *,
    topic: str,
    symbols: Iterable[str],
    sent: int | None,
    malformed: int,
    seconds: float,
) -> Sheet:
    """Put together what was counted; `symbols` is the order in which they are listed."""
    order = [symbol for symbol in dict.fromkeys([*symbols, *tally.symbols]) if symbol in tally.symbols]
    ranges = tuple(_range(symbol, tally.symbols[symbol]) for symbol in order)
    return Sheet(
        client=client, topic=topic, consumed=tally.records, distinct=tally.distinct, symbols=ranges,
        letters=dict(letters), sent=sent, malformed=malformed, seconds=seconds,
    )  # fmt: skip


def _range(symbol: str, held: SymbolTally) -> SymbolRange:
    return SymbolRange(symbol, held.ids.first, held.ids.last, held.records, held.ids.missing)


def to_json(sheet: Sheet) -> dict[str, Any]:
    """The sheet as one flat object; `balanced` is the verdict on all of it."""
    return {
        **to_builtins(sheet.client),
        "consumed": sheet.consumed,
        "distinct": sheet.distinct,
        "missing": sheet.missing,
        "sent": sheet.sent,
        "malformed": sheet.malformed,
        "dead_letters": sheet.letters,
        "topic": sheet.topic,
        "symbols": {row.symbol: to_builtins(row) for row in sheet.symbols},
        "seconds": round(sheet.seconds, 1),
        "balanced": sheet.balanced,
    }


def lines(sheet: Sheet) -> Iterator[Line]:
    """The sheet in words and numbers, for people."""
    events, records, topic, twins, letters = sheet.checks
    yield Line(f"Balance sheet of {sheet.seconds:.1f} seconds", _HEADING)
    yield Line("")
    if sheet.sent is not None:
        yield from _exchange_lines(sheet.sent, sheet.malformed, sheet.client.received)
    yield from _check_lines(events, {}, sheet.letters, sheet.client.ignored_by_reason)
    yield from _check_lines(records)
    yield from _check_lines(topic)
    yield from (line for check in (twins, letters) if not check.holds for line in _check_lines(check))
    yield from _symbol_lines(sheet)
    yield Line("")
    yield _verdict(sheet)


def _exchange_lines(sent: int, malformed: int, received: int) -> Iterator[Line]:
    # Not an equation of the client's: what a broken connection swallowed is a gap, and shows in the ids below.
    on_purpose = f", {malformed} of them malformed on purpose" if malformed else ""
    on_the_way = sent + malformed - received
    lost = f"; {on_the_way:+,} against what was received" if on_the_way else ""
    yield Line(f"{'Exchange':9}{_amount(sent + malformed)}  frames sent{on_purpose}{lost}")


def _check_lines(check: Check, *reasons: Mapping[str, int]) -> Iterator[Line]:
    """`reasons` tell for each part, as far as given, what it is made of."""
    number, words = check.left
    yield Line(f"{check.title:9}{_amount(number)}  {words}")
    for index, (part, meaning) in enumerate(check.parts):
        sign = "+" if index else "="
        end = "" if index < len(check.parts) - 1 else _holds(check)
        yield Line(f"{sign:>9}{_amount(part)}  {meaning}{end}", _PLAIN if check.holds else _BAD)
        yield from _reason_lines(reasons[index] if index < len(reasons) else {})


def _reason_lines(counts: Mapping[str, int]) -> Iterator[Line]:
    told = ", ".join(f"{reason} {count:,}" for reason, count in counts.items())
    for text in wrap(told, _WIDTH - _INDENT):
        yield Line(f"{'':{_INDENT}}{text}", "dim")


def _holds(check: Check) -> str:
    return "" if check.holds else f"   <- does not balance: {check.difference:+,}"


def _symbol_lines(sheet: Sheet) -> Iterator[Line]:
    if not sheet.symbols:
        return
    width = max(8, *(len(row.symbol) for row in sheet.symbols))
    yield Line("")
    yield Line(f"{'Symbol':{width}}  {'first id':>14}  {'last id':>14}  {'records':>10}  ids in between", _HEADING)
    for row in sheet.symbols:
        state = f"{row.missing:,} missing" if row.missing else "contiguous"
        ids = f"{row.first_id:>14}  {row.last_id:>14}  {row.records:>10,}"
        yield Line(f"{row.symbol:{width}}  {ids}  {state}", _BAD if row.missing else _PLAIN)


def _verdict(sheet: Sheet) -> Line:
    if sheet.balanced and not sheet.client.received:
        return Line("Balanced, for nothing was received.", _PLAIN)
    if sheet.balanced:
        told = "Balanced: every event accounted for, every record read back exactly once."
        return Line(told, _GOOD)
    broken = [check.title.lower() for check in sheet.checks if not check.holds] or ["the client's own verdict"]
    return Line(f"NOT balanced: {', '.join(broken)}.", _BAD)


def _amount(number: int) -> str:
    return f"{number:>{_NUMBER_WIDTH},}"
