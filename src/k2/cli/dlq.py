"""
`k2 dlq`: look into the dead letters, and replay them.

Exit codes: 0 all is well, which for a replay means that nothing is left that failed, 1 something is left, 2 usage or
configuration, 69 Kafka or the registry does not answer, 70 the disk, 128 and the signal's number where a signal cut it short.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from k2.cli.client_options import BROKER, LOGGING, REGISTRY, add_client_options, client_settings, tool_logging
from k2.errors import EXIT_OK, ConfigurationError, K2Error
from k2.ingestion.core.outcome import Reason, Stage
from k2.ingestion.option_values import quoted

if TYPE_CHECKING:
    from k2.ingestion.settings import Settings
    from k2.replay.files import LetterFile
    from k2.replay.ledger import Ledger
    from k2.replay.runner import Plan, Replay
    from k2.replay.selection import Selection
    from k2.replay.summary import Summary

Arguments = argparse.Namespace

DESCRIPTION = "Events that could not be published and records that could not be delivered, as the client left them on the disk."
REPLAY = (
    "Runs every dead letter through the pipeline and the producer of the client again. It is a dry run, which asks nobody and "
    "changes nothing, unless --publish is given. What is published carries the headers k2-source: replay and k2-dead-letter; "
    "what fails again becomes a new line with one attempt more. A ledger beside the files keeps a second run, or one after a run "
    "that was killed, from publishing anything twice."
)
EPILOG = (
    "Exit codes: 0 nothing is left that failed, 1 something is, 2 usage, 69 Kafka or the registry does not answer, 70 the disk."
)
TIMES = "an age without a sign (10m, 2h), a date, an RFC 3339 time, or seconds (10 digits) or ms (13) since 1970"
REPLAY_OPTIONS = (
    "profile", "feed.market", "feed.streams", "feed.raw_streams", "feed.candles", "feed.rest_url",
    *BROKER, "kafka.topic_prefix", *REGISTRY, "state_dir", "startup_timeout_s",
)  # fmt: skip


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `dlq` with its subcommands."""
    parser = subparsers.add_parser(
        "dlq", help="look into the dead letters, replay them", description=DESCRIPTION, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="dlq_command", required=True, metavar="list | show | replay")
    listing = commands.add_parser(
        "list", help="how many there are, by stage and reason", description=DESCRIPTION, allow_abbrev=False
    )
    _add_common_options(listing)
    listing.add_argument("--each", action="store_true", help="a line for each letter instead")
    listing.set_defaults(run=run_list)
    show = commands.add_parser("show", help="letters in full", description=DESCRIPTION, allow_abbrev=False)
    show.add_argument("letters", nargs="*", metavar="ID", help="which letters; those that the filters take where none is given")
    _add_common_options(show)
    show.add_argument("--limit", default="10", metavar="N", help="at most so many; default: 10, 0 for all")
    show.set_defaults(run=run_show)
    replay = commands.add_parser("replay", help="run them through again", description=REPLAY, epilog=EPILOG, allow_abbrev=False)
    add_replay_options(replay)


