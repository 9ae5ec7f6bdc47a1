"""The supervisor carries out what is decided: back-pressure, the connection's state, and the end."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from k2.ingestion.adapters.feed.feed import Endpoint
from k2.ingestion.adapters.feed.group import FeedGroup
from k2.ingestion.adapters.feed.policy import Cause, FeedPolicy
from k2.ingestion.adapters.feed.port import ConnectFailure, LinkClosed
from k2.ingestion.core.backpressure import Flow, Limits
from k2.ingestion.core.delivery import verdict_on
from k2.ingestion.core.outcome import Control, ControlKind, DeadLetter, GapOpened, Reason, Record, Stage
from k2.ingestion.supervisor import Supervisor

RECORD = Record("trades", b"BTCUSDT", b"value", 1)
LETTER = DeadLetter(Stage.DECODE, Reason.NOT_JSON, "no", b"{")
VERDICT = verdict_on("UNKNOWN", alone=True)
CLOSED = LinkClosed(1000, "", by_us=False)


class Calls:
    """Takes any call and keeps its name and arguments."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.made.append((name, *arguments))

    @property
    def names(self) -> list[str]:
        return [name for name, *_ in self.made]


class FakeEngine(Calls):
    tick: Any


class FakeFeed(Calls):
    turns = 0
    connected = False

    def turn_ended(self) -> None:
        self.turns += 1


class FakeDesk(Calls):
    full = False


class FakeSink:
    in_flight = overflow = 0
    broker_lost_for_s = 0.0


class FakeReadings:
    flow_state = Flow.FLOWING
    loop_lag_s = 0.0
    rows = ()
    silent_streams = streams_never_heard = ()

    def __init__(self) -> None:
        self.connected = False
        self.refused_streams: set[str] = set()

    def set_connected(self, connected: bool) -> None:
        self.connected = connected


class Rig:
    """A supervisor among fakes: reading pauses at 10 in flight, goes on at 5, and is held at 20 in the overflow."""

    def __init__(self, hold_after_s: float = 45.0) -> None:
        self.happenings, self.desk, self.feed, self.engine = Calls(), FakeDesk(), FakeFeed(), FakeEngine()
        self.sink, self.readings = FakeSink(), FakeReadings()
        self.stop = asyncio.Event()
        self.supervisor = Supervisor(cast("Any", self.happenings), cast("Any", self.desk), self.stop)
        limits = Limits(pause_at=10, resume_at=5, overflow_at=20, hold_after_s=hold_after_s)
        self.supervisor.attach(cast("Any", self.engine), cast("Any", self.sink), cast("Any", self.readings), limits, 0.0)
        self.supervisor.watch(cast("Any", self.feed))

    def in_flight(self, records: int, overflow: int = 0) -> None:
        self.sink.in_flight, self.sink.overflow = records, overflow
        self.supervisor.turn_ended(0)


@pytest.fixture
def rig() -> Rig:
    return Rig()


class TestBackPressure:
    def test_reading_pauses_and_goes_on(self, rig: Rig) -> None:
        """At the high-water mark the feed stops reading, at the low one it reads again; in between nothing changes."""
        for records in (9, 10, 12, 6, 5, 9):
            rig.in_flight(records)
        assert rig.feed.names == ["pause", "resume"]
        assert rig.happenings.made == [("paused", 10), ("resumed", 5)]
        assert rig.readings.flow_state is Flow.FLOWING

    def test_a_pause_that_lasts_becomes_a_hold(self) -> None:
        """The connection is closed on purpose, once, before the exchange would do it."""
        rig = Rig(hold_after_s=0.0)
        for _ in range(3):
            rig.in_flight(10)
        assert rig.feed.names == ["pause", "hold"]
        assert rig.happenings.names == ["paused", "held"]
        assert rig.readings.flow_state is Flow.HELD

    def test_after_a_hold_the_feed_may_dial_and_read(self) -> None:
        """The pause that came before the hold ends with it."""
        rig = Rig(hold_after_s=0.0)
        for records in (10, 10, 0):
            rig.in_flight(records)
        assert set(rig.feed.names[2:]) == {"resume", "release"}

    async def test_a_feed_that_was_paused_and_held_dials_again(self) -> None:
        """The same with the feed itself: it waits while it is held, and not a moment longer."""
        rig = Rig(hold_after_s=0.0)
        endpoint = Endpoint("ws://127.0.0.1:1", cast("Any", None))
        group = FeedGroup(
            lambda _: endpoint, ["btcusdt@aggTrade"], cast("Any", None), rig.supervisor, FeedPolicy(), received=lambda: 0
        )
        [feed] = group._feeds
        rig.supervisor.watch(group)
        for records in (10, 10):
            rig.in_flight(records)
        assert feed._wait_s() == float("inf")
        rig.in_flight(0)
        assert feed._wait_s() <= 0

    def test_a_full_overflow_holds_at_once(self, rig: Rig) -> None:
        """Frames keep coming out of the socket's buffer while paused: the overflow is bounded too."""
        rig.in_flight(30, overflow=20)
        assert rig.feed.names == ["hold"]

    def test_reading_is_on_before_there_is_a_feed(self) -> None:
        """At the start there is nothing to pause."""
        supervisor = Supervisor(cast("Any", Calls()), cast("Any", FakeDesk()), asyncio.Event())
        supervisor.turn_ended(0)
        supervisor.control(Control(ControlKind.ACKNOWLEDGED, 1))

    def test_every_turn_is_told_to_the_feed(self, rig: Rig) -> None:
        """Its watch over silence lives on what a turn brought."""
        rig.supervisor.turn_ended(3)
        rig.supervisor.turn_ended(0)
        assert rig.feed.turns == 2


