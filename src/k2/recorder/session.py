"""One run of `k2 record`: connections on one side, the output on the other, and what ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from k2.errors import FatalError, UnavailableError
from k2.ingestion.adapters.feed.feed import Endpoint
from k2.ingestion.adapters.feed.group import FeedGroup
from k2.ingestion.adapters.feed.transports import choose_transport
from k2.ingestion.connecting import endpoints, feed_policy
from k2.ingestion.core.outcome import Control
from k2.ingestion.exchanges.binance.names import Stream
from k2.ingestion.settings import Settings
from k2.reading.patience import Tell
from k2.recorder.connections import Connections
from k2.recorder.counts import Count
from k2.recorder.intake import Intake
from k2.recorder.outputs import Output, open_output
from k2.recorder.pressure import Pressure, Room
from k2.recorder.request import STDOUT, Request
from k2.recorder.summary import EndedBy, Summary
from k2.recorder.wanted import rare_ones, wanted_streams
from k2.recorder.writer import Writer
from k2.threads import DaemonThreads

FLUSH_S = 0.7  # with the look that finds it due and the writing, a line is in the file within a second
LOOK_EVERY_S = 0.1
FINISH_S = 10.0  # an output that takes longer than this to take what waits is given up

EndpointOf = Callable[[str], Endpoint]


class Ending(Struct, frozen=True):
    """What was recorded, and what is to be said and done about how it ended; None where it ended in order."""

    summary: Summary
    error: Exception | None


async def record(settings: Settings, request: Request, tell: Tell) -> Ending:
    """
    Record until told to stop, or until it is over.

    Raises:
        ConfigurationError: what was asked for cannot be had, or the output cannot be opened.
        UnavailableError: the exchange's list of symbols is needed and does not come.
    """
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    streams = await wanted_streams(settings, request)
    endpoint_of = endpoints(settings, choose_transport(settings.feed.transport, settings.feed.compression))
    output, mended = open_output(request.output, append=request.append, most_bytes=request.most_bytes)
    if mended:
        tell(mended)
    tell(f"recording {len(streams)} streams into {_shown(request)}; Ctrl-C ends it")
    return await _Recording(settings, request, streams, endpoint_of, output, tell).run()


class _Recording:
    """The parts at work. Everything but the writing happens on the loop's thread."""

    def __init__(
        self,
        settings: Settings,
        request: Request,
        streams: Sequence[Stream],
        endpoint_of: EndpointOf,
        output: Output,
        tell: Tell,
    ) -> None:
        self._request, self._streams, self._tell = request, tuple(streams), tell
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._pressure, self._reading, self._is_dropping = Pressure(Room()), True, False
        self._writer = Writer(output, on_end=self._end_from_writer)
        names = [stream.name for stream in self._streams]
        self._intake = Intake(
            names, self._writer.hand_on, lambda: self._writer.waiting_bytes, self._control, self._turn_ended,
            self._loop.call_soon, room=Room(),
        )  # fmt: skip
        self._connections = Connections(tell)
        self._group = self._joined(settings, endpoint_of, names)

    def _joined(self, settings: Settings, endpoint_of: EndpointOf, names: Sequence[str]) -> FeedGroup:
        return FeedGroup(
            endpoint_of,
            names,
            self._intake,
            self._connections,
            feed_policy(settings, may_be_silent=rare_ones(self._streams).__contains__),
            received=lambda: self._intake.received,
            streams_per_connection=settings.feed.streams_per_connection,
        )

    async def run(self) -> Ending:
        began_s = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._over.set)
        feeding = asyncio.create_task(self._group.run(), name="record-feeds")
        looking = asyncio.create_task(self._keep_looking(), name="record-look")
        over = asyncio.create_task(self._over.wait(), name="record-over")
        try:
            await asyncio.wait({feeding, over}, timeout=self._request.duration_s, return_when=asyncio.FIRST_COMPLETED)
            was_told, lasted_s = self._over.is_set(), time.monotonic() - began_s
            await self._group.stop()
            await asyncio.wait({feeding})
        finally:
            looking.cancel()
            over.cancel()
            self._intake.flush()
            finished = await asyncio.to_thread(self._writer.finish, FINISH_S)
        failure = feeding.exception()
        ended_by = self._ended_by(failure, was_told=was_told)
        return Ending(self._summary(ended_by, lasted_s), self._error(failure, finished=finished))

    async def _keep_looking(self) -> None:
        was_connected = False
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self._intake.flush(FLUSH_S)
            self._relieve()
            if self._group.connected and not was_connected:
                was_connected = True
                self._tell("all streams are subscribed")

    def _turn_ended(self) -> None:
        self._group.turn_ended()
        self._relieve()

    def _control(self, control: Control) -> None:
        self._group.on_control(control)

    def _relieve(self) -> None:
        """Pause and resume reading, and say so once when frames are dropped."""
        may_read = self._pressure.may_read(self._intake.waiting_bytes, time.monotonic())
        if may_read != self._reading:
            self._reading = may_read
            (self._group.resume if may_read else self._group.pause)()
            if not may_read:
                self._tell("the output is behind: reading is paused for a moment")
        if self._intake.dropped and not self._is_dropping:
            self._is_dropping = True
            self._tell("the output is too slow: frames are dropped from now on where there is no room for them, and counted")

    def _end_from_writer(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)

    def _ended_by(self, failure: BaseException | None, *, was_told: bool) -> EndedBy:
        if self._writer.fault is not None:
            return EndedBy.OUTPUT
        if self._writer.is_full:
            return EndedBy.MAX_SIZE
        if failure is not None:
            return EndedBy.EXCHANGE
        return EndedBy.SIGNAL if was_told else EndedBy.DURATION

    def _error(self, failure: BaseException | None, *, finished: bool) -> Exception | None:
        fault, shown = self._writer.fault, _shown(self._request)
        if isinstance(fault, BrokenPipeError):
            return fault
        if fault is not None:
            why = fault.strerror or str(fault)
            return FatalError(f"--output {shown}: cannot be written any more: {why}; what was written before stays good")
        if not finished:
            return FatalError(f"--output {shown}: it took nothing for {FINISH_S:.0f} s; what was written before stays good")
        if isinstance(failure, Exception):
            return failure
        if not self._connections.opened:
            why = self._connections.last_failure or "there was no time for one"
            return UnavailableError(f"nothing is recorded: no connection: {why}")
        return None

    def _summary(self, ended_by: EndedBy, lasted_s: float) -> Summary:
        intake, writer, connections = self._intake, self._writer, self._connections
        silent = {stream.name: Count() for stream in self._streams}
        return Summary(
            output=_shown(self._request),
            ended_by=ended_by,
            duration_s=lasted_s,
            output_bytes=writer.output_bytes,
            streams=silent | writer.written,
            dropped=intake.dropped,
            unwritten=writer.unwritten,
            odd=intake.odd,
            first_odd=intake.first_odd,
            joined=intake.joined,
            connections=connections.opened,
            reconnections=connections.reconnections,
            interruptions=dict(connections.interruptions),
            refusals=connections.refusals,
        )


def _shown(request: Request) -> str:
    return STDOUT if request.output is None else os.fspath(request.output)
