"""`k2 doctor` against a broker that lets in only who may: rights, log-ins, TLS and addresses that lead elsewhere."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from integration.examining import Doctor, command_of
from integration.secured import CANARY, NO_HOST, PASSWORD, USER, WRONG_PASSWORD, Files, GuardedBroker
from integration.support import Rig, RunningExchange
from integration.test_secure_connections import KAFKA_LOGIN, PLAIN

if TYPE_CHECKING:
    pass


@pytest.fixture
def files(secure_files: Files) -> Files:
    return secure_files


@pytest.fixture
def guarded(guarded_broker: GuardedBroker) -> GuardedBroker:
    return guarded_broker


class TestGuarded:
    @pytest.fixture
    def login(self, guarded: GuardedBroker, files: Files) -> list[str]:
        return f"{PLAIN} --kafka-sasl-username {USER}".format(login=guarded.address("LOGIN"), ca=files.path("ca")).split()

    def test_each_missing_right_is_given_by_the_command_that_is_advised(
        self, doctor: Doctor, rig: Rig, exchange: RunningExchange, guarded: GuardedBroker, login: list[str]
    ) -> None:
        """A user without rights is told which ACL is missing; following one advice after the other ends in a healthy topic."""
        guarded.create_topic(rig.topic, 3, {"retention.ms": "604800000"})
        flags, password = [*doctor.flags(exchange), *login], {KAFKA_LOGIN: PASSWORD}
        seen = []
        for check in ("kafka topic", "kafka rights"):
            report = doctor.examine(*flags, environment=password)
            seen.append((report[check]["status"], report.exit_code))
            guarded.allow(command_of(report, check))
        assert seen == [("failed", 2), ("warning", 0)]
        report = doctor.examine(*flags, environment=password)
        assert (report.exit_code, report.with_status("failed"), report.with_status("warning")) == (0, [], [])

    def test_a_user_who_sees_the_topic_and_may_not_write_is_told(
        self, doctor: Doctor, rig: Rig, exchange: RunningExchange, guarded: GuardedBroker, login: list[str]
    ) -> None:
        """Whether we may produce is known without producing."""
        guarded.create_topic(rig.topic, 3)
        guarded.allow(shlex.split(f"--allow-principal User:{USER} --operation Describe --topic {rig.topic}"))
        report = doctor.examine(*doctor.flags(exchange), *login, environment={KAFKA_LOGIN: PASSWORD})
        assert (report.exit_code, report.with_status("failed")) == (2, ["kafka rights"])
        assert report["kafka rights"]["text"] == f"the ACL Write on {rig.topic} is missing"

    def test_a_probe_produces_and_reads_back_as_far_as_it_is_allowed(
        self, doctor: Doctor, rig: Rig, exchange: RunningExchange, guarded: GuardedBroker, login: list[str]
    ) -> None:
        """The probe's topic needs rights of its own: each that is missing is named, and the command gives all of them."""
        flags, password = ["--probe", *doctor.flags(exchange), *login], {KAFKA_LOGIN: PASSWORD}
        probed = f"k2-probe.{rig.topic}"
        absent = doctor.examine(*flags, environment=password)["kafka probe"]
        assert (absent["status"], f"topic {probed} does not exist" in absent["text"]) == ("failed", True)
        guarded.create_topic(probed)
        for given, missing in (("Describe", "Write"), ("Write", "Read")):
            guarded.allow(shlex.split(f"--allow-principal User:{USER} --operation {given} --topic {probed}"))
            refused = doctor.examine(*flags, environment=password)
            assert refused["kafka probe"]["text"] == f"the ACL {missing} on topic {probed} is missing"
        guarded.allow(command_of(refused, "kafka probe"))
        assert doctor.examine(*flags, environment=password)["kafka probe"]["status"] == "ok"

    def test_a_wrong_password_names_its_variable_and_stays_hidden(
        self, doctor: Doctor, exchange: RunningExchange, login: list[str]
    ) -> None:
        """A refused log-in is told as such, at once, and no password is in anything that is printed, log included."""
        flags = [
            *doctor.flags(exchange),
            *login,
            "--log-level",
            "DEBUG",
            "--kafka-property",
            "debug=security,broker",
            "--timeout",
            60,
        ]
        report = doctor.examine(*flags, environment={KAFKA_LOGIN: WRONG_PASSWORD})
        assert (report.exit_code, report.with_status("failed")) == (2, ["kafka cluster"])
        assert "refuses our credentials" in report["kafka cluster"]["text"]
        assert KAFKA_LOGIN in report["kafka cluster"]["advice"]
        assert CANARY not in report.output

    @pytest.mark.parametrize(
        ("flags", "check", "said"),
        [
            pytest.param("--kafka-ca {other_ca}", "kafka tls", "not trusted here", id="another-authority"),
            pytest.param("--kafka-bootstrap {plain}", "kafka tls", "the TLS handshake", id="tls-to-plain-text"),
        ],
    )
    def test_tls_troubles_of_the_broker_are_told_as_the_exchanges(
        self, doctor: Doctor, exchange: RunningExchange, guarded: GuardedBroker, files: Files, login: list[str],
        flags: str, check: str, said: str,
    ) -> None:  # fmt: skip
        """librdkafka only says that a certificate is bad; the doctor says why."""
        more = flags.format(other_ca=files.path("other_ca"), plain=guarded.bootstrap).split()
        report = doctor.examine(*doctor.flags(exchange), *login, *more, "--timeout", 3, environment={KAFKA_LOGIN: PASSWORD})
        assert report.with_status("failed") == [check]
        assert said in report[check]["text"]

    @pytest.mark.parametrize("listener", ["LOGIN", "MUTUAL"])
    def test_plain_text_to_a_tls_listener_names_the_protocol(
        self, doctor: Doctor, exchange: RunningExchange, guarded: GuardedBroker, listener: str
    ) -> None:
        """A listener that hangs up on us is asked whether it speaks TLS, and the option that breaks it is named."""
        address = guarded.address(listener)
        report = doctor.examine(*doctor.flags(exchange), "--kafka-bootstrap", address, "--timeout", 3)
        assert (report.exit_code, report.with_status("failed")) == (2, ["kafka cluster"])
        assert report["kafka cluster"]["text"] == f"{address} speaks TLS"
        assert "--kafka-security-protocol SSL" in report["kafka cluster"]["advice"]

    def test_an_advertised_address_that_leads_nowhere_is_told(
        self, doctor: Doctor, exchange: RunningExchange, guarded: GuardedBroker
    ) -> None:
        """The first connection works and no record would arrive: the address that the broker advertises is named."""
        report = doctor.examine(*doctor.flags(exchange), "--kafka-bootstrap", guarded.address("LOST"))
        assert (report.exit_code, report.with_status("failed")) == (2, ["kafka cluster"])
        assert f"broker 1 says it is at {NO_HOST}, but there is no host broker.invalid" in report["kafka cluster"]["text"]
        assert "advertised.listeners" in report["kafka cluster"]["advice"]
