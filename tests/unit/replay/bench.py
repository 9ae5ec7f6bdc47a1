"""A replay with lists instead of Kafka: the ledger, the journal and the files are real, and it can be killed at any step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from k2.ingestion.adapters.journal import DailyJournal
from k2.ingestion.core.delivery import Verdict, verdict_on
from k2.ingestion.core.identity import record_name
from k2.ingestion.core.outcome import Record
from k2.replay.files import find_files
from k2.replay.ledger import Ledger, LetterFate, Positions, Sending
from k2.replay.publisher import Refusal
from k2.replay.runner import Desk, Plan, Replay, recover
from k2.replay.selection import Selection
from k2.replay.summary import Summary
from k2.replay.workbench import Workbench
from unit.replay.letters import documents_in, new_workbench

if TYPE_CHECKING:
    from k2.replay.publisher import Publisher
    from k2.replay.topics import ReplayTopics

TOO_LARGE = verdict_on("MSG_SIZE_TOO_LARGE", alone=True)
TODAY_S = 1_700_200_000.0  # 2023-11-17: new letters go to the file of that day
EVERYTHING = Selection()


class KilledError(Exception):
    """The end of the process, at a step of its work."""


class Steps:
    """Counts what a run does, and ends it at one of its steps."""

    def __init__(self) -> None:
        self.taken, self.last = 0, 0

    def die_at(self, last: int) -> None:
        """0 for never."""
        self.taken, self.last = 0, last

    def __call__(self) -> None:
        self.taken += 1
        if self.taken == self.last:
            raise KilledError


class Topics:
    """What lies in the topics: the names of the records, in order, all in one partition. It lives on when a run is killed."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.stored: dict[str, list[str]] = {}
        self.looked_near: list[tuple[str, int, int]] = []
        self.checked: list[tuple[str, int]] = []
        self.readable = True

    def everything(self) -> list[str]:
        return [message_id for stored in self.stored.values() for message_id in stored]

    def store(self, record: Record) -> None:
        self.stored.setdefault(record.topic, []).append(record_name(record.value))

    def ends(self, topic: str) -> dict[int, int]:
        self._steps()
        return {0: len(self.stored.get(topic, []))} if self.readable else {}

    def check(self, topic: str, records: Sequence[Record]) -> None:
        self._steps()
        self.checked.append((topic, len(records)))

    def find(self, topic: str, since: Mapping[int, int], wanted: set[str]) -> set[str]:
        self._steps()
        return set(self.stored.get(topic, [])[since[0] :]) & wanted

    def find_near(self, topic: str, first_ms: int, last_ms: int, wanted: set[str]) -> set[str]:
        self._steps()
        self.looked_near.append((topic, first_ms, last_ms))
        return set(self.stored.get(topic, [])) & wanted if self.readable else set()


class Broker:
    """
    Takes records, each a step, or refuses them. `sent` holds what it was given, by batch.

    `under_way` is how many records still arrive after a kill: they had left already.
    """

    def __init__(self, steps: Steps, topics: Topics) -> None:
        self._steps, self._topics = steps, topics
        self.sent: list[list[Record]] = []
        self.refuses: dict[str, Verdict] = {}  # by what names the record, or by its topic
        self.under_way = 0

    def publish(self, records: Sequence[Record]) -> list[Refusal]:
        self.sent.append(list(records))
        left = list(records)
        refusals = []
        try:
            self._steps()
            while left:
                refusals += self._take(left.pop(0))
                self._steps()
        except KilledError:
            for record in left[: self.under_way]:
                self._take(record)
            raise
        return refusals

    def _take(self, record: Record) -> list[Refusal]:
        verdict = self.refuses.get(record_name(record.value)) or self.refuses.get(record.topic)
        if verdict is not None:
            return [Refusal(record, verdict, "MSG_SIZE_TOO_LARGE: no")]
        self._topics.store(record)
        return []


class MortalJournal(DailyJournal):
    """Around every append there is a moment to die in."""

    def __init__(self, directory: Path, steps: Steps) -> None:
        super().__init__(directory, "binance", clock=lambda: TODAY_S)
        self._steps = steps

    def append(self, lines: Sequence[bytes]) -> None:
        self._steps()
        super().append(lines)
        self._steps()


class MortalLedger(Ledger):
    """The same for the steps that change it."""

    def __init__(self, directory: Path, steps: Steps) -> None:
        super().__init__(directory, writable=True)
        self._steps = steps

    def begin(self, sendings: Iterable[Sending], positions: Positions) -> None:
        self._steps()
        super().begin(sendings, positions)
        self._steps()

    def settle(self, delivered: Sequence[Sending], fates: Iterable[tuple[str, LetterFate]]) -> None:
        self._steps()
        super().settle(delivered, fates)
        self._steps()


class Bench:
    """
    A directory of dead letters and a cluster, over which any number of runs go. `latest` is the latest one that published.

    Args:
        directory: Of the letters; it is there.
        make_workbench: What prepares the letters of a run.
    """

    def __init__(self, directory: Path, make_workbench: Callable[[], Workbench] = new_workbench) -> None:
        self.directory, self._make_workbench = directory, make_workbench
        self.steps = Steps()
        self.topics = Topics(self.steps)
        self.broker = Broker(self.steps, self.topics)
        self.recovered = 0

    def publish(self, *names: str, stop_signal: Callable[[], int] = lambda: 0, **plan: Any) -> Summary:
        """A run as `k2 dlq replay --publish` makes it: first what an earlier one left under way, then the letters."""
        files = find_files(self.directory, names)
        with MortalLedger(self.directory, self.steps) as ledger, self._journal() as journal:
            desk = Desk(cast("Publisher", self.broker), cast("ReplayTopics", self.topics), journal)
            self.recovered = recover(ledger, desk.topics)
            self.latest = Replay(_plan(files, plan), ledger, self._make_workbench(), desk, stop_signal=stop_signal)
            return self.latest.run()

    def publish_until_killed(self, step: int, **plan: Any) -> bool:
        """A run that ends at this step of its work. False where it had ended before."""
        self.steps.die_at(step)
        try:
            self.publish(**plan)
        except KilledError:
            return True
        finally:
            self.steps.die_at(0)
        return False

    def rehearse(self, *names: str, **plan: Any) -> Summary:
        """A dry run."""
        files = find_files(self.directory, names)
        with Ledger(self.directory, writable=False) as ledger:
            return Replay(_plan(files, plan), ledger, self._make_workbench(), None).run()

    def living(self) -> list[dict[str, Any]]:
        """The letters that still wait for something: each once, without those that the ledger knows the end of."""
        documents = {document["id"]: document for document in documents_in(self.directory)}
        with Ledger(self.directory, writable=False) as ledger:
            settled = ledger.fates(list(documents))
        return [document for letter_id, document in documents.items() if letter_id not in settled]

    @contextmanager
    def _journal(self) -> Iterator[DailyJournal]:
        journal = MortalJournal(self.directory, self.steps)
        yield journal
        journal.close()


def _plan(files: Sequence[Any], asked: dict[str, Any]) -> Plan:
    defaults = {"selection": EVERYTHING, "rate": 0.0, "max_attempts": 0}
    return Plan(files=tuple(files), **{**defaults, **asked})
