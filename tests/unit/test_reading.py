"""What the tools share that read a topic: waiting, decoding, names of topics, and lines for their user."""

from __future__ import annotations

import math
import os
import signal
from typing import TYPE_CHECKING

import pytest
from msgspec import Struct, field

from k2.errors import ConfigurationError, UnavailableError
from k2.ingestion.adapters.logs import register_secret
from k2.ingestion.adapters.registry_decoder import MOST_SCHEMAS, RecordDecoder
from k2.ingestion.core.decoding import Fields, UndecodableError
from k2.ingestion.settings import load_settings
from k2.reading.decoded import Decoded, PatientDecoder
from k2.reading.options import Check
from k2.reading.patience import LONGEST_RETRY_S, Patience
from k2.reading.terminal import EXIT_TERMINATED, ended_by_sigterm, to_stderr
from k2.reading.topic import absent_partitions, absent_topic, topic_reader
from unit.topic_records import topic_record

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMED = b"\0\0\0\0\7abc"


class Waiting(Struct):
    """A patience whose clock moves by what is slept, and what it said."""

    timeout_s: float
    now_s: float = 0.0
    pauses_s: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def patience(self) -> Patience:
        return Patience(self.timeout_s, self.told.append, self._sleep, lambda: self.now_s)

    def _sleep(self, seconds: float) -> None:
        self.pauses_s.append(seconds)
        self.now_s += seconds


def failing(times: float, error: Exception | None = None) -> Callable[[], str]:
    """Fails so many times, then gives a text."""
    left = [times]

    def attempt() -> str:
        if left[0] > 0:
            left[0] -= 1
            raise error or UnavailableError("no answer")
        return "found"

    return attempt


def test_what_answers_at_once_is_not_talked_about() -> None:
    """Without a failure there is neither a pause nor a word."""
    waiting = Waiting(60)
    assert waiting.patience.wait_for("Kafka", failing(0)) == "found"
    assert (waiting.pauses_s, waiting.told) == ([], [])


def test_an_absence_is_two_lines() -> None:
    """One when the part turns out to be away, with the reason, and one when it is back, however long that takes."""
    waiting = Waiting(math.inf)
    assert waiting.patience.wait_for("Kafka", failing(500)) == "found"
    assert waiting.told == ["waiting for Kafka: no answer", "Kafka is back"]
    assert waiting.pauses_s[:4] == [0.25, 0.5, 1.0, 2.0]
    assert max(waiting.pauses_s) == LONGEST_RETRY_S


def test_patience_ends() -> None:
    """When the time is up the last failure is told, and how long it was waited for; never much later than that."""
    waiting = Waiting(10)
    with pytest.raises(UnavailableError, match=r"^gave up after 10 s of waiting for Kafka: no answer$"):
        waiting.patience.wait_for("Kafka", failing(math.inf))
    assert 10 - LONGEST_RETRY_S <= waiting.now_s <= 10


def test_without_patience_there_is_one_attempt() -> None:
    """A time-out of 0 asks once."""
    waiting = Waiting(0)
    with pytest.raises(UnavailableError, match="gave up after 0 s"):
        waiting.patience.wait_for("Kafka", failing(1))
    assert waiting.told == []


def test_what_waiting_does_not_mend_is_not_waited_for() -> None:
    """A fault of the configuration passes at once."""
    waiting = Waiting(60)
    with pytest.raises(ConfigurationError, match="credentials"):
        waiting.patience.wait_for("Kafka", failing(1, ConfigurationError("credentials")))
    assert waiting.pauses_s == []


class ListedDecoder:
    """Decodes as the list says: fields, or an error to raise."""

    def __init__(self, *answers: Fields | Exception) -> None:
        self._answers = list(answers)

    def decode(self, _: bytes | None) -> Fields:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("value", "answers", "expected"),
    [
        pytest.param(FRAMED, [{"a": 1}], (7, {"a": 1}, ""), id="a-record"),
        pytest.param(FRAMED, [UndecodableError("does not fit")], (7, None, "does not fit"), id="does-not-fit"),
        pytest.param(FRAMED, [UnavailableError("away"), {"a": 1}], (7, {"a": 1}, ""), id="registry-away-for-a-moment"),
        pytest.param(None, [], (None, None, "no value (a tombstone)"), id="tombstone"),
        pytest.param(b"hi", [], (None, None, "not in Confluent's framing: 2 bytes that begin with b'hi'"), id="text"),
    ],
)
def test_a_record_has_fields_or_a_reason(
    value: bytes | None, answers: list[Fields | Exception], expected: tuple[int | None, Fields | None, str]
) -> None:
    """What cannot be decoded is a value like any other; a registry that is away is waited for."""
    patience, record = Waiting(60).patience, topic_record(value=value)
    decoded = PatientDecoder(ListedDecoder(*answers), patience, patience).decode(record)
    assert decoded == Decoded(record, *expected)


NO_RECORD = (b'{"e": ', b"[1]", b"{\xff}", b"")


