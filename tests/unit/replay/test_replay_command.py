"""`k2 dlq` as its user runs it, on letters on the disk and with nobody to talk to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from k2.cli.main import main
from k2.errors import UnavailableError
from k2.ingestion.options import OPTIONS
from k2.replay import wiring
from k2.replay.ledger import LOCK_NAME, NAME, Ledger, LetterFate
from k2.replay.workbench import NothingToPublish
from kit.mock_kafka import MockKafka
from unit.core.pipelines import ROOT
from unit.replay.letters import FAILED_AT_US, broken_line, empty_line, good_line, record_line, snapshot_of, write_file

FIRST_DAY = "binance-20231114.jsonl"
HOUR_US = 3_600_000_000
SECRET = "hunter2-in-a-canary"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for option in OPTIONS:
        for variable in (option.variable, option.file_variable):
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("K2_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def directory(clean_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001 - comes first
    """One with good letters only, named by the environment as it is for the client."""
    made = tmp_path / "dlq"
    made.mkdir()
    monkeypatch.setenv("K2_DEAD_LETTER_DIR", str(made))
    write_file(made / FIRST_DAY, good_line(1), good_line(2, failed_at_us=FAILED_AT_US + HOUR_US), record_line(3))
    return made


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a socket, makes a producer or a client of the registry fails the test."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a dry run asks nobody")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("Publisher", "ReplayTopics", "SchemaRegistry", "rest_opener"):
        monkeypatch.setattr(wiring, name, refuse)


def out_of(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.usefixtures("no_network")
class TestDryRun:
    def test_it_is_what_happens_unless_told_otherwise(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """It says what would be done, with no broker, registry or exchange there, and changes nothing; exit 0."""
        before = snapshot_of(directory)
        assert main(["dlq", "replay"]) == 0
        assert out_of(capsys).splitlines() == [
            "stage    reason                  letters  would publish  would fail again  no event  there already  given up",
            "map      timestamp_out_of_range        2              2                 0         0              0         0",
            "produce  delivery_rejected             1              1                 0         0              0         0",
            "all                                    3              3                 0         0              0         0",
            "Nothing was published: this was a dry run. Add --publish to do it.",
        ]
        assert snapshot_of(directory) == before
        assert not (directory.parent / "state").exists()

    def test_json(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """One object, with the exit code in it."""
        write_file(directory / FIRST_DAY, broken_line(4), empty_line(5))
        assert main(["dlq", "replay", "--json"]) == 1
        document = json.loads(out_of(capsys))
        wanted = {"dry_run": True, "letters": 5, "published": 3, "failed": 1, "nothing": 1, "unreadable": 0, "exit_code": 1}
        assert {name: document[name] for name in wanted} == wanted

    @pytest.mark.parametrize("line", [broken_line(4), b"garbage", good_line(4)[:99]], ids=["fails-again", "garbage", "torn"])
    def test_what_is_left_is_exit_code_one(self, directory: Path, line: bytes, capsys: pytest.CaptureFixture[str]) -> None:
        """An event that still fails, and a line that nobody can read, are something left; the rest is done all the same."""
        with (directory / FIRST_DAY).open("ab") as file:
            file.write(line)
        assert main(["dlq", "replay"]) == 1
        assert "would publish" in out_of(capsys)
        assert main(["dlq", "replay", "--json"]) == 1
        assert json.loads(out_of(capsys))["published"] == 3

    @pytest.mark.parametrize(
        ("filters", "count"),
        [
            pytest.param(["--reason", "delivery_rejected"], 1, id="reason"),
            pytest.param(["--reason", "DELIVERY_REJECTED", "--reason", "timestamp_out_of_range"], 3, id="two-reasons"),
            pytest.param(["--stage", "map"], 2, id="stage"),
            pytest.param(["--stage", "map", "--reason", "delivery_rejected"], 0, id="stage-and-reason"),
            pytest.param(["--symbol", "btcusdt"], 3, id="symbol-in-any-case"),
            pytest.param(["--symbol", "ETHUSDT"], 0, id="another-symbol"),
            pytest.param(["--topic", "trades.binance"], 3, id="topic"),
            pytest.param(["--id", "good-1", "--id", "record-3"], 2, id="ids"),
            pytest.param(["--file", FIRST_DAY], 3, id="file"),
            pytest.param(["--since", "2023-11-14T22:15:01Z"], 1, id="since"),
            pytest.param(["--until", "2023-11-14T22:15:01Z"], 2, id="until"),
            pytest.param(["--since", "2023-11-14", "--until", "2023-11-15"], 3, id="a-day"),
            pytest.param(["--since", "1h"], 0, id="an-age"),
            pytest.param(["--max-attempts", "1"], 0, id="tried-often-enough"),
            pytest.param(["--max-attempts", "2"], 3, id="not-tried-often-enough"),
            pytest.param(["--rate", "0.001"], 3, id="a-rate-is-for-publishing"),
        ],
    )
    def test_filters_choose(self, filters: list[str], count: int, capsys: pytest.CaptureFixture[str]) -> None:
        """By stage, reason, symbol, topic, id, file and time, and by how often it was tried."""
        main(["dlq", "replay", "--json", *filters])
        document = json.loads(out_of(capsys))
        assert document["published"] == count
        assert document["letters"] + document["filtered"] == 3

    def test_letters_that_had_found_no_stream_follow_the_settings(
        self, directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The symbols, market and topic of the client that is configured here decide where they belong."""
        document = json.loads(good_line(7)) | {"stage": "route", "reason": "unknown_stream", "topic": "", "stream": ""}
        (directory / FIRST_DAY).write_bytes(json.dumps(document).encode() + b"\n")
        for symbols, code in (("ETHUSDT", 1), ("ETHUSDT BTCUSDT", 0)):
            monkeypatch.setenv(variable_of("feed.symbols"), symbols)
            assert main(["dlq", "replay"]) == code
            out_of(capsys)


