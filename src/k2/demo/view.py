"""
The live view: one moment as a screen of a given size.

Nothing here knows where the numbers come from. The screen is made of blocks; those that matter least (further streams, topics,
single dead letters, latest records) share the rows that the others leave.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from k2.demo.letters import LetterRow
from k2.demo.plain import fast
from k2.demo.snapshot import STARTING, SeriesRow, Snapshot, TopicRow
from k2.demo.sorts import RecordRow
from k2.demo.text import curve, price, progress
from k2.live.blocks import BAD, DIM, GOOD, HEAD, LABEL, latency_line
from k2.live.sheet import Check, books
from k2.live.text import Glyphs, printable, shortened

FIXED_ROWS = 14  # title 1, what is seen 2, head of the table 1, books 4, head of the letters 1, foot 1, blanks 4
FIRST_ROWS, FIRST_LETTERS = 3, 2
LETTER_ROWS = 5
TOPIC_ROWS = 4  # where there are several
RECORD_HEAD_ROWS = 2  # the heading and a blank
LEAST_RECORD_ROWS = 3
WIDE = 100  # columns from which on there is room for quantities
TERMS = 5  # of the longer ledger
LONGEST_STREAM = 16
SIDE_STYLES = {"BUY": "green", "SELL": "red"}
TRADES = "trade"


class Share(Struct, frozen=True):
    """How many rows each block gets."""

    series: int
    letters: int
    records: int
    topics: int = 0


def share(height: int, series: int, topics: int = 1) -> Share:
    """
    Share the rows of a screen: three streams first, then topics where there are several, two dead letters, the other streams,
    dead letters, latest records.
    """
    free = max(1, height - FIXED_ROWS)
    topic_rows = min(topics, TOPIC_ROWS, max(0, free - FIRST_ROWS)) if topics > 1 else 0
    free -= topic_rows
    series_rows = min(series, max(free - FIRST_LETTERS, min(FIRST_ROWS, free)))
    letter_rows = min(LETTER_ROWS, free - series_rows)
    record_rows = free - series_rows - letter_rows - RECORD_HEAD_ROWS
    return Share(series_rows, letter_rows, record_rows if record_rows >= LEAST_RECORD_ROWS else 0, topic_rows)


def screen(seen: Snapshot, width: int, height: int, glyphs: Glyphs) -> RenderableType:
    """The whole screen."""
    fast = seen.speed > 1
    rows = share(height - fast, seen.streams, len(seen.topics))
    blocks: list[RenderableType] = [
        _title(seen, glyphs),
        _what_is_seen(seen),
        _series(seen, rows.series, glyphs, wide=width >= WIDE),
        Text(),
        _books(seen, rows.topics, width, glyphs),
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
    block = Table.grid()
    block.add_row(Text(f"{seen.what} of {seen.exchange} ({seen.feed}) through the real client,", DIM, no_wrap=True))
    block.add_row(Text(f"read back from {_where(seen)}.", DIM, no_wrap=True))
    if seen.speed > 1:
        block.add_row(Text(f"{fast(seen.speed)}.", "yellow", no_wrap=True))
    block.add_row("")
    return block


def _where(seen: Snapshot) -> str:
    if len(seen.topics) > 1:
        return f"{len(seen.topics)} topics and decoded"
    topic = seen.topics[0]
    return f"{topic.name}, decoded {topic.form}"


class _Curve(Struct):
    """A price curve that is as wide as its column."""

    row: SeriesRow
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


def _series(seen: Snapshot, rows: int, glyphs: Glyphs, *, wide: bool) -> RenderableType:
    series = seen.rows
    several = len({row.stream for row in series}) > 1
    table = Table(box=None, expand=True, padding=(0, 2, 0, 0), pad_edge=False, header_style=HEAD)
    table.add_column("Symbol", no_wrap=True)
    if several:
        table.add_column("Stream", no_wrap=True)
    table.add_column("Last price", justify="right", no_wrap=True)
    if wide:
        table.add_column("Quantity", justify="right", no_wrap=True, min_width=12)
    table.add_column("Side" if _only_trades(series) else "What", no_wrap=True, min_width=4)
    table.add_column("Price so far", ratio=1, no_wrap=True)
    for name in ("Per s", "Delivered", "Gaps"):
        table.add_column(name, justify="right", no_wrap=True, min_width=7 if name == "Per s" else None)
    shown = series if seen.streams <= rows else series[: max(1, rows - 1)]
    for row in shown:
        cells = _series_cells(row, glyphs, wide=wide)
        table.add_row(*(cells if not several else [cells[0], shortened(row.stream, LONGEST_STREAM, glyphs), *cells[1:]]))
    if len(shown) < min(seen.streams, rows):
        table.add_row(Text(f"and {seen.streams - len(shown):,} more", DIM))
    return table


def _only_trades(series: tuple[SeriesRow, ...]) -> bool:
    return all(row.latest is None or row.latest.sort == TRADES for row in series)


def _series_cells(row: SeriesRow, glyphs: Glyphs, *, wide: bool) -> list[RenderableType]:
    counts: list[RenderableType] = [
        f"{row.per_s:,.0f}",
        f"{row.records:,}",
        Text(f"{row.missing:,}", BAD if row.missing else ""),
    ]
    latest, symbol = row.latest, Text(shortened(row.symbol, LONGEST_STREAM, glyphs))
    if latest is None:
        return [symbol, Text("-", DIM), *([""] if wide else []), "", "", *counts]
    quantity: list[RenderableType] = [_amount(latest.quantity)] if wide else []
    word = Text(latest.word, SIDE_STYLES.get(latest.word, ""))
    return [symbol, _amount(latest.price, "bold"), *quantity, word, _Curve(row, glyphs), *counts]


def _amount(number: Decimal | None, style: str = "") -> Text:
    return Text("-", DIM) if number is None else Text(price(number), style)


def _books(seen: Snapshot, topic_rows: int, width: int, glyphs: Glyphs) -> RenderableType:
    """Both ledgers of the client, what the reader found, and how long it took."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(style=HEAD, no_wrap=True, min_width=LABEL - 1)
    for kind in ("number", "words", "sign") * TERMS:
        table.add_column(no_wrap=kind != "words")  # where room is scarce, the words give way and not the numbers
    for check in books(seen.balance):
        table.add_row(check.title, *_equation(check))
    topics = _topic_lines(seen.topics, topic_rows, width, glyphs)
    return Group(table, _topic_line(seen), *topics, latency_line(seen.latency_seconds))


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
        (f"{'Topics' if len(seen.topics) > 1 else 'Topic':9}", HEAD), (f"{seen.consumed:,}", "bold"), " read back, ",
        (f"{twins:,} twice" if twins else "each once", BAD if twins else ""), ", ",
        (f"{seen.missing:,} ids missing" if seen.missing else "no id missing", BAD if seen.missing else ""),
        f"; {seen.per_s:,.0f}/s",
        "" if seen.sent is None else f"; exchange sent {seen.sent:,}",
        no_wrap=True, overflow="ellipsis",
    )  # fmt: skip


