"""Runs that are killed, at any step and any number of times: in the end every record is there once and no letter is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.ingestion.core.outcome import WriteOutcome
from k2.replay import runner
from unit.replay.bench import TOO_LARGE, Bench
from unit.replay.letters import TOPIC, broken_line, documents_in, empty_line, good_line, identity_of, record_line, write_file

FIRST_DAY, SECOND_DAY = "binance-20231114.jsonl", "binance-20231115.jsonl"
UNKNOWN = WriteOutcome.UNKNOWN
ARRIVED, REFUSED = 4, 8  # a record of unknown outcome that is in the topic, and one that Kafka will not take
LINES = [
    good_line(1), broken_line(2), record_line(3), record_line(ARRIVED, outcome=UNKNOWN), b"garbage", empty_line(5), good_line(1),
    record_line(6, outcome=UNKNOWN), good_line(7), record_line(REFUSED), good_line(7, "twin"), broken_line(9),
]  # fmt: skip
FAILING = {"broken-2": 1, "broken-9": 1, f"record-{REFUSED}": 1}
STEPS = st.integers(1, 60)
PUBLISHED = [identity_of(number) for number in (1, 3, ARRIVED, 6, 7)]


@contextmanager
def new_bench(batch: int) -> Iterator[Bench]:
    """The letters in two files, small batches, and what the topic holds already."""
    with pytest.MonkeyPatch.context() as patched, TemporaryDirectory() as place:
        patched.setattr(runner, "BATCH_LETTERS", batch)
        bench = Bench(Path(place))
        write_file(bench.directory / FIRST_DAY, *LINES[:8])
        write_file(bench.directory / SECOND_DAY, *LINES[8:], LINES[0])
        bench.topics.stored = {TOPIC: [identity_of(ARRIVED)]}
        bench.broker.refuses = {identity_of(REFUSED): TOO_LARGE}
        yield bench


def roots_of_the_living(bench: Bench) -> Counter[str]:
    """The first letters of those that are still to be dealt with: each follows another one, which it stands for."""
    follows = {document["id"]: document.get("replay_of") for document in documents_in(bench.directory)}

    def root(letter_id: str) -> str:
        before = follows[letter_id]
        return letter_id if before is None else root(before)

    return Counter(root(document["id"]) for document in bench.living())


def assert_whole(bench: Bench) -> None:
    """Every record once, and for every failure exactly one letter that waits."""
    assert sorted(bench.topics.everything()) == sorted(PUBLISHED)
    assert roots_of_the_living(bench) == FAILING


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_a_kill_at_any_step_costs_nothing(batch: int) -> None:
    """One after the other: every moment between two steps that a run takes, and then a run to its end."""
    step = 0
    survived = False
    while not survived:
        step += 1
        with new_bench(batch) as bench:
            survived = not bench.publish_until_killed(step)
            bench.publish()
            assert_whole(bench)
    assert step > len(PUBLISHED)


@settings(max_examples=60)
@given(steps=st.lists(STEPS, min_size=2, max_size=6), batch=st.integers(1, 5), under_way=st.integers(0, 3))
def test_any_number_of_kills_cost_nothing(steps: list[int], batch: int, under_way: int) -> None:
    """Those that come while a run looks for what the one before it left are among them, and records that arrive after a kill."""
    with new_bench(batch) as bench:
        bench.broker.under_way = under_way
        for step in steps:
            bench.publish_until_killed(step)
        bench.publish()
        assert_whole(bench)


@settings(max_examples=30)
@given(steps=st.lists(STEPS, min_size=1, max_size=4), batch=st.integers(1, 5))
def test_what_is_not_in_the_ledger_is_no_letter_less(steps: list[int], batch: int) -> None:
    """A record that Kafka takes after all, between two kills, is published once as well."""
    with new_bench(batch) as bench:
        for step in steps:
            bench.publish_until_killed(step)
        bench.broker.refuses = {}
        bench.publish()
        assert sorted(bench.topics.everything()) == sorted([*PUBLISHED, identity_of(REFUSED)])
        assert set(roots_of_the_living(bench)) == set(FAILING) - {f"record-{REFUSED}"}
