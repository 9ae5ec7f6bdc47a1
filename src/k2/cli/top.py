"""
`k2 top`: a running client on the screen, as it tells of itself.

Exit codes: 0 shown with --once, 2 usage, or whoever answers is no client, 69 nobody answered --once, 130 and 143 ended by Ctrl-C
or SIGTERM.
"""

from __future__ import annotations

import argparse

from k2.cli.client_options import add_client_options, client_settings
from k2.errors import EXIT_OK

DESCRIPTION = """\
Shows a running client live: its verdict, both ledgers, latency, streams by rate, dead letters by reason. On a terminal a
screen, elsewhere a line for each look. Asks for its /health and changes nothing."""

EPILOG = """\
Without URL it is the client of this machine that has the same --http-host and --http-port, or their variables. A client that
goes away is waited for, and so is one that has not come up yet. A look before the last one is needed for rates: --once takes
two, an interval apart, and shows the second.

a JSON line has at, url, answered, error, http_status, events_per_s, streams_per_s and health, the whole answer of the client

examples
  k2 top
  k2 top http://10.0.0.5:8001 --interval 5
  k2 top --once --json | jq '.health.balance.balanced, .events_per_s'
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `top` command."""
    parser = subparsers.add_parser(
        "top",
        help="watch a running client",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("url", metavar="URL", nargs="?", help="where the client serves its health, such as http://HOST:8001")
    parser.add_argument("--interval", metavar="SECONDS", help="how often to look; default: 1")
    parser.add_argument("--once", action="store_true", help="show one moment and end")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    add_client_options(parser, ("http.host", "http.port"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """
    Watch.

    Raises:
        K2Error: see the exit codes.
    """
    from k2.reading.terminal import ended_by_sigterm  # noqa: PLC0415 - half a second that --help need not pay
    from k2.top import session  # noqa: PLC0415 - the same
    from k2.top.request import make_request  # noqa: PLC0415 - the same

    request = make_request(vars(arguments), lambda: client_settings(arguments).http)
    with ended_by_sigterm():
        session.run(request)
    return EXIT_OK
