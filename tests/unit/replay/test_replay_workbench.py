"""What a replay makes of a letter: the record that would have been published live, the same failure again, or nothing."""

from __future__ import annotations

import json
import random
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.assembly import SCHEMA_ID, frame_of, make_record, trade_event
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.core.letter_reader import Letter
from k2.ingestion.core.letters import FailedRecord
from k2.ingestion.core.outcome import DeadLetter, Publish, Reason, Record, Stage, WriteOutcome
from k2.replay import destinations
from k2.replay.destinations import Environment
from k2.replay.workbench import FailsAgain, NothingToPublish, Prepared, ToPublish, Workbench
from unit.core import test_pipeline_payloads as payloads
from unit.core.pipelines import RECEIVED_AT_US, SYMBOLS, TOPIC, decoded, new_pipeline, published_record
from unit.replay import letters
from unit.replay.letters import letter_from

LATER_US = RECEIVED_AT_US + 3_600_000_000
PUBLISHED = [*payloads.PUBLISHED, *payloads.NUMBERS, *payloads.VENDOR_DATA]
NO_EVENTS = [*payloads.CONTROLS, *payloads.IGNORED]


def kind_of(name: str) -> tuple[str, str]:
    """Market and stream of a payload file."""
    market, _, stream = payloads.FILES[name].parent.name.partition("_")
    return market, stream


def frame_in(name: str) -> bytes:
    return payloads.FILES[name].read_bytes()


def workbench_for(market: str = "spot", stream: str = "aggTrade", symbols: tuple[str, ...] = SYMBOLS) -> Workbench:
    """One for the settings of a client, and a registry with the id that the pipelines of the tests encode with."""
    environment = Environment(
        load_schema, lambda _topic, _schema: 1, lambda value: value[1:5] == b"\0\0\0\1", lambda _m, _s: "USDT"
    )
    return Workbench(letters.wanting(market, stream, TOPIC, symbols), environment)


def elsewhere() -> Workbench:
    """One for the settings of a client of another market, stream and symbols."""
    return workbench_for("usdm", "trade", ("OTHERUSDT",))


def letter_of(frame: bytes, market: str = "spot", *, reason: Reason = Reason.MISSING_FIELD, **fields: Any) -> Letter:
    """A letter of an event that an earlier version could not understand."""
    failure = DeadLetter(Stage.DECODE, reason, "once", frame, **fields)
    return letter_from(failure, market=market, received_at_us=RECEIVED_AT_US)


def of_stream(market: str, stream: str, frame: bytes) -> dict[str, Any]:
    """What the letter of a frame knows where the frame had found its row."""
    record = published_record(new_pipeline(market, stream).process(frame, RECEIVED_AT_US))
    symbol = (record.key or b"").decode()
    return {"stream": f"{symbol.lower()}@{stream}", "symbol": symbol, "topic": TOPIC}


def the_record(prepared: Prepared) -> Record:
    assert isinstance(prepared, ToPublish), prepared
    [record] = prepared.records
    return record


def parts(record: Record) -> tuple[str, bytes | None, bytes, int]:
    return record.topic, record.key, record.value, record.timestamp_ms


