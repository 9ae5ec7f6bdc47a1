"""The ledger of a replay: what it was told is there again after any end of the process, whole steps only."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from k2.errors import ConfigurationError, FatalError
from k2.replay.ledger import LOCK_NAME, NAME, Ledger, LetterFate, Positions, Sending
from unit.replay.letters import snapshot_of

TOPICS, MESSAGE_IDS, LETTER_IDS = ["t", "u"], [f"m{n}" for n in range(6)], [f"l{n}" for n in range(6)]
MANY = 1_700  # more than one statement of SQLite takes
T = TypeVar("T")


class StepCutShortError(Exception):
    """Something goes wrong in the middle of a step."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path, writable=True) as opened:
        yield opened


def test_what_it_was_told_is_there_in_the_next_run(tmp_path: Path) -> None:
    """Fates of letters and published records; nothing is under way any more once it is settled."""
    with Ledger(tmp_path, writable=True) as ledger:
        ledger.begin([Sending("t", "m1", "l1")], {"t": {0: 5}})
        ledger.settle(
            [Sending("t", "m1", "l1")],
            [("l1", LetterFate.PUBLISHED), ("l2", LetterFate.REFILED), ("l3", LetterFate.NOTHING)],
        )
    for writable in (False, True):
        with Ledger(tmp_path, writable=writable) as ledger:
            assert ledger.fates(["l1", "l2", "l3", "l4"]) == {
                "l1": LetterFate.PUBLISHED,
                "l2": LetterFate.REFILED,
                "l3": LetterFate.NOTHING,
            }
            assert ledger.published("t", ["m1", "m2"]) == {"m1"}
            assert ledger.published("u", ["m1"]) == set()
            assert ledger.underway() == ([], {})


def test_what_was_under_way_is_there_after_a_kill(tmp_path: Path) -> None:
    """The records with their letters, and per partition the offset to look from."""
    sendings = [Sending("t", "m1", "l1"), Sending("u", "m1", "l2")]
    positions = {"t": {0: 5, 1: 0}, "u": {2: 7}}
    with Ledger(tmp_path, writable=True) as ledger:
        ledger.begin(sendings, positions)
    with Ledger(tmp_path, writable=True) as ledger:
        assert ledger.underway() == (sendings, positions)
        assert ledger.fates(["l1"]) == {}


def test_any_number_can_be_asked_about(ledger: Ledger) -> None:
    """A batch may hold more letters than SQLite takes parameters."""
    sendings = [Sending("t", f"m{n}", f"l{n}") for n in range(MANY)]
    ledger.settle(sendings, [(sending.letter_id, LetterFate.PUBLISHED) for sending in sendings])
    assert len(ledger.fates([sending.letter_id for sending in sendings])) == MANY
    assert len(ledger.published("t", [sending.message_id for sending in sendings])) == MANY
    assert (ledger.fates([]), ledger.published("t", [])) == ({}, set())


def test_a_record_that_arrived_is_not_all_of_its_letter(ledger: Ledger) -> None:
    """A letter may have records for several topics: that one of them is there settles nothing but that."""
    ledger.begin([Sending("a", "m", "l1"), Sending("b", "m", "l1")], {"a": {0: 0}, "b": {0: 0}})
    ledger.settle([Sending("a", "m", "l1")], [])
    assert (ledger.fates(["l1"]), ledger.published("a", ["m"]), ledger.published("b", ["m"])) == ({}, {"m"}, set())


