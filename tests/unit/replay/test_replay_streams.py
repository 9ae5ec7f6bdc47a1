"""Letters of every stream and every shape of topic: what is replayed is what would have come live, where it would have gone."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.core.letter_reader import Letter
from k2.ingestion.core.letters import FailedRecord
from k2.ingestion.core.outcome import DeadLetter, Publish, Reason, Record, Stage, WriteOutcome
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.exchanges.binance.names import stream_of
from k2.ingestion.exchanges.binance.streams import RowBuilder
from k2.ingestion.record_reader import RecordReader
from k2.ingestion.routing import outputs_for
from k2.ingestion.settings import load_settings
from k2.ingestion.topic_plan import RAW, TopicPlan
from k2.replay.destinations import Environment, Wanted
from k2.replay.wiring import wanted_by
from k2.replay.workbench import FailsAgain, NothingToPublish, Prepared, ToPublish, Workbench
from unit.core.pipelines import TOPIC, published_record
from unit.exchanges.goldens import GOLDENS, Golden, event_of, frame_with, pipeline_for
from unit.exchanges.test_market_arrays import ARRAYS, CASES
from unit.replay.letters import letter_from, wanting

EVERY_GOLDEN = pytest.mark.parametrize("golden", GOLDENS.values(), ids=list(GOLDENS))
LATER_US = 1_800_000_000_000_000
TRADES = wanting("spot", "aggTrade", "trades.binance", ["BTCUSDT"])
CANDLE = GOLDENS["spot_kline_1m"]
MARKS = [("k2-source", b"replay"), ("k2-dead-letter", b"letter-1")]


def workbench_for(wanted: Wanted = TRADES, quote_asset: str = "USDT") -> Workbench:
    """One whose registry has one schema id, 1."""
    reads = b"\0\0\0\0\1".__eq__
    return Workbench(
        wanted, Environment(load_schema, lambda _t, _s: 1, lambda value: reads(value[:5]), lambda _m, _s: quote_asset)
    )


def for_golden(golden: Golden, wanted: Wanted = TRADES) -> Workbench:
    return workbench_for(wanted, golden["currency"])


def letter_of_frame(
    golden: Golden,
    frame: bytes | None = None,
    *,
    stream: str | None = None,
    topic: str = TOPIC,
) -> Letter:
    """A letter of an event that an earlier version did not understand."""
    name = golden["stream"] if stream is None else stream
    payload = golden["frame"].encode() if frame is None else frame
    failure = DeadLetter(Stage.DECODE, Reason.WRONG_TYPE, "once", payload, name, golden["key"], topic)
    return letter_from(failure, market=golden["market"], received_at_us=golden["received_at_us"])


def live_record(golden: Golden) -> Record:
    return published_record(pipeline_for(golden).process(golden["frame"].encode(), golden["received_at_us"]))


def records_of(prepared: Prepared) -> tuple[Record, ...]:
    assert isinstance(prepared, ToPublish), prepared
    return prepared.records


def parts(record: Record) -> tuple[str, bytes | None, bytes, int]:
    return record.topic, record.key, record.value, record.timestamp_ms


def letter_of_record(record: Record, plan: TopicPlan, golden: Golden, outcome: WriteOutcome = WriteOutcome.NOT_WRITTEN) -> Letter:
    """A letter of a record that Kafka did not take, as the client's desk writes it."""
    schemas = {plan.name: load_schema(plan.schema_name).parsed} if plan.needs_schema else {}
    told = RecordReader(golden["market"], {plan.name: plan}, schemas).told_by(record)
    symbol = (record.key or b"").decode()
    failed = FailedRecord(record, Stage.PRODUCE, Reason.TOO_LARGE, "no", outcome, told.original_message, told.stream, symbol)
    return letter_from(failed, market=golden["market"], received_at_us=told.received_at_us or golden["received_at_us"])


def plan_of(golden: Golden, **changes: Any) -> TopicPlan:
    return TopicPlan(**{"name": TOPIC, "streams": ("*",), "schema_name": golden["schema"], **changes})


