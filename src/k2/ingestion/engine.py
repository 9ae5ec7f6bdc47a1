"""
The loop's inside: frames in, records out, everything counted.

The engine carries out what the pure core decides. It works in turns: the first frame of a read opens one, all frames of the
read share its clock, and the end of the turn serves delivery reports and looks at back-pressure. Nothing in a turn waits.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from k2.ingestion.adapters.kafka import KafkaSink
from k2.ingestion.adapters.kafka_reports import Read
from k2.ingestion.core.outcome import (
    EVENT_FAILURES,
    Control,
    ControlKind,
    DeadLetter,
    Ignored,
    IgnoreReason,
    Notice,
    Outcome,
    Publish,
    Record,
)
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.core.rows import BACKFILL_HEADERS
from k2.ingestion.core.tally import STAGE_BOUNDS_S, DurationTally

POLL_EVERY_FRAMES = 256  # at saturation one read has carried 21,000 frames: delivery reports must not wait for its end


class EngineObserver(Protocol):
    """Who hears of what is not the usual: neither of these is called for an event that goes straight through."""

    def noticed(self, notice: Notice) -> None: ...
    def dead_letter(self, letter: DeadLetter, received_at_us: int) -> None: ...
    def control(self, control: Control) -> None: ...
    def turn_ended(self, data_frames: int) -> None: ...


class EventLedger(Struct):
    """received = published + dead_lettered + ignored, in events; made: the records of the published ones."""

    received: int
    published: int
    dead_lettered: int
    ignored: dict[str, int]
    made: int

    @property
    def unaccounted(self) -> int:
        return self.received - self.published - self.dead_lettered - sum(self.ignored.values())


class Engine:
    """
    Turns frames into records and counts both.

    Feeds call `on_frame`; a timer calls `tick` so that delivery reports are served while no frames come. `schedule` puts a call
    at the end of the loop's turn (`loop.call_soon`).
    """

    def __init__(
        self,
        pipeline: Pipeline,
        sink: KafkaSink,
        observer: EngineObserver,
        schedule: Callable[[Callable[[], None]], object],
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._send = sink.send
        self.use(pipeline)
        self._sink, self._observer, self._schedule, self._clock_ns = sink, observer, schedule, clock_ns
        self._read: Read | None = None  # of the turn; None between turns
        self._received_at_us = 0
        self._last_event_ms = 0
        self._until_poll = POLL_EVERY_FRAMES
        self._received_before = 0
        self.received = self.published = self.dead_lettered = self.made = 0
        self.frames = self.frame_bytes = 0
        # Known label values start at 0: a series that appears with its first failure has no rate for it.
        self.ignored = Counter({reason.value: 0 for reason in IgnoreReason})
        self.controls = Counter({kind.value: 0 for kind in ControlKind})
        self.letters = Counter({(stage.value, reason.value): 0 for stage, reason in EVENT_FAILURES})
        self.exchange_lag = DurationTally(STAGE_BOUNDS_S)
        self.exchange_lag_ms = 0

    def use(self, pipeline: Pipeline) -> None:
        """Process frames with this pipeline from now on."""
        self._process, self._process_history = pipeline.process, pipeline.process_history

    @property
    def ledger(self) -> EventLedger:
        return EventLedger(self.received, self.published, self.dead_lettered, dict(self.ignored), self.made)

    def on_frame(self, frame: bytes) -> None:
        """Take one frame through to librdkafka's queue, the dead letters or a counter."""
        read = self._read
        if read is None:
            read = self._open_turn()
        self.frames += 1
        self.frame_bytes += len(frame)
        for outcome in self._process(frame, self._received_at_us):
            if type(outcome) is Publish:
                self.received += 1
                self.published += 1
                self._last_event_ms = outcome.event_time_ms
                for record in outcome.records:
                    self.made += 1
                    self._send(record, read)
                if outcome.notices:
                    self._notice(outcome.notices)
            else:
                self._not_published(outcome)
        self._until_poll -= 1
        if not self._until_poll:
            self._until_poll = POLL_EVERY_FRAMES
            self._sink.poll()

    def on_history(self, frame: bytes) -> None:
        """Take a frame that is made of what REST told of the past. Its records say so."""
        read = self._read or self._open_turn()
        for outcome in self._process_history(frame, self._received_at_us):
            if type(outcome) is Publish:
                self.received += 1
                self.published += 1
                for record in outcome.records:
                    record.headers = BACKFILL_HEADERS
                    self.made += 1
                    self._send(record, read)
                self._notice(outcome.notices)
            else:
                self._not_published(outcome)

    def _open_turn(self) -> Read:
        # Both clocks are read once for all that this read of the socket brought.
        self._received_at_us = self._clock_ns() // 1_000
        self._last_event_ms = 0
        self._read = read = self._sink.begin_read()
        self._schedule(self._end_turn)
        return read

    def _end_turn(self) -> None:
        if self._read is not None:
            self._sink.end_read(self._read)
        self._read = None
        self._until_poll = POLL_EVERY_FRAMES
        self._sink.poll()
        data_frames = self.received - self._received_before
        if data_frames:
            self._received_before = self.received
        if self._last_event_ms:  # a read that published nothing tells no lag
            self._sample_lag()
        self._observer.turn_ended(data_frames)

    def _sample_lag(self) -> None:
        """The exchange's lag, sampled once a read: every message where few come, one in many at full rate."""
        self.exchange_lag_ms = self._received_at_us // 1_000 - self._last_event_ms
        # The clocks of two machines differ, so a lag can come out negative; a duration cannot.
        self.exchange_lag.observe(max(0, self.exchange_lag_ms) * 1_000_000)

    def tick(self) -> None:
        """Serve delivery reports between reads."""
        self._sink.poll()
        self._observer.turn_ended(0)

    def _not_published(self, outcome: Outcome) -> None:
        if isinstance(outcome, Control):
            self.controls[outcome.kind.value] += 1
            self._observer.control(outcome)
            return
        self.received += 1
        if isinstance(outcome, DeadLetter | Ignored):
            self._send_captured(outcome.captured)
        if isinstance(outcome, DeadLetter):
            self.dead_lettered += 1
            self.letters[outcome.stage.value, outcome.reason.value] += 1
            self._observer.dead_letter(outcome, self._received_at_us)
        elif isinstance(outcome, Ignored):
            self.ignored[outcome.reason.value] += 1
        self._notice(outcome.notices)

    def _send_captured(self, records: tuple[Record, ...]) -> None:
        """The frame as it came, of an event that is not published."""
        for record in records:
            self.made += 1
            self._send(record, self._read or self._open_turn())

    def _notice(self, notices: tuple[Notice, ...]) -> None:
        for notice in notices:
            self._observer.noticed(notice)