def _topic_lines(topics: tuple[TopicRow, ...], rows: int, width: int, glyphs: Glyphs) -> list[Text]:
    """A line for each of several topics."""
    shown = topics if len(topics) <= rows else topics[: max(0, rows - 1)]
    lines = [_topic(topic, width, glyphs) for topic in shown]
    if len(shown) < min(len(topics), rows):
        rest = topics[len(shown) :]
        records, per_s = sum(topic.records for topic in rest), sum(topic.per_s for topic in rest)
        lines.append(Text(f"{'':9}{records:>9,}  {per_s:>6,.0f}/s  in {len(rest)} more topics", DIM, no_wrap=True))
    return lines


def _topic(topic: TopicRow, width: int, glyphs: Glyphs) -> Text:
    counts = f"{'':9}{topic.records:>9,}  {topic.per_s:>6,.0f}/s  "
    told = shortened(f"{topic.name}, {topic.form}", max(0, width - len(counts)), glyphs)
    return Text.assemble((counts, "bold" if topic.records else DIM), (told, DIM), no_wrap=True)


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
    shown = records[-rows:]
    told = [record.cells for record in shown]
    columns = max(map(len, told), default=0)
    alike = len({record.sort for record in shown}) <= 1
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True)
    for column in range(columns if alike else 1):
        table.add_column(justify="right" if alike and column else "left", no_wrap=True)
    for record, cells in zip(shown, told, strict=True):
        texts = (Text(cell, SIDE_STYLES.get(cell, "")) for cell in (cells if alike else ("  ".join(cells),)))
        table.add_row(Text(f"  {printable(record.message_id)}"), *texts)
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
