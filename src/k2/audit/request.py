"""What `k2 audit` is asked for, checked as a whole: every fault is reported at once, under the name of its option."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from k2.audit.oracle import MARKETS, STREAMS
from k2.ingestion.option_values import Choice, path, symbols, whole
from k2.reading.options import Check

DEFAULT_SHOWN, MOST_SHOWN = 5, 1_000_000


class Request(Struct, frozen=True):
    """
    What to compare.

    Attributes:
        market, stream: What the topic carries; None where its records are to tell.
        symbols: Events of these only; empty for all.
        ignore_times: The recording was replayed with other times than its own.
        shown: How many findings of each kind are shown.
    """

    recording: Path
    market: str | None = None
    stream: str | None = None
    symbols: frozenset[str] = frozenset()
    ignore_times: bool = False
    shown: int = DEFAULT_SHOWN


def make_request(values: Mapping[str, Any]) -> Request:
    """
    What the options ask for.

    Args:
        values: Option texts by name; None or absent where not given.

    Raises:
        ConfigurationError: with every fault found.
    """
    check = Check()
    recording = check.parsed("--against", values["against"], path, Path())
    market = check.parsed("--market", values.get("market"), Choice(*MARKETS), None)
    stream = check.parsed("--stream", values.get("stream"), Choice(*STREAMS), None)
    given_symbols = " ".join(values["symbols"]) if values.get("symbols") else None
    wanted: tuple[str, ...] = check.parsed("--symbols", given_symbols, symbols, ())
    shown = check.parsed("--show", values.get("show"), whole(0, MOST_SHOWN), DEFAULT_SHOWN)
    check.raise_faults()
    return Request(recording, market, stream, frozenset(wanted), bool(values.get("ignore_times")), shown)
