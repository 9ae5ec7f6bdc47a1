"""The documents say what is true: links lead somewhere, options, metrics and make targets named in them exist."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from k2.cli.main import CLIENT, COMMANDS, _parser
from k2.ingestion.command_line import build_parser
from k2.ingestion.options import BY_FLAG
from k2.ingestion.telemetry import CATALOGUE, exposed_name
from operations.shell import Command, commands

REPOSITORY = Path(__file__).parents[2]
FENCED = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTS = sorted(
    path for path in REPOSITORY.rglob("*.md") if not {part for part in path.relative_to(REPOSITORY).parts if part.startswith(".")}
)
# The long options of the tools that stand beside ours in the documents, by program.
FOREIGN_FLAGS: dict[str, set[str]] = {
    "curl": {
        "--silent", "--show-error", "--fail", "--data", "--data-urlencode", "--retry", "--retry-delay", "--retry-all-errors",
    },
    "docker": {
        "--all", "--build", "--detach", "--env", "--env-file", "--follow", "--format", "--name", "--no-build", "--no-deps",
        "--no-stream", "--profile", "--rm", "--since", "--tail", "--time", "--timeout",
    },
    "kafka-acls": {
        "--bootstrap-server", "--command-config", "--add", "--allow-principal", "--operation", "--topic", "--cluster", "--list",
    },
    "kafka-configs": {"--bootstrap-server", "--alter", "--entity-type", "--entity-name", "--add-config", "--add-config-file"},
    "kafka-console-consumer": {"--bootstrap-server", "--topic", "--from-beginning", "--max-messages", "--timeout-ms"},
    "kafka-console-producer": {"--bootstrap-server", "--topic"},
    "kafka-consumer-groups": {"--bootstrap-server", "--group", "--describe"},
    "kafka-topics": {
        "--bootstrap-server", "--create", "--if-not-exists", "--delete", "--describe", "--list", "--topic", "--partitions",
        "--config", "--under-min-isr-partitions",
    },
    "kubectl": {"--current", "--namespace"},
    "pip": {"--require-hashes"},
    "systemd-run": {"--unit"},
}  # fmt: skip
OUR_SCRIPTS = {"--seconds", "--check", "--no-sync"}  # of benchmarks, scripts and the way in which they are started
OURS = {"k2", "python", "python3", "uv"}
ALL_FOREIGN_FLAGS = {flag for flags in FOREIGN_FLAGS.values() for flag in flags} | OUR_SCRIPTS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_resolve(document: Path) -> None:
    """Every relative link leads to a file of the repository."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """The flags of a parser and of its subcommands."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {flag for subparser in action.choices.values() for flag in flags_of(subparser)}
    return found


TOOLBOX_FLAGS = {flag for name in COMMANDS if name != CLIENT for flag in flags_of(_parser(name))} | flags_of(build_parser())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_options_in_the_documents_exist(document: Path) -> None:
    """Every flag that a page names is an option of the client or of the toolbox, or one of the tools shown beside them."""
    assert _flags(document.read_text()) - TOOLBOX_FLAGS - ALL_FOREIGN_FLAGS == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_commands_in_the_documents_take_their_options(document: Path) -> None:
    """In a block of commands every long option is one of the program that it is given to."""
    found = [command for block in FENCED.findall(document.read_text()) for command in commands(block)]
    wrong = [(command.program, flag) for command in found for flag in command.flags if flag not in _known_flags(command)]
    assert wrong == []


def _flags(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+[a-z]", text))


def _known_flags(command: Command) -> set[str]:
    """The long options that the command may have: its own, and those of a command that it runs for us."""
    if command.program in OURS:
        return TOOLBOX_FLAGS | OUR_SCRIPTS
    known = FOREIGN_FLAGS.get(command.program)
    if known is None:
        return set(command.flags)  # a tool of the machine, whose page is its own
    inner = next((place for place, word in enumerate(command.words) if word in OURS or word in FOREIGN_FLAGS), None)
    return known if inner is None else known | _known_flags(Command(command.words[inner], command.words[inner + 1 :]))


def test_readme_lists_every_metric() -> None:
    """The table of metrics is complete."""
    readme = (REPOSITORY / "README.md").read_text()
    assert [name for name in map(exposed_name, CATALOGUE) if f"`{name}`" not in readme] == []


def test_readme_lists_every_option() -> None:
    """The table of options is complete."""
    readme = (REPOSITORY / "README.md").read_text()
    assert [flag for flag in BY_FLAG if flag not in readme] == []


def test_make_targets_in_the_documents_exist() -> None:
    """Every `make` command that a page shows can be made."""
    makefile = (REPOSITORY / "Makefile").read_text()
    named = {target for path in DOCUMENTS for target in re.findall(r"(?m)(?:^|`)make ([a-z]+)", path.read_text())}
    assert [target for target in named if not re.search(rf"(?m)^{target}:", makefile)] == []


def test_toolbox_commands_in_the_documents_exist() -> None:
    """Every `k2` command that a page shows is there."""
    named = {word for path in DOCUMENTS for word in re.findall(r"`k2 ([a-z]+)", path.read_text())}
    assert named - set(COMMANDS) == set()