class TestLookingOnly:
    @pytest.mark.parametrize("make", [lambda _: None, Path.touch], ids=["absent", "empty"])
    def test_a_ledger_that_is_not_there_is_an_empty_one(self, tmp_path: Path, make: Callable[[Path], None]) -> None:
        """It is not made by looking for it, and neither is its lock."""
        make(tmp_path / NAME)
        before = snapshot_of(tmp_path)
        with Ledger(tmp_path, writable=False) as ledger:
            assert ledger.fates(["l1"]) == {}
            assert ledger.published("t", ["m1"]) == set()
        assert snapshot_of(tmp_path) == before

    def test_an_empty_file_becomes_a_ledger_when_it_is_written_to(self, tmp_path: Path) -> None:
        """A run that was killed between making the file and filling it does no harm."""
        (tmp_path / NAME).touch()
        with Ledger(tmp_path, writable=True) as ledger:
            ledger.settle([], [("l1", LetterFate.NOTHING)])
            assert ledger.fates(["l1"]) == {"l1": LetterFate.NOTHING}

    def test_what_it_is_told_is_forgotten(self, tmp_path: Path) -> None:
        """A dry run notes what it would have done, so that it counts right, and the ledger stays as it was."""
        with Ledger(tmp_path, writable=True) as ledger:
            ledger.settle([Sending("t", "m1", "l1")], [("l1", LetterFate.PUBLISHED)])
        before = snapshot_of(tmp_path)
        with Ledger(tmp_path, writable=False) as ledger:
            ledger.settle([Sending("t", "m2", "l2")], [("l2", LetterFate.PUBLISHED), ("l3", LetterFate.REFILED)])
            assert set(ledger.fates(["l1", "l2", "l3"])) == {"l1", "l2", "l3"}
            assert ledger.published("t", ["m1", "m2"]) == {"m1", "m2"}
        assert snapshot_of(tmp_path) == before
        with Ledger(tmp_path, writable=True) as ledger:
            assert set(ledger.fates(["l1", "l2", "l3"])) == {"l1"}

    def test_it_can_be_looked_at_while_another_writes(self, tmp_path: Path, ledger: Ledger) -> None:
        """`k2 dlq list` works beside a replay, and sees what is settled."""
        with Ledger(tmp_path, writable=False) as looked_at:
            ledger.settle([], [("l1", LetterFate.NOTHING)])
            assert looked_at.fates(["l1"]) == {"l1": LetterFate.NOTHING}

    def test_a_step_that_was_killed_half_way_is_taken_back(self, tmp_path: Path) -> None:
        """SQLite's own journal of it is lying about then: looking must cope with it, or nothing could be seen any more."""
        with Ledger(tmp_path, writable=True) as ledger:
            ledger.settle([Sending("t", "m1", "l1")], [("l1", LetterFate.PUBLISHED)])
        kill_in_the_middle_of_a_step(tmp_path / NAME)
        assert (tmp_path / f"{NAME}-journal").stat().st_size > 0
        with Ledger(tmp_path, writable=False) as ledger:
            assert ledger.fates(["l1", "half-0"]) == {"l1": LetterFate.PUBLISHED}


def kill_in_the_middle_of_a_step(path: Path) -> None:
    """SIGKILL while a step is so large that a part of it is in the file already."""
    program = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN")
for number in range(20_000):
    database.execute("INSERT INTO letters VALUES (?, 'published', 0)", (f"half-{number}",))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -9