def add_replay_options(parser: argparse.ArgumentParser) -> None:
    """Everything that a replay can be told."""
    parser.add_argument("--publish", action="store_true", help="do it; without this it is a dry run")
    parser.add_argument("--rate", default="0", metavar="N", help="at most so many letters a second; default: 0, as many as go")
    parser.add_argument(
        "--max-attempts", default="0", metavar="N", help="leave letters alone that have been tried so often; default: 0, none"
    )
    _add_common_options(parser)
    add_client_options(parser, REPLAY_OPTIONS)
    parser.set_defaults(run=run_replay)


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    add_client_options(parser, ("dead_letter_dir", *LOGGING))
    chosen = parser.add_argument_group(
        "Which letters", "Filters can be repeated; a letter must fit one value of each that is given."
    )
    chosen.add_argument("--file", action="append", default=[], metavar="NAME", help="only this file of the directory")
    chosen.add_argument("--id", action="append", default=[], metavar="ID", help="only this letter")
    chosen.add_argument("--stage", action="append", default=[], metavar="STAGE", help=f"one of {', '.join(Stage)}")
    chosen.add_argument("--reason", action="append", default=[], metavar="REASON", help=f"one of {', '.join(Reason)}")
    chosen.add_argument("--symbol", action="append", default=[], metavar="SYMBOL", help="only those of this symbol")
    chosen.add_argument("--topic", action="append", default=[], metavar="TOPIC", help="only those that were meant for this topic")
    chosen.add_argument("--since", metavar="TIME", help="failed at this time or later: an age (2h), a date, an RFC 3339 time")
    chosen.add_argument("--until", metavar="TIME", help="failed before this time")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run_list(arguments: Arguments) -> int:
    from k2.replay import listing  # noqa: PLC0415 - see k2.cli.main: what --help need not load

    settings = client_settings(arguments)
    with _opened(settings, arguments.file) as (files, ledger):
        selection = _selection(arguments)
        entries = listing.entries(files, selection, ledger)
        if arguments.each:
            _print_lines(listing.letter_lines(entries, as_json=arguments.json))
        else:
            overview = listing.overview(entries)
            filtered = selection.asks_for_something
            as_text = overview.lines(settings.dead_letter_dir, filtered=filtered)
            _print_lines([json.dumps(overview.to_json())] if arguments.json else as_text)
    return EXIT_OK


def run_show(arguments: Arguments) -> int:
    from k2.replay import listing  # noqa: PLC0415 - the same

    arguments.id = [*arguments.id, *arguments.letters]
    limit, missing = _whole("--limit", arguments.limit), dict.fromkeys(arguments.id)
    with _opened(client_settings(arguments), arguments.file) as (files, ledger):
        entries = listing.entries(files, _selection(arguments), ledger)
        for shown, entry in enumerate(entry for entry in entries if isinstance(entry, listing.Entry)):
            if shown == limit > 0:
                _complain(f"there are more than these {limit}; --limit 0 shows all")
                return EXIT_OK
            _print_lines([listing.whole_letter(entry, as_json=arguments.json)])
            missing.pop(entry.letter.id, None)
    if missing:
        raise ConfigurationError(
            f"no letter has the id {', '.join(map(repr, missing))} (an id is given whole; `k2 dlq list --each` shows them)"
        )
    return EXIT_OK


def run_replay(arguments: Arguments) -> int:
    settings = client_settings(arguments)
    with tool_logging(settings), _opened(settings, arguments.file, writable=arguments.publish) as (files, ledger):
        plan = _plan(arguments, files)
        replay_in = _publishing if arguments.publish else _trying
        with replay_in(plan, settings, ledger) as replay:
            try:
                replay.run()
            except K2Error as error:
                if replay.summary.total.letters:
                    _report(replay.summary, arguments, error.exit_code)  # what was done until it could not go on
                raise
    _report(replay.summary, arguments, replay.summary.exit_code)
    return replay.summary.exit_code


def _report(summary: Summary, arguments: Arguments, exit_code: int) -> None:
    from k2.replay import report  # noqa: PLC0415 - the same

    dry_run = not arguments.publish
    as_json = json.dumps(summary.to_json(dry_run=dry_run, exit_code=exit_code))
    _print_lines([as_json] if arguments.json else report.lines(summary, dry_run=dry_run))


@contextmanager
def _trying(plan: Plan, settings: Settings, ledger: Ledger) -> Iterator[Replay]:
    from k2.replay import report, runner, wiring  # noqa: PLC0415 - the same

    with report.progress(plan.files) as moved:
        yield runner.Replay(plan, ledger, wiring.dry_workbench(settings), None, moved=moved)


