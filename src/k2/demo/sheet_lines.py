"""The balance sheet in words and numbers, for people: no line wider than eighty columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap

from msgspec import Struct

from k2.demo.sheet import Sent, SeriesRange, Sheet, TopicBooks
from k2.live.sheet import Check
from k2.live.text import ASCII, shortened

_GOOD, _BAD, _HEADING, _PLAIN = "bold green", "bold red", "bold", ""
_NUMBER_WIDTH = 12
_WIDTH, _INDENT = 79, 25
_MOST_ROWS = 24  # of streams; those of all symbols have thousands
_STATE_WIDTH = 14
_LONGEST_TOPIC = 40


class Line(Struct, frozen=True):
    """A line of text and the style for those who show styles."""

    text: str
    style: str = _PLAIN


def lines(sheet: Sheet) -> Iterator[Line]:
    """The sheet, line by line."""
    yield Line(f"Balance sheet of {sheet.seconds:.1f} seconds{_fast(sheet.speed)}", _HEADING)
    yield Line("")
    if sheet.sent is not None:
        yield from _exchange_lines(sheet.sent, sheet.client.received)
    yield from _check_lines(sheet.event_check, {}, sheet.letters, sheet.client.ignored_by_reason)
    yield from _check_lines(sheet.record_check)
    yield from _check_lines(sheet.topic_check)
    yield from (line for check in sheet.further_checks if not check.holds for line in _check_lines(check))
    if len(sheet.topics) > 1:
        yield from _topic_lines(sheet.topics)
    yield from _series_lines(sheet.series)
    yield Line("")
    yield _verdict(sheet)


def _fast(speed: int) -> str:
    return f"; market time ran {speed:,} times as fast" if speed > 1 else ""


def _exchange_lines(sent: Sent, received: int) -> Iterator[Line]:
    # Not an equation of the client's: what a broken connection swallowed is a gap, and shows in the ids below.
    on_purpose = f", {sent.malformed} of them malformed on purpose" if sent.malformed else ""
    on_the_way = sent.all_events - received
    lost = f"; {on_the_way:+,} against what was received" if on_the_way else ""
    frames = sent.frames + sent.malformed
    holding = f" with {sent.all_events:,} events" if sent.all_events != frames else ""
    text = f"{'Exchange':9}{_amount(frames)}  frames sent{holding}{on_purpose}{lost}"
    first, *rest = wrap(text, _WIDTH, subsequent_indent=" " * _INDENT, break_long_words=False) if len(text) > _WIDTH else [text]
    yield from (Line(part) for part in (first, *rest))


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


def _topic_lines(topics: Sequence[TopicBooks]) -> Iterator[Line]:
    names = [shortened(topic.name, _LONGEST_TOPIC, ASCII) for topic in topics]
    width = max(5, *map(len, names))
    yield Line("")
    yield Line(f"{'Topic':{width}}  {'values':13}  {'records':>10}", _HEADING)
    for name, topic in zip(names, topics, strict=True):
        twins = topic.consumed - topic.distinct
        state = f"{twins:,} twice" if twins else "each once" if topic.consumed else "nothing came"
        yield Line(f"{name:{width}}  {topic.form:13}  {topic.consumed:>10,}  {state}", _BAD if twins else _PLAIN)


def _series_lines(series: Sequence[SeriesRange]) -> Iterator[Line]:
    if not series:
        return
    shown = series[:_MOST_ROWS]
    several = len({row.stream for row in series}) > 1
    names = [f"{row.symbol} {row.stream}" if several else row.symbol for row in shown]
    digits = max(8, *(len(_id(row.last_id)) for row in shown)) if several else 14
    counts = max(10, *(len(f"{row.records:,}") for row in shown))
    width = min(max(8, *map(len, names)), _WIDTH - _STATE_WIDTH - 2 * digits - counts - 8)
    title = "Symbol and stream" if several else "Symbol"
    yield Line("")
    yield Line(f"{title:{width}}  {'first id':>{digits}}  {'last id':>{digits}}  {'records':>{counts}}  ids in between", _HEADING)
    for name, row in zip(names, shown, strict=True):
        ids = f"{_id(row.first_id):>{digits}}  {_id(row.last_id):>{digits}}  {row.records:>{counts},}"
        yield Line(f"{shortened(name, width, ASCII):{width}}  {ids}  {_state(row)}", _BAD if row.missing else _PLAIN)
    if len(series) > len(shown):
        yield _rest(series[len(shown) :])


def _id(number: int | None) -> str:
    return "-" if number is None else str(number)


def _state(row: SeriesRange) -> str:
    if not row.is_numbered:
        return "with jumps"
    return f"{row.missing:,} missing" if row.missing else "contiguous"


def _rest(series: Sequence[SeriesRange]) -> Line:
    missing = sum(row.missing for row in series)
    state = f"{missing:,} ids missing" if missing else "no id missing"
    told = f"and {len(series):,} more with {sum(row.records for row in series):,} records, {state}"
    return Line(told, _BAD if missing else _PLAIN)


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