@pytest.mark.parametrize(
    ("value", "fields"), [(b'{"e": "trade", "p": "1.5"}', {"e": "trade", "p": "1.5"}), *((value, None) for value in NO_RECORD)]
)
def test_json_is_a_record_where_it_may_be(value: bytes, fields: Fields | None) -> None:
    """An object needs no registry; whatever else it is stays undecodable, and so does an object where only Avro is wanted."""
    patience, record = Waiting(60).patience, topic_record(value=value)
    assert PatientDecoder(ListedDecoder(), patience, patience, takes_json=True).decode(record).fields == fields
    assert PatientDecoder(ListedDecoder(), patience, patience).decode(record).fields is None


def test_the_registry_has_another_patience_once_it_has_answered() -> None:
    """At the start it has the start-up time-out; a tool that follows waits for as long as it takes from then on."""
    at_start, later = Waiting(0), Waiting(math.inf)
    away: list[Fields | Exception] = [UnavailableError("away")] * 100
    decoder = PatientDecoder(ListedDecoder({"a": 1}, *away, {"a": 2}), at_start.patience, later.patience)
    assert decoder.decode(topic_record(value=None)).fields is None  # nothing that the registry was asked for
    assert [decoder.decode(topic_record(value=FRAMED)).fields for _ in range(2)] == [{"a": 1}, {"a": 2}]
    assert later.told == ["waiting for the schema registry: away", "the schema registry is back"]
    impatient = PatientDecoder(ListedDecoder(*away), at_start.patience, later.patience)
    with pytest.raises(UnavailableError, match="waiting for the schema registry"):
        impatient.decode(topic_record(value=FRAMED))


class ListedSchemas:
    """A registry that knows some ids and remembers what it was asked for."""

    def __init__(self, known: dict[int, str]) -> None:
        self.known, self.asked = known, list[int]()

    def schema_text(self, schema_id: int) -> str | None:
        self.asked.append(schema_id)
        return self.known.get(schema_id)


def test_schemas_are_fetched_once_and_not_for_ever_remembered() -> None:
    """Bytes of other programs may look like any number of ids: memory stays small whatever comes."""
    registry = ListedSchemas({7: '{"type": "record", "name": "A", "fields": [{"name": "a", "type": "long"}]}'})
    decoder = RecordDecoder(registry)  # type: ignore[arg-type]  # as much of a registry as it needs
    assert [decoder.decode(b"\0\0\0\0\7\x02") for _ in range(3)] == [{"a": 1}] * 3
    assert registry.asked == [7]
    for schema_id in range(100, 100 + 3 * MOST_SCHEMAS):
        with pytest.raises(UndecodableError, match=f"no Avro schema with id {schema_id}"):
            decoder.decode(b"\0" + schema_id.to_bytes(4, "big"))
    assert len(decoder._schemas) <= MOST_SCHEMAS
    assert decoder.decode(b"\0\0\0\0\7\x02") == {"a": 1}


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", ".", "..", "x" * 250, "a\n", "a\x1b[2J"])
def test_names_that_no_topic_has(name: str) -> None:
    """They are refused before a broker is asked, which would not answer sensibly."""
    with pytest.raises(ConfigurationError, match="is no name of a Kafka topic"):
        topic_reader(load_settings([], {}), name)


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        pytest.param([], "", id="no-topics"),
        pytest.param(["other", "__consumer_offsets"], "", id="nothing-near"),
        pytest.param(["market.crypto.trades.binance", "x"], "; there is market.crypto.trades.binance", id="one-letter-off"),
        pytest.param(
            ["market.crypto.trades.binance", "market.futures.trades.binance", "__market.crypto.trade.binance"],
            "; there is market.crypto.trades.binance, market.futures.trades.binance",
            id="nearest-first-and-none-of-kafkas-own",
        ),
    ],
)
def test_a_topic_that_is_not_there_is_looked_for(names: list[str], hint: str) -> None:
    """Names that come near are told, as most that is missing is mistyped."""
    asked = "market.crypto.trade.binance"
    assert absent_topic(asked, names) == f"topic {asked} does not exist, or we may not see it{hint}"


def test_partitions_that_are_not_there() -> None:
    """Which ones, and which there are."""
    assert absent_partitions("t", [3, 12], {0: 0, 1: 0, 2: 0}) == "--partition: topic t has no partition 3, 12; it has 0 to 2"


def test_a_line_to_the_user_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """It says who speaks, holds no password and nothing that a terminal obeys."""
    register_secret("canary-12345")
    to_stderr("k2 tail")("with canary-12345\nand \x1b[2J")
    assert capsys.readouterr().err == "k2 tail: with **********\\nand \\x1b[2J\n"


def terminated() -> None:
    with ended_by_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()


def test_sigterm_ends_the_block() -> None:
    """With the exit code that shells know it by, everything cleaned up; afterwards the signal means what it meant before."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        terminated()
    assert ended.value.code == EXIT_TERMINATED == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_faults_of_options_are_collected() -> None:
    """Each bears the name of its option, its default stands in, and all are raised together."""
    check = Check()
    check.raise_faults()
    assert (check.parsed("--a", None, int, 1), check.parsed("--a", "2", int, 1), check.parsed("--a", "x", int, 1)) == (1, 2, 1)
    check.parsed("--b", "y", int, 0)
    with pytest.raises(ConfigurationError) as refused:
        check.raise_faults()
    assert [fault.partition(":")[0] for fault in refused.value.faults] == ["--a", "--b"]
