"""The systemd units and the logrotate file of deploy/ against systemd, logrotate and the code."""

from __future__ import annotations

import configparser
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from k2 import errors
from k2.ingestion.options import BY_KEY, OPTIONS
from k2.ingestion.settings import Settings, load_settings
from kit.client import ClientProcess
from kit.ports import free_port
from kit.tools import needs
from operations.compose_file import LETTERS_OF_A_FULL_QUEUE_S, ROOT

DIRECTORY = ROOT / "deploy/systemd"
SINGLE, TEMPLATE = DIRECTORY / "k2-binance-client.service", DIRECTORY / "k2-binance-client@.service"
LOGROTATE = ROOT / "deploy/logrotate/k2-binance-client"
UNITS = pytest.mark.parametrize("unit", [SINGLE, TEMPLATE], ids=lambda unit: unit.name)
INSTANCE = {"%I": "1/3", "%i": "1-3"}
MOST_EXPOSURE = 2.0


def values(unit: Path, name: str) -> list[str]:
    """What a unit says under a name, line by line."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)


def value(unit: Path, name: str) -> str:
    (only,) = values(unit, name)
    return only


def environment(unit: Path) -> dict[str, str]:
    """The variables of a unit, those of an instance with its name put in."""
    text = " ".join(values(unit, "Environment"))
    for sign, name in INSTANCE.items():
        text = text.replace(sign, name)
    return dict(word.split("=", 1) for word in text.split())


def settings(unit: Path) -> Settings:
    return load_settings([], {"HOME": "/", **environment(unit)})


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with a command that exists here: systemd looks for it."""
    for unit in (SINGLE, TEMPLATE):
        text = unit.read_text(encoding="utf-8").replace("/opt/k2/bin/python", os.path.realpath(sys.executable))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    return tmp_path


@needs("systemd-analyze")
@UNITS
def test_systemd_understands_the_unit(unit: Path, installed: Path) -> None:
    """systemd has nothing to remark: no unknown setting, no wrong value."""
    checked = subprocess.run(
        ["systemd-analyze", "verify", f"./{unit.name}"], cwd=installed, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@needs("systemd-analyze")
@UNITS
def test_unit_exposes_little(unit: Path, installed: Path) -> None:
    """By systemd's own reckoning the service is exposed by no more than 2.0 of 10."""
    words = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"./{unit.name}"]
    said = subprocess.run(words, cwd=installed, capture_output=True, text=True, check=False).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found, said
    assert float(found[1]) <= MOST_EXPOSURE


def test_template_differs_by_its_instance_only() -> None:
    """What holds for the one client holds for each of several: the units differ where the instance's name stands."""
    single, template = (unit.read_text(encoding="utf-8").splitlines() for unit in (SINGLE, TEMPLATE))
    own = [line for line in template if line not in single and not line.startswith("#")]
    assert all("%i" in line or "%I" in line for line in own)
    replaced = {re.sub(r"-%i|K2_SHARD=%I |, part %I of the symbols", "", line) for line in template}
    assert {line for line in single if not line.startswith("#")} <= replaced


def test_instance_is_its_shard() -> None:
    """The instance 1-3 streams part 1 of 3, with files of its own beside those of the others."""
    instance, single = settings(TEMPLATE), settings(SINGLE)
    assert str(instance.feed.shard) == "1/3"
    assert instance.state_dir != single.state_dir
    assert instance.logs.file != single.logs.file
    assert "1-3" in str(instance.state_dir)
    assert "1-3" in str(instance.logs.file)


@UNITS
def test_unit_writes_where_it_may(unit: Path) -> None:
    """Under a read-only system the client's directories are those that systemd makes for it."""
    text = value(unit, "StateDirectory").replace("%i", "1-3")
    assert value(unit, "ProtectSystem") == "strict"
    made = {f"/var/lib/{name}" for name in text.split()} | {f"/var/log/{name}" for name in value(unit, "LogsDirectory").split()}
    wanted = settings(unit)
    assert wanted.logs.file is not None
    assert {str(path) for path in (wanted.state_dir, wanted.dead_letter_dir, wanted.logs.file.parent)} <= made


@UNITS
def test_unit_knows_the_exit_codes(unit: Path) -> None:
    """What another try may mend is tried again; a wrong configuration, which none mends, is not."""
    assert value(unit, "Restart") == "on-failure"
    assert [int(code) for code in value(unit, "RestartPreventExitStatus").split()] == [errors.EXIT_CONFIGURATION]


@UNITS
def test_unit_leaves_time_to_stop(unit: Path) -> None:
    """systemd kills later than the client gives up by itself and has turned a full queue into dead letters."""
    assert float(value(unit, "TimeoutStopSec")) >= settings(unit).shutdown_timeout_s + LETTERS_OF_A_FULL_QUEUE_S


@UNITS
def test_unit_keeps_the_time_of_the_start_readable(unit: Path) -> None:
    """`ProcSubset=pid` would hide /proc/stat, and with it process_start_time_seconds, which an alert looks at."""
    assert values(unit, "ProcSubset") == []


@UNITS
def test_unit_starts_the_client(unit: Path) -> None:
    """The module that the unit runs exists, and its documentation lies in this repository."""
    module = value(unit, "ExecStart").split()[-1]
    assert (ROOT / "src" / Path(*module.split("."))).with_suffix(".py").is_file()
    address = value(unit, "Documentation")
    assert (ROOT / address.partition("/blob/main/")[2]).is_file()


