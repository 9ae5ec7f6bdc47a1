"""
The demo from its first part to the balance sheet: starts exchange, broker, registry and client, watches, and ends them in order.

One event loop plays exchange, registry and screen; librdkafka's broker has threads of its own, the reader blocks in a worker
thread, and the client is a process.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import msgspec
from aiohttp import ClientSession
from msgspec import Struct

from k2.demo import client as client_process
from k2.demo.audience import Audience
from k2.demo.client import ClientProcess
from k2.demo.expectation import events_in_topics, expected_rows
from k2.demo.letters import LetterBox
from k2.demo.options import DemoOptions
from k2.demo.parts import EmbeddedBroker, SimulatedExchange, fetch, http_session, scratch_directory
from k2.demo.reader import Reading, TopicReader
from k2.demo.sheet import Sent, Sheet, make_sheet
from k2.demo.snapshot import ENDING, RUNNING, STARTING, Health, Memory, Snapshot, TopicRow
from k2.demo.tally import Tally
from k2.demo.words import feed_in_words, form_in_words, no_events, what_it_shows
from k2.errors import FatalError, K2Error, UnavailableError
from k2.ingestion.topic_plan import TopicPlan
from k2.live.text import ASCII, shortened
from k2.simulator.registry import EmbeddedRegistry

LOOK_EVERY_S = 0.02
SHOW_EVERY_S = 0.125
HEALTH_EVERY_S = 0.2
CONNECT_TIMEOUT_S = 20.0
FIRST_RECORD_TIMEOUT_S = 75.0  # a rare symbol may not be traded for a while, and a candle of a minute needs one to close
SETTLE_TIMEOUT_S = 2.0
READ_TO_THE_END_TIMEOUT_S = 5.0
STREAMS_NAMED = 80  # characters
MALFORMED_AFTER = 1 / 3  # of the time
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending(Struct, frozen=True):
    """
    How a run ended.

    Attributes:
        sheet: None where the client was stopped before it had begun.
        signal: What cut the run short, or 0.
        failure: Why the client ended by itself, or None.
        health: The client's last.
        kept: Where logs and dead letters are, if they were to be kept.
    """

    sheet: Sheet | None
    signal: int
    failure: K2Error | None
    health: Health | None
    kept: Path | None


async def run(options: DemoOptions, audience: Audience) -> Ending:
    """
    Play it all. Whatever happens, nothing that was started goes on.

    The first signal ends the run in order, a second one at once, with CancelledError.

    Raises:
        ConfigurationError, UnavailableError, FatalError: a part did not come up, or broke.
    """
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(scratch_directory(options.keep))
        stack.callback(audience.leave)
        return await _Director(options, audience, directory, stack).run()


class _Director:
    """One run. Whatever it starts is ended by `stack`, the last first."""

    def __init__(self, options: DemoOptions, audience: Audience, directory: Path, stack: AsyncExitStack) -> None:
        self._options, self._audience, self._directory, self._stack = options, audience, directory, stack
        self._rows = tuple(expected_rows(options))
        self._tally = Tally(options.topics, options.market, closed_only=options.closed_only)
        self._memory = Memory(self._rows)
        self._letters = LetterBox(client_process.letters_directory(directory))
        self._exchange = None if options.live else SimulatedExchange(options)
        self._health: Health | None = None
        self._consumed = self._distinct = 0
        self._phase = STARTING
        self._signal = 0
        self._first_record_s: float | None = None
        self._background: list[asyncio.Task[None]] = []

    async def run(self) -> Ending:
        self._hear_signals()
        self._in_background(self._present())
        await self._start()
        self._in_background(self._follow_health())
        await self._await_records()
        await self._watch()
        return await self._end()

    def _hear_signals(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def heard(number: int) -> None:
            if self._signal and task:
                task.cancel()
            self._signal = number

        for number in SIGNALS:
            loop.add_signal_handler(number, heard, number)

    async def _start(self) -> None:
        options, stack = self._options, self._stack
        os.environ.update(client_process.past_the_proxy(os.environ))
        registry = await stack.enter_async_context(EmbeddedRegistry())
        if self._exchange:
            await self._exchange.start()
            stack.push_async_callback(self._exchange.stop)
        broker = await asyncio.to_thread(EmbeddedBroker, [plan.name for plan in options.topics])
        stack.callback(lambda: broker)  # it lives for as long as it is referred to
        words = client_process.arguments(options, self._directory, bootstrap=broker.address, registry_url=registry.url)
        if self._exchange:
            words += ["--ws-url", self._exchange.ws_url, "--rest-url", self._exchange.rest_url]
        env = client_process.environment(os.environ, live=options.live, profile=options.profile)
        self._client = await ClientProcess.start(words, env, None if options.keep else self._directory)
        stack.push_async_callback(self._client.close)
        # The client needs a second for its start, and so does the reader's library: side by side.
        reader = await asyncio.to_thread(TopicReader, broker.address, registry.url, options.topics)
        self._reading = Reading(reader, self._tally)
        stack.push_async_callback(self._reading.close)
        self._background.append(self._reading.task)

    async def _await_records(self) -> None:
        def connected() -> bool:
            return self._is_cut_short or self._tally.records > 0 or (self._health is not None and self._health.connected)

        log = self._client.log
        if not await self._until(connected, CONNECT_TIMEOUT_S):
            cause = log.last_problem or "the client is still starting"
            raise UnavailableError(f"no connection to {self._venue} within {CONNECT_TIMEOUT_S:.0f} s: {cause}")
        if not await self._until(lambda: self._is_cut_short or self._tally.records > 0, FIRST_RECORD_TIMEOUT_S):
            cause = log.last_problem or no_events(self._options)
            streams = shortened(", ".join(stream.name for stream in self._options.streams), STREAMS_NAMED, ASCII)
            raise UnavailableError(f"connected, but no event of {streams} came within {FIRST_RECORD_TIMEOUT_S:.0f} s: {cause}")
        self._first_record_s = time.monotonic()

    async def _watch(self) -> None:
        seconds = self._options.seconds
        self._phase = RUNNING
        await self._until(lambda: self._is_cut_short or self._elapsed_s >= seconds * MALFORMED_AFTER)
        if self._exchange and not self._is_cut_short:
            await self._exchange.send_malformed()
        await self._until(lambda: self._is_cut_short or self._elapsed_s >= seconds)

    async def _end(self) -> Ending:
        watched_s, ended_alone = self._elapsed_s, self._client.exit_code is not None
        self._phase = ENDING
        await self._settle()
        exit_code = await self._client.stop()
        await self._reading.stop_at_the_end(READ_TO_THE_END_TIMEOUT_S)
        self._letters.look()
        failure = client_process.failure(exit_code, self._client.log) if exit_code or ended_alone else None
        sheet = self._sheet(watched_s)
        if sheet is None and not self._signal:
            raise failure or FatalError("the client left no balance sheet")
        kept = self._directory if self._options.keep else None
        return Ending(sheet, self._signal, failure if sheet else None, self._health, kept)

    async def _settle(self) -> None:
        """Let what the exchange has sent arrive, so that its count and the client's can be compared."""
        exchange = self._exchange
        if exchange is None:
            return
        await exchange.fall_silent()
        wanted = exchange.events + exchange.malformed

        def settled() -> bool:
            received = self._health.balance.received if self._health else 0
            return received >= wanted or self._client.exit_code is not None

        await self._until(settled, SETTLE_TIMEOUT_S)

    def _sheet(self, watched_s: float) -> Sheet | None:
        client, exchange, options = self._client.log.sheet, self._exchange, self._options
        if client is None:
            return None
        return make_sheet(
            client,
            self._tally,
            self._letters.by_reason,
            plans=options.topics,
            rows=self._rows,
            held=events_in_topics(options, self._tally),
            sent=Sent(exchange.sent, exchange.events, exchange.malformed) if exchange else None,
            speed=exchange.speed if exchange else 1,
            seconds=watched_s,
        )

    # In the background

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.append(task)
        self._stack.push_async_callback(_cancelled, task)

    async def _follow_health(self) -> None:
        async with http_session() as session:
            while True:
                await self._ask_health(session)
                self._letters.look()
                await asyncio.sleep(HEALTH_EVERY_S)

    async def _ask_health(self, session: ClientSession) -> None:
        url = self._client.log.health_url
        counted = self._tally.records, self._tally.distinct
        body = await fetch(session, url) if url else None
        if body or self._phase != ENDING:  # a client that ends stops answering: its last answer stays
            self._health = msgspec.json.decode(body, type=Health) if body else None
            self._consumed, self._distinct = counted

    async def _present(self) -> None:
        while True:
            self._show()
            await asyncio.sleep(SHOW_EVERY_S)

    def _show(self) -> None:
        self._memory.observe(time.monotonic(), self._tally)
        self._audience.show(self._snapshot())

    # What is known now

    async def _until(self, met: Callable[[], bool], timeout_s: float = math.inf) -> bool:
        """Wait; False where time is up. What broke in the background is raised here."""
        deadline = time.monotonic() + timeout_s
        while not met():
            for task in self._background:
                if task.done():
                    task.result()
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(LOOK_EVERY_S)
        return True

    @property
    def _is_cut_short(self) -> bool:
        return bool(self._signal) or self._client.exit_code is not None

    @property
    def _elapsed_s(self) -> float:
        return 0.0 if self._first_record_s is None else time.monotonic() - self._first_record_s

    @property
    def _venue(self) -> str:
        return "Binance" if self._options.live else "the simulated exchange"

    def _snapshot(self) -> Snapshot:
        options, tally, exchange = self._options, self._tally, self._exchange
        return Snapshot(
            what=what_it_shows(options),
            exchange="Binance" if options.live else "a simulated Binance",
            feed=feed_in_words(options),
            speed=exchange.speed if exchange else 1,
            topics=tuple(self._topic(plan) for plan in options.topics),
            phase=self._phase,
            elapsed_s=self._elapsed_s,
            seconds=options.seconds,
            health=self._health,
            sent=exchange.sent + exchange.malformed if exchange else None,
            consumed=self._consumed,
            distinct=self._distinct,
            per_s=self._memory.per_s,
            rows=self._memory.rows(tally),
            streams=max(len(self._rows), len(tally.series())),
            letters=tuple(self._letters.latest),
            letters_by_reason=self._letters.by_reason,
            records=tuple(tally.latest),
        )

    def _topic(self, plan: TopicPlan) -> TopicRow:
        held = self._tally.topics[plan.name]
        schema_id = self._reading.schema_ids.get(plan.name) if self._first_record_s else None
        form = form_in_words(plan, schema_id)
        return TopicRow(plan.name, form, held.records, held.missing, self._memory.topic_per_s(plan.name))


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task
