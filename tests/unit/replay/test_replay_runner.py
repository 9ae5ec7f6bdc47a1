"""One run after the other over the same letters: each record once, each failure one new letter, each letter one result."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.harness import FIRST_TIME_MS
from k2.errors import FatalError
from k2.ingestion.adapters.journal import DailyJournal, JournalUnwritableError
from k2.ingestion.core.letter_reader import read_letter
from k2.ingestion.core.outcome import Reason, Stage, WriteOutcome
from k2.replay import runner
from k2.replay.files import find_files
from k2.replay.ledger import Ledger, LetterFate
from k2.replay.publisher import InterruptedReplayError
from k2.replay.runner import Plan, Replay
from k2.replay.selection import Selection
from k2.replay.summary import Summary
from unit.replay.bench import TODAY_S, TOO_LARGE, Bench
from unit.replay.letters import (
    TOPIC,
    broken_line,
    documents_in,
    empty_line,
    good_line,
    identity_of,
    new_workbench,
    record_line,
    snapshot_of,
    write_file,
)

FIRST_DAY, SECOND_DAY, NEW_LETTERS = "binance-20231114.jsonl", "binance-20231115.jsonl", "binance-20231117.jsonl"
UNKNOWN = WriteOutcome.UNKNOWN


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    directory = tmp_path / "dlq"
    directory.mkdir()
    return Bench(directory)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "BATCH_LETTERS", 2)


def numbers_of(summary: Summary) -> dict[str, int]:
    """What was counted, without the zeros."""
    total = summary.total
    found = {name: getattr(total, name) for name in total.__struct_fields__}
    return {name: count for name, count in (found | {"filtered": summary.filtered}).items() if count}


class TestOnce:
    def test_a_run_publishes_what_can_be_published(self, bench: Bench) -> None:
        """In the order of the letters; what failed again and what holds no event is told apart."""
        lines = [good_line(1), broken_line(2), empty_line(3), record_line(4), good_line(5)]
        write_file(bench.directory / FIRST_DAY, *lines)
        assert numbers_of(bench.publish()) == {"published": 3, "failed": 1, "nothing": 1}
        assert bench.topics.stored == {TOPIC: [identity_of(number) for number in (1, 4, 5)]}
        assert bench.topics.checked == [(TOPIC, 3)]

    def test_a_second_run_publishes_nothing(self, bench: Bench) -> None:
        """Only what failed is tried once more, as the new letter that stands for it."""
        write_file(bench.directory / FIRST_DAY, good_line(1), broken_line(2), empty_line(3))
        bench.publish()
        assert numbers_of(bench.publish()) == {"already": 3, "failed": 1}
        assert numbers_of(bench.publish()) == {"already": 4, "failed": 1}
        assert bench.topics.everything() == [identity_of(1)]

    @pytest.mark.usefixtures("small_batches")
    def test_the_same_event_in_two_letters_is_published_once(self, bench: Bench) -> None:
        """Within a batch, in a later batch, in a later run: the message_id decides, and the letters count as replayed."""
        twins = [good_line(1, f"twin-{n}") for n in range(2)]
        write_file(bench.directory / FIRST_DAY, *twins, good_line(2), good_line(1, "later"), record_line(1))
        assert numbers_of(bench.publish()) == {"published": 2, "already": 3}
        write_file(bench.directory / SECOND_DAY, good_line(1, "much-later"))
        assert numbers_of(bench.publish()) == {"already": 6}
        assert bench.topics.everything() == [identity_of(1), identity_of(2)]
        assert bench.living() == []

    @pytest.mark.usefixtures("small_batches")
    @pytest.mark.parametrize("line", [good_line, broken_line, empty_line, record_line])
    def test_a_file_that_was_copied_changes_nothing(self, bench: Bench, line: Callable[[int], bytes]) -> None:
        """The same letters twice are the same letters, failures as well."""
        write_file(bench.directory / FIRST_DAY, *(line(number) for number in range(5)))
        shutil.copy(bench.directory / FIRST_DAY, bench.directory / SECOND_DAY)
        summary = bench.publish()
        assert (summary.total.letters, summary.total.already) == (10, 5)
        assert len(set(bench.topics.everything())) == len(bench.topics.everything())
        assert len(documents_in(bench.directory)) == 10 + summary.total.failed

    def test_nothing_is_written_where_nothing_failed(self, bench: Bench) -> None:
        """A good run leaves its ledger, and no empty file."""
        write_file(bench.directory / FIRST_DAY, good_line(1))
        bench.publish()
        assert {path.name for path in bench.directory.iterdir()} == {FIRST_DAY, "replay-ledger.lock", "replay-ledger.sqlite3"}

    def test_no_letters_are_no_trouble(self, bench: Bench) -> None:
        """An empty directory, and an empty file."""
        assert numbers_of(bench.publish()) == {}
        (bench.directory / FIRST_DAY).touch()
        assert numbers_of(bench.publish()) == {}
        assert bench.broker.sent == []


class TestWhatFailsAgain:
    def test_an_event_becomes_one_new_letter(self, bench: Bench) -> None:
        """One attempt more, the letter that it stands for, and the frame as it came; the old line stays as it is."""
        old = broken_line(1)
        write_file(bench.directory / FIRST_DAY, old)
        bench.publish()
        [first, new] = documents_in(bench.directory)
        assert (bench.directory / FIRST_DAY).read_bytes() == old + b"\n"
        kept = (
            "stage",
            "reason",
            "market",
            "stream",
            "symbol",
            "topic",
            "payload",
            "payload_sha256",
            "received_at_us",
            "version",
        )
        assert {name: new[name] for name in kept} == {name: first[name] for name in kept}
        assert (new["attempts"], new["replay_of"]) == (2, "broken-1")
        assert new["failed_at"] > first["failed_at"]
        assert new["error"] == "Object missing required field `p` - at `$.data`"

    @pytest.mark.usefixtures("small_batches")
    def test_new_letters_are_left_to_the_next_run(self, bench: Bench) -> None:
        """A run ends, though it appends to the files that it reads."""
        write_file(bench.directory / NEW_LETTERS, *(broken_line(number) for number in range(7)))
        for run in range(1, 4):
            assert bench.publish().total.failed == 7
            assert [document["attempts"] for document in bench.living()] == [run + 1] * 7

    def test_a_record_that_is_refused_becomes_one_new_letter(self, bench: Bench) -> None:
        """It holds the record with the headers that it first had, and what Kafka said."""
        write_file(bench.directory / FIRST_DAY, record_line(1, headers=[("k2-source", b"late"), ("none", None)]), good_line(2))
        bench.broker.refuses = {identity_of(1): TOO_LARGE, identity_of(2): TOO_LARGE}
        assert numbers_of(bench.publish()) == {"failed": 2}
        of_record, of_frame = (read_letter(line) for line in (bench.directory / NEW_LETTERS).read_bytes().splitlines())
        old = read_letter((bench.directory / FIRST_DAY).read_bytes().splitlines()[0])
        assert of_record.record == old.record
        assert (of_record.stage, of_record.reason, of_record.error) == (Stage.PRODUCE, Reason.TOO_LARGE, "MSG_SIZE_TOO_LARGE: no")
        assert (of_record.stream, of_record.symbol, of_record.original_message) == ("aggTrade", "BTCUSDT", old.original_message)
        assert of_frame.record is not None
        assert (of_frame.record.headers, of_frame.stream, of_frame.symbol) == (None, "aggTrade", "BTCUSDT")
        assert of_frame.original_message["a"] == 2

    def test_what_was_refused_is_published_when_kafka_takes_it(self, bench: Bench) -> None:
        """The new letter does for both kinds."""
        write_file(bench.directory / FIRST_DAY, record_line(1), good_line(2))
        bench.broker.refuses = {identity_of(1): TOO_LARGE, identity_of(2): TOO_LARGE}
        bench.publish()
        bench.broker.refuses = {}
        assert numbers_of(bench.publish()) == {"published": 2, "already": 2}
        assert bench.topics.everything() == [identity_of(1), identity_of(2)]

    def test_letters_do_not_multiply(self, bench: Bench) -> None:
        """Two letters of one record that is refused stay two: one is tried, the other one waits for what comes of it."""
        write_file(bench.directory / FIRST_DAY, record_line(1, "a"), record_line(1, "b"))
        bench.broker.refuses = {identity_of(1): TOO_LARGE}
        for _ in range(3):
            assert bench.publish().total.failed == 1
            assert len(bench.living()) == 2

    def test_what_was_tried_too_often_is_left_alone(self, bench: Bench) -> None:
        """It is counted, and waits for a run that asks for more."""
        write_file(bench.directory / FIRST_DAY, broken_line(1, attempts=3), broken_line(2, attempts=2), good_line(3, attempts=9))
        assert numbers_of(bench.publish(max_attempts=3)) == {"exhausted": 2, "failed": 1}
        assert numbers_of(bench.publish(max_attempts=3)) == {"exhausted": 3, "already": 1}
        assert numbers_of(bench.publish()) == {"published": 1, "failed": 2, "already": 1}

    def test_a_full_disk_ends_the_run_and_loses_nothing(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was published is in the ledger and in the account; the letter that could not be written is tried again."""
        write_file(bench.directory / FIRST_DAY, good_line(1), broken_line(2))
        desk_is_full = JournalUnwritableError(bench.directory / NEW_LETTERS, "No space left on device")

        def refuse(_journal: DailyJournal, _lines: object) -> None:
            raise desk_is_full

        with monkeypatch.context() as patched:
            patched.setattr(DailyJournal, "append", refuse)
            with pytest.raises(FatalError, match="No space left on device"):
                bench.publish()
        assert numbers_of(bench.latest.summary) == {"published": 1}
        assert numbers_of(bench.publish()) == {"already": 1, "failed": 1}
        assert bench.topics.everything() == [identity_of(1)]


