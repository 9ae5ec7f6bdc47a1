"""`k2 topics`: what it says about a topic that is there, that is not, and that is not as it should be; and its exit codes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from k2.cli.main import main
from k2.ingestion.adapters.kafka_inspection import Partition, Topic
from k2.ingestion.adapters.topics import TopicSpec
from k2.topics.comparison import State, Verdict, compared, missing
from k2.topics.report import document, lines, retention
from kit.mock_kafka import MockKafka

BROKER = "b:9092"
SPEC = TopicSpec("t", 3, 2, 604_800_000, {"compression.type": "zstd"})
AS_PLANNED = {"retention.ms": "604800000", "compression.type": "zstd", "cleanup.policy": "delete"}


CHANGE = "kafka-configs --bootstrap-server b:9092 --alter --entity-type topics --entity-name t"


def topic(partitions: int = 3, replicas: int = 2) -> Topic:
    return Topic(tuple(Partition(number, 1, replicas, replicas) for number in range(partitions)), None)


def verdict(seen: Topic | None = None, properties: Mapping[str, str] = MappingProxyType({})) -> Verdict:
    return compared(SPEC, seen or topic(), {**AS_PLANNED, **properties}, BROKER)


def test_a_topic_as_it_was_planned_is_well() -> None:
    """All that was compared is told."""
    found = verdict()
    assert (found.state, found.is_well, found.differences) == (State.WELL, True, ())
    assert (found.partitions, found.replicas, found.retention_ms, found.compression) == (3, 2, 604_800_000, "zstd")


@pytest.mark.parametrize(
    ("found", "setting", "wanted", "actual", "command"),
    [
        pytest.param(verdict(topic(1)), "partitions", "3", "1",
                     "kafka-topics --bootstrap-server b:9092 --alter --topic t --partitions 3", id="too-few-partitions"),
        pytest.param(verdict(topic(4)), "partitions", "3", "4", "", id="too-many-partitions"),
        pytest.param(verdict(topic(replicas=1)), "replication factor", "2", "1",
                     "kafka-reassign-partitions --bootstrap-server b:9092 --reassignment-json-file FILE --execute", id="copies"),
        pytest.param(verdict(properties={"retention.ms": "-1"}), "retention.ms", "604800000", "-1",
                     f"{CHANGE} --add-config retention.ms=604800000", id="retention"),
        pytest.param(verdict(properties={"compression.type": "producer"}), "compression.type", "zstd", "producer",
                     f"{CHANGE} --add-config compression.type=zstd", id="compression"),
    ],
)  # fmt: skip
def test_each_difference_comes_with_what_would_change_it(
    found: Verdict, setting: str, wanted: str, actual: str, command: str
) -> None:
    """Partitions cannot be taken away: there is nothing to type then."""
    [difference] = found.differences
    assert (found.state, found.is_well) == (State.DIFFERS, False)
    assert (difference.setting, difference.wanted, difference.actual) == (setting, wanted, actual)
    assert difference.command == command
    assert difference.command or difference.advice


@pytest.mark.parametrize("replication_factor", [-1, 2])
def test_copies_that_are_left_to_the_broker_are_no_difference(replication_factor: int) -> None:
    """-1 says whatever the broker has."""
    spec = TopicSpec("t", 3, replication_factor, 604_800_000)
    assert compared(spec, topic(), AS_PLANNED, BROKER).is_well


def test_what_may_not_be_read_is_not_called_well() -> None:
    """One that was just made is as it was asked for; of any other nobody knows."""
    found = compared(SPEC, topic(), None, BROKER, note="the ACL DescribeConfigs on topic t is missing")
    assert (found.state, found.is_well) == (State.UNREAD, False)
    assert compared(SPEC, topic(), None, BROKER, created=True).state is State.CREATED
    assert lines([found])[-1] == "t: not compared in full: the ACL DescribeConfigs on topic t is missing"


def test_what_is_printed_is_a_table_and_what_to_do() -> None:
    """A line for each topic, then the commands, each alone on its line."""
    assert lines([verdict(), missing(TopicSpec("u", 1), BROKER), verdict(properties={"retention.ms": "1000"})]) == [
        "topic  state    retention  compression  partitions  copies",
        "t      well     7 days     zstd                  3       2",
        "u      missing  -          -                     -       -",
        "t      differs  1 second   zstd                  3       2",
        "u: create it",
        "  kafka-topics --bootstrap-server b:9092 --create --topic u --partitions 1 --config retention.ms=-1",
        "t: retention.ms 1000, not 604800000",
        f"  {CHANGE} --add-config retention.ms=604800000",
    ]


def test_the_document_is_fit_for_programs() -> None:
    """Everything of the table under names, and the exit code."""
    found = json.loads(json.dumps(document([verdict(topic(1)), missing(SPEC, BROKER)], 1)))
    assert (found["well"], found["exit_code"]) == (False, 1)
    first, second = found["topics"]
    assert (first["name"], first["state"], first["differences"][0]["setting"]) == ("t", "differs", "partitions")
    assert (second["state"], second["partitions"], second["command"].split()[0]) == ("missing", None, "kafka-topics")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (-1, "for ever"),
        (86_400_000, "1 day"),
        (604_800_000, "7 days"),
        (5_400_000, "90 minutes"),
        (1_500, "1500 ms"),
        (0, "0 days"),
    ],
)
def test_retention_is_told_in_words(milliseconds: int, text: str) -> None:
    """The largest unit that needs no fraction."""
    assert retention(milliseconds) == text


class TestCommand:
    @pytest.fixture(autouse=True)
    def bare_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("KAFKA_BOOTSTRAP", "KAFKA_TOPIC_PREFIX", "K2_PROFILE", "K2_STREAMS", "BINANCE_SYMBOLS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))

    def test_a_dry_run_prints_the_commands_and_asks_nobody(self, capsys: pytest.CaptureFixture[str]) -> None:
        """For every topic that the streams need; each does nothing where its topic is there."""
        flags = [
            "--streams",
            "aggTrade",
            "kline_1m",
            "--kafka-bootstrap",
            "127.0.0.1:1",
            "--retention-ms",
            "5",
            "--partitions",
            "2",
        ]
        assert main(["topics", "create", "--dry-run", *flags, "--retention-ms", "5", "--partitions", "2"]) == 0
        for line, name in zip(capsys.readouterr().out.splitlines(), ("trades", "klines"), strict=True):
            assert shlex.split(line) == [
                "kafka-topics", "--bootstrap-server", "127.0.0.1:1", "--create", "--if-not-exists",
                "--topic", f"market.crypto.{name}.binance", "--partitions", "2", "--config", "retention.ms=5",
            ]  # fmt: skip

    def test_a_profile_names_its_own_topics(self, capsys: pytest.CaptureFixture[str]) -> None:
        """With the retention that it plans for each."""
        assert main(["topics", "create", "--dry-run", "--json", "--profile", "events"]) == 0
        commands = json.loads(capsys.readouterr().out)["commands"]
        assert [shlex.split(command)[6] for command in commands] == ["binance-raw-events", "binance-trades", "binance-depth"]
        assert "retention.ms=2592000000" in commands[1]

    def test_nobody_there_is_69(self, capsys: pytest.CaptureFixture[str]) -> None:
        """After the start-up timeout, with the address."""
        assert main(["topics", "check", "--kafka-bootstrap", "127.0.0.1:1", "--startup-timeout", "0"]) == 69
        [line] = capsys.readouterr().err.splitlines()
        assert "127.0.0.1:1" in line

    def test_a_cluster_without_a_controller_is_69(self, capsys: pytest.CaptureFixture[str]) -> None:
        """It cannot tell how a topic is set up, and nothing hangs for it."""
        with MockKafka() as mock:
            mock.create_topic("market.crypto.trades.binance", 12)
            assert main(["topics", "check", "--kafka-bootstrap", mock.bootstrap, "--startup-timeout", "0"]) == 69
        assert "has no controller now" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["check", "--streams", "kline_7m"], "--streams"),
            (["check", "--profile", "nowhere.yaml"], "--profile"),
            (["check", "--dry-run"], "--dry-run"),
            ([], "create | check"),
        ],
    )
    def test_a_wrong_word_is_2(self, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
        """One line that names the option."""
        assert main(["topics", *words]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert said in line
