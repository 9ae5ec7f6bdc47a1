"""
The composition root: builds the parts, starts them in order, runs them, and ends them without losing anything.

One event loop, one thread; librdkafka and the dead letters' writer have threads of their own. The order of the start is the
order of what depends on what: state and dead letters, health, topic, schema, symbols, and only then the exchange.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from k2.errors import ConfigurationError, FatalError
from k2.ingestion.adapters.dead_letters import BoxState, DeadLetterBox
from k2.ingestion.adapters.disk import DirectoryWatch
from k2.ingestion.adapters.feed.feed import Endpoint, Feed
from k2.ingestion.adapters.feed.policy import FeedPolicy
from k2.ingestion.adapters.feed.port import LinkOptions
from k2.ingestion.adapters.feed.transports import choose_transport
from k2.ingestion.adapters.http import HttpServer, service_routes
from k2.ingestion.adapters.journal import DailyJournal, JournalUnwritableError
from k2.ingestion.adapters.kafka import KafkaSink
from k2.ingestion.adapters.logs import get_logger, rdkafka_logger
from k2.ingestion.adapters.rest import RestClient, RestOptions
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.adapters.state import StateDirectory
from k2.ingestion.core.backpressure import Limits
from k2.ingestion.core.health import SchemaSource, evaluate, liveness, readiness
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.dead_letter_desk import DeadLetterDesk
from k2.ingestion.engine import Engine
from k2.ingestion.exchanges.binance import mapping
from k2.ingestion.exchanges.binance.streams import KINDS, build_rows
from k2.ingestion.exchanges.binance.urls import dial_url
from k2.ingestion.happenings import Happenings
from k2.ingestion.pin_watch import confirm_pin, lookup_of
from k2.ingestion.readings import Readings
from k2.ingestion.settings import Settings
from k2.ingestion.startup import Deadline, SymbolFacts, learn_symbols, prepare_topic, resolve_schema
from k2.ingestion.supervisor import Supervisor
from k2.ingestion.telemetry import Exposition

DEAD_LETTER_PREFIX = "binance"
LETTERS_FLUSH_S = 5.0
OVERFLOW_RECORDS = 100_000
BYTES_PER_MIB = 1_048_576

_log = get_logger("k2.service")


class Service:
    """One client, from its settings to its balance sheet. `run` once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self._rdkafka: logging.Logger = rdkafka_logger()
        self._transport = choose_transport(settings.feed.transport, settings.feed.compression)
        self._happenings = Happenings(self._transport.name)
        journal = DailyJournal(settings.dead_letter_dir, DEAD_LETTER_PREFIX)
        self._box = DeadLetterBox(journal, on_change=self._letters_changed)
        feed = settings.feed
        self._desk = DeadLetterDesk(self._box, self._happenings, feed.market, feed.stream, mapping.original_message)
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Ask for the orderly end. May be called more than once."""
        self._stop.set()

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
            started = await self._started(parts, state, readings)
            if started is None:
                _log.info("Shutdown complete", **to_builtins(readings.balance()))
                return
            engine.use(started)
            feed = self._build_feed(engine, supervisor, readings)
            try:
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
        _in_background(parts, readings.directories.keep_looking())
        _log.info("Serving health and metrics", address=f"http://{server.host}:{server.port}")

    async def _started(self, parts: AsyncExitStack, state: StateDirectory, readings: Readings) -> Pipeline | None:
        """The pipeline, once everything that it needs is there; None when asked to stop before."""
        starting = asyncio.ensure_future(self._start(parts, state, readings))
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if starting.done():
            return starting.result()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return None

    async def _start(self, parts: AsyncExitStack, state: StateDirectory, readings: Readings) -> Pipeline:
        settings, facts = self._settings, readings.start
        deadline = Deadline(settings.startup_timeout_s)
        await prepare_topic(settings, self._rdkafka, deadline)
        facts.waiting_for = ("registry", "exchange")
        schema = load_schema(KINDS[settings.feed.market, settings.feed.stream].schema_name)
        resolved = await resolve_schema(settings, schema, state, deadline)
        facts.schema_source = resolved.source
        facts.schema = (resolved.subject, str(resolved.schema_id), schema.fingerprint[:16])
        if resolved.source is SchemaSource.PINNED:
            _in_background(parts, confirm_pin(facts, lookup_of(settings, schema)))
        facts.waiting_for = ("exchange",)
        symbols = await self._learn_symbols(state)
        facts.unknown_symbols = symbols.unknown
        readings.symbols = symbols.known
        self._desk.use_schema(schema.parsed)
        return self._pipeline(symbols, schema.parsed, resolved.schema_id, readings)

    async def _learn_symbols(self, state: StateDirectory) -> SymbolFacts:
        feed = self._settings.feed
        if feed.rest_url is None:
            return await learn_symbols(self._settings, None, state)
        options = RestOptions(tls=tls_context(self._settings), proxy=feed.proxy)
        async with RestClient(feed.rest_url, feed.market, options) as rest:
            return await learn_symbols(self._settings, rest, state)

    def _pipeline(self, symbols: SymbolFacts, schema: object, schema_id: int, readings: Readings) -> Pipeline:
        feed = self._settings.feed
        kind = KINDS[feed.market, feed.stream]
        pipeline = Pipeline(build_rows(kind, symbols.known, symbols.quote_asset, self._settings.topic, schema, schema_id))
        readings.rows = pipeline.rows
        return pipeline

    def _build_feed(self, engine: Engine, supervisor: Supervisor, readings: Readings) -> Feed:
        given = self._settings.feed
        url = dial_url(given.ws_url, given.stream)
        if url != given.ws_url:
            _log.info("The address is dialled as a combined stream", ws_url=given.ws_url, dialled=url)
        options = LinkOptions(
            open_timeout_s=given.connect_timeout_s,
            tls=tls_context(self._settings) if url.startswith("wss:") else None,
            proxy=given.proxy,
            compression=given.compression,
        )
        policy = FeedPolicy(
            reconnect_min_s=given.reconnect_delay_min_s,
            reconnect_max_s=given.reconnect_delay_max_s,
            heartbeat_interval_s=given.heartbeat_interval_s,
            idle_ping_after_s=given.idle_ping_after_s,
            pong_timeout_s=given.pong_timeout_s,
            silence_timeout_s=given.silence_timeout_s,
        )
        streams = [row.stream for row in readings.rows]
        feed = Feed(Endpoint(url, self._transport, options), streams, engine, supervisor, policy)
        supervisor.watch(feed)
        readings.start.waiting_for = ()
        return feed

    async def _stream(self, feed: Feed, supervisor: Supervisor) -> None:
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
        if not sheet.balanced:
            raise FatalError(f"the books do not balance, please report this: {sheet}")


def _in_background(parts: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Runs beside everything until the end. The client can do without it, but not without knowing."""
    task = asyncio.create_task(work)
    task.add_done_callback(_tell_of_a_defect)
    parts.push_async_callback(_cancelled, task)


def _tell_of_a_defect(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (defect := task.exception()):
        _log.error("Work in the background broke, please report this", exc_info=defect)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def tls_context(settings: Settings) -> ssl.SSLContext:
    """
    Verifying always: certificate chain and host name.

    Raises:
        ConfigurationError: the file of authorities cannot be read as PEM.
    """
    try:
        return ssl.create_default_context(cafile=settings.feed.ca_file)
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(f"--ws-ca: {settings.feed.ca_file} holds no certificates in PEM form: {error}") from error


def install_signals(service: Service) -> None:
    """SIGTERM and SIGINT end in order; a second one ends at once."""
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        _log.info("Signal received", signal=signal.Signals(number).name)
        service.stop()
        for again in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(again)
            signal.signal(again, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
