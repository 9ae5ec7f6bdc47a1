"""
`k2 doctor`: examines everything that the client would use, step by step along the way of the data, and says what to do.

It takes the client's own options and variables, and changes nothing unless `--probe` is given. Exit codes: 0 nothing failed
(warnings are allowed), 2 something has to be changed (configuration, permissions, certificates), 69 something is away and waiting
may help, 70 a check itself broke.
"""

from __future__ import annotations

import argparse

from k2.cli.client_options import add_client_options, client_settings, tool_logging
from k2.errors import ConfigurationError
from k2.ingestion.option_values import seconds
from k2.ingestion.options import BY_KEY

DEFAULT_TIMEOUT = "10"
_USAGE = "k2 doctor [--json] [--probe] [--timeout SECONDS] [the client's options]"
_DESCRIPTION = (
    "Examines everything that the client would use: configuration, directories, the way to the exchange, its handshake, streams "
    "and REST, the clock, the schema registry, the broker and the topics. Takes the client's own options and variables. One line "
    "for each check, with what to do about every failure. Changes nothing, unless --probe is given."
)
_EPILOG = (
    "Exit codes: 0 nothing failed, 2 something has to be changed (configuration, permissions, certificates), 69 something is "
    "away and waiting may help, 70 a check itself broke."
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `doctor` command."""
    help_text = "find what is wrong, before and after it breaks"
    parser = subparsers.add_parser(
        "doctor", help=help_text, usage=_USAGE, description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    help_probe = "also produce a record and read it back, through a topic k2-probe.TOPIC that is made for it and removed"
    parser.add_argument("--probe", action="store_true", help=help_probe)
    help_timeout = f"how long to wait for any one answer; default: {DEFAULT_TIMEOUT}"
    parser.add_argument("--timeout", metavar="SECONDS", default=DEFAULT_TIMEOUT, help=help_timeout)
    add_client_options(parser, BY_KEY)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """
    Examine. Returns the exit code.

    Raises:
        ConfigurationError: `--timeout` is no time.
    """
    timeout_s = _timeout_s(arguments.timeout)

    from k2.doctor import examination  # noqa: PLC0415 - half a second that --help need not pay

    try:
        settings = client_settings(arguments)
    except ConfigurationError as error:
        return examination.refuse(error, as_json=arguments.json)

    from k2.doctor.checks import Context  # noqa: PLC0415 - the same
    from k2.ingestion.adapters.logs import rdkafka_logger  # noqa: PLC0415 - the same

    with tool_logging(settings):
        context = Context(settings, timeout_s, arguments.probe, rdkafka_logger())
        return examination.examine(context, as_json=arguments.json)


def _timeout_s(text: str) -> float:
    try:
        return float(seconds(0.1, 600)(text))
    except ValueError as error:
        raise ConfigurationError(f"--timeout: {error}") from error