class TestInDoubt:
    def test_a_record_that_had_arrived_is_not_sent(self, bench: Bench) -> None:
        """Its outcome was unknown: the topic is asked first, around the time of the records in doubt and of no others."""
        lines = [record_line(number, outcome=UNKNOWN) for number in (3, 4, 8)]
        write_file(bench.directory / FIRST_DAY, record_line(1), *lines)
        bench.topics.stored = {TOPIC: [identity_of(4)]}
        assert numbers_of(bench.publish()) == {"published": 3, "already": 1, "in_doubt": 2}
        assert bench.topics.everything() == [identity_of(number) for number in (4, 1, 3, 8)]
        assert bench.topics.looked_near == [(TOPIC, FIRST_TIME_MS + 3, FIRST_TIME_MS + 8)]
        assert numbers_of(bench.publish()) == {"already": 4}
        assert len(bench.topics.looked_near) == 1

    def test_nobody_looks_without_a_doubt(self, bench: Bench) -> None:
        """What was surely not written need not be searched for."""
        write_file(bench.directory / FIRST_DAY, record_line(1), good_line(2))
        bench.publish()
        assert bench.topics.looked_near == []

    @pytest.mark.parametrize("readable", [True, False])
    def test_a_doubt_outlasts_a_refusal(self, bench: Bench, readable: bool) -> None:
        """That Kafka refuses a record now says nothing about what became of it then: the next run looks again."""
        write_file(bench.directory / FIRST_DAY, record_line(1, outcome=UNKNOWN))
        bench.broker.refuses = {identity_of(1): TOO_LARGE}
        bench.topics.readable = readable
        bench.publish()
        [new] = bench.living()
        assert (new["outcome"], new["reason"]) == ("unknown", "too_large")


