"""
The `k2` command: finds the subcommand, imports its module and no other, and turns what it raises into one line and an exit code.

A module of the toolbox provides `add_parser(subparsers)`, which adds a parser whose default `run` is a function from the parsed
arguments to the exit code.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from msgspec import Struct

from k2 import __version__
from k2.errors import EXIT_CONFIGURATION, ConfigurationError, FatalError, K2Error

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells say it
EXIT_PIPE_CLOSED = 141  # 128 + SIGPIPE


class Command(Struct, frozen=True):
    """Where a subcommand lives and what it is for."""

    module: str
    summary: str


CLIENT = "client"
COMMANDS = {
    CLIENT: Command("k2.ingestion.binance_client", "stream Binance into Kafka; takes the options of the client itself"),
    "audit": Command("k2.cli.audit", "compare what lies in a topic with a recording of the exchange"),
    "demo": Command("k2.cli.demo", "see the client at work, without a Kafka and without the internet"),
    "dlq": Command("k2.cli.dlq", "look into the dead letters, and replay them"),
    "doctor": Command("k2.cli.doctor", "find what is wrong, before and after it breaks"),
    "exchange": Command("k2.cli.exchange", "simulate the exchange on this machine"),
    "record": Command("k2.cli.record", "record the exchange's frames into a file"),
    "schemas": Command("k2.cli.schemas", "show the schemas, register them, check their compatibility"),
    "tail": Command("k2.cli.tail", "decode a topic to a table or to JSON lines"),
    "top": Command("k2.cli.top", "watch a running client"),
    "topics": Command("k2.cli.topics", "make the planned topics, and check them"),
}


class _Parser(argparse.ArgumentParser):
    """A parser, and those of its subcommands, whose complaint is one line of ours instead of argparse's page."""

    def error(self, message: str) -> NoReturn:
        # What was given in place of a choice is not repeated: it may be the password behind a flag that does not exist.
        told = re.sub(r"invalid choice: .* \(choose from", "that is none of them (choose from", message, flags=re.DOTALL)
        raise ConfigurationError(f"{told.removeprefix('argument ')} ({self.prog} --help tells more)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Returns the exit code; `--help` and `--version` end in argparse's `SystemExit`."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = words[0] if words else ""
    try:
        return _run(name, words)
    except K2Error as error:
        _complain("k2" if name.startswith("-") else f"k2 {name}", error)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`k2 tail | head`). What is still buffered would fail once more when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE_CLOSED
    except OSError as error:
        _complain(f"k2 {name}", FatalError(f"the system refuses: {error}; check the disk, or what the output goes to"))
        return FatalError.exit_code
    except Exception as defect:  # noqa: BLE001 - whatever it is, the user gets one line
        return _own_up(name, defect)


def _complain(who: str, error: K2Error) -> None:
    """One line for each fault, without any password that was registered meanwhile and without commands to the terminal."""
    from k2.ingestion.adapters.logs import masked, printable  # noqa: PLC0415 - needed for complaints only

    for fault in error.faults if isinstance(error, ConfigurationError) else [str(error)]:
        print(printable(masked(f"{who}: {fault}")), file=sys.stderr)


def _own_up(name: str, defect: Exception) -> int:
    """A defect of ours: one line for the user, and where it happened for whoever mends it, if asked for."""
    from k2.ingestion.adapters.logs import masked  # noqa: PLC0415 - needed for complaints only

    if os.environ.get("K2_LOG_LEVEL", "").upper() == "DEBUG":
        print(masked("".join(traceback.format_exception(defect))), file=sys.stderr)
    text = f"unexpected {type(defect).__name__}: {defect}; please report this with what K2_LOG_LEVEL=DEBUG adds"
    _complain(f"k2 {name}", FatalError(text))
    return FatalError.exit_code


def _run(name: str, words: list[str]) -> int:
    if name == CLIENT:
        return int(import_module(COMMANDS[CLIENT].module).main(words[1:]))
    parser = _parser(name)
    if not words:
        parser.print_help(sys.stderr)
        return EXIT_CONFIGURATION
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        raise ConfigurationError(*_unknown_words(name, unknown))
    code = int(arguments.run(arguments))
    sys.stdout.flush()  # a reader that went away shows here, and not only when Python exits
    return code


def _unknown_words(name: str, words: Sequence[str]) -> list[str]:
    """A fault for each word too many. argparse itself would repeat the words, and a password may be among them."""
    from k2.ingestion.command_line import unknown_words  # noqa: PLC0415 - the options of the client, needed for its advice only

    return unknown_words(words, f"k2 {name} --help lists what there is")


def _parser(name: str) -> argparse.ArgumentParser:
    """The parser with `name`'s own options, or, where that is no subcommand, with the list of all."""
    parser = _Parser(prog="k2", description="Binance market data as governed Kafka topics.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"k2 {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    if name in COMMANDS:
        import_module(COMMANDS[name].module).add_parser(subparsers)
    else:
        for listed, command in COMMANDS.items():
            subparsers.add_parser(listed, help=command.summary)
    return parser


if __name__ == "__main__":
    sys.exit(main())