def live_records(golden: Golden, plans: list[TopicPlan]) -> tuple[Record, ...]:
    """What the golden frame becomes in these topics."""
    stream = stream_of(golden["market"], golden["stream"])
    outputs = outputs_for(plans, {plan.name: 1 for plan in plans})
    rows = RowBuilder(golden["market"], lambda _: golden["currency"]).table([stream], lambda _: list(outputs.values()))
    [outcome] = Pipeline(rows).process(golden["frame"].encode(), golden["received_at_us"])
    assert isinstance(outcome, Publish)
    return outcome.records


def wanted_for(golden: Golden, *plans: TopicPlan, updates: bool = False) -> Wanted:
    spec = stream_of(golden["market"], golden["stream"]).spec
    return Wanted(golden["market"], frozenset({spec}), frozenset({golden["key"]}), plans, updates=updates)


class TestEvents:
    @EVERY_GOLDEN
    def test_an_event_of_any_stream_is_published_as_it_would_have_been_live(self, golden: Golden) -> None:
        """Into the letter's topic in the kind's own schema, though the settings plan nothing of it; the headers say whence."""
        [record] = records_of(for_golden(golden).prepare(letter_of_frame(golden), LATER_US))
        assert parts(record) == parts(live_record(golden))
        assert record.headers == MARKS

    @EVERY_GOLDEN
    def test_an_event_that_had_found_no_stream_is_routed_by_the_settings(self, golden: Golden) -> None:
        """Where they wish for its stream of its symbol and a topic takes it."""
        letter = letter_of_frame(golden, topic="", stream="")
        wanted = wanted_for(golden, plan_of(golden))
        [record] = records_of(for_golden(golden, wanted).prepare(letter, LATER_US))
        assert parts(record) == parts(live_record(golden))
        others = replace(wanted, symbols=frozenset({"OTHERUSDT"}))
        assert isinstance(for_golden(golden, others).prepare(letter, LATER_US), FailsAgain)

    @pytest.mark.parametrize(
        ("wishes", "symbols", "quote_assets"),
        [
            pytest.param({"kline_1m"}, {"BTCUSDT"}, set(), id="a-symbol-of-a-spec"),
            pytest.param({"btcusdt@kline_1m"}, set(), set(), id="by-its-full-name"),
            pytest.param({"kline_1m"}, set(), {"USDT"}, id="all-of-a-quote-asset"),
        ],
    )
    def test_every_form_of_a_wish_is_one(self, wishes: set[str], symbols: set[str], quote_assets: set[str]) -> None:
        """A spec of listed symbols, a name, and all symbols that are priced in an asset."""
        wanted = Wanted("spot", frozenset(wishes), frozenset(symbols), (plan_of(CANDLE),), frozenset(quote_assets))
        assert records_of(workbench_for(wanted).prepare(letter_of_frame(CANDLE, topic=""), LATER_US))

    def test_candles_are_welcome_in_any_order(self) -> None:
        """A letter of an earlier minute comes after one of a later minute, and twice."""
        workbench = for_golden(CANDLE)
        event = event_of(CANDLE)
        opened = [event["k"]["t"] - minutes * 60_000 for minutes in (0, 5, 1, 5)]
        found: list[Record] = []
        for at_ms in opened:
            candle = event | {"k": event["k"] | {"t": at_ms, "T": at_ms + 59_999}}
            letter = letter_of_frame(CANDLE, frame_with(CANDLE["stream"], candle))
            found += records_of(workbench.prepare(letter, LATER_US))
        assert len(found) == len(opened)

    @pytest.mark.parametrize("updates", [False, True])
    def test_an_open_candle_is_an_event_only_where_updates_are_wanted(self, updates: bool) -> None:
        """As it is live."""
        event = event_of(CANDLE)
        frame = frame_with(CANDLE["stream"], event | {"k": event["k"] | {"x": False}})
        wanted = wanted_for(CANDLE, plan_of(CANDLE), updates=updates)
        prepared = workbench_for(wanted).prepare(letter_of_frame(CANDLE, frame), LATER_US)
        assert isinstance(prepared, ToPublish if updates else NothingToPublish)


