"""How single values look: numbers, prices, times, curves, and the characters that a terminal may lack."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from k2.demo.snapshot import Health

QUANTILES = ("p50", "p95", "p99")
_MS = 1_000


class Glyphs(Struct, frozen=True):
    """The drawing characters. `curve` rises from lowest to highest."""

    arrow: str
    dot: str
    curve: str
    ellipsis: str
    done: str
    left: str


UNICODE = Glyphs("→", "●", "▁▂▃▄▅▆▇█", "…", "━", "─")
ASCII = Glyphs("->", "*", "_.-'", "...", "#", ".")


def price(value: Decimal) -> str:
    """Exact, without the padding beyond two decimals: 61837.63000000 is 61,837.63."""
    whole, _, decimals = f"{value:,f}".partition(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"


def milliseconds(seconds: float | None) -> str:
    """A duration; none, and the 0 of a histogram that is still empty, is a dash."""
    return "-" if not seconds else f"{seconds * _MS:.1f} ms"


def latency(health: Health | None) -> tuple[tuple[str, str], ...]:
    """The quantiles by name."""
    known = health.latency_seconds if health else {}
    return tuple((name, milliseconds(known.get(name))) for name in QUANTILES)


def curve(values: Sequence[Decimal], width: int, glyphs: Glyphs) -> str:
    """The last `width` values as one row of bars, from the lowest to the highest among them."""
    shown = values[-width:] if width > 0 else ()
    if not shown:
        return ""
    low, span, top = min(shown), max(shown) - min(shown), len(glyphs.curve) - 1
    return "".join(glyphs.curve[round((value - low) / span * top) if span else 0] for value in shown)


def progress(done: float, width: int, glyphs: Glyphs) -> tuple[str, str]:
    """A bar of `width` in its done and its remaining part."""
    filled = round(min(max(done, 0.0), 1.0) * width)
    return glyphs.done * filled, glyphs.left * (width - filled)


def shortened(text: str, width: int, glyphs: Glyphs) -> str:
    """`text` on one line of at most `width` characters."""
    line = printable(text)
    return line if len(line) <= width else line[: max(0, width - len(glyphs.ellipsis))] + glyphs.ellipsis


def printable(text: str) -> str:
    """`text` on one line, without characters that command a terminal: the exchange has a hand in what errors say."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
