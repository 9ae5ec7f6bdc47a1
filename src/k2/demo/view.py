"""
The live view: one moment as a screen of a given size, and as one plain line.

Nothing here knows where the numbers come from. The screen is made of blocks; those that matter least (further symbols, single
dead letters, latest records) share the rows that the others leave.
"""

from __future__ import annotations

from msgspec import Struct
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from k2.demo.letters import LetterRow
from k2.demo.snapshot import STARTING, Snapshot, SymbolRow
from k2.demo.tally import RecordRow
from k2.demo.text import curve, price, progress
from k2.live.blocks import BAD, DIM, GOOD, HEAD, LABEL, latency_line
from k2.live.sheet import Check, books
from k2.live.text import Glyphs, latency, shortened

FIXED_ROWS = 14  # title 1, what is seen 2, head of the table 1, books 4, head of the letters 1, foot 1, blanks 4
FIRST_SYMBOLS, FIRST_LETTERS = 3, 2
LETTER_ROWS = 5
RECORD_HEAD_ROWS = 2  # the heading and a blank
LEAST_RECORD_ROWS = 3
WIDE = 100  # columns from which on there is room for quantities
TERMS = 5  # of the longer ledger
SYMBOLS_IN_A_LINE = 3
SIDE_STYLES = {"BUY": "green", "SELL": "red"}


class Share(Struct, frozen=True):
    """How many rows each block gets."""

    symbols: int
    letters: int
    records: int


def share(height: int, symbols: int) -> Share:
    """Share the rows of a screen: three symbols first, then two dead letters, the other symbols, dead letters, latest records."""
    free = max(1, height - FIXED_ROWS)
    symbol_rows = min(symbols, max(free - FIRST_LETTERS, min(FIRST_SYMBOLS, free)))
    letter_rows = min(LETTER_ROWS, free - symbol_rows)
    record_rows = free - symbol_rows - letter_rows - RECORD_HEAD_ROWS
    return Share(symbol_rows, letter_rows, record_rows if record_rows >= LEAST_RECORD_ROWS else 0)


def screen(seen: Snapshot, width: int, height: int, glyphs: Glyphs) -> RenderableType:
    """The whole screen."""
    rows = share(height, len(seen.symbols))
    blocks: list[RenderableType] = [
        _title(seen, glyphs),
        _what_is_seen(seen),
        _symbols(seen.symbols, rows.symbols, glyphs, wide=width >= WIDE),
        Text(),
        _books(seen),
        Text(),
        _letters(seen, rows.letters, width, glyphs),
        Text(),
    ]
    if rows.records:
        blocks += [_records(seen.records, rows.records), Text()]
    return Group(*blocks, _foot(seen, glyphs))


def _title(seen: Snapshot, glyphs: Glyphs) -> RenderableType:
    way = f" {glyphs.arrow} ".join(("exchange", "k2 client", "Kafka", "this screen"))
    line = Table.grid(expand=True)
    line.add_column(ratio=1, no_wrap=True)
    line.add_column(justify="right", no_wrap=True)
    line.add_row(Text.assemble(("k2 demo", HEAD), f"   {way}"), _state(seen, glyphs))
    return line


def _state(seen: Snapshot, glyphs: Glyphs) -> Text:
    if seen.health is None or (seen.phase == STARTING and not seen.health.connected):
        return Text(f"{glyphs.dot} {seen.phase}", "yellow")
    return Text(f"{glyphs.dot} {seen.health.connection_state}", GOOD if seen.health.connected else BAD)


def _what_is_seen(seen: Snapshot) -> RenderableType:
    schema = "through the registry" if seen.schema_id is None else f"by the registry's schema {seen.schema_id}"
    block = Table.grid()
    block.add_row(Text(f"Trades of {seen.exchange} ({seen.feed}) through the real client,", DIM, no_wrap=True))
    block.add_row(Text(f"read back from {seen.topic}, decoded {schema}.", DIM, no_wrap=True))
    block.add_row("")
    return block


class _Curve(Struct):
    """A price curve that is as wide as its column."""

    row: SymbolRow
    glyphs: Glyphs

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(curve(self.row.curve, options.max_width, self.glyphs), "cyan", no_wrap=True)


class _Bar(Struct):
    """How much of the time has passed, as wide as its column."""

    done: float
    glyphs: Glyphs

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        done, left = progress(self.done, options.max_width, self.glyphs)
        yield Text.assemble((done, "cyan"), (left, DIM), no_wrap=True)


def _symbols(symbols: tuple[SymbolRow, ...], rows: int, glyphs: Glyphs, *, wide: bool) -> RenderableType:
    table = Table(box=None, expand=True, padding=(0, 2, 0, 0), pad_edge=False, header_style=HEAD)
    table.add_column("Symbol", no_wrap=True)
    table.add_column("Last price", justify="right", no_wrap=True)
    if wide:
        table.add_column("Quantity", justify="right", no_wrap=True, min_width=12)
    table.add_column("Side", no_wrap=True, min_width=4)
    table.add_column("Price so far", ratio=1, no_wrap=True)
    for name in ("Per s", "Delivered", "Gaps"):
        table.add_column(name, justify="right", no_wrap=True, min_width=7 if name == "Per s" else None)
    shown = symbols if len(symbols) <= rows else symbols[: max(1, rows - 1)]
    for row in shown:
        table.add_row(*_symbol_cells(row, glyphs, wide=wide))
    if len(shown) < min(len(symbols), rows):
        table.add_row(Text(f"and {len(symbols) - len(shown)} more", DIM))
    return table


