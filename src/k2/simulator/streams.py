"""What the names of streams mean: which of them a URL names, which its path delivers, and how to tell many in a few words."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PathKind = Literal["legacy", "public", "market"]

# USD-M futures since 2026-04-23: the order book and single trades are public, everything else is market. A subscription on the
# wrong path is acknowledged and stays silent.
_PUBLIC = re.compile(r"!bookTicker|[^@]+@(bookTicker|trade|depth(5|10|20)?(@\d+ms)?|rpiDepth@\d+ms)")
_LETTERS = re.compile(r"[A-Za-z]*")


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


def kind_of(stream: str) -> str:
    """What a stream has behind the `@`; one of all symbols is a kind of its own."""
    return stream if stream.startswith("!") else stream.partition("@")[2]


def names(text: str) -> list[str]:
    """
    The streams of `a/b/c`, as URLs list them; empty parts are dropped.

    The plus of a time zone (`@+08:00`) is read as a space in a query, and meant as a plus.
    """
    return [name.replace(" ", "+") for name in text.split("/") if name]


def in_short(kinds: Iterable[str]) -> list[str]:
    """
    Many kinds in a few words: `depth[5|10|20][@100ms]` stands for eight of them.

    What stands in brackets may be left out, of what stands in angle brackets one is chosen.
    """
    endings: dict[str, list[str]] = {}
    for kind in kinds:
        base, at, ending = kind.partition("@")
        endings.setdefault(base, []).append(at + ending)
    families: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for base, of_base in endings.items():
        letters = _LETTERS.match(base)
        families.setdefault((letters[0] if letters else "", tuple(of_base)), []).append(base)
    return [_alternatives(bases) + _alternatives(of_bases) for (_, of_bases), bases in families.items()]


def _alternatives(texts: Sequence[str]) -> str:
    if len(texts) == 1:
        return texts[0]
    shared = "".join(letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False)))
    rests = [text.removeprefix(shared) for text in texts]
    chosen = "|".join(rest for rest in rests if rest)
    return f"{shared}[{chosen}]" if "" in rests else f"{shared}<{chosen}>"
