"""
The composition root: builds the parts, starts them in order, runs them, and ends them without losing anything.

One event loop, one thread; librdkafka and the dead letters' writer have threads of their own. The order of the start is the
order of what depends on what: state and dead letters, health, topic, schema, symbols, and only then the exchange.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from k2.errors import ConfigurationError, FatalError
from k2.ingestion.adapters.dead_letters import BoxState, DeadLetterBox
from k2.ingestion.adapters.disk import DirectoryWatch
from k2.ingestion.adapters.feed.group import FeedGroup
from k2.ingestion.adapters.feed.transports import choose_transport
from k2.ingestion.adapters.http import HttpServer, service_routes
from k2.ingestion.adapters.journal import DailyJournal, JournalUnwritableError
from k2.ingestion.adapters.kafka import KafkaSink
from k2.ingestion.adapters.logs import get_logger, rdkafka_logger
from k2.ingestion.adapters.rest import RestClient
from k2.ingestion.adapters.state import StateDirectory
from k2.ingestion.background import in_background
from k2.ingestion.candle_repair import CandleRepair
from k2.ingestion.connecting import endpoints, feed_policy, rest_opener
from k2.ingestion.core.backpressure import Limits
from k2.ingestion.core.health import SchemaSource, Status, evaluate, liveness, readiness
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.dead_letter_desk import DeadLetterDesk
from k2.ingestion.engine import Engine
from k2.ingestion.happenings import Happenings
from k2.ingestion.pin_watch import confirm_pins, lookups_of
from k2.ingestion.readings import Readings
from k2.ingestion.record_reader import RecordReader
from k2.ingestion.routing import Routing, outputs_for, streams_for
from k2.ingestion.service_metrics import keep_logging
from k2.ingestion.settings import Settings
from k2.ingestion.startup import Deadline, SymbolFacts, learn_symbols, prepare_topics, resolve_schemas, wait_for
from k2.ingestion.supervisor import Supervisor
from k2.ingestion.switching import Switch, stamp_of
from k2.ingestion.telemetry import Exposition

DEAD_LETTER_PREFIX = "binance"
LETTERS_FLUSH_S = 5.0
OVERFLOW_RECORDS = 100_000
BYTES_PER_MIB = 1_048_576
NOT_STARTED: Mapping[str, Any] = {"status": Status.UNHEALTHY.value, "reasons": ["not started"]}

_log = get_logger("k2.service")


class Service:
    """
    One client, from its settings to its balance sheet. `run` once.

    Args:
        reread: Reads the settings anew when a reload is asked for; None where they cannot change.
    """

    def __init__(self, settings: Settings, *, reread: Callable[[], Settings] | None = None) -> None:
        self._settings, self._reread = settings, reread
        self._stop, self._reload = asyncio.Event(), asyncio.Event()
        self._profile_read = stamp_of(settings.profile_file) if settings.profile_file else None
        self.readings: Readings | None = None
        self._rdkafka: logging.Logger = rdkafka_logger()
        self._transport = choose_transport(settings.feed.transport, settings.feed.compression)
        self._happenings = Happenings(self._transport.name)
        journal = DailyJournal(settings.dead_letter_dir, DEAD_LETTER_PREFIX)
        self._box = DeadLetterBox(journal, on_change=self._letters_changed)
        self._desk = DeadLetterDesk(self._box, self._happenings, settings.feed.market)
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Ask for the orderly end. May be called more than once."""
        self._stop.set()

    def health(self) -> dict[str, Any]:
        """What `/health` says."""
        if self.readings is None:
            return dict(NOT_STARTED)
        return evaluate(self.readings.health()).body

    def reload(self) -> None:
        """Ask for the settings to be read anew, and for the streams that they want then."""
        self._reload.set()

    async def run(self) -> None:
        """
        Stream until asked to stop, then deliver what is left and print the balance sheet.

        Raises:
            ConfigurationError: something asked for cannot work.
            UnavailableError: broker or registry did not come in time.
            FatalError: a state in which running on would make things worse.
        """
        async with AsyncExitStack() as parts:
            state = StateDirectory(self._settings.state_dir)
            parts.callback(state.close)
            self._open_dead_letters(parts)
            sink, engine, supervisor, readings = self._build()
            await self._serve(parts, readings)
            routing = await self._started(parts, state, readings)
            if routing is None:
                _log.info("Shutdown complete", **to_builtins(readings.balance()))
                return
            engine.use(routing.pipeline)
            feed = self._build_feed(routing, engine, supervisor, readings)
            learn = partial(self._learn_symbols, state)
            switch = Switch(self._settings, routing, feed, readings, reread=self._reread, learn=learn)
            try:
                async with AsyncExitStack() as beside:  # ends before the end begins: nothing new is made during it
                    self._repair_candles(beside, engine, supervisor, routing)
                    self._follow(beside, switch)
                    await self._stream(feed, supervisor)
            finally:
                await self._shut_down(sink, readings)

    def _open_dead_letters(self, parts: AsyncExitStack) -> None:
        try:
            self._box.start()
        except JournalUnwritableError as error:
            raise ConfigurationError(f"--dead-letter-dir: {error}") from error
        parts.callback(self._box.close)
        for warning in self._box.warnings:
            _log.warning("Dead letters", detail=warning)

    def _letters_changed(self, state: BoxState) -> None:
        """Called on the writer's thread."""
        if state.writable:
            self._loop.call_soon_threadsafe(self._happenings.letters_writable, state.pending)
        else:
            self._loop.call_soon_threadsafe(self._happenings.letters_unwritable, state.error, state.pending)

    def _build(self) -> tuple[KafkaSink, Engine, Supervisor, Readings]:
        kafka = self._settings.kafka
        supervisor = Supervisor(self._happenings, self._desk, self._stop)
        sink = KafkaSink(kafka.producer_config(), supervisor, self._rdkafka)
        engine = Engine(Pipeline({}), sink, supervisor, self._loop.call_soon)
        readings = Readings(
            engine=engine, sink=sink, happenings=self._happenings, letters=self._desk,
            queue_messages=kafka.queue_messages, queue_bytes=kafka.queue_mib * BYTES_PER_MIB,
            directories=DirectoryWatch(self._directories()), transport=self._transport.name,
        )  # fmt: skip
        readings.symbols = self._settings.feed.symbols
        limits = Limits(
            pause_at=max(1, kafka.queue_messages * 9 // 10), resume_at=kafka.queue_messages // 2, overflow_at=OVERFLOW_RECORDS
        )
        self.readings = readings
        supervisor.attach(engine, sink, readings, limits, self._settings.feed.silence_timeout_s)
        return sink, engine, supervisor, readings

    def _directories(self) -> dict[str, Path]:
        settings, log_file = self._settings, self._settings.logs.file
        logs = {"logs": log_file.parent} if log_file else {}
        return {"dead_letters": settings.dead_letter_dir, "state": settings.state_dir, **logs}

    async def _serve(self, parts: AsyncExitStack, readings: Readings) -> None:
        http = self._settings.http
        server = HttpServer(http.host, http.port, service_routes(
            metrics=Exposition(readings).render,
            health=lambda: evaluate(readings.health()),
            readiness=lambda: readiness(readings.health()),
            liveness=liveness,
        ))  # fmt: skip
        await server.start()
        parts.push_async_callback(server.stop)
        in_background(parts, readings.directories.keep_looking())
        if self._settings.metrics_log_interval_s:
            in_background(parts, keep_logging(readings, self._settings.metrics_log_interval_s))
        _log.info("Serving health and metrics", address=f"http://{server.host}:{server.port}")

    async def _started(self, parts: AsyncExitStack, state: StateDirectory, readings: Readings) -> Routing | None:
        """The rows of all streams, once everything that it needs is there; None when asked to stop before."""
        starting = asyncio.ensure_future(self._start(parts, state, readings))
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return starting.result() if starting.done() else None
        finally:
            for task in (starting, stopping):
                task.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)

    async def _start(self, parts: AsyncExitStack, state: StateDirectory, readings: Readings) -> Routing:
        settings, facts = self._settings, readings.start
        deadline = Deadline(settings.startup_timeout_s)
        await prepare_topics(settings, self._rdkafka, deadline)
        facts.waiting_for = ("registry", "exchange")
        schemas = await resolve_schemas(settings, state, deadline)
        facts.schema_source, facts.schemas = schemas.source, schemas.facts
        if schemas.source is SchemaSource.PINNED:
            in_background(parts, confirm_pins(facts, lookups_of(settings, schemas)))
        facts.waiting_for = ("exchange",)
        symbols = await wait_for("exchange", partial(self._learn_symbols, state, settings), deadline)
        facts.unknown_symbols = symbols.unknown
        readings.symbols = symbols.known
        parsed = {topic: schema.parsed for topic, schema in schemas.schemas.items()}
        self._desk.use(RecordReader(settings.feed.market, {plan.name: plan for plan in settings.topics}, parsed))
        routing = Routing(settings, outputs_for(settings.topics, schemas.ids), symbols.quote_asset)
        routing.want(streams_for(settings, symbols.known))
        readings.rows = routing.rows
        return routing

    async def _learn_symbols(self, state: StateDirectory, settings: Settings) -> SymbolFacts:
        if self._open_rest is None:
            return await learn_symbols(settings, None, state)
        async with self._open_rest() as rest:
            return await learn_symbols(settings, rest, state)

    @cached_property
    def _open_rest(self) -> Callable[[], RestClient] | None:
        return rest_opener(self._settings)  # once: where REST is and whom it trusts needs a restart to change

    def _repair_candles(self, beside: AsyncExitStack, engine: Engine, supervisor: Supervisor, routing: Routing) -> None:
        """Closed candles that were missed are asked of REST, where there is one."""
        if self._open_rest is None:
            return
        repair = CandleRepair(self._open_rest, engine.on_history, routing.wants)
        supervisor.repair_with(repair)
        in_background(beside, repair.run())

    def _follow(self, beside: AsyncExitStack, switch: Switch) -> None:
        """What may change the streams while the client runs."""
        settings = self._settings
        in_background(beside, self._reload_when_asked(switch))
        if settings.profile_file is not None:
            in_background(beside, switch.follow_file(settings.profile_file, self._profile_read))
        if settings.feed.listing_interval_s:
            in_background(beside, switch.follow_listings(settings.feed.listing_interval_s))

    async def _reload_when_asked(self, switch: Switch) -> None:
        while await self._reload.wait():
            self._reload.clear()
            await switch.reload()

    def _build_feed(self, routing: Routing, engine: Engine, supervisor: Supervisor, readings: Readings) -> FeedGroup:
        feed = FeedGroup(
            endpoints(self._settings, self._transport),
            routing.names,
            engine,
            supervisor,
            feed_policy(self._settings, may_be_silent=routing.may_be_silent),
            received=lambda: engine.received,
            streams_per_connection=self._settings.feed.streams_per_connection,
        )
        supervisor.watch(feed)
        readings.start.waiting_for = ()
        return feed

    async def _stream(self, feed: FeedGroup, supervisor: Supervisor) -> None:
        running = asyncio.ensure_future(feed.run())
        ticking = asyncio.ensure_future(supervisor.keep_time())
        stopping = asyncio.ensure_future(self._stop.wait())
        tasks = {running, ticking, stopping}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if supervisor.fatal:
                raise FatalError(supervisor.fatal)
        finally:
            await feed.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _shut_down(self, sink: KafkaSink, readings: Readings) -> None:
        """Deliver what is left within the deadline; what cannot be delivered becomes dead letters."""
        deadline = time.monotonic() + self._settings.shutdown_timeout_s
        deadline_s = self._settings.shutdown_timeout_s
        _log.info("Shutting down", in_flight=sink.in_flight, deadline_s=deadline_s, second_signal="ends at once")
        while sink.in_flight and time.monotonic() < deadline and not sink.fatal:
            sink.flush()
            await asyncio.sleep(0)  # health and metrics answer between the slices
        if sink.in_flight:
            _log.error("Not everything could be delivered in time: the rest becomes dead letters", records=sink.in_flight)
            sink.abandon()
        letters_safe = await self._box.flush(LETTERS_FLUSH_S)
        sheet = readings.balance()
        _log.info("Shutdown complete", **to_builtins(sheet))
        if self._desk.full or not letters_safe:
            raise FatalError(f"dead letters could not be written and went to stderr: {self._box.last_error}")
        if not sheet.balanced or sheet.in_flight:
            raise FatalError(f"the books do not balance, please report this: {sheet}")
