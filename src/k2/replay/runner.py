"""
One run over the dead letters: read, select, prepare, publish in batches, write down what became of each.

The order of the steps is what makes a run repeatable. A batch is in the ledger before it is sent, and out of it only when every
record's end is known; what fails again is a line of the dead-letter file before the ledger says so. Whatever kills the run, the
next one finds either a letter that is done, one that was never begun, or one to look for in the topic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from k2.errors import FatalError
from k2.ingestion.adapters.journal import DailyJournal, JournalUnwritableError
from k2.ingestion.core.letter_reader import Letter
from k2.ingestion.core.outcome import WriteOutcome
from k2.replay.batch import (
    Item,
    RecordName,
    delivered_of,
    fate_of,
    has_failed,
    is_mixed,
    letter_of,
    letters_of_failures,
    letters_of_refusals,
    make_item,
    names_of,
    result_of,
    to_send,
)
from k2.replay.files import LetterFile, Unreadable, chunks, letters_in
from k2.replay.ledger import Ledger, LetterFate
from k2.replay.publisher import InterruptedReplayError, Publisher, Refusal
from k2.replay.selection import Selection
from k2.replay.summary import LetterResult, Summary
from k2.replay.topics import ReplayTopics
from k2.replay.workbench import Workbench, failures_of

BATCH_LETTERS = 1_000
NAP_S = 0.2  # a run that goes slowly still stops soon when it is told to


class Plan(Struct, frozen=True):
    """
    What a run is asked for.

    `rate` bounds the letters per second, 0 for as many as go. A letter that has been tried `max_attempts` times is left alone, 0
    for none.
    """

    files: tuple[LetterFile, ...]
    selection: Selection
    rate: float
    max_attempts: int


class Desk(Struct, frozen=True):
    """What only a run that publishes has: where records and new letters go."""

    publisher: Publisher
    topics: ReplayTopics
    journal: DailyJournal


class Replay:
    """
    Runs once. Without a desk it is a dry run, on a ledger to look at: nothing is published and nothing is written.

    Args:
        moved: Told after every line how many bytes of the files were read so far.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        workbench: Workbench,
        desk: Desk | None,
        *,
        moved: Callable[[int], None] = lambda _bytes: None,
        stop_signal: Callable[[], int] = lambda: 0,
    ) -> None:
        self.summary = Summary()
        self._plan, self._ledger, self._workbench, self._desk = plan, ledger, workbench, desk
        self._moved, self._stop_signal = moved, stop_signal

    def run(self) -> Summary:
        """
        Read every file to where it ended, and deal with what is selected.

        Raises:
            UnavailableError, ConfigurationError, FatalError: the run cannot go on; what it did so far is in the ledger.
            InterruptedReplayError: a signal came.
        """
        began_s, taken = time.monotonic(), 0
        for letters in chunks(self._selected(), self._batch_size()):
            batch = self._new_among(letters)
            self._pace(began_s, taken)
            if batch:
                self._deal_with(batch)
            taken += len(batch)
        return self.summary

    def _batch_size(self) -> int:
        """Small where letters are to flow slowly, so that they do flow."""
        return BATCH_LETTERS if not self._plan.rate else max(1, min(BATCH_LETTERS, int(self._plan.rate / 4)))

    def _pace(self, began_s: float, taken: int) -> None:
        """Wait until the next batch may go."""
        due_s = began_s + taken / self._plan.rate if self._plan.rate else 0.0
        self._stop_if_told()
        while (left_s := due_s - time.monotonic()) > 0:
            time.sleep(min(left_s, NAP_S))
            self._stop_if_told()

    def _stop_if_told(self) -> None:
        if signal_number := self._stop_signal():
            raise InterruptedReplayError(signal_number)

    def _new_among(self, letters: Sequence[Letter]) -> list[Letter]:
        """Those that nobody has dealt with yet, each once: a file that was copied has them twice."""
        known, new = self._ledger.fates([letter.id for letter in letters]), dict[str, Letter]()
        for letter in letters:
            if letter.id in known or letter.id in new:
                self.summary.count(letter, LetterResult.ALREADY)
            elif 0 < self._plan.max_attempts <= letter.attempts:
                self.summary.count(letter, LetterResult.EXHAUSTED)
            else:
                new[letter.id] = letter
        return list(new.values())

    def _selected(self) -> Iterator[Letter]:
        before = 0
        for file in self._plan.files:
            for found in letters_in(file):
                self._stop_if_told()
                self._moved(before + found.next_offset)
                if isinstance(found.content, Unreadable):
                    self.summary.note_unreadable(found.content)
                elif self._plan.selection.takes(found.content):
                    yield found.content
                else:
                    self.summary.filtered += 1
            before += file.end
            self._moved(before)

    def _deal_with(self, letters: Sequence[Letter]) -> None:
        left = list(letters)
        while left:
            now_us = time.time_ns() // 1_000
            made = [make_item(letter, self._workbench.prepare(letter, now_us)) for letter in left]
            items, twins, later = self._apart(made)
            if self._desk is not None:
                self._refile_parts(items, self._desk)
                self._publish(items, self._desk)
                self._refile(items, self._desk)
            self._conclude(items)
            self._conclude_twins(twins)
            left = [item.letter for item in later]

    def _apart(self, items: Sequence[Item]) -> tuple[list[Item], list[Item], list[Item]]:
        """
        Items to deal with now; those whose records other letters bring, in an earlier run or in this batch; and those of which
        others in this batch bring a part, so that one has to see first what becomes of that.
        """
        known, claimed = self._published_of(items), set[RecordName]()
        ours, twins, later = list[Item](), list[Item](), list[Item]()
        for item in items:
            names = names_of(item)
            item.there = frozenset(names & known)
            if names and names <= known | claimed and not failures_of(item.prepared):
                twins.append(item)
            elif names & claimed:
                later.append(item)
            else:
                ours.append(item)
                claimed |= names - known
        return ours, twins, later

    def _published_of(self, items: Sequence[Item]) -> set[RecordName]:
        by_topic: dict[str, list[str]] = {}
        for topic, message_id in (name for item in items for name in names_of(item)):
            by_topic.setdefault(topic, []).append(message_id)
        return {(topic, found) for topic, wanted in by_topic.items() for found in self._ledger.published(topic, wanted)}

    def _publish(self, items: Sequence[Item], desk: Desk) -> None:
        _look_up(items, desk.topics)
        sent = [item for item in items if to_send(item)]
        if not sent:
            return
        sendings, records = zip(*(pair for item in sent for pair in to_send(item)), strict=True)
        by_topic = {topic: [record for record in records if record.topic == topic] for topic in {r.topic for r in records}}
        ends = {topic: desk.topics.ends(topic) for topic in by_topic}
        for topic, its_records in by_topic.items():
            desk.topics.check(topic, its_records)
        self._ledger.begin(sendings, ends)
        by_letter: dict[str, list[Refusal]] = {}
        for refusal in desk.publisher.publish(records):
            by_letter.setdefault(letter_of(refusal.record), []).append(refusal)
        for item in sent:
            item.refusals = tuple(by_letter.get(item.letter.id, ()))

    def _refile_parts(self, items: Sequence[Item], desk: Desk) -> None:
        """
        Make new letters of what failed again of letters that also have something to publish.

        Before that is sent: once it has arrived, a run that comes after a kill takes the letter for done.
        """
        lines = [line for item in items if is_mixed(item) for line in letters_of_failures(item)]
        try:
            _append(lines, desk.journal)
        except JournalUnwritableError as error:
            raise FatalError(f"{error}. Nothing more was published; the rest stays as it is") from error

    def _refile(self, items: Sequence[Item], desk: Desk) -> None:
        """Make new letters of everything else that failed again."""
        lines = [line for item in items for line in letters_of_refusals(item)]
        lines += [line for item in items if not is_mixed(item) for line in letters_of_failures(item)]
        try:
            _append(lines, desk.journal)
        except JournalUnwritableError as error:
            self._conclude(items, refiled=False)
            raise FatalError(f"{error}. What was published is in the ledger; the rest stays as it is") from error

    def _conclude(self, items: Sequence[Item], *, refiled: bool = True) -> None:
        """Write down and count what became of these letters; those that failed only where new ones stand for them."""
        ended = [item for item in items if refiled or not has_failed(item)]
        delivered = [sending for item in items for sending in delivered_of(item)]
        self._ledger.settle(delivered, [(item.letter.id, fate_of(item)) for item in ended])
        for item in ended:
            self.summary.count(item.letter, *result_of(item))

    def _conclude_twins(self, twins: Sequence[Item]) -> None:
        """The same for letters whose record another letter brings. Where that one failed they wait for the next run."""
        if not twins:
            return
        there = self._published_of(twins)
        self._ledger.settle([], [(twin.letter.id, LetterFate.PUBLISHED) for twin in twins if names_of(twin) <= there])
        for twin in twins:
            self.summary.count(twin.letter, LetterResult.ALREADY)


