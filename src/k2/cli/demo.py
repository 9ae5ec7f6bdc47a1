"""
`k2 demo`: a simulated exchange, the real client, an embedded Kafka and registry, and what came out of it all on the screen.

Exit codes: 0 the books balance, 1 they do not, 2 usage, 69 a part cannot be reached, 70 a part broke, 128 and the signal's number
where a signal cut it short.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

from k2.errors import EXIT_OK

if TYPE_CHECKING:
    from k2.demo.audience import Audience
    from k2.demo.director import Ending

EXIT_UNBALANCED = 1
EXIT_SIGNAL = 128  # and the signal's number, as shells say it


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `demo` command."""
    parser = subparsers.add_parser(
        "demo",
        help="see the client at work, without a Kafka and without the internet",
        description="Plays a simulated exchange through the real client into an embedded Kafka, reads every record back and "
        "shows it live; ends with the balance sheet. Nothing is installed, and nothing is left behind.",
        allow_abbrev=False,
    )
    parser.add_argument("--seconds", metavar="N", help="how long to watch, from the first record on; default: 12")
    help_profile = "what the client is set up for: trades, candles, events, envelopes, futures, or a file; default: trades"
    parser.add_argument("--profile", metavar="NAME|PATH", help=help_profile)
    parser.add_argument("--market", metavar="spot|usdm", help="which market; default: the profile's, else spot")
    for flag, metavar, meaning in (
        ("--symbols", "SYMBOL", "whose streams; default: the profile's, else BTCUSDT ETHUSDT BNBUSDT"),
        ("--streams", "STREAM", "which streams, as aggTrade, kline_1m, !miniTicker@arr; default: the profile's, else aggTrade"),
        ("--stream", "STREAM", "the same as --streams"),
        ("--raw-streams", "STREAM", "streams whose frames are captured as they come"),
    ):
        parser.add_argument(flag, nargs="+", action="extend", metavar=metavar, help=meaning)
    help_candles = "candles once they are closed (the simulated market's time then runs fast enough to see some), or every update"
    parser.add_argument("--candles", metavar="closed|updates", help=help_candles)
    parser.add_argument("--rate", metavar="N", help="trades per second over all symbols; default: 600")
    help_live = "the real Binance; BINANCE_WS_URL, K2_REST_URL and K2_PROXY are taken from the environment"
    parser.add_argument("--live", action="store_true", help=help_live)
    parser.add_argument("--keep", metavar="DIR", help="keep the client's log and the dead letters in a new directory under DIR")
    help_json = "progress to standard error, and the balance sheet as the last line of standard output"
    parser.add_argument("--json", action="store_true", help=help_json)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """
    Play the demo.

    Raises:
        ConfigurationError: with every option that cannot be used.
        UnavailableError, FatalError: a part did not come up, or broke.
    """
    from k2.demo.client import environment  # noqa: PLC0415 - half a second that --help need not pay
    from k2.demo.options import make_options  # noqa: PLC0415 - the same

    values = vars(arguments)
    options = make_options(values, environment(os.environ, live=arguments.live, profile=arguments.profile))

    from k2.demo import director  # noqa: PLC0415 - the same
    from k2.demo.audience import choose_audience  # noqa: PLC0415 - the same

    audience = choose_audience(as_json=arguments.json)
    try:
        ending = asyncio.run(director.run(options, audience))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None  # a second signal
    return report(ending, audience, as_json=arguments.json)


def report(ending: Ending, audience: Audience, *, as_json: bool) -> int:
    """
    Show the sheet. Returns the exit code.

    Raises:
        K2Error: why the client ended by itself.
    """
    from k2.demo import sheet_lines  # noqa: PLC0415 - see `run`
    from k2.demo.sheet import to_json  # noqa: PLC0415 - the same

    sheet = ending.sheet
    if sheet is None:
        print("k2 demo: interrupted before the client had begun", file=sys.stderr)
        return EXIT_SIGNAL + ending.signal
    audience.tell(sheet_lines.lines(sheet))
    if ending.kept:
        audience.tell([sheet_lines.Line(f"The client's log and dead letters are in {ending.kept}")])
    if as_json:
        print(json.dumps({**to_json(sheet), "latency_seconds": ending.health.latency_seconds if ending.health else {}}))
    if ending.failure:
        raise ending.failure
    return exit_code(balanced=sheet.balanced, signal=ending.signal)


def exit_code(*, balanced: bool, signal: int) -> int:
    """The verdict first: books that do not balance are a finding even where the run was cut short."""
    if not balanced:
        return EXIT_UNBALANCED
    return EXIT_SIGNAL + signal if signal else EXIT_OK