class TestKilledRuns:
    def test_what_had_arrived_is_found_in_the_topic(self, bench: Bench) -> None:
        """Killed after the third of five records: the next run knows three of them, and sends two."""
        write_file(bench.directory / FIRST_DAY, *(good_line(number) for number in range(5)))
        assert bench.publish_until_killed(step=1 + 1 + 2 + 1 + 3)  # ends, check, begin, publish, three records
        assert len(bench.topics.everything()) == 3
        assert numbers_of(bench.publish()) == {"already": 3, "published": 2}
        assert bench.recovered == 3
        assert bench.topics.everything() == [identity_of(number) for number in range(5)]

    def test_only_what_came_since_is_looked_at(self, bench: Bench) -> None:
        """An old record with the same message_id is none of the killed run."""
        bench.topics.stored = {TOPIC: [identity_of(1)]}
        write_file(bench.directory / FIRST_DAY, good_line(1))
        assert bench.publish_until_killed(step=5)
        bench.publish()
        assert bench.topics.everything() == [identity_of(1)] * 2

    def test_a_topic_that_we_may_not_read_costs_no_letter(self, bench: Bench) -> None:
        """Then a record may come twice, and none is left out."""
        bench.topics.readable = False
        write_file(bench.directory / FIRST_DAY, good_line(1), good_line(2))
        assert bench.publish_until_killed(step=6)
        bench.publish()
        assert set(bench.topics.everything()) == {identity_of(1), identity_of(2)}