class TestAllMarketStreams:
    @CASES
    def test_an_element_is_replayed_by_itself(self, stream: str, golden: Golden, is_array: bool) -> None:
        """Its letter holds a frame with that element alone; the record is that of the whole frame."""
        event = event_of(golden)
        live = pipeline_for(golden, stream).process(frame_with(stream, [event] if is_array else event), golden["received_at_us"])
        letter = letter_of_frame(golden, frame_with(stream, event), stream=stream)
        [record] = records_of(for_golden(golden).prepare(letter, LATER_US))
        assert parts(record) == parts(published_record(live))

    @ARRAYS
    def test_a_whole_array_is_replayed_with_what_still_fails_told_apart(self, stream: str, golden: Golden) -> None:
        """Two sound elements are records; the broken one is a failure of its own, which shows that element."""
        event = event_of(golden)
        broken = {key: value for key, value in event.items() if key != "E"}
        frame = frame_with(stream, [event, broken | {"s": "AUSDT"}, event | {"s": "BUSDT"}])
        prepared = for_golden(golden).prepare(letter_of_frame(golden, frame, stream=stream), LATER_US)
        assert [record.key for record in records_of(prepared)] == [golden["key"].encode(), b"BUSDT"]
        assert isinstance(prepared, ToPublish)
        assert [(failure.symbol, json.loads(failure.payload)["data"]["s"]) for failure in prepared.failures] == [
            ("AUSDT", "AUSDT")
        ]

    def test_a_frame_is_not_captured_again(self) -> None:
        """Where whole frames are captured beside their events: it was when it came, and that of one element never came at all."""
        golden = GOLDENS["spot_mini_ticker"]
        plans = (plan_of(golden), TopicPlan(name="raw", streams=("*",), layout=RAW, schema_name="raw_v2"))
        wanted = Wanted("spot", frozenset({"!miniTicker@arr"}), frozenset(), plans)
        event = event_of(golden)
        for data in (event, [event]):
            letter = letter_of_frame(golden, frame_with("!miniTicker@arr", data), stream="!miniTicker@arr")
            assert [record.topic for record in records_of(for_golden(golden, wanted).prepare(letter, LATER_US))] == [TOPIC]


class TestSeveralTopics:
    PLANS = (
        plan_of(CANDLE, name="candles"),
        TopicPlan(name="events", streams=("kline_*",), layout="event", keyed=False),
        TopicPlan(name="raw", streams=("*",), layout=RAW, schema_name="raw_v2", keyed=False),
    )

    def test_an_event_goes_to_all_its_topics_again(self) -> None:
        """
        No record of the event was made when it failed, so all are made now, each as live and with the marks of a replay.

        The frame itself was captured when it came.
        """
        letter = letter_of_frame(CANDLE, topic="candles")
        found = records_of(workbench_for(wanted_for(CANDLE, *self.PLANS)).prepare(letter, LATER_US))
        assert list(map(parts, found)) == list(map(parts, live_records(CANDLE, list(self.PLANS))[:2]))
        assert [record.headers for record in found] == [MARKS] * 2

    @pytest.mark.parametrize("number", range(3), ids=["avro", "json", "raw"])
    @pytest.mark.parametrize("schema_id", [1, 9], ids=["known-schema", "lost-schema"])
    def test_a_record_goes_to_its_own_topic_alone(self, number: int, schema_id: int) -> None:
        """The others took theirs; one whose schema is lost is made anew for the same topic, a captured frame byte for byte."""
        live = live_records(CANDLE, list(self.PLANS))[number]
        written = live.value if live.value.startswith(b"{") else b"\0" + schema_id.to_bytes(4) + live.value[5:]
        record = Record(live.topic, live.key, written, live.timestamp_ms)
        letter = letter_of_record(record, self.PLANS[number], CANDLE)
        [found] = records_of(workbench_for(wanted_for(CANDLE, *self.PLANS)).prepare(letter, LATER_US))
        assert (found.topic, found.key, found.value) == (live.topic, live.key, live.value)

    def test_a_topic_of_another_form_takes_no_such_event(self) -> None:
        """A letter whose topic is planned for something else falls back on its kind's own schema, for that topic only."""
        plans = (plan_of(CANDLE, name="trades", streams=("aggTrade",), schema_name="trade_v2"), *self.PLANS)
        letter = letter_of_frame(CANDLE, topic="trades")
        [record] = records_of(workbench_for(wanted_for(CANDLE, *plans)).prepare(letter, LATER_US))
        assert (record.topic, record.value) == ("trades", live_record(CANDLE).value)

    @pytest.mark.parametrize("name", ["btcusdt@newStream", "!newStream@arr", "btcusdt@trade"])
    def test_a_stream_goes_only_where_its_events_can_be_shown(self, name: str) -> None:
        """Letters name streams that nobody knows, and patterns may take them: only captured frames can hold those."""
        wanted = wanted_for(CANDLE, *self.PLANS, plan_of(CANDLE, name="all", streams=("*",)))
        frame = frame_with(name, event_of(CANDLE))
        prepared = [
            workbench_for(wanted).prepare(letter_of_frame(CANDLE, frame, stream=name, topic=topic), LATER_US)
            for topic in ("raw", "all")
        ]
        assert [record.topic for record in records_of(prepared[0])] == ["raw"]
        assert isinstance(prepared[1], FailsAgain)


