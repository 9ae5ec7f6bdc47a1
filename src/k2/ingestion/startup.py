"""
What must be there before the first frame is read: topic, schema id, symbol metadata.

Each is waited for with back-off until the start-up timeout, except the exchange's metadata: it only refines what the offline
tables know, so a start does not hang on it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec
from msgspec import Struct

from k2.errors import ConfigurationError, UnavailableError
from k2.ingestion.adapters.kafka_inspection import NotAuthorisedError
from k2.ingestion.adapters.logs import get_logger
from k2.ingestion.adapters.registry import REQUEST_TIMEOUT_S as REGISTRY_TIMEOUT_S
from k2.ingestion.adapters.registry import SchemaRegistry, resolve_with_pins
from k2.ingestion.adapters.registry_access import ResolvedSchema, SchemaPins, access_from
from k2.ingestion.adapters.rest import RestClient, RestError
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.adapters.state import StateDirectory, StateWriteError
from k2.ingestion.adapters.topic_tail import last_identities
from k2.ingestion.adapters.topics import REQUEST_TIMEOUT_S, TopicMaker, TopicSpec
from k2.ingestion.core.health import SchemaSource
from k2.ingestion.core.schemas import Schema
from k2.ingestion.exchanges.binance.streams import identity_prefix
from k2.ingestion.exchanges.binance.symbols import SymbolInfo, quote_asset, trading_in, unknown_symbols
from k2.ingestion.routing import foreseen_streams
from k2.ingestion.settings import Settings
from k2.ingestion.topic_plan import TopicPlan, foreign_among, planned_specs

SYMBOLS_NAME, SYMBOLS_VERSION = "symbols", 1
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 5.0
SHORTEST_ATTEMPT_S = 1.0
WRITE = "WRITE"
FINGERPRINT_SHOWN = 16

_log = get_logger("k2.startup")
_T = TypeVar("_T")


class Deadline:
    """The start-up timeout, shared by all that is waited for."""

    def __init__(self, timeout_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self.timeout_s = timeout_s
        self._at_s = clock_s() + timeout_s

    @property
    def left_s(self) -> float:
        return self._at_s - self._clock_s()

    def bound_s(self, timeout_s: float) -> float:
        """`timeout_s`, or less where less is left, but enough for one honest attempt."""
        return min(timeout_s, max(self.left_s, SHORTEST_ATTEMPT_S))


async def wait_for(what: str, attempt: Callable[[], Awaitable[_T]], deadline: Deadline) -> _T:
    """
    Try until it works or the deadline passes.

    Raises:
        UnavailableError: the last one that `attempt` raised, its text saying how long we waited.
    """
    delay_s = FIRST_RETRY_S
    while True:
        try:
            return await attempt()
        except UnavailableError as error:
            if deadline.left_s <= delay_s:
                raise UnavailableError(f"gave up after {deadline.timeout_s:.0f} s of waiting for the {what}: {error}") from error
            _log.warning(f"Waiting for the {what}", error=str(error), retry_in_s=delay_s, seconds_left=round(deadline.left_s))
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, LONGEST_RETRY_S)


async def prepare_topics(settings: Settings, rdkafka: logging.Logger, deadline: Deadline) -> None:
    """See to it that every topic exists, that we may write to it, and that it carries nothing that does not belong there."""
    timeout_s = deadline.bound_s(REQUEST_TIMEOUT_S)
    maker = TopicMaker(settings.kafka.admin_config(), logger=rdkafka, timeout_s=timeout_s)
    foreseen = foreseen_streams(settings)
    for plan in settings.topics:
        prepare = partial(_prepare_topic, settings, plan, planned_specs(foreseen, plan), maker, rdkafka)
        await wait_for("broker", prepare, deadline)


async def _prepare_topic(
    settings: Settings, plan: TopicPlan, specs: Sequence[str], maker: TopicMaker, rdkafka: logging.Logger
) -> None:
    spec = spec_of_topic(plan, settings.kafka.replication_factor)
    report = await asyncio.to_thread(maker.ensure, spec, create=settings.kafka.create_topic)
    if report.created:
        _log.info("Topic created", topic=spec.name, partitions=report.partitions, retention_ms=spec.retention_ms)
    for warning in report.warnings:
        _log.warning("Topic differs from the settings", detail=warning)
    await _refuse_unwritable(settings, plan.name, maker)
    if not report.created:
        await _refuse_foreign(settings, plan, specs, rdkafka)


def spec_of_topic(plan: TopicPlan, replication_factor: int) -> TopicSpec:
    """A planned topic as we would create it."""
    return TopicSpec(plan.name, plan.partitions, replication_factor, plan.retention_ms, plan.properties)


async def _refuse_unwritable(settings: Settings, name: str, maker: TopicMaker) -> None:
    """Without the right to write the producer would only break later, again and again, with all that was received meanwhile."""
    try:
        topic = await asyncio.to_thread(maker.topic, name)
    except NotAuthorisedError:
        return  # to see it is another right; what the broker says to the first record decides then
    if topic is not None and topic.operations is not None and WRITE not in topic.operations:
        who = f"our Kafka user {settings.kafka.sasl_username}" if settings.kafka.sasl_username else "our Kafka user"
        raise ConfigurationError(f"{who} may not write to topic {name}: give it the ACL Write on the topic")


async def _refuse_foreign(settings: Settings, plan: TopicPlan, specs: Sequence[str], rdkafka: logging.Logger) -> None:
    tail = await asyncio.to_thread(last_identities, settings.kafka.admin_config(), plan.name, logger=rdkafka)
    for warning in tail.warnings:
        _log.warning("The topic's last records could not be looked at", detail=warning)
    market = settings.feed.market
    foreign = foreign_among(tail.identities, market, plan, specs)
    if foreign is not None:
        wanted = identity_prefix(market, specs[0]).rstrip(".") if specs and plan.needs_schema else f"the layout {plan.layout}"
        raise ConfigurationError(
            f"{_who_named(settings, plan)}: topic {plan.name} carries {foreign}, and one topic carries one market and one "
            f"stream; name another one for {wanted}"
        )


def _who_named(settings: Settings, plan: TopicPlan) -> str:
    source = settings.topic_sources.get(plan.name)
    return "--topic-prefix" if source is None else source.place or source.name or str(source)


class Schemas(Struct, frozen=True):
    """The schemas of our topics, and the ids to encode with, by topic."""

    schemas: dict[str, Schema] = {}
    resolved: dict[str, ResolvedSchema] = {}

    @property
    def source(self) -> SchemaSource:
        """Where the ids came from: of the disk, where any of them did."""
        sources = {resolved.source for resolved in self.resolved.values()}
        return SchemaSource.PINNED if SchemaSource.PINNED in sources else next(iter(sources), SchemaSource.UNNEEDED)

    @property
    def ids(self) -> dict[str, int]:
        return {topic: resolved.schema_id for topic, resolved in self.resolved.items()}

    @property
    def facts(self) -> tuple[tuple[str, str, str], ...]:
        """Subject, id and the beginning of the fingerprint of each."""
        return tuple(
            (resolved.subject, str(resolved.schema_id), self.schemas[topic].fingerprint[:FINGERPRINT_SHOWN])
            for topic, resolved in self.resolved.items()
        )


async def resolve_schemas(settings: Settings, state: StateDirectory, deadline: Deadline) -> Schemas:
    """The ids to encode with: from the registry, or while that is away from the copy on disk."""
    plans = {plan.name: plan for plan in settings.topics if plan.needs_schema}
    if not plans:
        return Schemas()
    schemas = {name: load_schema(plan.schema_name) for name, plan in plans.items()}
    registry = SchemaRegistry(access_from(settings.registry), deadline.bound_s(REGISTRY_TIMEOUT_S))
    try:
        resolved = {
            name: await _resolve(settings, registry, plan.subject, schemas[name], SchemaPins(state), deadline)
            for name, plan in plans.items()
        }
    finally:
        registry.close()
    return Schemas(schemas, resolved)


async def _resolve(
    settings: Settings, registry: SchemaRegistry, subject: str, schema: Schema, pins: SchemaPins, deadline: Deadline
) -> ResolvedSchema:
    register = settings.registry.register
    resolved = await wait_for("registry", lambda: resolve_with_pins(registry, pins, subject, schema, register=register), deadline)
    for warning in resolved.warnings:
        _log.warning("Schema registry", detail=warning)
    _log.info("Schema resolved", subject=resolved.subject, schema_id=resolved.schema_id, source=resolved.source.value)
    return resolved


class SymbolFacts(Struct):
    """What is known of the wanted symbols: those that exist, those that the exchange does not know, and the quote assets."""

    known: tuple[str, ...]
    unknown: tuple[str, ...]
    infos: dict[str, SymbolInfo]

    def quote_asset(self, symbol: str) -> str:
        info = self.infos.get(symbol)
        return info.quote_asset if info else quote_asset(symbol)


async def learn_symbols(settings: Settings, rest: RestClient | None, state: StateDirectory) -> SymbolFacts:
    """
    The exchange's metadata of the wanted symbols, else the copy on disk, else the offline table.

    Raises:
        ConfigurationError: the exchange knows none of them.
        UnavailableError: all symbols of a quote asset are wanted, and nobody tells which they are.
    """
    feed = settings.feed
    remembered = _remembered(state, feed.market)
    if rest is None:
        if settings.feed.quote_assets and not trading_in(settings.feed.quote_assets, remembered.values()):
            raise ConfigurationError("--symbols: ALL: needs the exchange's list of symbols, and REST is off: set --rest-url")
        return _offline(settings, remembered, "REST is off")
    try:
        infos = await rest.exchange_info(() if feed.quote_assets else feed.symbols)
    except RestError as error:
        _log.warning("Symbol metadata could not be read: the copy on disk and the built-in table serve", error=str(error))
        return _offline(settings, remembered, str(error))
    facts = _judged(settings, infos, remembered)
    _remember(state, feed.market, {symbol: infos[symbol] for symbol in facts.known})
    return facts


def _judged(settings: Settings, infos: dict[str, SymbolInfo], remembered: dict[str, SymbolInfo]) -> SymbolFacts:
    feed = settings.feed
    unknown = unknown_symbols(feed.symbols, infos)
    known = [symbol for symbol in feed.symbols if symbol not in unknown]
    known += trading_in(feed.quote_assets, infos.values())
    if unknown and not known:
        raise ConfigurationError(f"--symbols: the exchange knows none of {', '.join(unknown)}")
    if feed.quote_assets and not known:
        raise ConfigurationError(f"--symbols: nothing trades in {', '.join(feed.quote_assets)} on {feed.market}")
    if unknown:
        _log.error("The exchange does not know these symbols; the others stream", unknown=list(unknown))
    return SymbolFacts(feed.of_this_shard(known), tuple(unknown), remembered | infos)


def _offline(settings: Settings, remembered: dict[str, SymbolInfo], why: str) -> SymbolFacts:
    feed = settings.feed
    listed = trading_in(feed.quote_assets, remembered.values())
    if feed.quote_assets and not listed:
        raise UnavailableError(f"--symbols {feed.every_symbol_of} needs the exchange's list of symbols, and there is none: {why}")
    return SymbolFacts(feed.of_this_shard([*feed.symbols, *listed]), (), remembered)


def _remembered(state: StateDirectory, market: str) -> dict[str, SymbolInfo]:
    document = state.read(symbols_document(market), SYMBOLS_VERSION)
    for warning in state.take_warnings():
        _log.warning("State", detail=warning)
    return symbols_in(document)


def symbols_document(market: str) -> str:
    """The name under which a market's symbols are kept in the state directory."""
    return f"{SYMBOLS_NAME}-{market}"


def symbols_in(document: object) -> dict[str, SymbolInfo]:
    """The symbols in such a document; none where it holds anything else."""
    try:
        return {info.symbol: info for info in msgspec.convert(document or [], list[SymbolInfo])}
    except msgspec.ValidationError:
        return {}


def _remember(state: StateDirectory, market: str, infos: dict[str, SymbolInfo]) -> None:
    try:
        state.write(symbols_document(market), SYMBOLS_VERSION, msgspec.to_builtins(list(infos.values())))
    except StateWriteError as error:
        _log.warning("State", detail=str(error))