@contextmanager
def _publishing(plan: Plan, settings: Settings, ledger: Ledger) -> Iterator[Replay]:
    from k2.replay import report, runner, wiring  # noqa: PLC0415 - the same

    with ExitStack() as parts:
        stop_signal = parts.enter_context(_signals_noted())
        registry = parts.enter_context(wiring.open_registry(settings))
        desk = wiring.desk(settings, stop_signal)
        parts.callback(desk.topics.close)
        parts.callback(lambda: _complain(*desk.topics.take_warnings()))
        ledger.bind(desk.topics.cluster_id())
        if arrived := runner.recover(ledger, desk.topics):
            _complain(f"a run that was cut short had published {arrived} records that it could not write down any more")
        moved = parts.enter_context(report.progress(plan.files))
        yield runner.Replay(plan, ledger, wiring.workbench(settings, registry), desk, moved=moved, stop_signal=stop_signal)


class _StopSignal:
    """The number of the first signal that asked us to stop; a second one ends at once."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> int:
        return self.number

    def note(self, number: int, _frame: object) -> None:
        self.number = number
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def _signals_noted() -> Iterator[_StopSignal]:
    """While the block runs, SIGTERM and SIGINT are noted, so that a batch is not cut where nobody knows how it ended."""
    noted = _StopSignal()
    before = {number: signal.signal(number, noted.note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _opened(settings: Settings, names: list[str], *, writable: bool = False) -> Iterator[tuple[list[LetterFile], Ledger]]:
    from k2.replay.files import find_files  # noqa: PLC0415 - the same
    from k2.replay.ledger import Ledger  # noqa: PLC0415 - the same

    files = find_files(settings.dead_letter_dir, names)
    with Ledger(settings.dead_letter_dir, writable=writable) as ledger:
        yield files, ledger


def _plan(arguments: Arguments, files: list[LetterFile]) -> Plan:
    from k2.replay.runner import Plan  # noqa: PLC0415 - the same

    rate, most = _number("--rate", arguments.rate), _whole("--max-attempts", arguments.max_attempts)
    return Plan(tuple(files), _selection(arguments), rate if arguments.publish else 0, most)


def _selection(arguments: Arguments) -> Selection:
    from k2.replay.selection import Selection  # noqa: PLC0415 - the same

    return Selection(
        stages=frozenset(Stage(_one_of("--stage", word, list(Stage))) for word in arguments.stage),
        reasons=frozenset(Reason(_one_of("--reason", word, list(Reason))) for word in arguments.reason),
        symbols=frozenset(symbol.upper() for symbol in arguments.symbol),
        topics=frozenset(arguments.topic),
        ids=frozenset(arguments.id),
        since_ms=_time_ms("--since", arguments.since),
        until_ms=_time_ms("--until", arguments.until),
    )


def _one_of(flag: str, word: str, words: list[str]) -> str:
    if word.lower() not in words:
        raise ConfigurationError(f"{flag}: {word!r} is not one of {', '.join(words)}")
    return word.lower()


def _time_ms(flag: str, text: str | None) -> int | None:
    from k2.tail.places import place  # noqa: PLC0415 - the same

    if text is None:
        return None
    try:
        found = place(text, int(time.time() * 1_000))
    except ValueError as error:
        raise ConfigurationError(f"{flag}: {quoted(text)} is no time: {TIMES}") from error
    if isinstance(found, str):
        raise ConfigurationError(f"{flag}: {quoted(text)} is no time: {TIMES}")
    return found


def _whole(flag: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004 - far below what an int of C holds
        raise ConfigurationError(f"{flag}: {text!r} is not a whole number of 0 or more")
    return int(text)


def _number(flag: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:  # noqa: PLR2004 - also false for what is no number
        raise ConfigurationError(f"{flag}: {text!r} is not a number of letters a second, 0 for no limit")
    return number


def _print_lines(lines: Iterator[str] | list[str]) -> None:
    for line in lines:
        print(line)


def _complain(*texts: str) -> None:
    from k2.ingestion.adapters.logs import printable  # noqa: PLC0415 - the same

    for text in texts:
        print(printable(f"k2 dlq: {text}"), file=sys.stderr)
