"""
`k2 record`: the exchange's frames into a file that `k2 exchange` plays again.

Exit codes: 0 ended in order, also by Ctrl-C, SIGTERM, --duration and --max-size; 2 usage, configuration, or the file exists;
69 no connection came about, or one was given up; 70 the output cannot be written any more; 141 `--output -` lost its reader.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from k2.cli.client_options import LOGGING, add_client_options, client_settings, tool_logging
from k2.errors import EXIT_OK
from k2.ingestion.options import FEED

DESCRIPTION = """\
Writes the frames that the exchange sends down as they come, byte for byte, each with the local time: market data of any
stream, known to the client or not. `k2 exchange --recording FILE` plays the file again, `k2 audit TOPIC --against FILE`
compares a topic with it."""

EPILOG = """\
The file holds gzip members with lines of `<local nanoseconds> <frame>`. It grows by a member at least once a second and is whole
whenever one looks: zcat reads it while it is written, and a kill costs at most the last second. Where the output is too slow,
reading pauses for a moment; if that does not help, frames are dropped and counted. What was missed, and why, stands at the end.

examples
  k2 record --output btc.gz --symbols BTCUSDT --streams aggTrade depth@100ms bookTicker
  k2 record --output all.gz --market usdm --streams '!markPrice@arr@1s' '!forceOrder@arr' --duration 3600
  k2 record --output - --streams trade | head
"""

# What says which records are made of the frames concerns a client, and no recording.
_NOT_OURS = {"feed.streams", "feed.raw_streams", "feed.candles"}
_FEED = tuple(option.key for option in FEED if option.key not in _NOT_OURS)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `record` command."""
    parser = subparsers.add_parser(
        "record",
        help="record the exchange's frames into a file",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--output", required=True, metavar="FILE|-", help="a new file, or - for plain lines to standard output")
    help_streams = "of every symbol (trade, depth@100ms) or by name (btcusdt@trade, !ticker_1h@arr); default: the client's"
    parser.add_argument("--streams", nargs="+", action="extend", metavar="STREAM", help=help_streams)
    parser.add_argument("--append", action="store_true", help="add to a recording that exists; one that is torn is mended first")
    parser.add_argument("--duration", metavar="SECONDS", help="end after this long; default: run until stopped")
    parser.add_argument("--max-size", metavar="MIB", help="end before the output is larger than this")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    add_client_options(parser, (*_FEED, *LOGGING))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """
    Record, and print the summary; to standard error where the recording itself goes to standard output.

    Raises:
        K2Error: see the exit codes.
        BrokenPipeError: nobody reads standard output any more.
    """
    from k2.reading.terminal import to_stderr  # noqa: PLC0415 - half a second that --help need not pay
    from k2.recorder import session, summary  # noqa: PLC0415 - the same
    from k2.recorder.request import make_request  # noqa: PLC0415 - the same

    request = make_request(vars(arguments))
    settings = client_settings(arguments)
    with tool_logging(settings):
        ending = asyncio.run(session.record(settings, request, to_stderr("k2 record")))
    if isinstance(ending.error, BrokenPipeError):  # whoever went away needs no summary
        raise ending.error
    told = ending.summary
    text = json.dumps(summary.as_json(told)) if arguments.json else "\n".join(summary.as_lines(told))
    print(text, file=sys.stderr if request.output is None else sys.stdout)
    if ending.error is not None:
        raise ending.error
    return EXIT_OK
