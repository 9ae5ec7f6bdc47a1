"""
The exchange's names of streams, and which streams a wish for some kinds and symbols means.

A name is `<symbol>@<spec>` in lower case, `btcusdt@kline_1m`, or that of an all-market stream: `!miniTicker@arr`. The spec of an
all-market stream's elements is what their own symbols' stream would have: `miniTicker`, `markPrice@1s`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from k2.ingestion.core.rows import ALL_SYMBOLS
from k2.ingestion.exchanges.binance.kinds import StreamKind, all_market_kind, kind_of

_ALL_MARKET = re.compile(r"!(\w+)(?:@arr)?((?:@[\w+:]+)?)")


class Stream(Struct, frozen=True):
    """One stream of the exchange. `kind` is None for one that we can only capture as it is."""

    name: str
    symbol: str
    spec: str
    kind: StreamKind | None

    @property
    def is_all_market(self) -> bool:
        return self.name.startswith("!")

    @property
    def wish(self) -> str:
        """What one asks for to have it: its spec, or its name where it is of all symbols."""
        return self.name if self.is_all_market else self.spec

    @property
    def is_sparse(self) -> bool:
        """Whether its silence says nothing: its events are rare, or we do not know the stream and only capture it."""
        return self.kind is None or self.kind.sparse


def stream_name(symbol: str, spec: str) -> str:
    """The exchange's name of a symbol's stream. Unicode symbols exist."""
    return f"{symbol.lower()}@{spec}"


def stream_of(market: str, name: str) -> Stream:
    """
    The stream of this name, whether we can decode it or not.

    Raises:
        ValueError: the text is no name of a stream.
    """
    if name.startswith("!"):
        found = _ALL_MARKET.fullmatch(name)
        if found is None:
            raise ValueError(f"{name!r} is no name of an all-market stream, such as !miniTicker@arr")
        return Stream(name, ALL_SYMBOLS, found[1] + found[2], all_market_kind(market, name))
    symbol, at, spec = name.partition("@")
    if not symbol or not at or not spec:
        raise ValueError(f"{name!r} is no name of a stream, such as btcusdt@aggTrade")
    return Stream(stream_name(symbol, spec), symbol.upper(), spec, kind_of(market, spec))


def wanted_streams(market: str, wishes: Iterable[str], symbols: Sequence[str]) -> tuple[Stream, ...]:
    """
    The streams that are meant: a wish is a spec, which is meant of every symbol, or the name of one stream. Each comes once.

    Raises:
        ValueError: a wish is neither.
    """
    streams: dict[str, Stream] = {}
    for wish in wishes:
        names = [wish] if is_full_name(wish) else [stream_name(symbol, wish) for symbol in symbols]
        streams |= {stream.name: stream for stream in (stream_of(market, name) for name in names)}
    return tuple(streams.values())


def is_full_name(wish: str) -> bool:
    """Whether a wish names one stream, and not a spec of every symbol's: `btcusdt@trade`, `!miniTicker@arr`."""
    # A spec may hold an "@" as well: depth@100ms, kline_1d@+08:00, markPrice@1s.
    return wish.startswith("!") or ("@" in wish and re.fullmatch(r"[+\d].*", wish.partition("@")[2]) is None)


def spec_of(wish: str) -> str:
    """The spec that a wish is about."""
    if wish.startswith("!"):
        found = _ALL_MARKET.fullmatch(wish)
        return found[1] + found[2] if found else wish
    return wish.partition("@")[2] if is_full_name(wish) else wish


def kind_of_wish(market: str, wish: str) -> StreamKind | None:
    """The kind of what is wished for; None where we cannot decode it."""
    return all_market_kind(market, wish) if wish.startswith("!") else kind_of(market, spec_of(wish))