class Clock:
    """Time that passes only while somebody sleeps, or takes a letter in hand."""

    def __init__(self) -> None:
        self.now_s, self.naps = 0.0, list[float]()

    def monotonic(self) -> float:
        return self.now_s

    def time_ns(self) -> int:
        return int(TODAY_S * 1e9)

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(runner, "time", fake)
    return fake


class TestPace:
    @pytest.mark.parametrize(("rate", "largest"), [(1.0, 1), (0.5, 1), (8.0, 2), (40.0, 10)])
    def test_no_more_letters_go_than_are_asked_for(self, bench: Bench, clock: Clock, rate: float, largest: int) -> None:
        """At any moment no more than the rate allows are taken in hand, in batches small enough to be called a flow."""
        write_file(bench.directory / FIRST_DAY, *(good_line(number) for number in range(40)))
        sent_at_s: list[tuple[float, int]] = []
        publish = bench.broker.publish

        def note(records: Any) -> Any:
            sent_at_s.append((clock.now_s, len(records)))
            return publish(records)

        bench.broker.publish = note  # type: ignore[method-assign]
        bench.publish(rate=rate)
        assert [count for _, count in sent_at_s[:-1]] == [largest] * (len(sent_at_s) - 1)
        sent_before = 0
        for at_s, count in sent_at_s:
            assert sent_before <= at_s * rate + 1e-6
            sent_before += count
        assert sent_at_s[-1][0] == pytest.approx((40 - sent_at_s[-1][1]) / rate)

    def test_letters_that_are_done_take_no_time(self, bench: Bench, clock: Clock) -> None:
        """A second run passes over them at full speed."""
        write_file(bench.directory / FIRST_DAY, *(good_line(number) for number in range(20)))
        bench.publish()
        write_file(bench.directory / SECOND_DAY, good_line(100))
        assert numbers_of(bench.publish(rate=1.0)) == {"already": 20, "published": 1}
        assert clock.naps == []

    def test_a_run_without_a_rate_does_not_sleep(self, bench: Bench, clock: Clock) -> None:
        """As many as go, in large batches."""
        write_file(bench.directory / FIRST_DAY, *(good_line(number) for number in range(40)))
        bench.publish()
        assert ([len(batch) for batch in bench.broker.sent], clock.naps) == ([40], [])

    def test_a_slow_run_stops_soon_when_it_is_told_to(self, bench: Bench, clock: Clock) -> None:
        """A thousand seconds between two letters are no reason to wait for so long."""
        write_file(bench.directory / FIRST_DAY, good_line(1), good_line(2))
        with pytest.raises(InterruptedReplayError) as caught:
            bench.publish(rate=0.001, stop_signal=lambda: 15 if clock.now_s > 5 else 0)
        assert caught.value.exit_code == 128 + 15
        assert clock.now_s < 6
        assert numbers_of(bench.publish()) == {"already": 1, "published": 1}


class TestStopping:
    @pytest.mark.usefixtures("small_batches")
    def test_a_signal_ends_a_run_between_two_batches(self, bench: Bench) -> None:
        """What was sent is settled, what was not waits for the next run."""
        write_file(bench.directory / FIRST_DAY, *(good_line(number) for number in range(9)))
        with pytest.raises(InterruptedReplayError):
            bench.publish(stop_signal=lambda: 2 if len(bench.broker.sent) == 2 else 0)
        assert len(bench.topics.everything()) == 4
        assert numbers_of(bench.publish()) == {"already": 4, "published": 5}
        assert bench.recovered == 0

    def test_a_signal_ends_a_run_that_finds_nothing(self, bench: Bench) -> None:
        """A long search through files that hold nothing to do is no reason not to stop."""
        write_file(bench.directory / FIRST_DAY, *(good_line(number) for number in range(9)))
        with pytest.raises(InterruptedReplayError):
            bench.publish(selection=Selection(ids=frozenset({"none"})), stop_signal=lambda: 2)


