"""
`k2 topics`: the topics that a profile or the settings plan, made where they are missing and compared with what they should be.

Exit codes: 0 all is well, for `create` that every topic is there; 1 `check` found one that is missing or differs; 2 usage or
configuration, permissions included; 69 no broker answers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from k2.cli.client_options import BROKER, LOGGING, add_client_options, client_settings, tool_logging
from k2.errors import EXIT_OK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k2.topics.comparison import Verdict

EXIT_DIFFERENT = 1
DESCRIPTION = (
    "The topics that a client with these options would write, with partitions, copies, retention and compression. A topic that "
    "exists is never changed: what differs is told, with the command that would change it."
)
EPILOG = (
    "Exit codes: 0 all is well, 1 check found a topic that is missing or differs, 2 usage, configuration or permissions, 69 no "
    "broker answers. create ends with 0 once every topic is there, also where one differs."
)
OPTIONS = (
    "profile", "feed.market", "feed.streams", "feed.raw_streams", *BROKER, "kafka.topic_prefix", "kafka.partitions",
    "kafka.replication_factor", "kafka.retention_ms", "startup_timeout_s", *LOGGING,
)  # fmt: skip

Arguments = argparse.Namespace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `topics` with its subcommands."""
    parser = subparsers.add_parser(
        "topics", help="make the planned topics, and check them", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="topics_command", required=True, metavar="create | check")
    create = _add_command(commands, "create", "make those that are missing", run_create)
    create.add_argument("--dry-run", action="store_true", help="print the commands that would make all of them, and ask nobody")
    _add_command(commands, "check", "compare all of them with what they should be", run_check)


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, help_text: str, run: Callable[[Arguments], int]
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_text, description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_client_options(parser, OPTIONS)
    parser.set_defaults(run=run)
    return parser


def run_create(arguments: Arguments) -> int:
    from k2.topics import session  # noqa: PLC0415 - see k2.cli.main: what --help need not load

    settings = client_settings(arguments)
    if arguments.dry_run:
        commands = session.commands(settings)
        print(json.dumps({"commands": commands}) if arguments.json else "\n".join(commands))
        return EXIT_OK
    with tool_logging(settings):
        _show(session.create(settings), arguments, EXIT_OK)
    return EXIT_OK


def run_check(arguments: Arguments) -> int:
    from k2.topics import session  # noqa: PLC0415 - the same

    settings = client_settings(arguments)
    with tool_logging(settings):
        verdicts = session.check(settings)
        exit_code = EXIT_OK if all(verdict.is_well for verdict in verdicts) else EXIT_DIFFERENT
        _show(verdicts, arguments, exit_code)
    return exit_code


def _show(verdicts: Sequence[Verdict], arguments: Arguments, exit_code: int) -> None:
    from k2.topics import report  # noqa: PLC0415 - the same

    print(json.dumps(report.document(verdicts, exit_code)) if arguments.json else "\n".join(report.lines(verdicts)))
