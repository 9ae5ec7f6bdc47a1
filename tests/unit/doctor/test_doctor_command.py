"""`k2 doctor` as a command: its options, faults of the configuration, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k2.cli.main import main
from k2.doctor.table import CHECKS, CONFIGURATION
from k2.ingestion.options import BY_FLAG

NOWHERE = (
    "--ws-url", "ws://127.0.0.1:1", "--kafka-bootstrap", "127.0.0.1:1", "--schema-registry", "http://127.0.0.1:1",
    "--http-port", "0", "--timeout", "2",
)  # fmt: skip
CANARY = "canary-Hunter2"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KAFKA_BOOTSTRAP", "SCHEMA_REGISTRY_URL", "XDG_STATE_HOME", "BINANCE_SYMBOLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("K2_DEAD_LETTER_DIR", str(tmp_path / "dlq"))


def test_it_takes_every_option_of_the_client(capsys: pytest.CaptureFixture[str]) -> None:
    """What the client is started with can be examined: each of its flags is there, and the exit codes are told."""
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])
    text = capsys.readouterr().out
    assert [flag for flag in BY_FLAG if flag not in text] == []
    assert {"--json", "--probe", "--timeout"} <= set(text.split())
    assert "Exit codes:" in text


def test_every_fault_of_the_configuration_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """All faults are told at once; nothing else is examined, and everything is said to be skipped for it."""
    assert main(["doctor", "--symbols", "BTC/USDT", "--http-port", "none"]) == 2
    out = capsys.readouterr().out.splitlines()
    assert [text.split()[:2] for text in out[:3]] == [["FAILED", CONFIGURATION]] * 2 + [["skipped", "everything"]]
    assert "BTC/USDT" in out[0]
    assert "--http-port" in out[1]
    assert out[-1] == f"2 FAILED, {len(CHECKS)} skipped: something has to be changed (exit code 2)"


def test_json_holds_every_check_also_then(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs find every name of the table, whatever happened."""
    assert main(["doctor", "--json", "--symbols", "BTC/USDT"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["healthy"], document["exit_code"]) == (False, 2)
    assert [(check["name"], check["status"]) for check in document["checks"]] == [
        (CONFIGURATION, "failed"),
        *((check.name, "skipped") for check in CHECKS),
    ]


def test_parts_that_are_away_are_69(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Where nothing listens anywhere, waiting may help; each failure has its advice, and nothing was made by looking."""
    assert main(["doctor", "--json", *NOWHERE]) == 69
    document = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in document["checks"]] == [CONFIGURATION, *(check.name for check in CHECKS)]
    failed = {check["name"]: check["advice"] for check in document["checks"] if check["status"] == "failed"}
    assert failed.keys() == {"exchange tcp", "registry", "kafka network"}
    assert all(failed.values())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [[], ["--json"]], ids=["lines", "json"])
def test_no_password_is_shown(mode: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords of broker and registry are in no line, JSON or log, also where the log tells all."""
    monkeypatch.setenv("K2_KAFKA_SASL_PASSWORD", CANARY)
    monkeypatch.setenv("K2_SCHEMA_REGISTRY_PASSWORD", CANARY)
    login = ("--kafka-security-protocol", "SASL_PLAINTEXT", "--kafka-sasl-mechanism", "PLAIN", "--kafka-sasl-username", "alice")
    assert main(["doctor", *mode, *NOWHERE, *login, "--schema-registry-user", "alice", "--log-level", "DEBUG"]) == 69
    captured = capsys.readouterr()
    assert CANARY not in captured.out + captured.err


@pytest.mark.parametrize("text", ["soon", "0", "-1", "601", ""])
def test_a_time_limit_that_is_none_is_a_usage_error(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong --timeout is one line on standard error, and exit 2."""
    assert main(["doctor", f"--timeout={text}"]) == 2
    [fault] = capsys.readouterr().err.splitlines()
    assert fault.startswith("k2 doctor: --timeout: ")