class TestEvents:
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_what_is_sound_now_is_published_as_it_would_have_been_live(self, name: str) -> None:
        """Topic, key, value and timestamp byte for byte, whatever the client of these settings streams; headers say whence."""
        market, stream = kind_of(name)
        live = published_record(new_pipeline(market, stream).process(frame_in(name), RECEIVED_AT_US))
        letter = letter_of(frame_in(name), market, **of_stream(market, stream, frame_in(name)))
        record = the_record(elsewhere().prepare(letter, LATER_US))
        assert parts(record) == parts(live)
        assert record.headers == [("k2-source", b"replay"), ("k2-dead-letter", b"letter-1")]

    @pytest.mark.parametrize("name", PUBLISHED)
    def test_what_had_found_no_stream_is_routed_now(self, name: str) -> None:
        """An event that nobody had asked for belongs to the client's own topic, if of its stream and symbols; bare or not."""
        market, stream = kind_of(name)
        live = published_record(new_pipeline(market, stream).process(frame_in(name), RECEIVED_AT_US))
        letter = letter_of(frame_in(name), market, reason=Reason.UNKNOWN_STREAM)
        assert parts(the_record(workbench_for(market, stream).prepare(letter, LATER_US))) == parts(live)

    @pytest.mark.parametrize(
        ("market", "stream", "symbols"),
        [
            pytest.param("usdm", "aggTrade", SYMBOLS, id="another-market"),
            pytest.param("spot", "trade", SYMBOLS, id="another-stream"),
            pytest.param("spot", "aggTrade", ("ETHUSDT",), id="other-symbols"),
        ],
    )
    def test_what_is_not_ours_stays_unroutable(self, market: str, stream: str, symbols: tuple[str, ...]) -> None:
        """Without a topic in the letter only the settings can tell where it belongs."""
        letter = letter_of(frame_in("trade_of_august_2024"), reason=Reason.UNKNOWN_STREAM)
        prepared = workbench_for(market, stream, symbols).prepare(letter, LATER_US)
        assert isinstance(prepared, FailsAgain)
        assert (prepared.failure.stage, prepared.failure.reason) == (Stage.ROUTE, Reason.UNKNOWN_STREAM)

    @pytest.mark.parametrize(("name", "stage", "reason"), payloads.DEAD_CASES)
    def test_what_makes_no_sense_fails_as_before(self, name: str, stage: Stage, reason: Reason) -> None:
        """The same stage, reason and words, for the same stream, and the frame byte for byte."""
        market, stream = kind_of(name)
        [outcome] = new_pipeline(market, stream).process(frame_in(name), RECEIVED_AT_US)
        assert isinstance(outcome, DeadLetter)
        letter = letter_from(outcome, market=market, received_at_us=RECEIVED_AT_US)
        prepared = workbench_for(market, stream).prepare(letter, RECEIVED_AT_US)
        assert prepared == FailsAgain(outcome)
        assert (letter.stage, letter.reason) == (stage, reason)

    @pytest.mark.parametrize("name", NO_EVENTS)
    def test_frames_without_an_event_are_done(self, name: str) -> None:
        """Answers of the exchange, announcements, and the futures frames that are no trade belong into no topic."""
        market, stream = kind_of(name)
        known = {"stream": f"btcusdt@{stream}", "symbol": "BTCUSDT", "topic": TOPIC}
        fields: dict[str, Any] = known if name in payloads.IGNORED else {}
        prepared = workbench_for(market, stream).prepare(letter_of(frame_in(name), market, **fields), LATER_US)
        assert isinstance(prepared, NothingToPublish)
        assert prepared.why in {"acknowledged", "refused", "server_shutdown", "not_a_trade"}

    def test_every_order_is_welcome(self) -> None:
        """Letters come in the order of their failures: none is taken for seen before, as a live one would be."""
        numbers = [5, 4, 3, 2, 1, 9, 9, 5]
        workbench = letters.new_workbench()
        prepared = [workbench.prepare(letter_of_number(number), LATER_US) for number in numbers]
        found = [int(decoded_part(the_record(one)).rpartition(".")[2]) for one in prepared]
        assert found == numbers

    def test_a_letter_of_another_topic_goes_to_that_topic(self) -> None:
        """The letter remembers where it belongs, and the schema is looked up for that topic."""
        asked: list[str] = []

        def schema_id(topic: str, _schema: object) -> int:
            asked.append(topic)
            return len(asked)

        workbench = Workbench(letters.WANTED, Environment(load_schema, schema_id, lambda _: True, lambda _m, _s: "USDT"))
        records = [the_record(workbench.prepare(letter_of_number(1, topic=topic), LATER_US)) for topic in ("a", "b", "a")]
        assert [(record.topic, record.value[:5]) for record in records] == [
            ("a", b"\0\0\0\0\1"),
            ("b", b"\0\0\0\0\2"),
            ("a", b"\0\0\0\0\1"),
        ]
        assert asked == ["a", "b"]

    def test_prices_are_in_what_the_environment_says(self) -> None:
        """The quote asset is asked for by market and symbol."""
        environment = Environment(load_schema, lambda _t, _s: 1, lambda _: True, lambda market, symbol: f"{market}/{symbol}")
        record = the_record(Workbench(letters.WANTED, environment).prepare(letter_of_number(1), LATER_US))
        assert decoded(record.value)["currency"] == "spot/BTCUSDT"