class TestRecords:
    @EVERY_GOLDEN
    @pytest.mark.parametrize("key", [True, False], ids=["keyed", "without-a-key"])
    def test_a_record_of_any_stream_whose_schema_is_lost_is_encoded_anew(self, golden: Golden, key: bool) -> None:
        """From the event that its letter shows; symbol and stream are told by the record itself, which may have no key."""
        plan = plan_of(golden, keyed=key)
        [live] = live_records(golden, [plan])
        lost = Record(live.topic, live.key, b"\0\0\0\0\7" + live.value[5:], live.timestamp_ms)
        letter = letter_of_record(lost, plan, golden)
        [record] = records_of(for_golden(golden, wanted_for(golden, plan)).prepare(letter, LATER_US))
        assert parts(record) == parts(live)

    @pytest.mark.parametrize("planned", [True, False], ids=["planned", "of-other-settings"])
    def test_json_keeps_its_bytes(self, planned: bool) -> None:
        """No registry has to know it, and no schema of ours may come between the JSON of a topic."""
        plan = TopicPlan(name="events", streams=("kline_*",), layout="event", keyed=False)
        [live] = live_records(CANDLE, [plan])
        wanted = wanted_for(CANDLE, plan) if planned else TRADES
        [record] = records_of(workbench_for(wanted).prepare(letter_of_record(live, plan, CANDLE), LATER_US))
        assert parts(record) == parts(live)
        assert record.key is None

    def test_a_captured_frame_that_cannot_be_read_any_more_fails_again(self) -> None:
        """A byte of it is another one: neither a consumer nor we could tell what the exchange had sent."""
        plan = TopicPlan(name="raw", streams=("*",), layout=RAW, schema_name="raw_v2")
        [live] = live_records(CANDLE, [plan])
        damaged = Record(live.topic, live.key, b"\0\0\0\0\7" + live.value[5:].replace(b"118", b"119", 1), live.timestamp_ms)
        prepared = workbench_for(wanted_for(CANDLE, plan)).prepare(letter_of_record(damaged, plan, CANDLE), LATER_US)
        assert isinstance(prepared, FailsAgain)
        assert "captured frame" in prepared.failure.error


def test_the_settings_tell_what_is_wanted() -> None:
    """Wishes of both sorts, symbols and quote assets, the topics with their forms, and whether open candles count."""
    argv = ["--streams", "kline_1m", "!miniTicker@arr", "--raw-streams", "newStream", "--symbols", "ALL:BTC", "ETHUSDT"]
    wanted = wanted_by(load_settings([*argv, "--candles", "updates"], {"HOME": "/nonexistent"}))
    assert wanted.wishes == {"kline_1m", "!miniTicker@arr", "newStream"}
    assert (sorted(wanted.symbols), sorted(wanted.quote_assets), wanted.updates) == (["ETHUSDT"], ["BTC"], True)
    assert [(plan.name, plan.layout) for plan in wanted.plans] == [
        ("market.crypto.klines.binance", "avro"), ("market.crypto.tickers.binance", "avro"), ("market.crypto.raw.binance", "raw"),
    ]  # fmt: skip


def test_prepared_letters_can_be_told_apart_by_their_records() -> None:
    """The digest that names a record without an identity is of its bytes, so that equal letters name equal records."""
    plan = TopicPlan(name="events", streams=("kline_*",), layout="event", keyed=False)
    workbench = workbench_for(wanted_for(CANDLE, plan))
    first, second = (records_of(workbench.prepare(letter_of_frame(CANDLE, topic="events"), LATER_US)) for _ in range(2))
    assert first[0].value == second[0].value
    assert msgspec.json.decode(first[0].value)["k"]["t"] == event_of(CANDLE)["k"]["t"]