class TestFiles:
    def test_only_the_owner_may_read(self, tmp_path: Path, ledger: Ledger) -> None:
        """The ledger and its lock tell what was replayed, which is nobody's business."""
        ledger.begin([], {})
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {NAME: 0o600, LOCK_NAME: 0o600}

    def test_only_one_writes(self, tmp_path: Path, ledger: Ledger) -> None:
        """A second replay over the same directory is turned away, and may come when the first has ended."""
        with pytest.raises(ConfigurationError, match="another replay is at work"):
            Ledger(tmp_path, writable=True)
        ledger.settle([], [("l1", LetterFate.NOTHING)])
        ledger.close()
        with Ledger(tmp_path, writable=True) as second:
            assert second.fates(["l1"]) == {"l1": LetterFate.NOTHING}

    def test_every_step_outlasts_the_power(self, ledger: Ledger) -> None:
        """EXTRA is what makes SQLite sync the directory as well: with less, the latest step may be taken back by a power loss."""
        assert ledger._database.execute("PRAGMA synchronous").fetchone() == (3,)

    @pytest.mark.parametrize("writable", [False, True])
    @pytest.mark.parametrize(
        ("plant", "told"),
        [
            pytest.param(lambda path: path.symlink_to(path.parent / "target"), "no plain file", id="link"),
            pytest.param(lambda path: path.symlink_to("nowhere"), "no plain file", id="link-to-nothing"),
            pytest.param(Path.mkdir, "no plain file", id="directory"),
            pytest.param(os.mkfifo, "no plain file", id="fifo"),
            pytest.param(lambda path: path.write_bytes(b"no database" * 100), "restore it, or move it away", id="other-file"),
            pytest.param(
                lambda path: _make(path, "PRAGMA user_version = 2"), "format 2, this program reads 1", id="later-format"
            ),
        ],
    )
    def test_what_cannot_be_a_ledger_is_left_alone(
        self, tmp_path: Path, plant: Callable[[Path], object], told: str, writable: bool
    ) -> None:
        """A link, another file or a later version's ledger: one line that says what to do, and nothing is changed."""
        target = tmp_path / "target"
        target.write_bytes(b"precious")
        plant(tmp_path / NAME)
        with pytest.raises(ConfigurationError, match=told):
            Ledger(tmp_path, writable=writable)
        assert target.read_bytes() == b"precious"
        assert not (tmp_path / "nowhere").exists()

    @pytest.mark.parametrize("plant", [lambda path: path.symlink_to("nowhere"), Path.mkdir], ids=["link", "directory"])
    def test_what_cannot_be_a_lock_is_refused(self, tmp_path: Path, plant: Callable[[Path], None]) -> None:
        """Nobody is led elsewhere by a name in the directory."""
        plant(tmp_path / LOCK_NAME)
        with pytest.raises(ConfigurationError, match=LOCK_NAME):
            Ledger(tmp_path, writable=True)
        assert not (tmp_path / "nowhere").exists()

    def test_a_damaged_ledger_ends_the_run(self, tmp_path: Path) -> None:
        """Where its pages are no database any more, nothing is published on its word."""
        with Ledger(tmp_path, writable=True) as ledger:
            ledger.settle([], [(f"l{n}", LetterFate.PUBLISHED) for n in range(MANY)])
        content = (tmp_path / NAME).read_bytes()
        (tmp_path / NAME).write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
        with Ledger(tmp_path, writable=True) as ledger, pytest.raises(FatalError, match=r"ledger .* cannot be used"):
            ledger.fates([f"l{n}" for n in range(MANY)])

    def test_a_ledger_that_is_in_use_is_not_called_broken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The advice to move it away would publish everything a second time."""
        monkeypatch.setattr("k2.replay.ledger._BUSY_TIMEOUT_S", 0.01)
        with Ledger(tmp_path, writable=True) as ledger:
            ledger.settle([], [])
        with sqlite3.connect(tmp_path / NAME) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(ConfigurationError, match="database is locked") as caught:
                Ledger(tmp_path, writable=False)
        other.close()
        assert "move it away" not in str(caught.value)


def _make(path: Path, statement: str) -> None:
    database = sqlite3.connect(path)
    database.execute(statement)
    database.close()


A_SENDING = st.builds(Sending, st.sampled_from(TOPICS), st.sampled_from(MESSAGE_IDS), st.sampled_from(LETTER_IDS))
SENDINGS, BATCHES = st.lists(A_SENDING), st.lists(A_SENDING, min_size=1)
POSITIONS = st.dictionaries(st.sampled_from(TOPICS), st.dictionaries(st.integers(0, 2), st.integers(0, 2**62)))
FATES = st.lists(st.tuples(st.sampled_from(LETTER_IDS), st.sampled_from(LetterFate)))


class LedgerAgainstModel(RuleBasedStateMachine):
    """The ledger beside two dicts, a set and a list that are what it should hold."""

    @initialize()
    def open(self) -> None:
        self.place = TemporaryDirectory()
        self.directory = Path(self.place.name) / "0"
        self.directory.mkdir()
        self.fates: dict[str, LetterFate] = {}
        self.published: set[tuple[str, str]] = set()
        self.underway: list[Sending] = []
        self.positions: Positions = {}
        self.ledger = Ledger(self.directory, writable=True)

    @precondition(lambda self: not self.underway)  # a batch at a time
    @rule(sendings=BATCHES, positions=POSITIONS)
    def begin(self, sendings: list[Sending], positions: Positions) -> None:
        self.ledger.begin(sendings, positions)
        self.underway = list(sendings)
        self.positions = {topic: parts for topic, parts in positions.items() if parts}

    @rule(delivered=SENDINGS, fates=FATES)
    def settle(self, delivered: list[Sending], fates: list[tuple[str, LetterFate]]) -> None:
        self.ledger.settle(delivered, fates)
        self.fates |= dict(fates)
        self.published |= {(sending.topic, sending.message_id) for sending in delivered}
        self.underway, self.positions = [], {}

    @rule(sendings=SENDINGS, fates=FATES)
    def step_that_is_cut_short(self, sendings: list[Sending], fates: list[tuple[str, LetterFate]]) -> None:
        """It leaves nothing behind."""
        with suppress(StepCutShortError):
            self.ledger.begin(_torn(sendings), {"t": {0: 9}})
        with suppress(StepCutShortError):
            self.ledger.settle(sendings, _torn(fates))

    @rule()
    def reopen(self) -> None:
        with self.ledger:
            pass
        self.ledger = Ledger(self.directory, writable=True)

    @rule()
    def kill(self) -> None:
        """The files as they are at this moment are all that the next run finds."""
        copied = self.directory.with_name(str(int(self.directory.name) + 1))
        shutil.copytree(self.directory, copied)
        with self.ledger:
            self.directory = copied
        self.ledger = Ledger(self.directory, writable=True)

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "ledger"):
            return
        assert self.ledger.underway() == (self.underway, self.positions)
        with Ledger(self.directory, writable=False) as looked_at:
            for ledger in (self.ledger, looked_at):
                assert ledger.fates(LETTER_IDS) == self.fates
                found = {(topic, message_id) for topic in TOPICS for message_id in ledger.published(topic, MESSAGE_IDS)}
                assert found == self.published

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            with self.ledger:
                self.place.cleanup()


def _torn(values: list[T]) -> Iterator[T]:
    yield from values
    raise StepCutShortError


TestLedgerAgainstModel = LedgerAgainstModel.TestCase
TestLedgerAgainstModel.settings = settings(max_examples=30, stateful_step_count=15, deadline=None)


def test_a_ledger_belongs_to_one_cluster(tmp_path: Path) -> None:
    """What was published in one cluster is not in another, so a run against another one is refused."""
    with Ledger(tmp_path, writable=True) as ledger:
        ledger.bind("one")
        ledger.bind("one")
    with Ledger(tmp_path, writable=True) as ledger:
        ledger.bind("one")
        with pytest.raises(ConfigurationError, match="tells of the Kafka cluster one, and this one is two"):
            ledger.bind("two")