def letter_of_number(number: int, **changes: Any) -> Letter:
    frame = frame_of(trade_event(number))
    return letter_of(frame, **{"stream": "btcusdt@aggTrade", "symbol": "BTCUSDT", "topic": letters.TOPIC, **changes})


def decoded_part(record: Record) -> str:
    value = b"\0\0\0\0\1" + record.value[5:]
    return str(decoded(value)["message_id"])


class TestTimes:
    FRAME = frame_in("trade_of_august_2024")
    TRADED_AT_US = 1_723_161_255_342_000
    TWO_HOURS_US = 7_200_000_000

    def received_us(self, prepared: Prepared) -> int:
        received_at: datetime = decoded(the_record(prepared).value)["ingestion_timestamp"]
        return round(received_at.timestamp() * 1_000_000)

    def letter(self, reason: Reason, received_at_us: int | None) -> Letter:
        failure = DeadLetter(Stage.MAP, reason, "once", self.FRAME, "btcusdt@aggTrade", "BTCUSDT", TOPIC)
        return letter_from(failure, received_at_us=received_at_us)

    def test_the_time_of_receipt_is_kept(self) -> None:
        """What consumers see is when the event came, not when somebody got round to it."""
        letter = self.letter(Reason.MISSING_FIELD, RECEIVED_AT_US)
        assert self.received_us(workbench_for().prepare(letter, LATER_US)) == RECEIVED_AT_US

    def test_an_event_without_it_was_received_now(self) -> None:
        """Some letters cannot tell."""
        letter = self.letter(Reason.MISSING_FIELD, None)
        assert self.received_us(workbench_for().prepare(letter, LATER_US)) == LATER_US

    def test_an_event_from_the_future_is_judged_by_the_clock_of_now(self) -> None:
        """Our own clock may have been wrong: then time alone heals it."""
        letter = self.letter(Reason.TIMESTAMP_OUT_OF_RANGE, self.TRADED_AT_US - self.TWO_HOURS_US)
        assert self.received_us(workbench_for().prepare(letter, LATER_US)) == LATER_US
        assert isinstance(workbench_for().prepare(letter, self.TRADED_AT_US - self.TWO_HOURS_US), FailsAgain)

    def test_no_other_event_is(self) -> None:
        """What was received before it was traded fails as it would have, however late it is by now."""
        letter = self.letter(Reason.MISSING_FIELD, self.TRADED_AT_US - self.TWO_HOURS_US)
        prepared = workbench_for().prepare(letter, LATER_US)
        assert isinstance(prepared, FailsAgain)
        assert prepared.failure.reason is Reason.TIMESTAMP_OUT_OF_RANGE


KINDS: list[tuple[str, str, dict[str, Any]]] = [
    ("spot", "aggTrade", {}),
    ("spot", "trade", {}),
    ("usdm", "aggTrade", {"nq": "0.4", "st": 1}),
    ("usdm", "trade", {"X": "MARKET", "st": 1}),
]


def letter_of_record(market: str = "spot", stream: str = "aggTrade", *, schema_id: int = SCHEMA_ID, **extra: Any) -> Letter:
    """A letter of a record of an event with number 7, as the client writes it."""
    made = make_record(7, market, stream, **extra)
    value = b"\0" + schema_id.to_bytes(4, "big") + made.value[5:]
    record = Record("the.topic", made.key, value, made.timestamp_ms, [("k2-source", b"late"), ("mine", None)])
    event = {key: value for key, value in trade_event(7, market=market, stream=stream, **extra).items() if key != "M"}
    failed = FailedRecord(record, Stage.PRODUCE, Reason.TOO_LARGE, "no", WriteOutcome.UNKNOWN, event, stream, "BTCUSDT")
    received_at_us = round(decoded(b"\0\0\0\0\1" + made.value[5:])["ingestion_timestamp"].timestamp() * 1_000_000)
    return letter_from(failed, market=market, received_at_us=received_at_us)