def variable_of(key: str) -> str:
    return next(option.variable for option in OPTIONS if option.key == key)


USAGE: list[tuple[list[str], str]] = [
    (["replay", "--rate", "fast"], "--rate: 'fast' is not a number of letters a second, 0 for no limit"),
    (["replay", "--rate=-1"], "--rate: '-1' is not a number"),
    (["replay", "--rate", "nan"], "--rate: 'nan' is not a number"),
    (["replay", "--rate", "inf"], "--rate: 'inf' is not a number"),
    (["replay", "--max-attempts", "many"], "--max-attempts: 'many' is not a whole number of 0 or more"),
    (["replay", "--max-attempts=-1"], "--max-attempts: '-1' is not a whole number"),
    (["replay", "--max-attempts", "1.5"], "--max-attempts: '1.5' is not a whole number"),
    (["show", "--limit", "x"], "--limit: 'x' is not a whole number"),
    (["replay", "--stage", "birth"], "--stage: 'birth' is not one of decode, route, map, encode, produce, shutdown"),
    (["list", "--reason", "moonphase"], "--reason: 'moonphase' is not one of not_json, "),
    (["list", "--since", "yesterday"], "--since: 'yesterday' is no time: an age "),
    (["list", "--until", "2023-13-01"], "--until: '2023-13-01' is no time"),
    (["list", "--since", "end"], "--since: 'end' is no time: an age "),
    (["list", "--file", "../etc/passwd"], "../etc/passwd is refused: it does not lie in --dead-letter-dir"),
    (["list", "--file", "nothing.jsonl"], "nothing.jsonl is refused: No such file or directory"),
    (["list", "--dead-letter-dir", "/nowhere/at/all"], "--dead-letter-dir: /nowhere/at/all cannot be read: No such file"),
    (["replay", "--publsh"], "there is no option --publsh"),
    (["replay", "--kafka-sasl-password", SECRET], "--kafka-sasl-password does not exist"),
    (["replay", "stray"], "'stray' belongs to no option; k2 dlq --help lists what there is"),
    (["replay", "--since"], "--since: expected one argument"),
    (["replay", "--market", "moon"], "--market"),
    (["destroy"], "that is none of them (choose from 'list'"),
    ([], "list | show | replay"),
]


