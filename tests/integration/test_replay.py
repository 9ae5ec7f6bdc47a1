"""The dead-letter replay on real parts: what failed is published once, whatever comes between, and what fails again is kept."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from faults.assembly import frame_of, make_record, trade_event
from faults.harness import FIRST_TIME_MS
from integration.support import Rig, assert_complete, generated, wait_until
from k2.ingestion.adapters.registry import SchemaRegistry as RegistryClient
from k2.ingestion.adapters.registry_access import RegistryAccess
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.core.letters import FailedRecord, encode_letter
from k2.ingestion.core.outcome import DeadLetter, Reason, Record, Stage, WriteOutcome
from k2.simulator.faults import Garbage
from kit.client import ClientProcess
from kit.kafka import KafkaBroker
from kit.verify import ReadRecord, read_topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kit.registry import SchemaRegistry

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
RECEIVED_AT_US = (FIRST_TIME_MS + 5) * 1_000
MANY = 100_000
COMMAND = ("-m", "k2.cli.main", "dlq", "replay")
SCRIPT = Path(__file__).parents[2] / "scripts" / "replay_dlq.py"
STILL_FAILING, CONFIGURATION = 1, 2


class Bench:
    """A topic with its schema, a directory of dead letters, and the command over both."""

    def __init__(self, kafka: KafkaBroker, registry: SchemaRegistry, directory: Path, topic: str) -> None:
        self.kafka, self.registry, self.directory, self.topic = kafka, registry, directory, topic
        self.letters = directory / "dlq"
        self.letters.mkdir(parents=True)

    def prepare(self, **topic_config: str) -> None:
        self.kafka.create_topic(self.topic, 3, {name.replace("_", "."): value for name, value in topic_config.items()})
        with RegistryClient(RegistryAccess(self.registry.url)) as client:
            self.schema_id = client.resolve(f"{self.topic}-value", load_schema("trade_v2"), register=True).schema_id

    def write(self, lines: Iterable[bytes], name: str = "binance-20231114.jsonl") -> None:
        with (self.letters / name).open("ab") as file:
            file.writelines(line + b"\n" for line in lines)

    def start(self, *arguments: object, command: Sequence[str] = COMMAND) -> ClientProcess:
        given = ["--dead-letter-dir", self.letters, "--kafka-bootstrap", self.kafka.bootstrap, "--rest-url", "off"]
        given += ["--schema-registry", self.registry.url, "--state-dir", self.directory / "state", "--startup-timeout", 20]
        return ClientProcess(*given, *arguments, cwd=self.directory, command=[sys.executable, *command])

    def replay(self, *arguments: object, expect: int = 0) -> dict[str, Any]:
        """Publish, and return the account."""
        with self.start("--publish", "--json", *arguments) as process:
            assert process.wait(120) == expect, process.output
            account: dict[str, Any] = json.loads(process.stdout.splitlines()[-1]) if process.stdout else {}
            return account

    def stored(self) -> list[ReadRecord]:
        return read_topic(self.kafka.bootstrap, self.registry.url, self.topic)

    def holds(self, count: int) -> bool:
        return self.kafka.count(self.topic) >= count

    def lines(self) -> list[dict[str, Any]]:
        files = sorted(self.letters.glob("binance-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


@pytest.fixture
def bench(kafka: KafkaBroker, registry: SchemaRegistry, tmp_path: Path, topic: str) -> Bench:
    return Bench(kafka, registry, tmp_path, topic)


def letter_of_frame(number: int, topic: str, reason: Reason = Reason.TIMESTAMP_OUT_OF_RANGE, **changes: Any) -> bytes:
    """A letter of an event that our own clock, which was behind, had made look as if it came from the future."""
    symbol = SYMBOLS[number % len(SYMBOLS)]
    event = trade_event(number, symbol=symbol, **changes)
    stream = f"{symbol.lower()}@aggTrade"
    letter = DeadLetter(Stage.MAP, reason, "from the future", frame_of(event), stream, symbol, topic)
    return encode_letter(
        letter, letter_id=f"letter-{number}", failed_at_us=RECEIVED_AT_US, received_at_us=RECEIVED_AT_US, market="spot"
    )


def letter_of_record(number: int, topic: str, schema_id: int, outcome: WriteOutcome = WriteOutcome.NOT_WRITTEN) -> bytes:
    """A letter of a record that was encoded and not delivered."""
    made = make_record(number)
    value = made.value[:1] + schema_id.to_bytes(4, "big") + made.value[5:]
    record = Record(topic, made.key, value, made.timestamp_ms, [("k2-source", b"late")])
    event = {key: value for key, value in trade_event(number).items() if key != "M"}
    failed = FailedRecord(
        record, Stage.SHUTDOWN, Reason.NOT_DELIVERED_AT_SHUTDOWN, "_PURGE_QUEUE", outcome, event, "aggTrade", "BTCUSDT"
    )
    return encode_letter(
        failed, letter_id=f"record-{number}", failed_at_us=RECEIVED_AT_US, received_at_us=RECEIVED_AT_US, market="spot"
    )


def identities(records: Iterable[ReadRecord]) -> Counter[str]:
    return Counter(record.value["message_id"] for record in records)


def expected_identities(numbers: Iterable[int]) -> Counter[str]:
    return Counter(f"binance.spot.aggTrade.{SYMBOLS[number % len(SYMBOLS)]}.{number}" for number in numbers)


class TestOnce:
    def test_a_replay_that_is_killed_five_times_publishes_everything_once(self, bench: Bench) -> None:
        """SIGKILL at any moment, five times, amid 100,000 letters: in the end each trade is in the topic exactly once."""
        bench.prepare(retention_ms="-1")
        bench.write(letter_of_frame(number, bench.topic) for number in range(MANY))
        dice = random.Random(20_260_114)  # noqa: S311 - no secret
        for _ in range(5):
            aim = bench.kafka.count(bench.topic) + dice.randrange(5_000, 15_000)
            with bench.start("--publish") as process:
                wait_until(partial(bench.holds, aim), f"{aim} records", 120)
                time.sleep(dice.random() / 20)
                process.kill()
                assert process.wait() == -9
        account = bench.replay()
        assert (account["letters"], account["failed"], account["unreadable"]) == (MANY, 0, 0)
        assert account["published"] + account["already"] == MANY
        stored = identities(bench.stored())
        assert stored == expected_identities(range(MANY))
        again = bench.replay()
        assert (again["published"], again["already"]) == (0, MANY)
        assert bench.kafka.count(bench.topic) == MANY

    def test_letters_of_an_outage_complete_the_topic(
        self, frail_kafka: KafkaBroker, registry: SchemaRegistry, tmp_path: Path
    ) -> None:
        """
        The broker hangs, the client has to end, and what was under way is written after all when the broker goes on.

        Replayed, the letters make the topic whole: every trade that was received is there once.
        """
        with Rig(frail_kafka, registry, tmp_path) as rig:
            exchange = rig.exchange(generated(2_000))
            client = rig.client(exchange.ws_url, "--shutdown-timeout", 1)
            client.wait_for_produced(2_000)
            frail_kafka.pause()
            sent = exchange.sent
            wait_until(lambda: exchange.sent > sent + 3_000, "some seconds of trades")
            sheet = client.stopped(60)
            frail_kafka.resume()
            assert sheet["dead_lettered_records"] > 1_000
            bench = Bench(frail_kafka, registry, rig.directory / "replay", rig.topic)
            bench.letters = client.home / "dlq"
            account = bench.replay()
            assert account["published"] + account["already"] == sheet["dead_lettered_records"]
            records = sorted(rig.records(), key=lambda record: record.value["source_sequence"])
            assert_complete(records, sheet["received"])

    def test_the_same_event_in_two_letters_is_published_once(self, bench: Bench) -> None:
        """Two instances with the same symbols, and a file that was copied: the message_id decides."""
        bench.prepare(retention_ms="-1")
        line = letter_of_frame(7, bench.topic)
        bench.write([line, line.replace(b"letter-7", b"of-another-instance")])
        bench.write([line], "binance-20231115.jsonl")
        account = bench.replay()
        assert (account["letters"], account["published"], account["already"]) == (3, 1, 2)
        assert identities(bench.stored()) == expected_identities([7])

    def test_only_one_replay_at_a_time(self, bench: Bench) -> None:
        """A second one over the same directory is turned away, and the first goes on."""
        bench.prepare(retention_ms="-1")
        bench.write(letter_of_frame(number, bench.topic) for number in range(200))
        with bench.start("--publish", "--rate", 100) as first:
            wait_until(lambda: bench.kafka.count(bench.topic) > 0, "the first records")
            with bench.start("--publish") as second:
                assert second.wait() == CONFIGURATION
                assert "another replay is at work" in second.stderr
            assert first.wait() == 0, first.output
        assert identities(bench.stored()) == expected_identities(range(200))

    def test_a_signal_ends_it_between_two_batches(self, bench: Bench) -> None:
        """SIGTERM ends a run with the account of what it did, and the next run does the rest."""
        bench.prepare(retention_ms="-1")
        bench.write(letter_of_frame(number, bench.topic) for number in range(500))
        with bench.start("--publish", "--rate", 100) as process:
            wait_until(lambda: bench.kafka.count(bench.topic) > 0, "the first records")
            process.terminate()
            assert process.wait() == 128 + 15
            assert "published" in process.stdout
            assert process.stderr.startswith("k2 dlq: stopped")
        bench.replay()
        assert identities(bench.stored()) == expected_identities(range(500))


class TestWhatIsPublished:
    def test_a_replayed_event_is_the_one_that_would_have_come(self, bench: Bench) -> None:
        """Fields, key and time are those of the event; the headers tell that it was replayed, and from which letter."""
        bench.prepare(retention_ms="-1")
        bench.write([letter_of_frame(3, bench.topic)])
        bench.replay()
        [record] = bench.stored()
        assert (record.key, record.timestamp_ms) == ("BTCUSDT", FIRST_TIME_MS + 3)
        assert record.headers == {"k2-source": b"replay", "k2-dead-letter": b"letter-3"}
        assert record.value["source_sequence"] == 3
        assert (str(record.value["price"]), record.value["side"], record.value["currency"]) == ("42000.10000000", "SELL", "USDT")

    def test_a_replayed_record_keeps_its_bytes(self, bench: Bench) -> None:
        """What had been encoded is published as it was, apart from its headers."""
        bench.prepare(retention_ms="-1")
        bench.write([letter_of_record(3, bench.topic, bench.schema_id)])
        bench.replay()
        [record] = bench.stored()
        assert record.payload is not None
        assert record.payload[5:] == make_record(3).value[5:]
        assert record.headers == {"k2-source": b"replay", "k2-dead-letter": b"record-3"}

    def test_a_registry_that_was_made_anew_is_no_obstacle(self, bench: Bench) -> None:
        """Records whose schema id means nothing any more are encoded again with the id that holds now."""
        bench.prepare(retention_ms="-1")
        bench.write(letter_of_record(number, bench.topic, 999_999) for number in range(5))
        bench.replay()
        assert identities(bench.stored()) == Counter(f"binance.spot.aggTrade.BTCUSDT.{number}" for number in range(5))

    def test_records_of_unknown_outcome_are_looked_up_before(self, bench: Bench) -> None:
        """A record that had arrived after all is not published again; one that had not is."""
        bench.prepare(retention_ms="-1")
        bench.write(letter_of_record(number, bench.topic, bench.schema_id) for number in range(4))
        bench.replay()
        (bench.letters / "replay-ledger.sqlite3").unlink()  # nobody knows any more but the topic itself
        in_doubt = (letter_of_record(number, bench.topic, bench.schema_id, WriteOutcome.UNKNOWN) for number in range(2, 8))
        bench.write(in_doubt, "in-doubt.jsonl")
        account = bench.replay("--file", "in-doubt.jsonl")
        assert (account["published"], account["already"]) == (4, 2)
        assert identities(bench.stored()) == Counter(f"binance.spot.aggTrade.BTCUSDT.{number}" for number in range(8))

    def test_filters_choose(self, bench: Bench) -> None:
        """Only what fits is published; the rest waits for another run."""
        bench.prepare(retention_ms="-1")
        bench.write(letter_of_frame(number, bench.topic) for number in range(9))
        account = bench.replay("--symbol", "ethusdt", "--reason", "timestamp_out_of_range", "--stage", "map")
        assert (account["published"], account["filtered"]) == (3, 6)
        assert identities(bench.stored()) == expected_identities([1, 4, 7])
        assert bench.replay()["published"] == 6


class TestWhatFailsAgain:
    def test_what_the_broker_refuses_is_filed_again(self, bench: Bench) -> None:
        """A topic that takes only tiny records: exit 1 and new letters; when it takes them, the new letters are published."""
        bench.prepare(retention_ms="-1", max_message_bytes="100")
        bench.write(letter_of_frame(number, bench.topic) for number in range(3))
        account = bench.replay(expect=STILL_FAILING)
        assert (account["published"], account["failed"]) == (0, 3)
        again = bench.lines()[3:]
        assert [(line["stage"], line["reason"], line["attempts"]) for line in again] == [("produce", "too_large", 2)] * 3
        assert {line["replay_of"] for line in again} == {f"letter-{number}" for number in range(3)}
        bench.kafka.set_topic(bench.topic, "max.message.bytes", "1000000")
        account = bench.replay()
        assert (account["published"], account["already"]) == (3, 3)
        assert identities(bench.stored()) == expected_identities(range(3))

    def test_what_makes_no_sense_stays(self, bench: Bench) -> None:
        """Garbage between the letters and a torn last line are reported and survived; an event without price fails again."""
        bench.prepare(retention_ms="-1")
        broken = letter_of_frame(1, bench.topic, Reason.MISSING_FIELD).replace(b'\\"p\\":', b'\\"pp\\":')
        bench.write([letter_of_frame(0, bench.topic), b"\x00\xff garbage", altered(broken), letter_of_frame(2, bench.topic)])
        with (bench.letters / "binance-20231114.jsonl").open("ab") as file:
            file.write(letter_of_frame(3, bench.topic)[:300])
        account = bench.replay(expect=STILL_FAILING)
        assert (account["published"], account["failed"], account["unreadable"]) == (2, 1, 2)
        assert identities(bench.stored()) == expected_identities([0, 2])

    @pytest.mark.parametrize("by_script", [False, True], ids=["k2", "script"])
    def test_a_topic_that_is_not_there_is_named(self, bench: Bench, by_script: bool) -> None:
        """Nothing is created on the side: exit 2 and the topic's name."""
        bench.write([letter_of_record(1, bench.topic, 1)])
        with bench.start("--publish", command=(str(SCRIPT),) if by_script else COMMAND) as process:
            assert process.wait(60) == CONFIGURATION, process.output
            assert bench.topic in process.stderr
            assert "Traceback" not in process.output

    def test_a_topic_of_another_stream_takes_nothing(self, bench: Bench) -> None:
        """One topic carries one market and one stream, whoever writes to it."""
        bench.prepare(retention_ms="-1")
        bench.write([letter_of_frame(1, bench.topic)])
        bench.replay()
        trade = make_record(5, stream="trade")
        record = Record(bench.topic, trade.key, b"\0" + bench.schema_id.to_bytes(4, "big") + trade.value[5:], trade.timestamp_ms)
        failed = FailedRecord(
            record, Stage.PRODUCE, Reason.DELIVERY_REJECTED, "no", WriteOutcome.NOT_WRITTEN, {}, "trade", "BTCUSDT"
        )
        bench.write([encode_letter(failed, letter_id="foreign", failed_at_us=1, received_at_us=1, market="spot")])
        with bench.start("--publish") as process:
            assert process.wait(60) == CONFIGURATION
            assert "binance.spot.trade.BTCUSDT.5" in process.stderr
        assert len(bench.stored()) == 1

    def test_what_kafka_will_delete_at_once_is_said(self, bench: Bench) -> None:
        """Retention counts from the trade: old letters in a topic with seven days vanish, and the run says so."""
        bench.prepare(retention_ms="604800000")
        bench.write([letter_of_frame(1, bench.topic)])
        with bench.start("--publish") as process:
            assert process.wait(60) == 0, process.output
            assert "retention.ms=-1" in process.stderr
            assert "2023-11-14" in process.stderr


