"""Claims about the front door of the `k2` command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from k2 import __version__
from k2.cli.main import COMMANDS, Command, main
from k2.errors import ConfigurationError, FatalError, UnavailableError

SUBCOMMAND = """
from k2.errors import ConfigurationError, FatalError, UnavailableError

def add_parser(subparsers):
    parser = subparsers.add_parser({name!r})
    parser.add_argument("--number", default="0")
    parser.set_defaults(run=run)

def run(arguments):
    {body}
"""

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make a subcommand of a name, whose `run` does what the text says."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, body: str) -> None:
        module = f"k2_test_{tmp_path.name.replace('-', '_')}_{name}"
        (tmp_path / f"{module}.py").write_text(SUBCOMMAND.format(name=name, body=body))
        monkeypatch.setitem(COMMANDS, name, Command(module, "a subcommand of the tests"))

    return make


def test_a_subcommand_gets_its_options_and_gives_the_exit_code(install: Install) -> None:
    """The chosen module parses its own options; what its function returns is the exit code."""
    install("count", "return int(arguments.number)")
    assert main(["count", "--number", "7"]) == 7


def test_only_the_chosen_module_is_imported(install: Install) -> None:
    """A module that cannot even be imported does not hinder another subcommand."""
    install("good", "return 0")
    COMMANDS["bad"] = Command("k2_test_no_such_module", "cannot be imported")
    try:
        assert main(["good"]) == 0
    finally:
        del COMMANDS["bad"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigurationError("a fault", "another"), 2), (UnavailableError("no answer"), 69), (FatalError("broken"), 70)],
)
def test_an_error_of_ours_is_a_line_for_each_fault_and_its_exit_code(
    install: Install, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    """The operator sees which subcommand failed and why, and never a traceback."""
    faults = getattr(error, "faults", error.args)
    install("fail", f"raise {type(error).__name__}({', '.join(map(repr, faults))})")
    assert main(["fail"]) == code
    assert capsys.readouterr().err.splitlines() == [f"k2 fail: {fault}" for fault in faults]


def test_an_error_cannot_command_the_terminal(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """Its text may name what came from outside, a topic or a file; it stays one line of plain characters."""
    install("fail", r"raise UnavailableError('topic \x1b[2J\nk2 fail: all is well')")
    assert main(["fail"]) == 69
    assert capsys.readouterr().err == "k2 fail: topic \\x1b[2J\\nk2 fail: all is well\n"


def test_an_output_that_takes_no_more_is_no_defect(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """What the system refuses (a full disk behind standard output) is one line that says so, and asks for no report."""
    install("write", "raise OSError(28, 'No space left on device')")
    assert main(["write"]) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device" in line
    assert "report" not in line


def test_an_interrupt_ends_quietly(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends with the code that shells expect and without a traceback."""
    install("wait", "raise KeyboardInterrupt")
    assert main(["wait"]) == 130
    assert capsys.readouterr().err == ""


def test_the_client_gets_its_arguments_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`k2 client` is the client: every word behind it, `--help` included, is the client's own."""
    (tmp_path / "k2_test_client.py").write_text("def main(argv):\n    return 5 if argv == ['--symbols', 'A', '--help'] else 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(COMMANDS, "client", Command("k2_test_client", ""))
    assert main(["client", "--symbols", "A", "--help"]) == 5


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        pytest.param(["--version"], 0, f"k2 {__version__}", id="version"),
        pytest.param(["--help"], 0, "simulate the exchange", id="help-lists-the-subcommands"),
    ],
)
def test_the_door_answers_by_itself(argv: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Help and version need no module of the toolbox."""
    with pytest.raises(SystemExit) as caught:
        main(argv)
    printed = capsys.readouterr()
    assert caught.value.code == code
    assert told in " ".join((printed.out + printed.err).split())


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        pytest.param(["nosuch"], "that is none of them (choose from", id="unknown-subcommand"),
        pytest.param(["--nosuch"], "COMMAND", id="unknown-flag-without-subcommand"),
        pytest.param(["count", "--number"], "--number: expected one argument (k2 count --help tells more)", id="no-value"),
        pytest.param(["count", "--kafka-sasl-password", "hunter2"], "set K2_KAFKA_SASL_PASSWORD", id="password"),
        pytest.param(["count", "hunter2"], "k2 count --help", id="word-too-many"),
    ],
)
def test_usage_errors_are_one_line(install: Install, argv: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong word is one line and exit 2; a flag that does not exist is named, and its value, maybe a password, is not."""
    install("count", "return 0")
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert "--kafka-sasl-password hunter2" not in line


def test_no_subcommand_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """`k2` alone tells what there is, and ends as a usage error does."""
    assert main([]) == 2
    assert all(name in capsys.readouterr().err for name in ["demo"])


def test_a_reader_that_goes_away_is_no_error(install: Install, tmp_path: Path) -> None:
    """`k2 something | head` ends without a traceback."""
    install("talk", "print('x\\n' * 100_000); return 0")
    module = COMMANDS["talk"].module
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from k2.cli.main import COMMANDS, Command, main
COMMANDS["talk"] = Command({module!r}, "")
sys.exit(main(["talk"]))
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141
