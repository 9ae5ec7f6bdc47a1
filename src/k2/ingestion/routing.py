"""
From the wishes of the settings and the symbols of the moment to streams and their rows.

A row is made once for each stream that was ever wanted, and stays: a stream that is let go may still bring frames until the
exchange has answered, and one that comes back goes on with its numbering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from k2.errors import ConfigurationError
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.core.rows import Row
from k2.ingestion.exchanges.binance.layouts import LAYOUTS, layout_output
from k2.ingestion.exchanges.binance.names import Stream, is_full_name, wanted_streams
from k2.ingestion.exchanges.binance.streams import Output, RowBuilder, avro_output, raw_output
from k2.ingestion.settings import Settings
from k2.ingestion.topic_plan import AVRO, RAW, TRADES, TopicPlan, sharded
from k2.ingestion.worked_out import foreseen_symbols


def streams_for(settings: Settings, symbols: Sequence[str]) -> tuple[Stream, ...]:
    """
    What is to be received: the wished streams and those that are to be captured, each once.

    Args:
        symbols: Those of this instance's shard. Streams that are wished for by their full name are dealt out here.
    """
    feed = settings.feed
    wishes = feed.wishes
    of_symbols = wanted_streams(feed.market, [wish for wish in wishes if not is_full_name(wish)], symbols)
    by_name = wanted_streams(feed.market, [wish for wish in wishes if is_full_name(wish)], ())
    if feed.shard is not None:
        by_name = sharded(by_name, feed.shard)
    return tuple({stream.name: stream for stream in (*of_symbols, *by_name)}.values())


def foreseen_streams(settings: Settings) -> tuple[Stream, ...]:
    """What is to be received as far as it is known before the start."""
    return streams_for(settings, foreseen_symbols(settings.feed.symbols, settings.feed.quote_assets))


def outputs_for(plans: Iterable[TopicPlan], schema_ids: Mapping[str, int]) -> dict[str, Output]:
    """
    How values are made for each topic.

    Args:
        schema_ids: By topic, for those that hold Avro.
    """
    return {plan.name: _output(plan, schema_ids.get(plan.name, 0)) for plan in plans}


def _output(plan: TopicPlan, schema_id: int) -> Output:
    if not plan.needs_schema:
        return layout_output(plan.name, LAYOUTS[plan.layout], keyed=plan.keyed)
    make = raw_output if plan.layout == RAW else avro_output
    return make(plan.name, load_schema(plan.schema_name).parsed, schema_id, keyed=plan.keyed)


class Routing:
    """The rows of all streams that were ever wanted, and which of them are now."""

    def __init__(
        self,
        settings: Settings,
        outputs: Mapping[str, Output],
        quote_asset: Callable[[str], str],
    ) -> None:
        feed = settings.feed
        self._plans, self._outputs, self._quote_asset = settings.topics, outputs, quote_asset
        self._builder = RowBuilder(feed.market, self._currency_of, updates=feed.candles == "updates")
        self._rows: dict[str, Row] = {}
        self._topics: dict[str, list[str]] = {}
        self._avro_topics = frozenset(plan.name for plan in settings.topics if plan.layout == AVRO)
        self._trades: dict[str, str] = {}  # which spec of trades a topic carries
        self.streams: tuple[Stream, ...] = ()
        self._wanted: frozenset[str] = frozenset()
        self.pipeline = Pipeline({})

    @property
    def rows(self) -> list[Row]:
        """The rows of the streams that are wanted now."""
        return [self._rows[stream.name] for stream in self.streams]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(stream.name for stream in self.streams)

    def wants(self, name: str) -> bool:
        """Whether the stream of this name is wanted now."""
        return name in self._wanted

    def may_be_silent(self, name: str) -> bool:
        """Whether silence of a stream says nothing."""
        return name in self._rows and self._rows[name].sparse

    def want(
        self,
        streams: Sequence[Stream],
        plans: Sequence[TopicPlan] | None = None,
        quote_asset: Callable[[str], str] | None = None,
    ) -> None:
        """
        From now on these streams are wanted, and new ones go into the topics of these plans, all known from the start.

        Raises:
            ConfigurationError: no topic takes a stream, or it would be mixed with another in its topic. Nothing is changed.
        """
        plans = tuple(plans or self._plans)
        new = [(stream, self._topics_of(stream, plans)) for stream in streams if stream.name not in self._rows]
        self._trades = self._trades_with(new)
        self._plans, self._quote_asset = plans, quote_asset or self._quote_asset
        for stream, topics in new:
            row = self._rows[stream.name] = self._builder.row(stream, [self._outputs[topic] for topic in topics])
            self._topics[stream.name] = topics
            self.pipeline.add(row)
        self._begin_anew(streams)
        self.streams, self._wanted = tuple(streams), frozenset(stream.name for stream in streams)

    def moved(self, streams: Iterable[Stream], plans: Sequence[TopicPlan]) -> list[str]:
        """Streams with a row whose records would go elsewhere by these plans: that needs a restart."""
        known = (stream for stream in streams if stream.name in self._topics)
        return [stream.name for stream in known if _takers(stream, plans) != self._topics[stream.name]]

    def _topics_of(self, stream: Stream, plans: Iterable[TopicPlan]) -> list[str]:
        topics = _takers(stream, plans)
        if not topics:
            raise ConfigurationError(f"--streams: no topic takes {stream.name}: name it under one of the profile's topics")
        return topics

    def _trades_with(self, new: Iterable[tuple[Stream, Sequence[str]]]) -> dict[str, str]:
        """Of trades a topic carries one stream for good: the next start would refuse it otherwise."""
        trades = dict(self._trades)
        for stream, topics in new:
            if stream.kind is None or stream.kind.topic != TRADES:
                continue
            for topic in self._avro_topics.intersection(topics):
                if trades.setdefault(topic, stream.spec) != stream.spec:
                    carried = trades[topic]
                    raise ConfigurationError(f"--streams: topic {topic} carries {carried}, so {stream.spec} needs another one")
        return trades

    def _begin_anew(self, streams: Iterable[Stream]) -> None:
        """What passed while a stream was not wanted is not missing."""
        for stream in streams:
            if not self.wants(stream.name):
                self._rows[stream.name].sequence.forget()

    def _currency_of(self, symbol: str) -> str:
        return self._quote_asset(symbol)


def _takers(stream: Stream, plans: Iterable[TopicPlan]) -> list[str]:
    return [plan.name for plan in plans if plan.takes(stream)]