class TestRecords:
    def test_a_record_keeps_its_bytes(self) -> None:
        """Topic, key, value and time as they were; the headers are those of a replay."""
        letter = letter_of_record()
        record = the_record(elsewhere_with(SCHEMA_ID).prepare(letter, LATER_US))
        assert letter.record is not None
        assert parts(record) == parts(letter.record)
        assert record.headers == [("k2-source", b"replay"), ("k2-dead-letter", b"letter-1")]

    @pytest.mark.parametrize(("market", "stream", "extra"), KINDS)
    def test_a_record_whose_schema_is_lost_is_encoded_anew(self, market: str, stream: str, extra: dict[str, Any]) -> None:
        """The registry was made anew and gave another id: apart from that the bytes are the same, and so is the message_id."""
        letter = letter_of_record(market, stream, schema_id=999, **extra)
        record = the_record(elsewhere_with(SCHEMA_ID).prepare(letter, LATER_US))
        made = make_record(7, market, stream, **extra)
        assert parts(record) == ("the.topic", made.key, made.value, made.timestamp_ms)

    @pytest.mark.parametrize(
        "value", [pytest.param(b"", id="empty"), pytest.param(b"\0\0\0", id="short"), pytest.param(b"{}" * 9, id="no-framing")]
    )
    def test_a_value_without_a_schema_id_is_encoded_anew(self, value: bytes) -> None:
        """A record that no consumer could read is made one, from the event that the letter shows."""
        record = Record("the.topic", b"BTCUSDT", value, 1)
        event = {key: value for key, value in trade_event(7).items() if key != "M"}
        failed = FailedRecord(
            record, Stage.PRODUCE, Reason.TOO_LARGE, "no", WriteOutcome.NOT_WRITTEN, event, "aggTrade", "BTCUSDT"
        )
        prepared = elsewhere_with(SCHEMA_ID).prepare(letter_from(failed), LATER_US)
        assert parts(the_record(prepared))[1:] == parts(the_record(prepared_of(trade_event(7))))[1:]

    @pytest.mark.parametrize(
        "event",
        [
            pytest.param({}, id="none"),
            pytest.param({"s": "BTCUSDT", "a": 1}, id="a-part-of-one"),
            pytest.param({"z": 2**70, "y": 1e300, "x": "\u2028"}, id="odd-values"),
            pytest.param({"e": "aggTrade", "s": "ETHUSDT"}, id="of-another-symbol"),
        ],
    )
    def test_a_record_whose_event_is_lost_as_well_fails_again(self, event: dict[str, Any]) -> None:
        """Neither its schema nor the event is known: there is nothing to publish that anybody could read."""
        record = Record("the.topic", b"BTCUSDT", b"\0\0\0\3\xe7bytes", 1)
        failed = FailedRecord(
            record, Stage.PRODUCE, Reason.TOO_LARGE, "no", WriteOutcome.NOT_WRITTEN, event, "aggTrade", "BTCUSDT"
        )
        assert isinstance(elsewhere_with(SCHEMA_ID).prepare(letter_from(failed), LATER_US), FailsAgain)


def elsewhere_with(schema_id: int) -> Workbench:
    environment = Environment(load_schema, lambda _t, _s: schema_id, letters.written_with(schema_id), lambda _m, _s: "USDT")
    return Workbench(letters.wanting("usdm", "trade", "other.topic", ()), environment)


def prepared_of(event: dict[str, Any]) -> Prepared:
    letter = letters.letter_from(
        DeadLetter(Stage.DECODE, Reason.NOT_JSON, "once", frame_of(event), "btcusdt@aggTrade", "BTCUSDT", "t")
    )
    return elsewhere_with(SCHEMA_ID).prepare(letter, LATER_US)


