"""
What follows from the options and is no option itself: defaults that hang on others, this instance's symbols, streams and topics.

Everything works on the values by their keys, of which a faulty one is left out: what hangs on it is then left out as well, so
that one mistake is one fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import UNSET, Struct

from k2.ingestion.exchanges.binance.kinds import RAW_SCHEMA
from k2.ingestion.exchanges.binance.names import Stream, is_full_name, kind_of_wish, wanted_streams
from k2.ingestion.exchanges.binance.urls import rest_url_of
from k2.ingestion.kafka_settings import ALL_REPLICAS, GIVEN_UP, protected
from k2.ingestion.option_values import quoted, topic_name
from k2.ingestion.options import BY_KEY, Source, SourceKind
from k2.ingestion.profile_format import Topic, milliseconds
from k2.ingestion.profiles import Profile
from k2.ingestion.stream_values import ALL_OF
from k2.ingestion.topic_plan import AVRO, RAW, TopicPlan, clashes, default_topics, takes
from k2.ingestion.wishes import nameless_wishes, put_right, unknown_wishes, unshown, untaken

STREAMS, RAW_STREAMS, SYMBOLS = "feed.streams", "feed.raw_streams", "feed.symbols"
PROPERTIES = "kafka.properties"
PLACEHOLDER = "ANY"  # stands for the symbols that are not known before the start

# The defaults that follow the market.
MARKET_DEFAULTS = {
    "feed.ws_url": {"spot": "wss://stream.binance.com:9443/ws", "usdm": "wss://fstream.binance.com"},
    "kafka.topic_prefix": {"spot": "market.crypto.trades", "usdm": "market.futures.trades"},
}

Values = dict[str, Any]
Sources = Mapping[str, Source]


class Topics(Struct, frozen=True):
    """The topics, where the names came from that are not their defaults, and what is wrong."""

    plans: tuple[TopicPlan, ...] = ()
    sources: dict[str, Source] = {}
    faults: tuple[str, ...] = ()


def work_out_defaults(values: Values, sources: Sources, environ: Mapping[str, str]) -> None:
    """Fill in the defaults that follow from other options."""
    market = values.get("feed.market")
    for key, by_market in MARKET_DEFAULTS.items():
        if sources[key].kind is SourceKind.DEFAULT:
            del values[key]
            if market:
                values[key] = by_market[market]
    if sources["feed.rest_url"].kind is SourceKind.DEFAULT:
        values["feed.rest_url"] = rest_url_of(values.get("feed.ws_url") or "")
    if sources["state_dir"].kind is SourceKind.DEFAULT:
        values["state_dir"] = _default_state_dir(environ)
    values[PROPERTIES] = protected(values.get(PROPERTIES) or {})


def _default_state_dir(environ: Mapping[str, str]) -> Path:
    # The XDG base directory specification has relative paths ignored.
    base = Path(environ.get("XDG_STATE_HOME", ""))
    home = Path(environ.get("HOME") or Path.home())
    return (base if base.is_absolute() else home / ".local" / "state") / "k2"


def work_out_symbols(values: Values) -> None:
    """
    Split the symbols from the quote assets whose symbols are all meant, and pick those of this shard.

    Where a quote asset is named, the symbols are known at the start only, and nothing is picked here.
    """
    if SYMBOLS not in values:
        return
    words: tuple[str, ...] = values[SYMBOLS]
    values["feed.quote_assets"] = tuple(word.removeprefix(ALL_OF) for word in words if word.startswith(ALL_OF))
    values[SYMBOLS] = tuple(word for word in words if not word.startswith(ALL_OF))
    if values.get("feed.shard") and not values["feed.quote_assets"]:
        values[SYMBOLS] = values["feed.shard"].pick(values[SYMBOLS])


def work_out_streams(values: Values, sources: Sources) -> Iterator[str]:
    """Put the names of streams right, and tell which of them the market does not have."""
    market = values.get("feed.market")
    if market is None:
        return
    for key, faults_of in ((STREAMS, unknown_wishes), (RAW_STREAMS, nameless_wishes)):
        if key in values:
            values[key] = tuple(dict.fromkeys(put_right(market, wish) for wish in values[key]))
            faults = list(faults_of(market, values[key]))
            yield from (f"{BY_KEY[key].called(sources[key])}: {fault}" for fault in faults)
            if faults:
                del values[key]


def topics_of(values: Mapping[str, Any], sources: Sources, profile: Profile, environ: Mapping[str, str]) -> Topics:
    """Where records go: the profile's topics, else one for each sort of record."""
    needed = ("feed.market", STREAMS, RAW_STREAMS, "kafka.topic_prefix", "kafka.partitions", "kafka.retention_ms")
    if any(key not in values for key in needed):
        return Topics()
    streams = {key: _streams(values, key) for key in (STREAMS, RAW_STREAMS)}
    every = [stream for found in streams.values() for stream in found]
    topics = _profile_topics(values, profile, every, environ) if profile.content.topics else Topics(_default_topics(values))
    if topics.faults:
        return topics
    by_option = {key: [*unshown(found, topics.plans), *_homeless(found, topics.plans, profile)] for key, found in streams.items()}
    by_option[STREAMS] += clashes(every, topics.plans)
    faults = (fault for key, told in by_option.items() for fault in _named(told, key, sources, profile))
    return Topics(topics.plans, topics.sources, tuple(faults))


