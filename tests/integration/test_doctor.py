"""`k2 doctor` as a process against the real parts: all well on healthy ones, every fault named, and its advice followed."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from integration.examining import DOCTOR, LIMIT_S, NAMES, Doctor, Report, command_of
from integration.support import Rig, RunningExchange
from kit.client import ClientProcess
from kit.verify import read_topic
from unit.feed.servers import Peer, listening

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kit.kafka import KafkaBroker
    from kit.registry import SchemaRegistry

TOPIC_CHECKS = ("kafka settings", "kafka rights", "kafka content")


class TestHealth:
    def test_healthy_parts_are_well_and_a_record_goes_there_and_back(
        self, doctor: Doctor, rig: Rig, exchange: RunningExchange, kafka: KafkaBroker
    ) -> None:
        """Beside a running client everything is ok, a record was read back, and its topic is gone again: exit 0."""
        client = rig.start(doctor.flags(exchange), doctor.port)
        client.wait_for_produced(30)
        report = doctor.examine("--probe", *doctor.flags(exchange))
        assert report.with_status("ok") == NAMES, report.output
        assert (report.exit_code, report.document["healthy"]) == (0, True)
        assert report["state directory"]["facts"]["used_by"] == str(client.pid)
        assert report["http port"]["facts"]["status"] == "healthy"
        assert report["kafka probe"]["facts"]["left_behind"] is False
        assert f"k2-probe.{rig.topic}" not in kafka.topics()
        assert client.stopped()["balanced"]

    def test_a_probe_goes_into_its_own_topic_only(
        self, doctor: Doctor, rig: Rig, exchange: RunningExchange, kafka: KafkaBroker
    ) -> None:
        """The record that was read back is the one that lies in the probe's topic, which stays where it was before."""
        kafka.create_topic(rig.topic, 3)
        kafka.create_topic(f"k2-probe.{rig.topic}")
        report = doctor.examine("--probe", *doctor.flags(exchange))
        facts = report["kafka probe"]["facts"]
        [record] = read_topic(rig.bootstrap, "", f"k2-probe.{rig.topic}", raw=True, count=1)
        assert (record.partition, record.offset) == (facts["partition"], facts["offset"])
        assert record.headers == {"k2-source": b"probe"}
        assert facts["left_behind"] is True
        assert read_topic(rig.bootstrap, "", rig.topic, raw=True) == []
        assert "stays" in report["kafka probe"]["text"]

    def test_looking_changes_nothing(
        self, doctor: Doctor, rig: Rig, exchange: RunningExchange, kafka: KafkaBroker, registry: SchemaRegistry
    ) -> None:
        """Before the first start there is no topic, no subject, no directory; and none after looking for them."""
        report = doctor.examine(*doctor.flags(exchange))
        assert (report.exit_code, report.with_status("warning")) == (0, ["kafka topic"])
        assert report.with_status("skipped") == [*TOPIC_CHECKS, "kafka probe"]
        assert rig.topic not in kafka.topics()
        assert f"{rig.topic}-value" not in registry.subjects()
        assert list(doctor.lasting.iterdir()) == []

    def test_lines_are_for_people(self, doctor: Doctor, exchange: RunningExchange) -> None:
        """Without --json each check is a line in the order of the table, and the last one counts."""
        with ClientProcess(*doctor.flags(exchange), cwd=doctor.lasting, command=DOCTOR) as process:
            assert process.wait(LIMIT_S) == 0
        *checks, blank, last = process.stdout.splitlines()
        assert [line[9:28].strip() for line in checks] == NAMES
        assert (blank, last) == ("", f"{len(NAMES) - 5} ok, 1 warning, 4 skipped")


class TestTopic:
    def test_a_missing_topic_is_made_by_its_command(
        self, doctor: Doctor, rig: Rig, exchange: RunningExchange, kafka: KafkaBroker
    ) -> None:
        """Where the client may not make it, the failure holds the command, and what it makes is well."""
        flags = [*doctor.flags(exchange), "--no-create-topic"]
        report = doctor.examine(*flags)
        assert (report.exit_code, report.with_status("failed")) == (2, ["kafka topic"])
        words = command_of(report, "kafka topic")
        given = dict(zip(words[1::2], words[2::2], strict=False))
        assert (given["--bootstrap-server"], "--create" in words) == (rig.bootstrap, True)
        options = {word: words[words.index(word) + 1] for word in ("--topic", "--partitions", "--config")}
        kafka.create_topic(options["--topic"], int(options["--partitions"]), dict([options["--config"].split("=")]))
        assert doctor.examine(*flags).exit_code == 0

    def test_what_breaks_the_contract_is_set_right_by_its_command(
        self, doctor: Doctor, rig: Rig, exchange: RunningExchange, kafka: KafkaBroker
    ) -> None:
        """A topic that loses or falsifies trades is a failure; Kafka's own command, as advised, makes it well."""
        bad = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime", "max.message.bytes": "65536"}
        kafka.create_topic(rig.topic, 2, {**bad, "retention.ms": "3600000"})
        report = doctor.examine(*doctor.flags(exchange))
        assert (report.exit_code, report.with_status("failed")) == (2, ["kafka settings"])
        assert "2 partitions, not 3" in report["kafka topic"]["text"]
        assert all(name in report["kafka settings"]["text"] for name in (*bad, "retention.ms"))
        run_kafka_configs(kafka, command_of(report, "kafka settings"))
        again = doctor.examine(*doctor.flags(exchange), "--partitions", 2)
        assert again.exit_code == 0
        assert again["kafka settings"]["status"] == "ok"

    def test_a_topic_of_another_stream_is_a_failure(self, doctor: Doctor, rig: Rig, exchange: RunningExchange) -> None:
        """One topic carries one market and one stream: the doctor finds it before the client refuses to start."""
        client = rig.start([*doctor.flags(exchange), "--stream", "trade"], doctor.port)
        client.wait_for_produced(10)
        client.stopped()
        report = doctor.examine(*doctor.flags(exchange))
        assert (report.exit_code, report.with_status("failed")) == (2, ["kafka content"])
        assert "carries binance.spot.trade." in report["kafka content"]["text"]


