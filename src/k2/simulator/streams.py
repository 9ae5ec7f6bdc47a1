"""Which streams a URL names, and which of them its path delivers."""

from __future__ import annotations

import re
from typing import Literal

PathKind = Literal["legacy", "public", "market"]

# USD-M futures since 2026-04-23: the order book and single trades are public, everything else is market. A subscription on the
# wrong path is acknowledged and stays silent.
_PUBLIC = re.compile(r"!bookTicker|[^@]+@(bookTicker|trade|depth(5|10|20)?(@\d+ms)?|rpiDepth@\d+ms)")


def delivers(path: PathKind, stream: str, *, legacy_is_public: bool) -> bool:
    """
    Whether a connection on `path` ever gets frames of `stream`.

    Args:
        legacy_is_public: Treat a path without prefix as Binance's futures hosts do, where it carries public streams only.
    """
    if path == "legacy" and not legacy_is_public:
        return True
    is_public = _PUBLIC.fullmatch(stream) is not None
    return is_public is (path != "market")


def names(text: str) -> list[str]:
    """The streams of `a/b/c`, as URLs list them; empty parts are dropped."""
    return [name for name in text.split("/") if name]
