"""
What must be there before the first frame is read: topic, schema id, symbol metadata.

Each is waited for with back-off until the start-up timeout, except the exchange's metadata: it only refines what the offline
tables know, so a start does not hang on it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from k2.errors import ConfigurationError, UnavailableError
from k2.ingestion.adapters.kafka_inspection import Inspector, NotAuthorisedError
from k2.ingestion.adapters.logs import get_logger
from k2.ingestion.adapters.registry import REQUEST_TIMEOUT_S as REGISTRY_TIMEOUT_S
from k2.ingestion.adapters.registry import SchemaRegistry, resolve_with_pins
from k2.ingestion.adapters.registry_access import ResolvedSchema, SchemaPins, access_from
from k2.ingestion.adapters.rest import RestClient, RestError
from k2.ingestion.adapters.state import StateDirectory, StateWriteError
from k2.ingestion.adapters.topic_tail import last_identities
from k2.ingestion.adapters.topics import REQUEST_TIMEOUT_S, TopicSpec, ensure_topic
from k2.ingestion.core.identity import foreign_identity
from k2.ingestion.core.schemas import Schema
from k2.ingestion.exchanges.binance.streams import identity_prefix
from k2.ingestion.exchanges.binance.symbols import SymbolInfo, quote_asset, unknown_symbols
from k2.ingestion.settings import Settings

SYMBOLS_NAME, SYMBOLS_VERSION = "symbols", 1
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 5.0
SHORTEST_ATTEMPT_S = 1.0
WRITE = "WRITE"

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


async def prepare_topic(settings: Settings, rdkafka: logging.Logger, deadline: Deadline) -> None:
    """See to it that the topic exists, and that it carries no other market or stream."""
    kafka = settings.kafka
    spec = TopicSpec(settings.topic, kafka.partitions, kafka.replication_factor, kafka.retention_ms)
    config = kafka.admin_config()

    async def attempt() -> None:
        timeout_s = deadline.bound_s(REQUEST_TIMEOUT_S)
        report = await asyncio.to_thread(
            ensure_topic, config, spec, create=kafka.create_topic, logger=rdkafka, timeout_s=timeout_s
        )
        if report.created:
            _log.info("Topic created", topic=spec.name, partitions=report.partitions, retention_ms=spec.retention_ms)
        for warning in report.warnings:
            _log.warning("Topic differs from the settings", detail=warning)
        await _refuse_unwritable(settings, rdkafka, timeout_s)
        if not report.created:
            await _refuse_foreign(settings, rdkafka)

    await wait_for("broker", attempt, deadline)


async def _refuse_unwritable(settings: Settings, rdkafka: logging.Logger, timeout_s: float) -> None:
    """Without the right to write the producer would only break later, again and again, with all that was received meanwhile."""
    inspector = Inspector(settings.kafka.admin_config(), logger=rdkafka, timeout_s=timeout_s)
    try:
        topic = await asyncio.to_thread(inspector.topic, settings.topic)
    except NotAuthorisedError:
        return  # to see it is another right; what the broker says to the first record decides then
    if topic is not None and topic.operations is not None and WRITE not in topic.operations:
        who = f"our Kafka user {settings.kafka.sasl_username}" if settings.kafka.sasl_username else "our Kafka user"
        raise ConfigurationError(f"{who} may not write to topic {settings.topic}: give it the ACL Write on the topic")


async def _refuse_foreign(settings: Settings, rdkafka: logging.Logger) -> None:
    expected = identity_prefix(settings.feed.market, settings.feed.stream)
    tail = await asyncio.to_thread(last_identities, settings.kafka.admin_config(), settings.topic, logger=rdkafka)
    for warning in tail.warnings:
        _log.warning("The topic's last records could not be looked at", detail=warning)
    foreign = foreign_identity(tail.identities, expected)
    if foreign is not None:
        raise ConfigurationError(
            f"--topic-prefix: topic {settings.topic} carries {foreign}, and one topic carries one market and one stream; "
            f"name another prefix for {expected.rstrip('.')}"
        )


async def resolve_schema(settings: Settings, schema: Schema, state: StateDirectory, deadline: Deadline) -> ResolvedSchema:
    """The id to encode with: from the registry, or while that is away from the copy on disk."""
    registry = SchemaRegistry(access_from(settings.registry), deadline.bound_s(REGISTRY_TIMEOUT_S))
    pins = SchemaPins(state)
    register = settings.registry.register
    try:
        resolved = await wait_for(
            "registry", lambda: resolve_with_pins(registry, pins, settings.subject, schema, register=register), deadline
        )
    finally:
        registry.close()
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
    """
    wanted = settings.feed.symbols
    remembered = _remembered(state, settings.feed.market)
    if rest is None:
        return SymbolFacts(wanted, (), remembered)
    try:
        infos = await rest.exchange_info(wanted)
    except RestError as error:
        _log.warning("Symbol metadata could not be read: the copy on disk and the built-in table serve", error=str(error))
        return SymbolFacts(wanted, (), remembered)
    unknown = unknown_symbols(wanted, infos)
    known = tuple(symbol for symbol in wanted if symbol not in unknown)
    if not known:
        raise ConfigurationError(f"--symbols: the exchange knows none of {', '.join(unknown)}")
    if unknown:
        _log.error("The exchange does not know these symbols; the others stream", unknown=list(unknown))
    _remember(state, settings.feed.market, {symbol: infos[symbol] for symbol in known})
    return SymbolFacts(known, tuple(unknown), remembered | infos)


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
