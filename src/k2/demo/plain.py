"""The live view without a terminal: one moment as one plain line."""

from __future__ import annotations

from k2.demo.snapshot import Snapshot
from k2.demo.sorts import RecordRow
from k2.demo.text import price
from k2.live.text import latency, printable

SYMBOLS_IN_A_LINE, TOPICS_IN_A_LINE = 3, 3


def fast(speed: int) -> str:
    return f"Market time runs {speed:,} times as fast as yours, so that candles close"


def plain_line(seen: Snapshot) -> str:
    """One moment on one line, in plain ASCII."""
    client = seen.balance
    events = f"{client.received:,} received = {client.published:,} published + {client.dead_lettered:,} dead"
    topic = f"{seen.consumed:,} read back, {seen.missing:,} ids missing, {seen.per_s:,.0f}/s"
    times = " ".join(f"{name} {value}" for name, value in latency(seen.latency_seconds))
    latest = [row.latest for row in seen.rows if row.latest]
    known = [last for last in latest if last.price is not None] or latest
    prices = "  ".join(_in_short(last) for last in known[:SYMBOLS_IN_A_LINE])
    ignored = f"{client.ignored:,} ignored"
    return f"{seen.elapsed_s:5.1f} s  {events} + {ignored} | {topic} | {times} | {prices or seen.phase}"


def _in_short(latest: RecordRow) -> str:
    parts = (printable(latest.symbol), "" if latest.price is None else price(latest.price), latest.word)
    return " ".join(filter(None, parts))


def plain_heading(seen: Snapshot) -> str:
    """What the lines are about."""
    heading = f"{seen.what} of {seen.exchange} ({seen.feed}) -> the real k2 client -> Kafka {_topics_in_short(seen)}"
    return f"{heading} -> read back and decoded" + (f". {fast(seen.speed)}." if seen.speed > 1 else "")


def _topics_in_short(seen: Snapshot) -> str:
    names = [topic.name for topic in seen.topics]
    if len(names) > TOPICS_IN_A_LINE:
        return f"({len(names)} topics)"
    return f"topic{'' if len(names) == 1 else 's'} {', '.join(names)}"
