"""
Where a letter's event belongs now: its stream, the topics that take it, and the pipeline that leads there.

What the settings plan decides about their own market. About any other topic the letter itself decides: its records go where they
were meant to go, in the form that the kind of stream has by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from msgspec import Struct

from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.core.schemas import Schema
from k2.ingestion.core.sequence import AnyOrder
from k2.ingestion.exchanges.binance.layouts import LAYOUTS
from k2.ingestion.exchanges.binance.names import Stream, stream_of
from k2.ingestion.exchanges.binance.streams import RowBuilder
from k2.ingestion.routing import outputs_for
from k2.ingestion.topic_plan import AVRO, RAW, TopicPlan

MOST_PIPELINES = 10_000  # what names them comes from files, so there is a bound
ANYTHING = ("*",)

_SYMBOL = re.compile(r"[^\W_]+(_[0-9]{6})?")
_SPEC = re.compile(r"[A-Za-z0-9_+:@]+")


class Wanted(Struct, frozen=True):
    """
    What the client's settings plan.

    Attributes:
        wishes: Specs, which are meant of every symbol, and names of single streams.
        quote_assets: All symbols that are priced in these are wanted beside `symbols`.
        updates: Whether candles that are not closed yet are wanted as well.
    """

    market: str
    wishes: frozenset[str]
    symbols: frozenset[str]
    plans: tuple[TopicPlan, ...]
    quote_assets: frozenset[str] = frozenset()
    updates: bool = False


class Environment(Struct, frozen=True):
    """
    What has to be asked for. Each may raise a K2Error, which ends the run.

    `schema` loads one by name; `schema_id` is the id to encode with, by topic and schema; `still_reads` tells whether consumers
    can read a value with what the registry has for its schema id; `quote_asset` is that of a market's symbol.
    """

    schema: Callable[[str], Schema]
    schema_id: Callable[[str, Schema], int]
    still_reads: Callable[[bytes], bool]
    quote_asset: Callable[[str, str], str]


def named_stream(market: str, name: str) -> Stream | None:
    """The stream of this name, which comes from a file that anybody may have written to; None where it cannot be one."""
    try:
        stream = stream_of(market, name)
    except ValueError:
        return None
    sound = stream.is_all_market or (_SYMBOL.fullmatch(stream.symbol) and _SPEC.fullmatch(stream.spec))
    return stream if sound else None


class Destinations:
    """Makes the pipelines, and keeps them."""

    def __init__(self, wanted: Wanted, environment: Environment) -> None:
        self.wanted = wanted
        self._environment = environment
        self._planned = {plan.name: plan for plan in wanted.plans}
        self._builders: dict[str, RowBuilder] = {}
        self._pipelines: dict[tuple[str, str, tuple[str, ...]], Pipeline] = {}

    def plan_named(self, market: str, topic: str) -> TopicPlan | None:
        """The topic as the settings plan it; None where they do not, or are about another market."""
        return self._planned.get(topic) if market == self.wanted.market else None

    def of_event(self, market: str, stream: Stream, topic: str) -> list[TopicPlan]:
        """
        All topics that take the events of a stream, one of which is that of the letter; none where nobody wants them.

        Args:
            topic: That of the letter; empty where its event had found no stream, and only the settings tell whether it is wanted.
        """
        ours = self.wanted.plans if market == self.wanted.market else ()
        planned = [plan for plan in ours if plan.takes(stream) and _can_hold(plan, stream)]
        if not topic:
            return planned if planned and self._is_wanted(stream) else []
        return planned if topic in {plan.name for plan in planned} else self.of_record(market, stream, topic)

    def of_record(self, market: str, stream: Stream, topic: str) -> list[TopicPlan]:
        """The one topic that a record was meant for; none where nothing is known to make it from such an event."""
        planned = self.plan_named(market, topic)
        if planned is not None and _can_hold(planned, stream):
            return [planned]
        if stream.kind is None:
            return []
        return [TopicPlan(name=topic, streams=ANYTHING, layout=AVRO, schema_name=stream.kind.schema_name)]

    def pipeline(self, market: str, stream: Stream, plans: Iterable[TopicPlan]) -> Pipeline:
        """The way of the stream's frames to these topics, in whatever order they come."""
        topics = {plan.name: plan for plan in plans}
        if not topics:
            return Pipeline({})
        key = (market, stream.name, tuple(topics))
        if key not in self._pipelines:
            if len(self._pipelines) >= MOST_PIPELINES:
                self._pipelines.clear()
            ids = {name: self._schema_id(plan) for name, plan in topics.items() if plan.needs_schema}
            row = self._builder(market).row(stream, list(outputs_for(topics.values(), ids).values()))
            self._pipelines[key] = Pipeline({stream.name.encode(): row})
        return self._pipelines[key]

    def _is_wanted(self, stream: Stream) -> bool:
        wanted = self.wanted
        if stream.name in wanted.wishes:
            return True
        if stream.is_all_market or stream.spec not in wanted.wishes:
            return False
        return stream.symbol in wanted.symbols or bool(
            wanted.quote_assets and self._environment.quote_asset(wanted.market, stream.symbol) in wanted.quote_assets
        )

    def _schema_id(self, plan: TopicPlan) -> int:
        return self._environment.schema_id(plan.name, self._environment.schema(plan.schema_name))

    def _builder(self, market: str) -> RowBuilder:
        if market not in self._builders:
            quote_asset = self._environment.quote_asset
            self._builders[market] = RowBuilder(
                market, lambda symbol: quote_asset(market, symbol), updates=self.wanted.updates, sequence=AnyOrder
            )
        return self._builders[market]


def _can_hold(plan: TopicPlan, stream: Stream) -> bool:
    """Whether the topic's form can say what the stream's events say."""
    if plan.layout == RAW:
        return True
    if stream.kind is None:
        return False
    if plan.layout == AVRO:
        return plan.schema_name == stream.kind.schema_name
    kinds = LAYOUTS[plan.layout].kinds
    return not kinds or stream.kind.name in kinds