def test_login_comes_from_credentials() -> None:
    """The drop-in hands each password over as a file, under the variable that the client reads it from."""
    drop_in = DIRECTORY / "login.conf"
    parser = configparser.ConfigParser(strict=False)
    parser.read_string(drop_in.read_text(encoding="utf-8"))
    loaded = {text.partition(":")[0] for text in values(drop_in, "LoadCredential")}
    variables = dict(text.split("=", 1) for text in values(drop_in, "Environment"))
    assert {text.removeprefix("%d/") for text in variables.values()} == loaded
    assert set(variables) <= {option.file_variable for option in OPTIONS if option.secret}


def test_example_of_variables_is_understood() -> None:
    """The example of an environment file holds variables that the client takes."""
    lines = (DIRECTORY / "binance-client.env.example").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert load_settings([], {"HOME": "/", **given}).kafka.bootstrap == BY_KEY["kafka.bootstrap"].default


@needs("systemd-sysusers")
@UNITS
def test_user_of_the_unit_is_made(unit: Path, tmp_path: Path) -> None:
    """systemd makes the user that the unit and the rotation name, without a shell."""
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", DIRECTORY / "sysusers.conf"], check=True, capture_output=True)
    made = [line.split(":") for line in (tmp_path / "etc/passwd").read_text(encoding="utf-8").splitlines()]
    assert [(name, shell) for name, *_, shell in made] == [(value(unit, "User"), "/usr/sbin/nologin")]
    assert f"create 0644 {value(unit, 'User')} {value(unit, 'Group')}" in directives()


# logrotate


def directives() -> list[str]:
    text = LOGROTATE.read_text(encoding="utf-8")
    block = re.search(r"\{(.*)\}", text, re.DOTALL)
    assert block
    return [line.strip() for line in block[1].splitlines() if line.strip() and not line.strip().startswith("#")]


def test_logs_are_rotated_as_documented() -> None:
    """Daily, seven kept, compressed, with the mode and the owner that the runbook states."""
    assert {"daily", "rotate 7", "compress", "missingok", "notifempty", "create 0644 k2 k2"} <= set(directives())


@UNITS
def test_the_units_logs_are_rotated(unit: Path) -> None:
    """The pattern has the file that the unit logs to."""
    (pattern,) = re.findall(r"^(/\S+) \{$", LOGROTATE.read_text(encoding="utf-8"), re.MULTILINE)
    file = settings(unit).logs.file
    assert file is not None
    assert file.match(pattern)


def rotated(tmp_path: Path) -> Path:
    """The logrotate file for this directory, and for the user that runs the tests."""
    text = LOGROTATE.read_text(encoding="utf-8").replace("/var/log/k2", str(tmp_path))
    text = re.sub(r"^ *su .*\n", "", text, flags=re.MULTILINE).replace("create 0644 k2 k2", "create 0644")
    (tmp_path / "logrotate.conf").write_text(text, encoding="utf-8")
    (tmp_path / "logrotate.conf").chmod(0o644)
    tmp_path.chmod(0o755)
    return tmp_path / "logrotate.conf"


@needs("logrotate")
def test_logrotate_understands_the_file(tmp_path: Path) -> None:
    """A dry run over a log finds nothing wrong and would rotate it."""
    shutil.copy(rotated(tmp_path), tmp_path / "conf")
    (tmp_path / "binance_client.log").write_text("a line\n", encoding="utf-8")
    tried = subprocess.run(
        ["logrotate", "-d", "-f", "-s", tmp_path / "state", tmp_path / "conf"], capture_output=True, text=True, check=False
    )
    assert tried.returncode == 0, tried.stderr
    assert "error" not in tried.stderr
    assert f"rotating log {tmp_path}/binance_client.log" in tried.stderr


@needs("logrotate")
def test_client_goes_on_after_a_rotation(tmp_path: Path) -> None:
    """Its log is renamed under a running client twice: each line is in one of the files, and the oldest is compressed whole."""
    log, conf = tmp_path / "binance_client.log", rotated(tmp_path)
    arguments = ["--kafka-bootstrap", f"127.0.0.1:{free_port()}", "--http-port", free_port(), "--startup-timeout", 60]
    with ClientProcess(*arguments, "--log-file", log, "--state-dir", tmp_path / "state", cwd=tmp_path) as client:
        client.wait_for_event("Starting")
        wait_for_a_line(log)
        rotate(conf)
        wait_for_a_line(log)
        rotate(conf)
        client.wait_for_event("librdkafka", timeout=60)  # the service runs, so it hears signals
        client.terminate()
        assert client.wait() == 0
        printed = [event for event in client.events if event["level"] != "debug"]
    files = [tmp_path / f"binance_client.log{end}" for end in (".2.gz", ".1", "")]
    lines = [line for file in files for line in text_of(file).splitlines()]
    assert [json.loads(line)["event"] for line in lines] == [event["event"] for event in printed]
    assert text_of(files[0])
    assert "Shutdown complete" in text_of(log)


def rotate(conf: Path) -> None:
    subprocess.run(["logrotate", "-f", "-s", conf.with_name("state.logrotate"), conf], check=True)


def wait_for_a_line(log: Path) -> None:
    deadline = time.monotonic() + 60
    while not log.stat().st_size:
        assert time.monotonic() < deadline, "nothing was logged into the new file"
        time.sleep(0.05)


def text_of(file: Path) -> str:
    return gzip.decompress(file.read_bytes()).decode() if file.suffix == ".gz" else file.read_text(encoding="utf-8")
