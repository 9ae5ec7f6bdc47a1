"""
`k2 tail`: what flows through a topic, decoded.

Exit codes: 0 shown, 2 usage, configuration or no such topic, 69 broker or registry away, 130 and 143 ended by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
import time

from k2.cli.client_options import BROKER, LOGGING, REGISTRY, add_client_options, client_settings, tool_logging
from k2.errors import EXIT_OK

DESCRIPTION = """\
Decodes a topic's records through the schema registry: a table on a terminal, JSON lines elsewhere. Joins no consumer group
and commits nothing."""

EPILOG = """\
what is shown, for --from
  end           the last N records, 10 by default; with --follow only what is new
  start, TIME   from the first record, or the first one of that time, to the end; with -n the first N of them
With --follow it goes on with what comes, until Ctrl-C or until N records were shown. With --key and --partition the N are
counted among the records of that key and partition. TIME is an age (10m, 2h, 1h30m), a date, an RFC 3339 time (without a
zone: UTC), or seconds or milliseconds since 1970.

Records come in the order of their Kafka timestamps, and those of one partition in its own order.

a JSON line has topic, partition, offset, timestamp, key, headers, schema_id and value; where the value cannot be decoded it
is null, error says why, and raw holds the bytes in base64. Keys and header values that are no text are {"base64": ...}.

examples
  k2 tail market.crypto.trades.binance -f --key BTCUSDT
  k2 tail market.crypto.trades.binance --from 10m --json | jq -r 'select(.headers["k2-source"]) | .value.message_id'
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `tail` command."""
    parser = subparsers.add_parser(
        "tail",
        help="decode a topic to a table or to JSON lines",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("topic", metavar="TOPIC", help="the topic's name")
    parser.add_argument("--from", dest="place", metavar="end|start|TIME", help="where to begin; default: end")
    parser.add_argument("-n", "--records", metavar="N", help="at most so many records")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument("--key", action="append", metavar="KEY", help="records of this key only; may be repeated")
    parser.add_argument("--partition", action="append", metavar="N", help="records of this partition only; may be repeated")
    parser.add_argument("--format", metavar="auto|table|json", help="default: auto, a table on a terminal and JSON elsewhere")
    parser.add_argument("--json", action="store_true", help="short for --format json")
    add_client_options(parser, (*BROKER, *REGISTRY, *LOGGING, "startup_timeout_s"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """
    Show what is asked for.

    Raises:
        K2Error: see the exit codes.
    """
    from k2.reading.terminal import ended_by_sigterm  # noqa: PLC0415 - half a second that --help need not pay
    from k2.tail import session  # noqa: PLC0415 - the same
    from k2.tail.request import make_request  # noqa: PLC0415 - the same

    request = make_request(vars(arguments), int(time.time() * 1_000), on_terminal=sys.stdout.isatty())
    settings = client_settings(arguments)
    with ended_by_sigterm(), tool_logging(settings):
        session.run(settings, arguments.topic, request)
    return EXIT_OK
