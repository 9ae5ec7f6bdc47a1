"""The engine takes frames through to the producer in turns, and counts every one of them."""

from __future__ import annotations

from typing import Any, cast

import pytest

from k2.ingestion.adapters.kafka_reports import Read
from k2.ingestion.core.outcome import (
    EVENT_FAILURES,
    Control,
    ControlKind,
    DeadLetter,
    FieldAppeared,
    GapOpened,
    Ignored,
    IgnoreReason,
    Notice,
    Outcome,
    Publish,
    Reason,
    Record,
    Stage,
)
from k2.ingestion.engine import POLL_EVERY_FRAMES, Engine

NOW_US = 1_700_000_000_000_000
NOW_MS = NOW_US // 1_000


class Sink:
    """Keeps what it is sent, and reads like a log of what the engine did."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.sent: list[tuple[Record, Read]] = []

    def begin_read(self) -> Read:
        self.calls.append("begin")
        return Read(1_000 + self.calls.count("begin"))

    def end_read(self, read: Read) -> None:
        self.calls.append(f"end {read.received_at_ns}")

    def send(self, record: Record, read: Read) -> None:
        self.sent.append((record, read))
        self.calls.append("send")

    def poll(self) -> None:
        self.calls.append("poll")


class Observer:
    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.letters: list[tuple[DeadLetter, int]] = []
        self.controls: list[Control] = []
        self.turns: list[int] = []

    def noticed(self, notice: Notice) -> None:
        self.notices.append(notice)

    def dead_letter(self, letter: DeadLetter, received_at_us: int) -> None:
        self.letters.append((letter, received_at_us))

    def control(self, control: Control) -> None:
        self.controls.append(control)

    def turn_ended(self, data_frames: int) -> None:
        self.turns.append(data_frames)


class Script:
    """A pipeline whose outcomes are written down beforehand, by frame."""

    def __init__(self, outcomes: dict[bytes, tuple[Outcome, ...]]) -> None:
        self.outcomes = outcomes
        self.times_us: list[int] = []

    def process(self, frame: bytes, received_at_us: int) -> tuple[Outcome, ...]:
        self.times_us.append(received_at_us)
        return self.outcomes[frame]

    process_history = process


def record(name: str) -> Record:
    return Record("trades", b"BTCUSDT", name.encode(), NOW_MS)


GAP = GapOpened("aggTrade", "BTCUSDT", 5, 6)
NEW_FIELD = FieldAppeared("aggTrade", "zz")
DEAD = DeadLetter(Stage.DECODE, Reason.NOT_JSON, "no", b"{", notices=(NEW_FIELD,))
OUTCOMES: dict[bytes, tuple[Outcome, ...]] = {
    b"trade": (Publish((record("trade"),), NOW_MS - 40),),
    b"ahead": (Publish((record("ahead"),), NOW_MS + 300),),
    b"after a gap": (Publish((record("after a gap"),), NOW_MS, (GAP,)),),
    b"to two topics": (Publish((record("raw"), record("parsed")), NOW_MS),),
    b"array": (Publish((record("one"),), NOW_MS), DEAD, Ignored(IgnoreReason.DUPLICATE)),
    b"broken": (DEAD,),
    b"seen": (Ignored(IgnoreReason.DUPLICATE),),
    b"no trade": (Ignored(IgnoreReason.NOT_A_TRADE, (GAP,)),),
    b"answer": (Control(ControlKind.ACKNOWLEDGED, 1),),
}


class Rig:
    def __init__(self, outcomes: dict[bytes, tuple[Outcome, ...]] = OUTCOMES) -> None:
        self.sink, self.observer, self.script = Sink(), Observer(), Script(outcomes)
        self.scheduled: list[Any] = []
        self.clock_reads = 0
        self.engine = Engine(
            cast("Any", self.script), cast("Any", self.sink), self.observer, self.scheduled.append, clock_ns=self._clock_ns
        )

    def _clock_ns(self) -> int:
        self.clock_reads += 1
        return (NOW_US + self.clock_reads - 1) * 1_000

    def read(self, *frames: bytes) -> None:
        for frame in frames:
            self.engine.on_frame(frame)
        while self.scheduled:
            self.scheduled.pop(0)()


@pytest.fixture
def rig() -> Rig:
    return Rig()


class TestTurns:
    def test_a_read_has_one_time(self, rig: Rig) -> None:
        """Both clocks are read once for all frames of a read, and anew for the next one."""
        rig.read(b"trade", b"trade", b"seen")
        rig.read(b"trade")
        assert rig.clock_reads == 2
        assert rig.script.times_us == [NOW_US, NOW_US, NOW_US, NOW_US + 1]
        assert [read.received_at_ns for _, read in rig.sink.sent] == [1_001, 1_001, 1_002]

    def test_a_read_ends_once_with_a_poll(self, rig: Rig) -> None:
        """However many frames it had, the end of the turn is scheduled once; then delivery reports are served."""
        for frame in (b"trade", b"trade"):
            rig.engine.on_frame(frame)
        assert (len(rig.scheduled), rig.observer.turns) == (1, [])
        rig.read()
        assert rig.sink.calls == ["begin", "send", "send", "end 1001", "poll"]
        assert rig.observer.turns == [2]

    def test_a_long_read_is_polled_in_between(self, rig: Rig) -> None:
        """Delivery reports wait for 256 frames at most, whatever the frames are."""
        rig.read(*[b"trade", b"seen"] * POLL_EVERY_FRAMES)
        polls = [index for index, call in enumerate(rig.sink.calls) if call == "poll"]
        assert len(polls) == 3
        assert polls[0] == 1 + POLL_EVERY_FRAMES // 2

    def test_the_count_to_the_next_poll_begins_with_the_read(self, rig: Rig) -> None:
        """A read just short of the limit leaves nothing over to the next one."""
        for _ in range(2):
            rig.read(*[b"seen"] * (POLL_EVERY_FRAMES - 1))
        assert rig.sink.calls.count("poll") == 2

    def test_a_tick_polls_too(self, rig: Rig) -> None:
        """Between reads a timer serves delivery reports; no data came with it."""
        rig.engine.tick()
        assert (rig.sink.calls, rig.observer.turns) == (["poll"], [0])

    def test_frames_of_the_protocol_are_no_data(self, rig: Rig) -> None:
        """What counts as data for the watch over silence are events only."""
        rig.read(b"answer")
        rig.read(b"array", b"answer", b"broken")
        assert rig.observer.turns == [0, 4]


class TestCounting:
    @pytest.mark.parametrize(
        ("frame", "ledger"),
        [
            (b"trade", (1, 1, 0, 0, 1)),
            (b"to two topics", (1, 1, 0, 0, 2)),
            (b"array", (3, 1, 1, 1, 1)),
            (b"broken", (1, 0, 1, 0, 0)),
            (b"seen", (1, 0, 0, 1, 0)),
            (b"no trade", (1, 0, 0, 1, 0)),
            (b"answer", (0, 0, 0, 0, 0)),
        ],
    )
    def test_every_event_is_in_the_ledger(self, rig: Rig, frame: bytes, ledger: tuple[int, ...]) -> None:
        """Received, published, dead-lettered, ignored, and the records made: for each kind of outcome."""
        rig.read(frame)
        found = rig.engine.ledger
        assert (found.received, found.published, found.dead_lettered, sum(found.ignored.values()), found.made) == ledger
        assert found.unaccounted == 0

    def test_frames_and_their_bytes_are_counted(self, rig: Rig) -> None:
        """All messages of the WebSocket, those of the protocol too."""
        rig.read(b"trade", b"answer")
        assert (rig.engine.frames, rig.engine.frame_bytes) == (2, len(b"trade" + b"answer"))

    def test_failures_are_counted_by_stage_and_reason(self, rig: Rig) -> None:
        """A dead letter counts under its stage and reason, and is handed on with the time of its frame."""
        rig.read(b"broken", b"broken")
        assert rig.engine.letters[Stage.DECODE.value, Reason.NOT_JSON.value] == 2
        assert rig.observer.letters == [(DEAD, NOW_US)] * 2

    def test_all_label_values_are_there_from_the_start(self, rig: Rig) -> None:
        """Series begin at 0, or the first failure would have no rate."""
        engine = rig.engine
        assert set(engine.ignored) == {reason.value for reason in IgnoreReason}
        assert set(engine.controls) == {kind.value for kind in ControlKind}
        assert set(engine.letters) == {(stage.value, reason.value) for stage, reason in EVENT_FAILURES}
        assert not any([*engine.ignored.values(), *engine.controls.values(), *engine.letters.values()])

    @pytest.mark.parametrize(
        ("frame", "notices"), [(b"after a gap", [GAP]), (b"no trade", [GAP]), (b"broken", [NEW_FIELD]), (b"trade", [])]
    )
    def test_what_was_noticed_is_told(self, rig: Rig, frame: bytes, notices: list[Notice]) -> None:
        """Gaps and new fields are reported whatever becomes of the event that showed them."""
        rig.read(frame)
        assert rig.observer.notices == notices

    def test_answers_of_the_exchange_are_handed_on(self, rig: Rig) -> None:
        """A frame of the protocol is counted by kind and goes to whoever asked."""
        rig.read(b"answer")
        assert rig.observer.controls == [Control(ControlKind.ACKNOWLEDGED, 1)]
        assert rig.engine.controls[ControlKind.ACKNOWLEDGED.value] == 1

    def test_another_pipeline_takes_over(self, rig: Rig) -> None:
        """The pipeline that is known only after the start is used from then on."""
        rig.engine.use(cast("Any", Script({b"new": OUTCOMES[b"trade"]})))
        rig.read(b"new")
        assert rig.engine.published == 1


class TestLag:
    def test_the_last_event_of_a_read_is_sampled(self, rig: Rig) -> None:
        """One sample a read: receipt minus the exchange's time."""
        rig.read(b"after a gap", b"trade")
        assert (rig.engine.exchange_lag_ms, rig.engine.exchange_lag.count) == (40, 1)
        assert rig.engine.exchange_lag.sum_ns == 40_000_000

    def test_clocks_that_disagree(self, rig: Rig) -> None:
        """Where our clock is behind, the last lag is shown as it is, and the histogram holds no negative duration."""
        rig.read(b"ahead")
        assert (rig.engine.exchange_lag_ms, rig.engine.exchange_lag.sum_ns, rig.engine.exchange_lag.count) == (-300, 0, 1)

    @pytest.mark.parametrize("frame", [b"broken", b"seen", b"answer"])
    def test_a_read_without_a_published_event_has_no_lag(self, rig: Rig, frame: bytes) -> None:
        """Neither the first read nor a later one: there is no time of the exchange to compare with, and an old one misleads."""
        rig.read(frame)
        assert rig.engine.exchange_lag.count == 0
        rig.read(b"trade")
        rig.read(frame)
        assert (rig.engine.exchange_lag.count, rig.engine.exchange_lag_ms) == (1, 40)
