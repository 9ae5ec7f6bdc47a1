"""A client that writes several topics, on real parts: they are made and checked, examined, and completed by a replay."""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from integration.examining import Doctor, command_of
from integration.support import Rig, RunningExchange, generated, wait_until
from integration.test_doctor import run_kafka_configs
from kit.client import ClientProcess
from kit.verify import ReadRecord, read_topic

if TYPE_CHECKING:
    from pathlib import Path

    from kit.kafka import KafkaBroker

K2 = (sys.executable, "-m", "k2.cli.main")
STREAMS = ("--streams", "aggTrade", "kline_1m", "bookTicker", "!miniTicker@arr")
LIMIT_S = 90


def topics_of(rig: Rig) -> list[str]:
    """Those of `STREAMS`, as a client of this rig names them."""
    return [f"{rig.prefix}{sort}.binance" for sort in ("", ".klines", ".quotes", ".tickers")]


def k2(rig: Rig, directory: Path, *words: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON and what was printed on standard error."""
    tool, command, *flags = words
    where = ("--kafka-bootstrap", rig.bootstrap, "--topic-prefix", rig.prefix)
    with ClientProcess(tool, command, *where, *flags, "--json", cwd=directory, command=K2) as process:
        exit_code = process.wait(LIMIT_S)
        assert "Traceback" not in process.output
        return exit_code, json.loads(process.stdout), process.stderr


class TestMaking:
    def test_topics_are_made_once_and_compared_from_then_on(self, rig: Rig, kafka: KafkaBroker, tmp_path: Path) -> None:
        """Missing, made, found again, changed by somebody: each is told, and what exists is never changed."""
        flags = (*STREAMS, "--partitions", 3)
        exit_code, missing, _ = k2(rig, tmp_path, "topics", "check", *flags)
        assert (exit_code, [topic["state"] for topic in missing["topics"]]) == (1, ["missing"] * 4)
        assert not {*topics_of(rig)} & {*kafka.topics()}
        for state in ("created", "well"):
            exit_code, made, _ = k2(rig, tmp_path, "topics", "create", *flags)
            assert (exit_code, made["well"]) == (0, True)
            assert [(topic["name"], topic["state"]) for topic in made["topics"]] == [(name, state) for name in topics_of(rig)]
        kafka.set_topic(topics_of(rig)[2], "retention.ms", "1000")
        exit_code, differing, _ = k2(rig, tmp_path, "topics", "check", *flags)
        assert (exit_code, [topic["state"] for topic in differing["topics"]]) == (1, ["well", "well", "differs", "well"])
        assert k2(rig, tmp_path, "topics", "create", *flags)[0] == 0
        [difference] = differing["topics"][2]["differences"]
        run_kafka_configs(kafka, difference["command"].split())
        assert k2(rig, tmp_path, "topics", "check", *flags)[0] == 0

    def test_a_profile_makes_its_own(self, rig: Rig, kafka: KafkaBroker, tmp_path: Path) -> None:
        """With partitions, retention and compression of each."""
        profile = write_profile(tmp_path, rig.topic, "compression: zstd, retention: forever, partitions: 2")
        exit_code, made, _ = k2(rig, tmp_path, "topics", "create", "--profile", profile)
        assert (exit_code, [topic["compression"] for topic in made["topics"]]) == (0, ["zstd"] * 3)
        assert {(topic["partitions"], topic["retention_ms"]) for topic in made["topics"]} == {(2, -1)}
        assert kafka.partitions(f"{rig.topic}.json") == 2
        assert k2(rig, tmp_path, "topics", "check", "--profile", profile)[0] == 0

    def test_copies_that_the_broker_cannot_make_are_a_fault(self, rig: Rig, tmp_path: Path) -> None:
        """The broker's own words, and exit 2."""
        with ClientProcess(
            "topics", "create", "--kafka-bootstrap", rig.bootstrap, "--topic-prefix", rig.prefix, "--replication-factor", 3,
            cwd=tmp_path, command=K2,
        ) as process:  # fmt: skip
            assert process.wait(LIMIT_S) == 2
            assert f"does not create topic {rig.topic}" in process.stderr


def test_the_doctor_finds_several_topics_well_and_names_the_one_that_is_not(
    doctor: Doctor, rig: Rig, exchange: RunningExchange, kafka: KafkaBroker
) -> None:
    """Beside a running client all is ok; one topic that is spoilt is named, with the command that mends it."""
    flags = [*doctor.flags(exchange), *STREAMS]
    client = rig.start(flags, doctor.port)
    client.wait_for_produced(300)
    report = doctor.examine(*flags)
    assert (report.exit_code, report.with_status("failed"), report.with_status("warning")) == (0, [], []), report.output
    for check in ("kafka topic", "kafka settings", "kafka rights", "kafka content", "registry subject", "registry level"):
        assert list(report[check]["facts"]["topics"]) == topics_of(rig), check
        assert "4 of 4 topics are well" in report[check]["text"]
    assert client.stopped()["balanced"]
    quotes = topics_of(rig)[2]
    kafka.set_topic(quotes, "cleanup.policy", "compact")
    report = doctor.examine(*flags)
    assert (report.exit_code, report.with_status("failed")) == (2, ["kafka settings"])
    assert report["kafka settings"]["text"].startswith(f"{quotes}: cleanup.policy=compact")
    run_kafka_configs(kafka, command_of(report, "kafka settings"))
    assert doctor.examine(*flags).exit_code == 0


def write_profile(directory: Path, topic: str, more: str = "partitions: 3, retention: forever") -> Path:
    """Trades in Avro, as JSON without a key, and as they came."""
    path = directory / "three.yaml"
    path.write_text(
        "version: 1\n"
        "description: trades in three forms\n"
        "options: {streams: [aggTrade]}\n"
        "topics:\n"
        f"  - {{id: avro, name: {topic}, streams: [aggTrade], {more}}}\n"
        f"  - {{id: json, name: {topic}.json, streams: ['*'], layout: event, key: none, {more}}}\n"
        f"  - {{id: raw, name: {topic}.raw, streams: ['*'], layout: raw, key: none, {more}}}\n"
    )
    return path


def values_in(rig: Rig, topic: str) -> Counter[bytes | None]:
    records: list[ReadRecord] = read_topic(rig.bootstrap, "", topic, raw=True)
    return Counter(record.payload for record in records)


def test_what_one_topic_refused_is_completed_by_a_replay_that_is_killed(rig: Rig, kafka: KafkaBroker, tmp_path: Path) -> None:
    """The other topics have theirs: in the end each of the three holds every event once, though one of them has no ids."""
    profile = write_profile(tmp_path, rig.topic)
    assert k2(rig, tmp_path, "topics", "create", "--profile", profile)[0] == 0
    refusing = f"{rig.topic}.json"
    kafka.set_topic(refusing, "max.message.bytes", "100")
    client = rig.client(rig.exchange(generated(1_500)).ws_url, "--profile", profile)
    client.wait_for_metric("k2_dead_letters_written_total", 4_000, 60)
    sheet = client.stopped()
    received = sheet["received"]
    assert (sheet["records"], sheet["dead_lettered_records"]) == (3 * received, received)
    kafka.set_topic(refusing, "max.message.bytes", "1000000")
    given = (
        "--publish", "--dead-letter-dir", client.home / "dlq", "--kafka-bootstrap", rig.bootstrap, "--rest-url", "off",
        "--schema-registry", rig.registry_url, "--state-dir", tmp_path / "state", "--profile", profile,
    )  # fmt: skip
    dice = random.Random(7)  # noqa: S311 - no secret
    for aim in (1, 1_500):
        with ClientProcess("dlq", "replay", *given, cwd=tmp_path, command=K2) as process:
            wait_until(partial(lambda aim: kafka.count(refusing) >= aim, aim), f"{aim} records", 60)
            time.sleep(dice.random() / 50)
            process.kill()
            assert process.wait() == -9
    with ClientProcess("dlq", "replay", *given, "--json", cwd=tmp_path, command=K2) as process:
        assert process.wait(LIMIT_S) == 0, process.output
        account = json.loads(process.stdout)
    assert (account["letters"], account["published"] + account["already"]) == (received, received)
    for topic in (rig.topic, refusing, f"{rig.topic}.raw"):
        stored = values_in(rig, topic)
        assert (len(stored), stored.total()) == (received, received), topic
