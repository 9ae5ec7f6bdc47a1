"""Lines of a screen that the live views share, and their styles."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from k2.live.text import latency

DIM, HEAD, GOOD, BAD = "dim", "bold cyan", "bold green", "bold red"
LABEL = 9  # columns


def labelled(label: str, *parts: str | tuple[str, str]) -> Text:
    """A line with its name before it, cut where the screen ends."""
    return Text.assemble((f"{label:{LABEL}}", HEAD), *parts, no_wrap=True, overflow="ellipsis")


def latency_line(quantiles: Mapping[str, float]) -> Text:
    """The quantiles, given in seconds, and what they are of."""
    parts = [part for name, value in latency(quantiles) for part in (f"{name} ", (value, "bold"), "  ")]
    return labelled("Latency", *parts, (" receipt to Kafka's answer", DIM))
