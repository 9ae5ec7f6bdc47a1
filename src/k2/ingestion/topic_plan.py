"""
Which topics a client writes, and which streams go into each of them: decided from the settings, before anything is connected.

The default is one topic for each sort of record, named after the market: beside `market.crypto.trades.binance` stand
`market.crypto.klines.binance`, `market.crypto.quotes.binance` and so on. A profile names its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from k2.ingestion.exchanges.binance.kinds import RAW_SCHEMA, RAW_TOPIC, kind_of
from k2.ingestion.exchanges.binance.names import Stream, kind_of_wish
from k2.ingestion.option_values import TOPIC_SUFFIX, Shard

AVRO, RAW = "avro", "raw"
TRADES = "trades"

_SPEED = re.compile(r"@\d+m?s$")


class TopicPlan(Struct, frozen=True, kw_only=True):
    """
    One topic: what goes into it and in which form, and how it is made where it is missing.

    Attributes:
        streams: Shell patterns of specs or of whole names: `kline_*`, `btcusdt@trade`, `!miniTicker@arr`, `*`.
        layout: `avro` in the mapping of the kind, `raw` for frames as they came, or the name of a JSON layout.
        keyed: By symbol, so that each symbol keeps its order; else the records are spread.
        retention_ms: Counted from the records' own time; -1 keeps them for ever.
        schema_name: What Avro records are written with; empty for JSON.
    """

    name: str
    streams: tuple[str, ...]
    layout: str = AVRO
    keyed: bool = True
    partitions: int = 12
    retention_ms: int = 604_800_000
    properties: Mapping[str, str] = {}
    schema_name: str = ""

    @property
    def subject(self) -> str:
        """The schema's name in the registry, by the rule called TopicNameStrategy."""
        return f"{self.name}-value"

    @property
    def needs_schema(self) -> bool:
        return self.layout in {AVRO, RAW}

    def takes(self, stream: Stream) -> bool:
        return takes(self.streams, stream)


def takes(patterns: Iterable[str], stream: Stream) -> bool:
    """Whether a stream goes where these patterns are."""
    # All-market streams go by their name alone: who asks for a symbol's tickers has not asked for everybody's.
    return matches(patterns, (stream.name, stream.wish))


def matches(patterns: Iterable[str], texts: Iterable[str]) -> bool:
    """Whether one of the patterns fits one of the texts."""
    known = tuple(texts)
    return any(fnmatchcase(text, pattern) for pattern in patterns for text in known)


def sibling_topic(prefix: str, sort: str) -> str:
    """The topic of another sort of record than trades. A prefix that ends in `.trades` names the trades only."""
    base = prefix.removesuffix(f".{TRADES}")
    return f"{prefix if sort == TRADES else f'{base}.{sort}'}{TOPIC_SUFFIX}"


def default_topics(
    market: str, wishes: Iterable[str], raw_wishes: Iterable[str], *, prefix: str, partitions: int, retention_ms: int
) -> tuple[TopicPlan, ...]:
    """
    A topic for each sort of record that the wished streams give, in the order of the wishes, and one for captured frames.

    A wish is a spec or the name of a stream (`names.wanted_streams`), and stands for itself as the topic's pattern.
    """
    patterns: dict[str, list[str]] = {}
    schemas: dict[str, str] = {}
    for wish in wishes:
        kind = kind_of_wish(market, wish)
        if kind is not None:
            patterns.setdefault(kind.topic, []).append(wish)
            schemas[kind.topic] = kind.schema_name
    sorts = [(sort, tuple(wished), AVRO, schemas[sort]) for sort, wished in patterns.items()]
    captured = tuple(raw_wishes)
    if captured:
        sorts.append((RAW_TOPIC, captured, RAW, RAW_SCHEMA))
    return tuple(
        TopicPlan(
            name=sibling_topic(prefix, sort), streams=wished, layout=layout, partitions=partitions, retention_ms=retention_ms,
            schema_name=schema_name,
        )
        for sort, wished, layout, schema_name in sorts
    )  # fmt: skip


def belongs(identity: str, market: str, plan: TopicPlan, specs: Iterable[str]) -> bool:
    """
    Whether a record of this message_id may lie in a topic of the plan.

    One topic carries one market and one sort of record. Of trades it carries one stream: aggregates and single trades tell of the
    same trades twice.

    Args:
        specs: Those of the streams that go into the topic.
    """
    venue, its_market, spec, *_ = [*identity.split("."), "", ""]
    if (venue, its_market) != ("binance", market):
        return False
    if not plan.needs_schema:
        return False  # what has a message_id is Avro, in a topic of JSON
    if plan.layout == RAW:
        return spec == RAW_TOPIC
    wanted = set(specs)
    if spec in wanted:
        return True
    kind = kind_of(market, spec)
    others = (kind_of(market, other) for other in wanted)
    return kind is not None and kind.topic != TRADES and kind.topic in {other.topic for other in others if other}


def foreign_among(identities: Iterable[str], market: str, plan: TopicPlan, specs: Sequence[str]) -> str | None:
    """The first message_id that may not lie in a topic of the plan: see `belongs`."""
    return next((identity for identity in identities if not belongs(identity, market, plan, specs)), None)


def planned_specs(streams: Iterable[Stream], plan: TopicPlan) -> list[str]:
    """The specs of the streams that go into a topic."""
    return list(dict.fromkeys(stream.spec for stream in streams if plan.takes(stream)))


def clashes(streams: Iterable[Stream], plans: Iterable[TopicPlan]) -> list[str]:
    """What keeps these streams from going where they should: one readable line each."""
    wanted = list(streams)
    faults: list[str] = []
    for plan in plans:
        taken = [stream for stream in wanted if stream.kind is not None and plan.takes(stream)]
        if plan.layout == AVRO:
            faults += [*_doubles_in(plan, taken), *_mixtures_in(plan, taken)]
    return list(dict.fromkeys(faults))


def _mixtures_in(plan: TopicPlan, streams: Iterable[Stream]) -> list[str]:
    schemas = {stream.kind.schema_name for stream in streams if stream.kind}
    if len(schemas) > 1:
        return [f"topic {plan.name} would hold records of several schemas ({', '.join(sorted(schemas))}): give each its own"]
    return []


def _doubles_in(plan: TopicPlan, streams: Sequence[Stream]) -> list[str]:
    """Streams that tell of the same things: at another speed, of all symbols as well as of each, aggregated and one by one."""
    by_matter: dict[str, dict[str, Stream]] = {}
    for stream in streams:
        by_matter.setdefault(_matter_of(stream), {})[stream.wish] = stream
    return [
        f"topic {plan.name} would hold the same twice, from {' and from '.join(names)}: ask for one of them"
        for names in by_matter.values()
        if len(names) > 1
    ]


def _matter_of(stream: Stream) -> str:
    """What a stream tells of, whatever its speed: `depth@100ms` and `depth` of the same changes, aggTrade and trade of trades."""
    return "trades" if stream.spec in {"aggTrade", "trade"} else _SPEED.sub("", stream.spec)


def sharded(streams: Sequence[Stream], shard: Shard) -> tuple[Stream, ...]:
    """
    This part's streams: symbols are dealt in turn, whatever order they were listed in, and all-market streams belong to part 0.
    """
    symbols = set(shard.pick({stream.symbol for stream in streams if not stream.is_all_market}))
    return tuple(stream for stream in streams if (shard.index == 0 if stream.is_all_market else stream.symbol in symbols))
