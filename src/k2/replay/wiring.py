"""
The composition root of a replay: from the client's settings to the parts of a run.

A dry run asks nobody: neither Kafka, nor the registry, nor the exchange has to be there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from k2.errors import ConfigurationError
from k2.ingestion.adapters.journal import DailyJournal
from k2.ingestion.adapters.logs import rdkafka_logger
from k2.ingestion.adapters.registry import SchemaRegistry
from k2.ingestion.adapters.registry_access import SchemaNotRegisteredError, access_from, subject_of
from k2.ingestion.adapters.registry_decoder import parsed_schema
from k2.ingestion.adapters.rest import RestError
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.adapters.state import peek
from k2.ingestion.connecting import rest_opener
from k2.ingestion.core.decoding import ParsedSchema, UndecodableError, decode_framed, schema_id_of
from k2.ingestion.core.identity import message_identity
from k2.ingestion.core.schemas import Schema
from k2.ingestion.exchanges.binance.symbols import SymbolInfo, quote_asset
from k2.ingestion.service import DEAD_LETTER_PREFIX
from k2.ingestion.settings import Settings
from k2.ingestion.startup import SYMBOLS_VERSION, symbols_document, symbols_in
from k2.reading.decoded import REGISTRY
from k2.reading.patience import Patience
from k2.reading.terminal import to_terminal
from k2.replay.destinations import Environment, Wanted
from k2.replay.publisher import Publisher
from k2.replay.runner import Desk
from k2.replay.topics import ReplayTopics
from k2.replay.workbench import Workbench

NO_SCHEMA_ID = 0  # a dry run encodes to see whether it can, and throws the bytes away


def dry_workbench(settings: Settings) -> Workbench:
    """Prepares letters without asking anybody."""
    assets = QuoteAssets(settings, ask=False)
    return Workbench(
        wanted_by(settings), Environment(load_schema, lambda _topic, _schema: NO_SCHEMA_ID, lambda _value: True, assets.of)
    )


def workbench(settings: Settings, registry: SchemaRegistry) -> Workbench:
    """Prepares letters with the ids of a registry, which is never written to."""
    ids = SchemaIds(settings, registry)
    return Workbench(wanted_by(settings), Environment(load_schema, ids.of, ids.still_reads, QuoteAssets(settings, ask=True).of))


def desk(settings: Settings, stop_signal: Callable[[], int]) -> Desk:
    """What a run that publishes writes to."""
    logger: logging.Logger = rdkafka_logger()
    kafka = settings.kafka
    publisher = Publisher(kafka.producer_config(), logger, patience_s=settings.startup_timeout_s, stop_signal=stop_signal)
    topics = ReplayTopics(kafka.admin_config(), logger, patience_of(settings))
    return Desk(publisher, topics, DailyJournal(settings.dead_letter_dir, DEAD_LETTER_PREFIX))


def open_registry(settings: Settings) -> SchemaRegistry:
    return SchemaRegistry(access_from(settings.registry))


def patience_of(settings: Settings) -> Patience:
    """What is away is waited for until the start-up timeout, and whoever sits at a terminal hears of it."""
    return Patience(settings.startup_timeout_s, to_terminal("k2 dlq"))


def wanted_by(settings: Settings) -> Wanted:
    """What the settings plan, as far as a replay needs it."""
    feed = settings.feed
    return Wanted(
        market=feed.market,
        wishes=frozenset(feed.wishes),
        symbols=frozenset(feed.symbols),
        plans=settings.topics,
        quote_assets=frozenset(feed.quote_assets),
        updates=feed.candles == "updates",
    )


class SchemaIds:
    """
    Schema ids, each asked for once.

    A registry that does not answer is waited for until the start-up timeout. All methods raise UnavailableError and
    ConfigurationError.
    """

    def __init__(self, settings: Settings, registry: SchemaRegistry) -> None:
        self._registry, self._patience = registry, patience_of(settings)
        self._ids: dict[tuple[str, str], int] = {}
        self._schemas: dict[int, ParsedSchema | None] = {}

    def of(self, topic: str, schema: Schema) -> int:
        """The id of a schema under a topic's subject."""
        key = (topic, schema.fingerprint)
        if key not in self._ids:
            try:
                found = self._patience.wait_for(
                    REGISTRY, partial(self._registry.resolve, subject_of(topic), schema, register=False)
                )
            except SchemaNotRegisteredError as missing:  # to register it would be wrong advice for a topic of JSON
                what = f"subject {missing.subject} does not hold the schema {schema.name}"
                profile = "name the --profile of the client that writes there, if it has one"
                raise ConfigurationError(f"{what}; {profile}, else register it with: {missing.command}") from missing
            self._ids[key] = found.schema_id
        return self._ids[key]

    def still_reads(self, value: bytes) -> bool:
        """
        Whether a framed value can be read with what the registry has for its schema id.

        A registry that was made anew gives ids a second time, so that an id which it knows may be that of another schema.
        """
        try:
            schema = self._schema_with(schema_id_of(value))
            return schema is not None and decode_framed(value, schema).get("message_id") == message_identity(value)
        except UndecodableError:
            return False

    def _schema_with(self, schema_id: int) -> ParsedSchema | None:
        if schema_id not in self._schemas:
            text = self._patience.wait_for(REGISTRY, lambda: self._registry.schema_text(schema_id))
            self._schemas[schema_id] = None if text is None else parsed_schema(text)
        return self._schemas[schema_id]


class QuoteAssets:
    """
    In what symbols are priced: by the client's own copy of the exchange's metadata, else the exchange, else their ending.

    Args:
        ask: Whether the exchange may be asked, once a symbol and for the market of the settings only.
    """

    def __init__(self, settings: Settings, *, ask: bool) -> None:
        self._settings, self._ask = settings, ask
        self._known: dict[str, dict[str, SymbolInfo]] = {}

    def of(self, market: str, symbol: str) -> str:
        known = self._remembered(market)
        if symbol not in known and self._ask and market == self._settings.feed.market:
            known.update(self._asked(symbol))
            # Where it is not among them, there was no answer, which must not cost ten seconds a symbol, or it was the whole list.
            self._ask = symbol in known
        return known[symbol].quote_asset if symbol in known else quote_asset(symbol)

    def _remembered(self, market: str) -> dict[str, SymbolInfo]:
        if market not in self._known:
            self._known[market] = symbols_in(peek(self._settings.state_dir, symbols_document(market), SYMBOLS_VERSION))
        return self._known[market]

    def _asked(self, symbol: str) -> dict[str, SymbolInfo]:
        open_rest = rest_opener(self._settings)
        if open_rest is None:
            return {}

        async def ask() -> dict[str, SymbolInfo]:
            async with open_rest() as rest:
                return await rest.exchange_info([symbol])

        try:
            return asyncio.run(ask())
        except RestError:
            return {}