class TestDryRun:
    def test_nothing_is_changed(self, bench: Bench) -> None:
        """Neither files nor ledger nor topic, and no new file."""
        write_file(bench.directory / FIRST_DAY, good_line(1), broken_line(2), empty_line(3), record_line(4))
        before = snapshot_of(bench.directory)
        assert numbers_of(bench.rehearse()) == {"published": 2, "failed": 1, "nothing": 1}
        assert snapshot_of(bench.directory) == before
        bench.publish()
        before = snapshot_of(bench.directory)
        assert numbers_of(bench.rehearse()) == {"already": 4, "failed": 1}
        assert snapshot_of(bench.directory) == before

    def test_progress_goes_from_the_first_byte_to_the_last(self, bench: Bench) -> None:
        """Over all files, whatever their lines are."""
        write_file(bench.directory / FIRST_DAY, good_line(1), b"garbage", b"", broken_line(2))
        write_file(bench.directory / SECOND_DAY, good_line(3))
        files = find_files(bench.directory)
        moved: list[int] = []
        with Ledger(bench.directory, writable=False) as ledger:
            Replay(Plan(tuple(files), Selection(), 0.0, 0), ledger, new_workbench(), None, moved=moved.append).run()
        assert moved == sorted(moved)
        assert moved[-1] == sum(file.end for file in files)


LINES: list[Callable[[int], bytes]] = [good_line, broken_line, empty_line, record_line]
ANY_LETTER = st.builds(lambda make, number: make(number), st.sampled_from(LINES), st.integers(1, 6))
A_TWIN = st.builds(good_line, st.integers(1, 6), st.sampled_from(["twin-a", "twin-b"]))
GARBAGE = st.sampled_from([b"garbage", b"{}", b'{"version":7}', good_line(1)[:70], b"\xff"])
FILES = st.lists(st.lists(ANY_LETTER | A_TWIN | GARBAGE, max_size=8), max_size=3)
SELECTIONS = st.sampled_from(
    [
        Selection(),
        Selection(stages=frozenset({Stage.MAP})),
        Selection(symbols=frozenset({"BTCUSDT"}), reasons=frozenset({Reason.MISSING_FIELD, Reason.DELIVERY_REJECTED})),
    ]
)


@settings(max_examples=40)
@given(files=FILES, selection=SELECTIONS, batch=st.integers(1, 5), most=st.integers(0, 2), refused=st.sets(st.integers(1, 6)))
def test_every_line_has_one_result(
    files: list[list[bytes]], selection: Selection, batch: int, most: int, refused: set[int]
) -> None:
    """
    Lines read = letters with a result + letters filtered + lines that are none, run after run.

    And a dry run says beforehand what the run then does, as far as that is up to us.
    """
    with pytest.MonkeyPatch.context() as patched, TemporaryDirectory() as place:
        patched.setattr(runner, "BATCH_LETTERS", batch)
        bench = Bench(Path(place))
        for day, lines in enumerate(files):
            write_file(bench.directory / f"binance-2023111{day}.jsonl", *lines)
        for run in range(3):
            count = sum(len(file.path.read_bytes().splitlines()) for file in find_files(bench.directory))
            foretold = bench.rehearse(selection=selection, max_attempts=most)
            bench.broker.refuses = {identity_of(number): TOO_LARGE for number in refused} if run == 1 else {}
            summary = bench.publish(selection=selection, max_attempts=most)
            assert summary.total.letters + summary.filtered + summary.unreadable_lines == count
            assert foretold.total.letters + foretold.filtered + foretold.unreadable_lines == count
            if run != 1:
                assert foretold.rows == summary.rows
        published = bench.topics.everything()
        assert len(set(published)) == len(published)


def test_fates_are_told(bench: Bench) -> None:
    """What became of each letter is in the ledger, for `k2 dlq list`."""
    write_file(bench.directory / FIRST_DAY, good_line(1), broken_line(2), empty_line(3), good_line(1, "twin"))
    bench.publish()
    with Ledger(bench.directory, writable=False) as ledger:
        assert ledger.fates(["good-1", "broken-2", "empty-3", "twin"]) == {
            "good-1": LetterFate.PUBLISHED,
            "broken-2": LetterFate.REFILED,
            "empty-3": LetterFate.NOTHING,
            "twin": LetterFate.PUBLISHED,
        }
