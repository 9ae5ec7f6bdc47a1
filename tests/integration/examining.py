"""Examining with `k2 doctor` as a process, in the tests of the doctor."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k2.doctor.table import CHECKS, CONFIGURATION
from kit.client import ClientProcess
from kit.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from integration.support import Rig, RunningExchange

DOCTOR = (sys.executable, "-m", "k2.cli.main", "doctor")
NAMES = [CONFIGURATION, *(check.name for check in CHECKS)]
LIMIT_S = 90


class Report:
    """What one examination ended with."""

    def __init__(self, process: ClientProcess) -> None:
        self.exit_code = process.wait(LIMIT_S)
        self.output = process.output
        assert "Traceback" not in self.output
        self.document: dict[str, Any] = json.loads(process.stdout)
        assert self.document["exit_code"] == self.exit_code
        assert [check["name"] for check in self.document["checks"]] == NAMES

    def __getitem__(self, name: str) -> dict[str, Any]:
        return next(check for check in self.document["checks"] if check["name"] == name)

    def with_status(self, status: str) -> list[str]:
        return [check["name"] for check in self.document["checks"] if check["status"] == status]


class Doctor:
    """Examines what a client of this rig would use."""

    def __init__(self, rig: Rig, lasting: Path) -> None:
        self.rig, self.lasting, self.port = rig, lasting, free_port()

    def flags(self, exchange: RunningExchange) -> list[object]:
        """The flags of a client on healthy parts."""
        return [
            "--ws-url", exchange.ws_url, "--rest-url", exchange.rest_url, "--kafka-bootstrap", self.rig.bootstrap,
            "--schema-registry", self.rig.registry_url, "--topic-prefix", self.rig.prefix, "--partitions", 3,
            "--http-port", self.port, "--dead-letter-dir", self.lasting / "dlq", "--state-dir", self.lasting / "state",
        ]  # fmt: skip

    def examine(self, *flags: object, environment: Mapping[str, str] | None = None) -> Report:
        with ClientProcess("--json", *flags, cwd=self.lasting, environment=environment, command=DOCTOR) as process:
            return Report(process)


@contextmanager
def doctor_for(rig: Rig) -> Iterator[Doctor]:
    """A doctor with a directory that lasts, unlike those of the tests: storage that forgets is a warning."""
    directory = Path(tempfile.mkdtemp(prefix="k2-doctor-", dir="/var/tmp"))
    try:
        yield Doctor(rig, directory)
    finally:
        shutil.rmtree(directory)


def command_of(report: Report, check: str) -> list[str]:
    """The words of the command that a check advises."""
    advice: str = report[check]["advice"]
    return shlex.split(advice[advice.index("kafka-") :])