@pytest.mark.parametrize(("words", "told"), [pytest.param(*case, id=" ".join(case[0]) or "nothing") for case in USAGE])
def test_a_wrong_word_is_one_line_that_names_it(
    directory: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, nothing on standard output, nothing changed, and no secret repeated."""
    before = snapshot_of(directory)
    assert main(["dlq", *words]) == 2
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    assert line.startswith("k2 dlq: ")
    assert told in line
    assert SECRET not in line
    assert captured.out == ""
    assert snapshot_of(directory) == before


def test_a_planted_link_is_one_line_without_commands(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a stranger put into the directory is named, not followed, and cannot paint the terminal."""
    (directory / "binance-\x1b[31m.jsonl").symlink_to("/etc/passwd")
    for command in ("list", "show", "replay"):
        assert main(["dlq", command]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert "symbolic link" in line
        assert line.isprintable()


class TestLooking:
    def test_list(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """How many there are by stage and reason, and how many nobody has replayed; looking makes no ledger."""
        assert main(["dlq", "list"]) == 0
        assert out_of(capsys).splitlines()[1:] == [
            "map      timestamp_out_of_range  2023-11-14T22:15:00Z  2023-11-14T23:15:00Z  BTCUSDT        2             2",
            "produce  delivery_rejected       2023-11-14T22:15:00Z  2023-11-14T22:15:00Z  BTCUSDT        1             1",
        ]
        assert {path.name for path in directory.iterdir()} == {FIRST_DAY}

    def test_list_knows_the_ledger(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What was replayed is told apart, in every form."""
        with Ledger(directory, writable=True) as ledger:
            ledger.settle([], [("good-1", LetterFate.PUBLISHED)])
        assert main(["dlq", "list", "--json"]) == 0
        assert json.loads(out_of(capsys))["states"] == {"published": 1, "new": 2}
        assert main(["dlq", "list", "--each"]) == 0
        assert [line.split()[2] for line in out_of(capsys).splitlines()] == ["published", "new", "new"]
        assert main(["dlq", "list", "--each", "--json"]) == 0
        assert [json.loads(line)["state"] for line in out_of(capsys).splitlines()] == ["published", "new", "new"]

    def test_a_filter_that_fits_nothing_is_no_good_news(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """It is said that there are others."""
        assert main(["dlq", "list", "--reason", "not_json"]) == 0
        assert out_of(capsys) == f"No dead letter in {directory} fits the filters.\n"
        (directory / FIRST_DAY).unlink()
        assert main(["dlq", "list"]) == 0
        assert out_of(capsys) == f"No dead letters in {directory}.\n"

    def test_garbage_is_no_error_of_a_list(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """It is shown."""
        write_file(directory / FIRST_DAY, b"garbage")
        assert main(["dlq", "list", "--each"]) == 0
        assert out_of(capsys).splitlines()[-1].startswith(f"unreadable: {FIRST_DAY} at byte ")

    def test_show_one(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A letter by its id, in full."""
        assert main(["dlq", "show", "record-3", "--json"]) == 0
        document = json.loads(out_of(capsys))
        assert (document["id"], document["key"], document["original_message"]["a"]) == ("record-3", "BTCUSDT", 3)

    def test_show_all(self, capsys: pytest.CaptureFixture[str]) -> None:
        """All letters, or those that the filters take; a page each."""
        assert main(["dlq", "show"]) == 0
        assert [line for line in out_of(capsys).splitlines() if line.startswith("id ")] == [
            f"id                {name}" for name in ("good-1", "good-2", "record-3")
        ]
        assert main(["dlq", "show", "--stage", "produce"]) == 0
        assert out_of(capsys).startswith("id                record-3")

    def test_show_says_that_there_are_more(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Ten at most unless told otherwise: whoever counts what comes out must know."""
        write_file(directory / FIRST_DAY, *(good_line(number) for number in range(10, 20)))
        for limit, count in (([], 10), (["--limit", "2"], 2), (["--limit", "0"], 13), (["--limit", "13"], 13)):
            assert main(["dlq", "show", "--json", *limit]) == 0
            captured = capsys.readouterr()
            assert len(captured.out.splitlines()) == count
            assert ("there are more" in captured.err) is (count < 13)

    def test_an_id_that_is_not_there_is_said(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Also beside one that is; exit 2."""
        assert main(["dlq", "show", "good-1", "nix\x1b[2J"]) == 2
        captured = capsys.readouterr()
        assert captured.out.startswith("id                good-1")
        assert (
            captured.err == "k2 dlq: no letter has the id 'nix\\x1b[2J' (an id is given whole; `k2 dlq list --each` shows them)\n"
        )


class TestPublishing:
    def test_without_a_registry_nothing_is_sent(
        self, directory: Path, free_port: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Exit 69 and one line that says what was waited for; the letters stay as they are, and are new to the next run."""
        content = (directory / FIRST_DAY).read_bytes()
        with MockKafka() as mock:
            words = ["--publish", "--schema-registry", f"http://127.0.0.1:{free_port}", "--kafka-bootstrap", mock.bootstrap]
            assert main(["dlq", "replay", *words, "--startup-timeout", "0", "--rest-url", "off"]) == 69
        captured = capsys.readouterr()
        [line] = captured.err.splitlines()
        assert line.startswith("k2 dlq: gave up after 0 s of waiting for the schema registry: ")
        assert captured.out == ""
        assert (directory / FIRST_DAY).read_bytes() == content
        assert {path.name for path in directory.iterdir()} == {FIRST_DAY, NAME, LOCK_NAME}
        assert main(["dlq", "list", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["states"] == {"new": 3}

    def test_only_one_at_a_time(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A second one is turned away before it asks anybody anything; a dry run is not."""
        with Ledger(directory, writable=True):
            assert main(["dlq", "replay", "--publish"]) == 2
            assert "another replay is at work" in capsys.readouterr().err
            assert main(["dlq", "replay"]) == 0

    def test_a_ledger_that_is_damaged_stops_everything(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Without its word all would be published again: the user decides."""
        (directory / NAME).write_bytes(b"garbage" * 1_000)
        for words in (["replay"], ["replay", "--publish"], ["list"]):
            assert main(["dlq", *words]) == 2
            [line] = capsys.readouterr().err.splitlines()
            assert "restore it, or move it away: without it every letter counts as new" in line

    def test_the_account_of_a_run_that_broke_off_tells_its_end(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was done until then is reported, with the exit code that the program ends with, and the fault on its own line."""
        monkeypatch.setattr("k2.replay.runner.BATCH_LETTERS", 1)
        monkeypatch.setattr(wiring, "dry_workbench", lambda _settings: BrokenWorkbench())
        assert main(["dlq", "replay", "--json"]) == 69
        captured = capsys.readouterr()
        document = json.loads(captured.out)
        assert (document["nothing"], document["exit_code"]) == (1, 69)
        assert captured.err == "k2 dlq: the line is cut\n"


class BrokenWorkbench:
    """Prepares one letter and no more."""

    def __init__(self) -> None:
        self.prepared = 0

    def prepare(self, _letter: Any, _now_us: int) -> Any:
        self.prepared += 1
        if self.prepared > 1:
            raise UnavailableError("the line is cut")
        return NothingToPublish("because")


SECRETIVE = {
    "kafka.security_protocol": "SASL_PLAINTEXT", "kafka.sasl_mechanism": "PLAIN", "kafka.sasl_username": "user",
    "kafka.sasl_password": SECRET, "registry.user": "user", "registry.password": SECRET, "logs.level": "DEBUG",
}  # fmt: skip


def test_no_secret_comes_out(free_port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither on success nor on failure, with all that can be logged."""
    for key, value in SECRETIVE.items():
        monkeypatch.setenv(variable_of(key), value)
    nobody = ["--schema-registry", f"http://127.0.0.1:{free_port}", "--kafka-bootstrap", f"127.0.0.1:{free_port}"]
    publish = ["replay", "--publish", *nobody, "--startup-timeout", "0", "--rest-url", "off"]
    for words, code in ((["replay"], 0), (["list"], 0), (["show"], 0), (["replay", "--rate", "x"], 2), (publish, 69)):
        assert main(["dlq", *words]) == code
        captured = capsys.readouterr()
        assert SECRET not in captured.out + captured.err


def _environment(directory: Path) -> dict[str, str]:
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(directory), "K2_DEAD_LETTER_DIR": str(directory)}


@pytest.fixture(params=["script", "k2"])
def run(request: pytest.FixtureRequest, directory: Path) -> Run:
    """The replay as a process, by either of its names."""
    script = [sys.executable, str(ROOT / "scripts" / "replay_dlq.py")]
    command = script if request.param == "script" else [sys.executable, "-m", "k2.cli.main", "dlq", "replay"]

    def start(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *words], env=_environment(directory), capture_output=True, text=True, check=False, cwd=directory.parent
        )

    return start


def test_the_script_is_the_same_command(directory: Path, run: Run) -> None:
    """Table, exit codes and faults are those of `k2 dlq replay`, and nothing else is printed."""
    good = run()
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.splitlines()[3].split() == ["all", "3", "3", "0", "0", "0", "0"]
    write_file(directory / FIRST_DAY, broken_line(4))
    assert run("--json").returncode == 1
    wrong = run("--rate", "x")
    assert (wrong.returncode, wrong.stdout, len(wrong.stderr.splitlines())) == (2, "", 1)
    assert "--publish" in run("--help").stdout