def _symbol_cells(row: SymbolRow, glyphs: Glyphs, *, wide: bool) -> list[RenderableType]:
    counts: list[RenderableType] = [
        f"{row.per_s:,.0f}",
        f"{row.records:,}",
        Text(f"{row.missing:,}", BAD if row.missing else ""),
    ]
    latest = row.latest
    if latest is None:
        return [row.symbol, Text("-", DIM), *([""] if wide else []), "", "", *counts]
    quantity = [price(latest.quantity)] if wide else []
    side = Text(latest.side, SIDE_STYLES.get(latest.side, ""))
    return [row.symbol, Text(price(latest.price), "bold"), *quantity, side, _Curve(row, glyphs), *counts]


def _books(seen: Snapshot) -> RenderableType:
    """Both ledgers of the client, what the reader found, and how long it took."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(style=HEAD, no_wrap=True, min_width=LABEL - 1)
    for kind in ("number", "words", "sign") * TERMS:
        table.add_column(no_wrap=kind != "words")  # where room is scarce, the words give way and not the numbers
    for check in books(seen.balance):
        table.add_row(check.title, *_equation(check))
    return Group(table, _topic_line(seen), latency_line(seen.latency_seconds))


def _equation(check: Check) -> list[RenderableType]:
    number, meaning = check.left
    cells: list[RenderableType] = [_number(number), Text(meaning, no_wrap=True)]
    for index, (part, words) in enumerate(check.parts):
        cells += [Text("+" if index else "=", DIM), _number(part), Text(words, no_wrap=True)]
    return cells


def _number(number: int) -> Text:
    return Text(f"{number:,}", "bold" if number else DIM, justify="right")


def _topic_line(seen: Snapshot) -> Text:
    twins = seen.consumed - seen.distinct
    return Text.assemble(
        (f"{'Topic':9}", HEAD), (f"{seen.consumed:,}", "bold"), " read back, ",
        (f"{twins:,} twice" if twins else "each once", BAD if twins else ""), ", ",
        (f"{seen.missing:,} ids missing" if seen.missing else "no id missing", BAD if seen.missing else ""),
        f"; {seen.per_s:,.0f}/s",
        "" if seen.sent is None else f"; exchange sent {seen.sent:,}",
        no_wrap=True, overflow="ellipsis",
    )  # fmt: skip


def _letters(seen: Snapshot, rows: int, width: int, glyphs: Glyphs) -> RenderableType:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in seen.letters_by_reason.items())
    told = f"{sum(seen.letters_by_reason.values()):,} on the disk: {reasons}" if reasons else "none so far"
    head = Text.assemble(("Dead letters  ", HEAD), (shortened(told, width - 14, glyphs), "" if reasons else DIM), no_wrap=True)
    shown = [_letter(letter, width, glyphs) for letter in seen.letters[-rows:]] if rows else []
    return Group(head, *shown, *(Text() for _ in range(rows - len(shown))))


def _letter(letter: LetterRow, width: int, glyphs: Glyphs) -> Text:
    stream = f"{shortened(letter.stream or '-', 20, glyphs):20}  " if width >= WIDE else ""
    start = f"  {letter.reason:22}  {stream}"
    return Text.assemble((start, "yellow"), (shortened(letter.error, width - len(start), glyphs), DIM), no_wrap=True)


def _records(records: tuple[RecordRow, ...], rows: int) -> RenderableType:
    table = Table.grid(padding=(0, 3, 0, 0))
    for justify in ("left", "left", "right", "right"):
        table.add_column(justify="right" if justify == "right" else "left", no_wrap=True)
    shown = records[-rows:]
    for record in shown:
        side = Text(record.side, SIDE_STYLES.get(record.side, ""))
        amount = f"{price(record.quantity)} at"
        table.add_row(f"  {record.message_id}", side, amount, f"{price(record.price)} {record.currency}")
    blanks = (Text() for _ in range(rows - len(shown)))
    return Group(Text("Latest records, as their message_id and fields were decoded", HEAD), table, *blanks)


def _foot(seen: Snapshot, glyphs: Glyphs) -> RenderableType:
    line = Table.grid(expand=True, padding=(0, 2, 0, 0))
    line.add_column(ratio=1, no_wrap=True)
    line.add_column(no_wrap=True)
    line.add_column(no_wrap=True)
    passed = f"{min(seen.elapsed_s, seen.seconds):.1f} of {seen.seconds:g} s"
    line.add_row(_Bar(seen.elapsed_s / seen.seconds, glyphs), f"{seen.phase}, {passed}", Text("Ctrl-C ends it", DIM))
    return line


def plain_line(seen: Snapshot) -> str:
    """One moment on one line, in plain ASCII."""
    client = seen.balance
    events = f"{client.received:,} received = {client.published:,} published + {client.dead_lettered:,} dead"
    topic = f"{seen.consumed:,} read back, {seen.missing:,} ids missing, {seen.per_s:,.0f}/s"
    times = " ".join(f"{name} {value}" for name, value in latency(seen.latency_seconds))
    known = [row.latest for row in seen.symbols if row.latest]
    prices = "  ".join(f"{last.symbol} {price(last.price)} {last.side}" for last in known[:SYMBOLS_IN_A_LINE])
    ignored = f"{client.ignored:,} ignored"
    return f"{seen.elapsed_s:5.1f} s  {events} + {ignored} | {topic} | {times} | {prices or seen.phase}"


def plain_heading(seen: Snapshot) -> str:
    """What the lines are about."""
    return f"Trades of {seen.exchange} ({seen.feed}) -> the real k2 client -> Kafka topic {seen.topic} -> read back and decoded"
