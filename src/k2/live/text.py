"""How single values look on a terminal: times and texts, and the characters that it may lack."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

QUANTILES = ("p50", "p95", "p99")
_MS = 1_000
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_EXACT_BELOW_S = 10
_TWO = 2  # of a unit before the next one is used: "119 s", and then "2 min"


class Glyphs(Struct, frozen=True):
    """The drawing characters. `curve` rises from lowest to highest."""

    arrow: str
    dot: str
    curve: str
    ellipsis: str
    done: str
    left: str
    tick: str
    cross: str


UNICODE = Glyphs("→", "●", "▁▂▃▄▅▆▇█", "…", "━", "─", "✓", "✗")
ASCII = Glyphs("->", "*", "_.-'", "...", "#", ".", "ok", "NOT")


def milliseconds(seconds: float | None) -> str:
    """A duration; none, and the 0 of a histogram that is still empty, is a dash."""
    return "-" if not seconds else f"{seconds * _MS:.1f} ms"


def latency(quantiles: Mapping[str, float]) -> tuple[tuple[str, str], ...]:
    """The quantiles, given in seconds, by name."""
    return tuple((name, milliseconds(quantiles.get(name))) for name in QUANTILES)


def duration(seconds: float) -> str:
    """How long something lasts or ago it is, in the unit that people would use."""
    if seconds < _EXACT_BELOW_S:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < _TWO * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < _TWO * _HOUR_S:
        return f"{seconds // _MINUTE_S:.0f} min"
    if seconds < _TWO * _DAY_S:
        return f"{seconds // _HOUR_S:.0f} h {seconds % _HOUR_S // _MINUTE_S:.0f} min"
    return f"{seconds // _DAY_S:.0f} days"


def shortened(text: str, width: int, glyphs: Glyphs) -> str:
    """`text` on one line of at most `width` characters."""
    line = printable(text)
    return line if len(line) <= width else line[: max(0, width - len(glyphs.ellipsis))] + glyphs.ellipsis


def printable(text: str) -> str:
    """`text` on one line, without characters that command a terminal: the exchange has a hand in what errors say."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
