"""
Watches over the running parts and carries out what is decided: back-pressure, connection state, dead letters, fatal errors.

It is what the feed, the engine and the producer report to, so that none of them knows the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from k2.ingestion.adapters.feed.group import FeedGroup
from k2.ingestion.adapters.feed.policy import Cause
from k2.ingestion.adapters.feed.port import ConnectFailure, LinkClosed
from k2.ingestion.adapters.kafka import KafkaSink
from k2.ingestion.candle_repair import CandleRepair
from k2.ingestion.core.backpressure import Backpressure, Flow, Limits
from k2.ingestion.core.delivery import Verdict
from k2.ingestion.core.outcome import Control, DeadLetter, GapOpened, Notice, Record
from k2.ingestion.core.silence import SilenceWatch
from k2.ingestion.dead_letter_desk import DeadLetterDesk
from k2.ingestion.engine import Engine
from k2.ingestion.happenings import Happenings
from k2.ingestion.readings import Readings

LONG_READ_FRAMES = 512  # some 4 ms of the loop; a full receive buffer is five times that, and `/health` takes three turns
STREAMS_LOOKED_AT_EVERY_S = 1.0
BUSY_TICK_S, IDLE_TICK_S = 0.005, 0.1  # an acknowledgement is noticed within the tick: 5 ms while any is awaited


class Supervisor:
    """One for a client. `fatal` says why the client must end, or is empty."""

    def __init__(self, happenings: Happenings, desk: DeadLetterDesk, stop: asyncio.Event) -> None:
        self._happenings, self._desk, self._stop = happenings, desk, stop
        self.fatal = ""
        self._feed: FeedGroup | None = None
        self._repair: CandleRepair | None = None
        self._broker_lost_for_s = 0.0

    def attach(self, engine: Engine, sink: KafkaSink, readings: Readings, limits: Limits, silence_limit_s: float) -> None:
        """The parts to watch; they report here, so they exist only after us."""
        self._engine, self._sink, self._readings = engine, sink, readings
        self._backpressure = Backpressure(limits)
        self._silence = SilenceWatch(silence_limit_s)
        self._look_at_streams_at_s = 0.0

    def watch(self, feed: FeedGroup) -> None:
        self._feed = feed

    def repair_with(self, repair: CandleRepair) -> None:
        """Whom to tell of holes that can be filled."""
        self._repair = repair

    async def keep_time(self) -> None:
        """Serve delivery reports while no frames come, and measure how late the loop lets us."""
        while not self.fatal:
            interval_s = BUSY_TICK_S if self._sink.in_flight else IDLE_TICK_S
            due_s = time.monotonic() + interval_s
            await asyncio.sleep(interval_s)
            self._readings.loop_lag_s = max(time.monotonic() - due_s, self._readings.loop_lag_s * 0.99)
            self._engine.tick()
            self._look_at_streams(time.monotonic())
            self._look_at_broker(self._sink.broker_lost_for_s)

    def _look_at_streams(self, now_s: float) -> None:
        if now_s < self._look_at_streams_at_s:
            return
        self._look_at_streams_at_s = now_s + STREAMS_LOOKED_AT_EVERY_S
        readings = self._readings
        flowing = readings.flow_state is Flow.FLOWING and self._feed is not None
        listening = self._feed.listening if self._feed is not None and flowing else frozenset[str]()
        heard = {row.stream: row.published + row.ignored for row in readings.rows if not row.sparse}
        change = self._silence.look(heard, now_s, listening=listening)
        readings.silent_streams, readings.streams_never_heard = self._silence.silent, self._silence.never_heard()
        if change.fell_silent:
            self._happenings.fell_silent(change.fell_silent)
        if change.spoke_again:
            self._happenings.spoke_again(change.spoke_again)

    def _look_at_broker(self, lost_for_s: float) -> None:
        if lost_for_s and not self._broker_lost_for_s:
            self._happenings.broker_lost()
        elif self._broker_lost_for_s and not lost_for_s:
            self._happenings.broker_back(self._broker_lost_for_s, self._sink.in_flight)
        self._broker_lost_for_s = lost_for_s

    # From the engine

    def noticed(self, notice: Notice) -> None:
        self._happenings.noticed(notice)
        if self._repair is not None and isinstance(notice, GapOpened):
            self._repair.gap_opened(notice)

    def dead_letter(self, letter: DeadLetter, received_at_us: int) -> None:
        self._desk.event(letter, received_at_us)
        self._end_if_full()

    def control(self, control: Control) -> None:
        if self._feed is not None:
            self._feed.on_control(control)

    def turn_ended(self, data_frames: int) -> None:
        """After every read and every tick: tell the connections what they brought, and see whether reading may go on."""
        if self._feed is None:
            return
        self._feed.turn_ended()
        self._readings.set_connected(self._feed.connected)
        if data_frames > LONG_READ_FRAMES:
            self._feed.breathe()
        change = self._backpressure.decide(self._sink.in_flight, self._sink.overflow, time.monotonic())
        if change is not None:
            self._change_flow(self._feed, change)

    def _change_flow(self, feed: FeedGroup, flow: Flow) -> None:
        before, self._readings.flow_state = self._readings.flow_state, flow
        in_flight = self._sink.in_flight
        if flow is Flow.PAUSED:
            feed.pause()
            self._happenings.paused(in_flight)
        elif flow is Flow.HELD:
            feed.hold("Kafka is slower than the exchange")
            self._happenings.held(in_flight)
        else:
            feed.resume()  # also after a hold: the pause before it is still on, and a paused feed does not dial
            if before is Flow.HELD:
                feed.release()
            self._happenings.resumed(in_flight)

    # From the producer

    def delivery_failed(self, code: str, text: str) -> None:
        self._happenings.delivery_failed(code, text)

    def client_error(self, code: str, text: str) -> None:
        self._happenings.client_error(code, text)

    def renewed(self, code: str, text: str, carried_over: int) -> None:
        self._happenings.producer_renewed(code, text, carried_over)

    def fatal_error(self, code: str, text: str) -> None:
        self._happenings.fatal_error(code, text)
        self._end(f"the Kafka producer is of no use any more: {code}: {text}")

    def undeliverable(self, record: Record, verdict: Verdict, error: str, attempts: int) -> None:
        self._desk.record(record, verdict, error, attempts)
        self._end_if_full()

    def _end_if_full(self) -> None:
        if self._desk.full:
            self._end("dead letters can neither be written nor kept any longer: stopping before anything is lost")

    def _end(self, why: str) -> None:
        self.fatal = self.fatal or why
        self._stop.set()

    # From the feed

    def connecting(self, attempt: int) -> None:
        self._happenings.connecting(attempt)

    def connected(self, url: str) -> None:
        self._happenings.connected(url)

    def subscribed(self, streams: Sequence[str]) -> None:
        self._readings.refused_streams.difference_update(streams)
        self._happenings.subscribed(streams)

    def subscription_refused(self, streams: Sequence[str], error: str) -> None:
        self._readings.refused_streams.update(streams)
        self._happenings.subscription_refused(streams, error)

    def disconnected(self, cause: Cause, closed: LinkClosed) -> None:
        # Of several connections one that has nothing left to carry may end, and the rest stays connected.
        self._readings.set_connected(self._feed is not None and self._feed.connected)
        self._happenings.disconnected(cause, closed)

    def connect_failed(self, kind: ConnectFailure, detail: str, retry_in_s: float) -> None:
        self._happenings.connect_failed(kind, detail, retry_in_s)

    def refused(self, status: int, detail: str, retry_in_s: float) -> None:
        self._happenings.refused(status, detail, retry_in_s)
