"""Letters whose events go to several topics: each record is there once, whatever Kafka refuses and whenever a run is killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.assembly import frame_of, trade_event
from k2.errors import FatalError
from k2.ingestion.adapters.journal import DailyJournal, JournalUnwritableError
from k2.ingestion.core.letter_reader import read_letter
from k2.ingestion.core.outcome import DeadLetter, Reason, Stage, WriteOutcome
from k2.ingestion.topic_plan import TopicPlan
from k2.replay import runner
from k2.replay.destinations import Wanted
from k2.replay.summary import Summary
from k2.replay.workbench import Workbench
from unit.exchanges.goldens import GOLDENS, event_of, frame_with
from unit.replay.bench import TOO_LARGE, Bench
from unit.replay.letters import ENVIRONMENT, SYMBOL, TOPIC, broken_line, documents_in, line_of, write_file

FILE = "binance-20231114.jsonl"
COPIES, EVENTS, TICKERS = "copies", "events", "tickers"
PLANS = (
    TopicPlan(name=TOPIC, streams=("aggTrade",), schema_name="trade_v2"),
    TopicPlan(name=COPIES, streams=("aggTrade",), schema_name="trade_v2", keyed=False),
    TopicPlan(name=EVENTS, streams=("*",), layout="event", keyed=False),
    TopicPlan(name=TICKERS, streams=("!miniTicker@arr",), schema_name="ticker_v2"),
)
WISHES = frozenset({"aggTrade", "!miniTicker@arr"})
TICKER = GOLDENS["spot_mini_ticker"]


def workbench(*plans: TopicPlan) -> Workbench:
    return Workbench(Wanted("spot", WISHES, frozenset({SYMBOL}), plans or PLANS), ENVIRONMENT)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    directory = tmp_path / "dlq"
    directory.mkdir()
    return Bench(directory, workbench)


def counts(bench: Bench) -> dict[str, int]:
    """How many records each topic holds. None of them may be there twice."""
    for topic, stored in bench.topics.stored.items():
        assert len(set(stored)) == len(stored), topic
    return {topic: len(stored) for topic, stored in bench.topics.stored.items()}


def numbers_of(summary: Summary) -> tuple[int, int, int]:
    total = summary.total
    return total.published, total.failed, total.already


def sound_line(number: int, letter_id: str = "", topic: str = TOPIC) -> bytes:
    """A letter of an event that an earlier version did not understand. It keeps its time of receipt, which JSON shows."""
    frame = frame_of(trade_event(number))
    letter = DeadLetter(Stage.DECODE, Reason.WRONG_TYPE, "once", frame, "btcusdt@aggTrade", SYMBOL, topic)
    return line_of(letter, letter_id or f"sound-{number}")


def array_line(letter_id: str = "array", *symbols: str) -> bytes:
    """A letter of a whole array, one element of which lacks its time."""
    event = event_of(TICKER)
    broken = {key: value for key, value in event.items() if key != "E"}
    frame = frame_with("!miniTicker@arr", [broken | {"s": "BROKENUSDT"}, *(event | {"s": symbol} for symbol in symbols)])
    letter = DeadLetter(Stage.DECODE, Reason.WRONG_TYPE, "once", frame, "!miniTicker@arr", "", TICKERS)
    return line_of(letter, letter_id, received_at_us=TICKER["received_at_us"])


class TestRefusals:
    def test_an_event_is_in_all_its_topics_once(self, bench: Bench) -> None:
        """A second run, and another letter of the same event, add nothing."""
        write_file(bench.directory / FILE, sound_line(1), sound_line(2), sound_line(1, "twin"))
        assert numbers_of(bench.publish()) == (2, 0, 1)
        assert numbers_of(bench.publish()) == (0, 0, 3)
        assert counts(bench) == {TOPIC: 2, COPIES: 2, EVENTS: 2}

    def test_what_one_topic_refuses_becomes_a_letter_of_that_record(self, bench: Bench) -> None:
        """The others have theirs; published later it completes them, and no topic gets a second one."""
        write_file(bench.directory / FILE, sound_line(1), sound_line(1, "twin"))
        bench.broker.refuses = {COPIES: TOO_LARGE}
        assert numbers_of(bench.publish()) == (0, 1, 1)
        assert counts(bench) == {TOPIC: 1, EVENTS: 1}
        [twin, new] = bench.living()
        assert (twin["id"], new["payload_kind"], new["topic"], new["key"], new["stream"]) == (
            "twin", "record", COPIES, None, "aggTrade",
        )  # fmt: skip
        bench.broker.refuses = {}
        bench.publish()
        assert counts(bench) == {TOPIC: 1, EVENTS: 1, COPIES: 1}
        assert bench.living() == []

    def test_every_refused_record_has_a_letter_of_its_own(self, bench: Bench) -> None:
        """Also where one topic holds JSON, which has no message_id to be told by."""
        write_file(bench.directory / FILE, sound_line(1))
        bench.broker.refuses = {COPIES: TOO_LARGE, EVENTS: TOO_LARGE}
        bench.publish()
        assert sorted(document["topic"] for document in bench.living()) == [COPIES, EVENTS]
        assert {document["symbol"] for document in bench.living()} == {SYMBOL}
        bench.publish()
        assert sorted((document["topic"], document["attempts"]) for document in bench.living()) == [(COPIES, 3), (EVENTS, 3)]
        bench.broker.refuses = {}
        bench.publish()
        assert counts(bench) == {TOPIC: 1, COPIES: 1, EVENTS: 1}
        assert bench.living() == []

    def test_a_full_disk_forgets_no_record_that_arrived(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """The letter is tried again, for the topic that refused it only."""
        write_file(bench.directory / FILE, sound_line(1))
        bench.broker.refuses = {COPIES: TOO_LARGE}

        def refuse(_journal: DailyJournal, _lines: object) -> None:
            raise JournalUnwritableError(bench.directory / FILE, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(DailyJournal, "append", refuse)
            with pytest.raises(FatalError, match="No space left"):
                bench.publish()
        bench.broker.refuses = {}
        assert numbers_of(bench.publish()) == (1, 0, 0)
        assert counts(bench) == {TOPIC: 1, COPIES: 1, EVENTS: 1}

    def test_letters_of_two_settings_share_a_batch(self, bench: Bench) -> None:
        """One of a run whose settings had one topic, one of all: what the first brings the second need not."""
        write_file(bench.directory / FILE, sound_line(1, "elsewhere", "elsewhere"), sound_line(1), sound_line(2))
        assert numbers_of(bench.publish()) == (3, 0, 0)
        assert counts(bench) == {"elsewhere": 1, TOPIC: 2, COPIES: 2, EVENTS: 2}

    def test_a_part_of_a_batch_waits_for_what_another_letter_brings(self, bench: Bench) -> None:
        """A letter of a record and one of the whole event: the topic has the record once, and the event is done after it."""
        bench.broker.refuses = {COPIES: TOO_LARGE}
        write_file(bench.directory / FILE, sound_line(1))
        bench.publish()
        (bench.directory / "replay-ledger.sqlite3").unlink()
        bench.topics.stored.clear()
        bench.broker.refuses = {}
        lines = [json.dumps(document).encode() for document in reversed(documents_in(bench.directory))]
        (bench.directory / FILE).write_bytes(b"\n".join(lines) + b"\n")
        for path in bench.directory.glob("binance-*.jsonl"):
            if path.name != FILE:
                path.unlink()
        assert numbers_of(bench.publish()) == (2, 0, 0)
        assert counts(bench) == {TOPIC: 1, COPIES: 1, EVENTS: 1}

    def test_json_of_unknown_outcome_is_looked_for_by_its_bytes(self, bench: Bench) -> None:
        """It has no message_id, and yet what had arrived is not sent again."""
        write_file(bench.directory / FILE, sound_line(1))
        bench.broker.refuses = {EVENTS: TOO_LARGE}
        bench.publish()
        [document] = bench.living()
        record = read_letter(json.dumps(document | {"outcome": WriteOutcome.UNKNOWN}).encode()).record
        assert record is not None
        (bench.directory / "doubt.jsonl").write_text(json.dumps(document | {"outcome": "unknown", "id": "doubt"}) + "\n")
        bench.topics.store(record)
        bench.broker.refuses = {}
        assert numbers_of(bench.publish("doubt.jsonl")) == (0, 0, 1)
        assert counts(bench) == {TOPIC: 1, COPIES: 1, EVENTS: 1}


class TestArrays:
    def test_what_is_sound_is_published_and_what_is_not_is_filed_again(self, bench: Bench) -> None:
        """The new letter holds the broken element alone, and is all that is left to do."""
        write_file(bench.directory / FILE, array_line("array", "AUSDT", "BUSDT"))
        assert numbers_of(bench.publish()) == (0, 1, 0)
        assert counts(bench) == {EVENTS: 2, TICKERS: 2}
        [new] = bench.living()
        assert (new["symbol"], new["stream"], new["original_message"]["s"]) == ("BROKENUSDT", "!miniTicker@arr", "BROKENUSDT")
        assert (new["attempts"], new["replay_of"]) == (2, "array")
        assert numbers_of(bench.publish()) == (0, 1, 1)

    def test_several_broken_elements_are_as_many_letters(self, bench: Bench) -> None:
        """And none of them takes the place of another."""
        event = {key: value for key, value in event_of(TICKER).items() if key != "E"}
        frame = frame_with("!miniTicker@arr", [event | {"s": symbol} for symbol in ("AUSDT", "BUSDT")])
        letter = DeadLetter(Stage.DECODE, Reason.WRONG_TYPE, "once", frame, "!miniTicker@arr", "", TICKERS)
        write_file(bench.directory / FILE, line_of(letter, "array"))
        bench.publish()
        assert [document["symbol"] for document in bench.living()] == ["AUSDT", "BUSDT"]


LINES: tuple[Callable[[], bytes], ...] = (
    lambda: sound_line(1), lambda: broken_line(2), lambda: array_line("array", "AUSDT", "BUSDT"), lambda: sound_line(1, "twin"),
    lambda: sound_line(3), lambda: array_line("again", "BUSDT", "CUSDT"),
)  # fmt: skip
WHOLE = {TOPIC: 2, COPIES: 2, EVENTS: 2 + 3, TICKERS: 3}


@contextmanager
def new_bench(batch: int, refuses: dict[str, Any]) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patched, TemporaryDirectory() as place:
        patched.setattr(runner, "BATCH_LETTERS", batch)
        bench = Bench(Path(place), workbench)
        write_file(bench.directory / FILE, *(make() for make in LINES))
        bench.broker.refuses = refuses
        yield bench


def assert_whole(bench: Bench) -> None:
    """Every record once in each of its topics; of what failed only the broken events are left."""
    assert counts(bench) == WHOLE
    left = {(document["symbol"], document["stage"]) for document in bench.living()}
    assert left == {(SYMBOL, "decode"), ("BROKENUSDT", "decode")}


@pytest.mark.parametrize("refuses", [{}, {EVENTS: TOO_LARGE}], ids=["all-taken", "one-topic-refuses"])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_a_kill_at_any_step_doubles_and_loses_nothing(batch: int, refuses: dict[str, Any]) -> None:
    """One after the other every moment between two steps, then a run to its end; at last with nothing refused any more."""
    step, survived = 0, False
    while not survived:
        step += 1
        with new_bench(batch, dict(refuses)) as bench:
            survived = not bench.publish_until_killed(step)
            bench.publish()
            bench.broker.refuses = {}
            bench.publish()
            assert_whole(bench)


@settings(max_examples=40)
@given(
    steps=st.lists(st.tuples(st.integers(1, 60), st.sampled_from([None, TOPIC, COPIES, EVENTS])), min_size=1, max_size=5),
    batch=st.integers(1, 5),
    under_way=st.integers(0, 4),
)
def test_any_kills_and_refusals_double_and_lose_nothing(steps: list[tuple[int, str | None]], batch: int, under_way: int) -> None:
    """In each run another topic may refuse what it is sent."""
    with new_bench(batch, {}) as bench:
        bench.broker.under_way = under_way
        for step, refusing in steps:
            bench.broker.refuses = {refusing: TOO_LARGE} if refusing else {}
            bench.publish_until_killed(step)
        bench.broker.refuses = {}
        bench.publish()
        bench.publish()
        assert_whole(bench)