def recover(ledger: Ledger, topics: ReplayTopics) -> int:
    """
    Find out what became of the last batch of a run that was killed. Returns how many of its records had arrived.

    A record that was on its way then is in the topic by now, or never will be: the killed process's connection is gone.
    """
    sendings, positions = ledger.underway()
    if not sendings:
        return 0
    found = {
        (topic, message_id)
        for topic, since in positions.items()
        for message_id in topics.find(topic, since, {sending.message_id for sending in sendings if sending.topic == topic})
    }
    arrived = [sending for sending in sendings if (sending.topic, sending.message_id) in found]
    incomplete = {sending.letter_id for sending in sendings if (sending.topic, sending.message_id) not in found}
    complete = {sending.letter_id for sending in arrived} - incomplete
    ledger.settle(arrived, [(letter_id, LetterFate.PUBLISHED) for letter_id in complete])
    return len(arrived)


def _append(lines: Sequence[bytes], journal: DailyJournal) -> None:
    if lines:
        journal.append(lines)


def _look_up(items: Sequence[Item], topics: ReplayTopics) -> None:
    """Find out which records of unknown outcome did arrive when they were first sent."""
    in_doubt = [item for item in items if item.letter.outcome is WriteOutcome.UNKNOWN]
    left = [(item, *pair) for item in in_doubt for pair in to_send(item)]
    for topic in dict.fromkeys(sending.topic for _, sending, _ in left):
        doubted = [(item, sending, record) for item, sending, record in left if sending.topic == topic]
        times_ms = [record.timestamp_ms for *_, record in doubted]
        found = topics.find_near(topic, min(times_ms), max(times_ms), {sending.message_id for _, sending, _ in doubted})
        for item, sending, _ in doubted:
            item.there |= {(topic, sending.message_id)} if sending.message_id in found else frozenset()
