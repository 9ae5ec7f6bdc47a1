"""
What is wished for, judged by what the market has: names put right, and faults for those that it does not know.

A wish is a spec, which is meant of every symbol (`kline_1m`), or the name of one stream (`btcusdt@trade`, `!miniTicker@arr`).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache

from k2.ingestion.exchanges.binance.kinds import ASSET_CLASSES, KINDS
from k2.ingestion.exchanges.binance.layouts import LAYOUTS
from k2.ingestion.exchanges.binance.names import Stream, is_full_name, kind_of_wish, spec_of, stream_of
from k2.ingestion.option_values import in_quotes
from k2.ingestion.topic_plan import RAW, TopicPlan

_CHOICE, _OPTIONAL = re.compile(r"\(([^()]*)\)(?!\?)"), re.compile(r"\(([^()]*)\)\?")


@cache
def known_specs(market: str) -> tuple[str, ...]:
    """Every spec that we decode, in the order of the stream table."""
    return _names(kind.specs for kind in KINDS if kind.market == market)


@cache
def known_all_market_names(market: str) -> tuple[str, ...]:
    """The name of every all-market stream that we decode."""
    return _names(kind.all_market for kind in KINDS if kind.market == market and kind.all_market)


def _names(expressions: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for expression in expressions for name in _written_out(expression)))


def _written_out(expression: str) -> list[str]:
    """Every text that an expression of the stream table fits: characters, alternatives in groups, and `?` behind either."""
    return _alternatives(deque(expression))


def _alternatives(rest: deque[str]) -> list[str]:
    found = _sequences(rest)
    while rest and rest[0] == "|":
        rest.popleft()
        found += _sequences(rest)
    return found


def _sequences(rest: deque[str]) -> list[str]:
    texts = [""]
    while rest and rest[0] not in "|)":
        choices = _choices(rest)
        texts = [text + choice for text in texts for choice in choices]
    return texts


def _choices(rest: deque[str]) -> list[str]:
    first = rest.popleft()
    choices = [rest.popleft()] if first == "\\" else [first]
    if first == "(":
        choices = _alternatives(rest)
        rest.popleft()
    if rest and rest[0] == "?":
        rest.popleft()
        return ["", *choices]
    return choices


def put_right(market: str, wish: str) -> str:
    """
    The wish as the exchange writes it: the symbol of a name in lower case, and letters as in the spec that is meant.

    Only where one spec is meant: `kline_1m` and `kline_1M` differ, and `KLINE_1M` may be either.
    """
    if wish.startswith("!"):
        return _as_known(wish, known_all_market_names(market))
    if is_full_name(wish):
        symbol, _, spec = wish.partition("@")
        return f"{symbol.lower()}@{_as_known(spec, known_specs(market))}"
    return _as_known(wish, known_specs(market))


def _as_known(word: str, known: Iterable[str]) -> str:
    alike = [name for name in known if name.lower() == word.lower()]
    return alike[0] if len(alike) == 1 else word


def unknown_wishes(market: str, wishes: Iterable[str]) -> Iterator[str]:
    """A fault for each wish that the market does not have, with what comes close to it."""
    for wish in wishes:
        if kind_of_wish(market, wish) is None:
            yield f"{market} has no stream {in_quotes(wish)}; {_advice(market, wish)}"


def _advice(market: str, wish: str) -> str:
    others = [other for other in ASSET_CLASSES if kind_of_wish(other, wish) is not None]
    if others:
        return f"that is one of {others[0]} (--market)"
    known = known_all_market_names(market) if wish.startswith("!") else known_specs(market)
    close = _close(wish if wish.startswith("!") else spec_of(wish), known)
    if close:
        return f"did you mean {' or '.join(close)}?"
    forms = dict.fromkeys(readable(kind.specs) for kind in KINDS if kind.market == market)
    return f"it has {', '.join(known if wish.startswith('!') else forms) or 'none for all symbols'}"


def readable(expression: str) -> str:
    """An expression of the stream table for people: `depth(5|10|20)(@100ms)?` as `depth<5|10|20>[@100ms]`."""
    return _OPTIONAL.sub(r"[\1]", _CHOICE.sub(r"<\1>", expression.replace("\\", "")))


def _close(word: str, known: Sequence[str]) -> list[str]:
    by_lower_case: dict[str, list[str]] = {}
    for name in known:
        by_lower_case.setdefault(name.lower(), []).append(name)
    return [name for lower in get_close_matches(word.lower(), by_lower_case, n=3) for name in by_lower_case[lower]]


def nameless_wishes(market: str, wishes: Iterable[str]) -> Iterator[str]:
    """A fault for each wish that cannot be the name of a stream, whatever the exchange has."""
    for wish in wishes:
        try:
            stream_of(market, wish if is_full_name(wish) else f"any@{wish}")
        except ValueError as error:
            yield str(error)


def untaken(streams: Iterable[Stream], plans: Sequence[TopicPlan]) -> list[str]:
    """The sorts of streams that no topic takes, so that their events would be lost."""
    homeless = (stream for stream in streams if not any(plan.takes(stream) for plan in plans))
    return list(dict.fromkeys(stream.wish for stream in homeless))


def unshown(streams: Iterable[Stream], plans: Sequence[TopicPlan]) -> Iterator[str]:
    """A fault for each sort of stream that goes into a topic whose layout cannot show it."""
    wanted = list(streams)
    for plan in plans:
        if plan.layout != RAW:
            taken = (stream for stream in wanted if plan.takes(stream))
            yield from dict.fromkeys(fault for stream in taken if (fault := _unshown(stream, plan)))


def _unshown(stream: Stream, plan: TopicPlan) -> str:
    if stream.kind is None:
        return f"topic {plan.name} cannot show {stream.spec}, which the client does not decode: take layout raw for it"
    layout = LAYOUTS.get(plan.layout)
    if layout is None or not layout.kinds or stream.kind.name in layout.kinds:
        return ""
    return f"topic {plan.name} cannot show {stream.spec} in layout {plan.layout}, which is for {', '.join(sorted(layout.kinds))}"