def _homeless(streams: Sequence[Stream], plans: Sequence[TopicPlan], profile: Profile) -> Iterator[str]:
    names = untaken(streams, plans)
    if names:
        taken = dict.fromkeys(pattern for topic in profile.content.topics for pattern in topic.streams)
        yield f"no topic of profile {profile.name} takes {', '.join(names)}; they take {' '.join(taken)}"


def _named(faults: Iterable[str], key: str, sources: Sources, profile: Profile) -> Iterator[str]:
    """The faults under who asked for the streams: the option, or the profile's topics where it says nothing of streams."""
    by_topics = profile.content.topics and sources[key].kind is SourceKind.DEFAULT
    called = f"{profile.place('topics')}: topics" if by_topics else BY_KEY[key].called(sources[key])
    return (f"{called}: {fault}" for fault in faults)


def _streams(values: Mapping[str, Any], key: str) -> tuple[Stream, ...]:
    """The streams of an option as far as they are known."""
    symbols = foreseen_symbols(values.get(SYMBOLS, ()), values.get("feed.quote_assets", ()))
    return wanted_streams(values["feed.market"], values[key], symbols)


def foreseen_symbols(symbols: tuple[str, ...], quote_assets: Sequence[str]) -> tuple[str, ...]:
    """The symbols before the start, with one that stands for those that only the exchange will tell."""
    return (*symbols, PLACEHOLDER) if quote_assets or not symbols else symbols


def _default_topics(values: Mapping[str, Any]) -> tuple[TopicPlan, ...]:
    return default_topics(
        values["feed.market"], values[STREAMS], values[RAW_STREAMS], prefix=values["kafka.topic_prefix"],
        partitions=values["kafka.partitions"], retention_ms=values["kafka.retention_ms"],
    )  # fmt: skip


def _profile_topics(values: Mapping[str, Any], profile: Profile, streams: Sequence[Stream], environ: Mapping[str, str]) -> Topics:
    plans: dict[str, TopicPlan] = {}
    sources: dict[str, Source] = {}
    faults: list[str] = []
    for number, topic in enumerate(profile.content.topics):
        place = profile.place(f"topics[{number}]")
        name, source = topic.name, Source(SourceKind.PROFILE, profile.name, place)
        for variable, text in profile.renamed(topic.id, environ).items():
            faults += _wrong_name(variable, text)
            name, source = text, Source(SourceKind.VARIABLE, variable)
        plan = _plan(topic, name, values, streams)
        if plan is None:
            continue
        if name in plans:
            faults.append(f"{_renamer(source, sources[name])}: two topics would have the name {quoted(name)}: give each its own")
        plans[name], sources[name] = plan, source
    return Topics(tuple(plans.values()), sources, tuple(faults))


def _renamer(*sources: Source) -> str:
    """Which of the sources of one name is to blame: a variable, as the names inside a profile differ."""
    return next(source.name for source in sources if source.kind is SourceKind.VARIABLE)


def _wrong_name(variable: str, text: str) -> Iterator[str]:
    try:
        topic_name(text)
    except ValueError as error:
        yield f"{variable}: {error}"


def _plan(topic: Topic, name: str, values: Mapping[str, Any], streams: Sequence[Stream]) -> TopicPlan | None:
    """The topic as the client makes it; None where nothing goes into it."""
    taken = [stream for stream in streams if takes(topic.streams, stream)]
    plan = TopicPlan(
        name=name,
        streams=tuple(topic.streams),
        layout=topic.layout,
        keyed=topic.key == "symbol",
        partitions=values["kafka.partitions"] if topic.partitions is UNSET else topic.partitions,
        retention_ms=values["kafka.retention_ms"] if topic.retention is UNSET else milliseconds(topic.retention),
        properties={} if topic.compression is UNSET else {"compression.type": topic.compression},
        schema_name=_schema_name(topic, values["feed.market"], taken),
    )
    # Whether a symbol that is named in a pattern is among all of a quote asset's is not known yet.
    may_take = (
        values.get("feed.quote_assets") and any(map(is_full_name, topic.streams)) and (plan.schema_name or not plan.needs_schema)
    )
    return plan if taken or may_take else None


def _schema_name(topic: Topic, market: str, taken: Iterable[Stream]) -> str:
    if topic.layout != AVRO:
        return RAW_SCHEMA if topic.layout == RAW else ""
    kinds = [stream.kind for stream in taken]
    kinds += [kind_of_wish(market, pattern) for pattern in topic.streams]
    return next((kind.schema_name for kind in kinds if kind is not None), "")


def notes_of(values: Mapping[str, Any], sources: Sources, profile: Profile, environ: Mapping[str, str]) -> Iterator[str]:
    """What the operator should be told once: a promise that was given up, variables that have no effect."""
    acks = values["kafka.acks"]
    if acks != ALL_REPLICAS:
        yield f"{BY_KEY['kafka.acks'].called(sources['kafka.acks'])} is {acks}: {GIVEN_UP[acks]}"
    yield from profile.notes(environ)
