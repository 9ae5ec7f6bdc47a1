"""
`k2 audit`: what lies in a topic against a recording of the exchange.

Exit codes: 0 the topic holds what was recorded, 1 it does not, 2 usage, configuration, no such topic or nothing to compare with,
69 broker or registry away, 130 and 143 ended by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import json

from k2.cli.client_options import BROKER, LOGGING, REGISTRY, add_client_options, client_settings, tool_logging
from k2.errors import EXIT_OK

EXIT_FOUND = 1

DESCRIPTION = """\
Compares what lies in a topic with a recording of the exchange, record for record and field for field. What a record must say is
worked out from the recorded bytes by code that shares nothing with the client's."""

EPILOG = """\
what makes the exit code 1
  lost          recorded, and not in the topic
  doubled       a message_id that comes again
  disordered    source_sequence falls within a key, without a k2-source header that says so; or a key in several partitions
  changed       a field, the key or the Kafka timestamp differs (ingestion_timestamp has only to be there)
  undecodable   a record that cannot be decoded, so that nobody knows what it says
what is told beside
  currency differs   only the currency is another than the symbol's ending says; the recording says nothing of it
  beyond             records that were not recorded; their order within the recorded keys counts

The topic's own records tell which market and stream it carries; of the recording only the events of that stream count. A topic
forgets what is older than its retention, counted from the exchange's time: for old recordings it needs retention.ms=-1.

example
  k2 exchange --recording FILE --speed max --port 9000, and a client with --ws-url ws://127.0.0.1:9000 --retention-ms -1; then
  k2 audit market.crypto.trades.binance --against FILE
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `audit` command."""
    parser = subparsers.add_parser(
        "audit",
        help="compare what lies in a topic with a recording of the exchange",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("topic", metavar="TOPIC", help="the topic's name")
    parser.add_argument("--against", required=True, metavar="RECORDING", help="what was recorded, as `k2 exchange` takes it")
    parser.add_argument("--market", metavar="spot|usdm", help="what the topic carries; default: its records tell")
    parser.add_argument("--stream", metavar="aggTrade|trade", help="the same")
    help_symbols = "compare events of these only; default: all that were recorded"
    parser.add_argument("--symbols", nargs="+", action="extend", metavar="SYMBOL", help=help_symbols)
    help_times = "do not compare times: the recording was replayed with `k2 exchange --times now`"
    parser.add_argument("--ignore-times", action="store_true", help=help_times)
    parser.add_argument("--show", metavar="N", help="how many findings of each kind to show; default: 5")
    parser.add_argument("--json", action="store_true", help="print the verdict as one JSON object")
    add_client_options(parser, (*BROKER, *REGISTRY, *LOGGING, "startup_timeout_s"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """
    Compare, and print the verdict.

    Raises:
        K2Error: see the exit codes.
    """
    from k2.audit import report, session  # noqa: PLC0415 - half a second that --help need not pay
    from k2.audit.request import make_request  # noqa: PLC0415 - the same
    from k2.reading.terminal import ended_by_sigterm  # noqa: PLC0415 - the same

    request = make_request(vars(arguments))
    settings = client_settings(arguments)
    with ended_by_sigterm(), tool_logging(settings):
        verdict = session.run(settings, arguments.topic, request)
    if arguments.json:
        print(json.dumps(report.as_json(verdict, arguments.topic, arguments.against), indent=2))
    else:
        print("\n".join(report.as_lines(verdict, arguments.topic, arguments.against)))
    return EXIT_OK if verdict.is_clean else EXIT_FOUND