class TestBounds:
    @pytest.mark.parametrize(
        "stream",
        ["../../x@aggTrade", "a b@aggTrade", "@aggTrade", "btcusdt@", "@", "btcusdt@aggTrade@aggTrade", "b_usdt@aggTrade"],
    )
    def test_a_stream_of_no_symbol_is_none(self, stream: str) -> None:
        """Streams are named by files that anybody may have written to."""
        event = trade_event(1, symbol=stream.partition("@")[0].upper())
        frame = json.dumps({"stream": stream, "data": event}).encode()
        prepared = workbench_for().prepare(letter_of(frame, stream=stream, topic=TOPIC), LATER_US)
        assert isinstance(prepared, FailsAgain)

    def test_symbols_with_a_delivery_date_are_symbols(self) -> None:
        """BTCUSDT_250328 is one on the futures exchange."""
        event = trade_event(1, market="usdm", symbol="BTCUSDT_250328")
        fields: dict[str, Any] = {"stream": "btcusdt_250328@aggTrade", "symbol": "BTCUSDT_250328", "topic": TOPIC}
        assert (
            the_record(workbench_for().prepare(letter_of(frame_of(event), "usdm", **fields), LATER_US)).key == b"BTCUSDT_250328"
        )

    def test_however_many_streams_there_are_memory_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file of letters of a million symbols costs time and no memory."""
        monkeypatch.setattr(destinations, "MOST_PIPELINES", 3)
        workbench = workbench_for()
        for number in range(20):
            symbol = f"S{number}USDT"
            fields: dict[str, Any] = {"stream": f"{symbol.lower()}@aggTrade", "symbol": symbol, "topic": TOPIC}
            the_record(workbench.prepare(letter_of(frame_of(trade_event(1, symbol=symbol)), **fields), LATER_US))
            assert len(workbench._destinations._pipelines) <= 3


FRAMES = [path.read_bytes() for path in payloads.FILES.values()]
NOISE = [
    b"",
    b'"',
    b"\\",
    b"\xff",
    b"\0",
    b"null",
    b"[" * 2_000,
    b"9" * 400,
    b'"stream":7',
    b'"s":{}',
    b"@",
    b"{}",
    b"usdt@trade",
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A frame of the payload files with a few bytes replaced."""
    dice = random.Random(draw(st.integers(0, 2**32)))  # noqa: S311 - no secret
    frame = dice.choice(FRAMES)
    for _ in range(dice.randrange(1, 4)):
        start = dice.randrange(len(frame) + 1)
        frame = frame[:start] + dice.choice(NOISE) + frame[start + dice.randrange(12) :]
    return frame


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "stream": st.sampled_from(["btcusdt@aggTrade", "btcusdt@trade", "aggTrade", "@", "x@y@z"]) | st.text(max_size=20),
        "symbol": st.sampled_from(["BTCUSDT", "ETHUSDT"]) | st.text(max_size=20),
        "topic": st.sampled_from(["", TOPIC]),
    },
)
MARKETS = st.sampled_from(["spot", "usdm", "coinm", ""])


@settings(max_examples=400)
@given(mutated() | st.binary(max_size=80), MARKETS, st.sampled_from(Reason), FIELDS)
def test_any_frame_can_be_prepared(frame: bytes, market: str, reason: Reason, fields: dict[str, Any]) -> None:
    """Whatever a letter holds, something is to be done with it, and what fails again holds its frame byte for byte."""
    letter = letter_of(frame, market, reason=reason, **fields)
    prepared = workbench_for().prepare(letter, LATER_US)
    if isinstance(prepared, FailsAgain):
        assert prepared.failure.payload == frame
    elif isinstance(prepared, ToPublish):
        live = new_pipeline(market, _stream_of(prepared))
        [outcome] = live.process(frame, LATER_US if reason is Reason.TIMESTAMP_OUT_OF_RANGE else RECEIVED_AT_US)
        assert isinstance(outcome, Publish)
        assert outcome.records[0].value == the_record(prepared).value


def _stream_of(prepared: ToPublish) -> str:
    return str(decoded(prepared.records[0].value)["message_id"]).split(".")[2]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(st.binary(max_size=40), st.dictionaries(st.text(), JSON, max_size=4), FIELDS, MARKETS)
def test_any_record_can_be_prepared(value: bytes, event: dict[str, Any], fields: dict[str, Any], market: str) -> None:
    """The same for records, whatever event they are said to be of."""
    known = {"stream": fields.get("stream", "aggTrade"), "symbol": fields.get("symbol", "BTCUSDT")}
    record = Record("t", b"k", value, 1)
    failed = FailedRecord(record, Stage.PRODUCE, Reason.TOO_LARGE, "no", WriteOutcome.NOT_WRITTEN, event, **known)
    prepared = workbench_for().prepare(letter_from(failed, market=market), LATER_US)
    assert isinstance(prepared, ToPublish | FailsAgain | NothingToPublish)