class TestTheEnd:
    def test_a_fatal_producer_ends_the_client(self, rig: Rig) -> None:
        """It is told, the reason is kept with its code, and the stop is asked for."""
        rig.supervisor.fatal_error("OUT_OF_ORDER_SEQUENCE_NUMBER", "sequence desynchronization")
        assert rig.stop.is_set()
        assert "OUT_OF_ORDER_SEQUENCE_NUMBER: sequence desynchronization" in rig.supervisor.fatal
        assert rig.happenings.names == ["fatal_error"]

    @pytest.mark.parametrize("loss", ["event", "record"])
    def test_a_full_dead_letter_box_ends_the_client(self, rig: Rig, loss: str) -> None:
        """Where letters can neither be written nor kept, nothing more is taken in."""
        rig.desk.full = True
        if loss == "event":
            rig.supervisor.dead_letter(LETTER, 5)
        else:
            rig.supervisor.undeliverable(RECORD, VERDICT, "why", 1)
        assert rig.stop.is_set()
        assert "dead letters" in rig.supervisor.fatal

    def test_the_first_reason_stays(self, rig: Rig) -> None:
        """What follows from the first fatal error does not hide it."""
        rig.supervisor.fatal_error("_FATAL", "first")
        rig.desk.full = True
        rig.supervisor.undeliverable(RECORD, VERDICT, "why", 1)
        assert "first" in rig.supervisor.fatal

    @pytest.mark.parametrize("loss", ["event", "record"])
    def test_letters_that_are_taken_end_nothing(self, rig: Rig, loss: str) -> None:
        """A dead letter is nothing out of this world."""
        if loss == "event":
            rig.supervisor.dead_letter(LETTER, 5)
        else:
            rig.supervisor.undeliverable(RECORD, VERDICT, "why", 1)
        assert (rig.desk.names, rig.stop.is_set(), rig.supervisor.fatal) == ([loss], False, "")

    async def test_time_is_kept_until_the_end(self, rig: Rig) -> None:
        """The timer serves the engine while no frames come, measures the loop's lag, and ends with a fatal error."""
        rig.sink.in_flight = 1
        ticks = 0

        def tick() -> None:
            nonlocal ticks
            ticks += 1
            if ticks == 3:
                rig.supervisor.fatal_error("_FATAL", "over")

        rig.engine.tick = tick
        await asyncio.wait_for(rig.supervisor.keep_time(), 20)
        assert ticks == 3
        assert rig.readings.loop_lag_s >= 0


class TestBroker:
    def test_its_loss_and_its_return_are_told_once(self, rig: Rig) -> None:
        """However long it is away: one line when it goes, one when it is back, with how long that was and what waits."""
        rig.sink.in_flight = 7
        for lost_for_s in (0.0, 0.5, 1.5, 28.0, 0.0, 0.0):
            rig.supervisor._look_at_broker(lost_for_s)
        assert rig.happenings.made == [("broker_lost",), ("broker_back", 28.0, 7)]


class TestConnection:
    def test_connected_as_the_feed_is(self, rig: Rig) -> None:
        """Every turn tells whether all streams are live, and the end of a link that carried some of them does at once."""
        seen = []
        for connected in (False, True):
            rig.feed.connected = connected
            rig.supervisor.turn_ended(0)
            seen.append(rig.readings.connected)
        for connected in (True, False):
            rig.feed.connected = connected
            rig.supervisor.disconnected(Cause.RESET, CLOSED)
            seen.append(rig.readings.connected)
        assert seen == [False, True, True, False]

    def test_refused_streams_are_remembered_until_they_are_taken(self, rig: Rig) -> None:
        """A later acknowledgement clears a stream; another connection, which may carry others, does not."""
        rig.supervisor.subscription_refused(["a@trade", "b@trade"], "2: unknown")
        rig.supervisor.subscribed(["a@trade"])
        rig.supervisor.connected("ws://exchange")
        before = set(rig.readings.refused_streams)
        rig.supervisor.subscribed(["b@trade"])
        assert (before, rig.readings.refused_streams) == ({"b@trade"}, set())

    @pytest.mark.parametrize(
        ("method", "arguments"),
        [
            ("noticed", (GapOpened("aggTrade", "BTCUSDT", 5, 6),)),
            ("connecting", (1,)),
            ("connected", ("ws://exchange",)),
            ("connect_failed", (ConnectFailure.DNS, "no such host", 1.0)),
            ("refused", (429, "slow down", 1.0)),
            ("disconnected", (Cause.RESET, CLOSED)),
            ("delivery_failed", ("INVALID_RECORD", "text")),
            ("client_error", ("_TRANSPORT", "text")),
        ],
    )
    def test_what_happens_is_told(self, rig: Rig, method: str, arguments: tuple[Any, ...]) -> None:
        """Whatever is reported here is counted and logged under the same name."""
        getattr(rig.supervisor, method)(*arguments)
        assert rig.happenings.made == [(method, *arguments)]

    def test_answers_go_to_the_feed(self, rig: Rig) -> None:
        """A frame of the protocol belongs to whoever subscribed."""
        answer = Control(ControlKind.ACKNOWLEDGED, 1)
        rig.supervisor.control(answer)
        assert rig.feed.made == [("on_control", answer)]
