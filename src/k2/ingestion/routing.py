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
from k2.ingestion.topic_plan import RAW, TopicPlan, sharded


def streams_for(settings: Settings, symbols: Sequence[str]) -> tuple[Stream, ...]:
    """
    What is to be received: the wished streams and those that are to be captured, each once.

    Args:
        symbols: Those of this instance's shard. Streams that are wished for by their full name are dealt out here.
    """
    feed = settings.feed
    wishes = (*feed.streams, *feed.raw_streams)
    of_symbols = wanted_streams(feed.market, [wish for wish in wishes if not is_full_name(wish)], symbols)
    by_name = wanted_streams(feed.market, [wish for wish in wishes if is_full_name(wish)], ())
    if feed.shard is not None:
        by_name = sharded(by_name, feed.shard)
    return tuple({stream.name: stream for stream in (*of_symbols, *by_name)}.values())


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
        self.streams: tuple[Stream, ...] = ()
        self.pipeline = Pipeline({})

    @property
    def rows(self) -> list[Row]:
        """The rows of the streams that are wanted now."""
        return [self._rows[stream.name] for stream in self.streams]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(stream.name for stream in self.streams)

    def may_be_silent(self, name: str) -> bool:
        """Whether silence of a stream says nothing."""
        return name in self._rows and self._rows[name].sparse

    def use(self, plans: Sequence[TopicPlan], quote_asset: Callable[[str], str]) -> None:
        """From now on these topics, all known from the start, take new streams, and this tells the currency of new symbols."""
        self._plans, self._quote_asset = tuple(plans), quote_asset

    def want(self, streams: Sequence[Stream]) -> None:
        """
        From now on these streams are wanted.

        Raises:
            ConfigurationError: a stream that no topic takes.
        """
        for stream in streams:
            if stream.name not in self._rows:
                row = self._rows[stream.name] = self._builder.row(stream, self._outputs_of(stream))
                self.pipeline.add(row)
        self.streams = tuple(streams)

    def _currency_of(self, symbol: str) -> str:
        return self._quote_asset(symbol)

    def _outputs_of(self, stream: Stream) -> list[Output]:
        taken = [plan for plan in self._plans if plan.takes(stream)]
        if not taken:
            raise ConfigurationError(f"--streams: no topic takes {stream.name}: name it under one of the profile's topics")
        return [self._outputs[plan.name] for plan in taken]
