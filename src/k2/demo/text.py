"""How the demo's own values look: prices, curves, bars."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from k2.live.text import Glyphs


def price(value: Decimal) -> str:
    """Exact, without the padding beyond two decimals: 61837.63000000 is 61,837.63."""
    whole, _, decimals = f"{value:,f}".partition(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"


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