def run_kafka_configs(kafka: KafkaBroker, words: Sequence[str]) -> None:
    """What `kafka-configs` runs."""
    assert words[0] == "kafka-configs"
    command = kafka._java("kafka.admin.ConfigCommand", *words[1:])
    ended = subprocess.run(command, cwd=kafka.directory, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_an_incompatible_subject_is_a_failure(
    doctor: Doctor, rig: Rig, exchange: RunningExchange, registry: SchemaRegistry
) -> None:
    """The real registry's verdict on our schema is told before the client meets it."""
    fields = '[{"name": "price", "type": "int"}]'
    old = f'{{"type": "record", "name": "TradeV2", "namespace": "com.k2.marketdata", "fields": {fields}}}'
    registry.request("POST", f"/subjects/{rig.topic}-value/versions", {"schema": old})
    report = doctor.examine(*doctor.flags(exchange))
    assert (report.exit_code, report.with_status("failed")) == (2, ["registry subject"])
    assert "price" in report["registry subject"]["text"]


@contextmanager
def deaf_port() -> Iterator[str]:
    """An address that takes connections, as far as the system goes, and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


class TestSilence:
    @pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
    def test_peers_that_never_answer_are_named_and_waited_for_no_longer_than_told(self, doctor: Doctor, tls: bool) -> None:
        """With all three peers deaf the examination ends, each is named with its address, and waiting is what is advised: 69."""
        with deaf_port() as exchange, deaf_port() as broker, deaf_port() as registry:
            s = "s" if tls else ""
            report = doctor.examine(
                "--timeout", 1, "--ws-url", f"ws{s}://{exchange}", "--rest-url", f"http{s}://{exchange}",
                "--kafka-bootstrap", broker, "--kafka-security-protocol", "SSL" if tls else "PLAINTEXT",
                "--schema-registry", f"http{s}://{registry}", "--http-port", doctor.port,
            )  # fmt: skip
        first = ["exchange tls", "kafka tls"] if tls else ["exchange handshake", "kafka cluster"]
        assert report.exit_code == 69
        assert report.with_status("failed") == [first[0], "exchange rest", "registry", first[1]]
        for name, address in ((first[0], exchange), ("exchange rest", exchange), ("registry", registry), (first[1], broker)):
            assert address in report[name]["text"]
            assert report[name]["advice"]

    def test_an_interrupt_ends_it_at_once(self, doctor: Doctor) -> None:
        """Ctrl-C while everything hangs ends with 130 and without a word."""
        with deaf_port() as peer:
            addresses = f"--ws-url ws://{peer} --kafka-bootstrap {peer} --schema-registry http://{peer} --http-port {doctor.port}"
            with ClientProcess("--timeout", 600, *addresses.split(), cwd=doctor.lasting, command=DOCTOR) as process:
                process.wait_for_output("exchange tls")
                process.interrupt()
                assert process.wait(LIMIT_S) == 130
        assert process.stderr == ""


def test_a_restricted_location_names_the_market_data_host(doctor: Doctor, rig: Rig) -> None:
    """A 451 on both sides names the restriction and the host that may serve it; what does not depend on it is examined."""

    async def refuse(peer: Peer) -> None:
        await peer.refuse(
            "451 Unavailable For Legal Reasons", body=b'{"code":0,"msg":"Service unavailable from a restricted location"}'
        )

    async def examined() -> Report:
        async with listening(refuse) as port:
            flags = ("--ws-url", f"ws://127.0.0.1:{port}", "--rest-url", f"http://127.0.0.1:{port}")
            others = ("--kafka-bootstrap", rig.bootstrap, "--schema-registry", rig.registry_url, "--http-port", doctor.port)
            return await asyncio.to_thread(doctor.examine, *flags, *others)

    report = asyncio.run(examined())
    assert (report.exit_code, report.with_status("failed")) == (2, ["exchange handshake", "exchange rest"])
    for name in report.with_status("failed"):
        assert "restricted location" in report[name]["text"]
        assert "--ws-url wss://data-stream.binance.vision" in report[name]["advice"]
    assert report["kafka cluster"]["status"] == report["registry"]["status"] == "ok"