class TestBesideTheClient:
    def test_a_replay_while_the_client_writes_letters(self, kafka: KafkaBroker, registry: SchemaRegistry, tmp_path: Path) -> None:
        """Both append to today's file: every line stays whole, and nothing is replayed twice."""
        with Rig(kafka, registry, tmp_path) as rig:
            exchange = rig.exchange(generated(500))
            client = rig.client(exchange.ws_url)
            client.wait_for_produced(100)
            bench = Bench(kafka, registry, rig.directory / "replay", rig.topic)
            bench.letters = client.home / "dlq"
            for number in range(1, 6):
                exchange.inject(Garbage(names=("not_json", "missing_price", "unknown_stream")))
                client.wait_for_metric("k2_dead_letters_written_total", 3 * number)
                assert bench.replay(expect=STILL_FAILING)["unreadable"] == 0
            sheet = client.stopped()
            lines = bench.lines()
            assert len({line["id"] for line in lines}) == len(lines)
            assert len([line for line in lines if "replay_of" not in line]) == sheet["dead_lettered"] == 15


class TestSize:
    def test_a_file_of_any_size_is_read_in_constant_memory(self, bench: Bench) -> None:
        """A quarter of a gigabyte takes as much memory as a few letters do."""
        letter = DeadLetter(
            Stage.DECODE, Reason.NOT_JSON, "no", b'{"x":"' + b"y" * 50_000, "btcusdt@aggTrade", "BTCUSDT", bench.topic
        )
        lines = (encode_letter(letter, letter_id=f"l-{n}", failed_at_us=1, received_at_us=1, market="spot") for n in range(5_000))
        bench.write(lines, "binance-20231116.jsonl")
        bench.write([letter_of_frame(1, bench.topic)])
        few, all_of_them = (peak_kib(bench, *chosen) for chosen in (("--file", "binance-20231114.jsonl"), ()))
        assert all_of_them < few + 100 * 1_024, (few, all_of_them)


def peak_kib(bench: Bench, *arguments: object) -> int:
    """The largest resident set of a dry run."""
    program = (
        "import resource, sys; from k2.cli.main import main; main(sys.argv[1:]);"
        " print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    with bench.start(*arguments, command=("-c", program, "dlq", "replay")) as process:
        assert process.wait(120) == 0, process.output
        return int(process.stdout.splitlines()[-1])


def altered(line: bytes) -> bytes:
    """The letter with a checksum that fits what was altered in it."""
    document = json.loads(line)
    document["payload_sha256"] = hashlib.sha256(document["payload"].encode()).hexdigest()
    return json.dumps(document).encode()


@pytest.fixture
def frail_kafka(own_kafka: KafkaBroker) -> Iterator[KafkaBroker]:
    """A broker that a test may freeze."""
    yield own_kafka
    own_kafka.resume()
