"""`k2 exchange`: a simulated Binance on this machine, to try clients on and to break them."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING

from k2.errors import EXIT_OK, K2Error

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from k2.simulator.exchange import Exchange
    from k2.simulator.plan import Plan

_WIDTH = 120


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `exchange` command."""
    parser = subparsers.add_parser(
        "exchange",
        help="simulate the exchange on this machine",
        description="Simulates Binance's market data, WebSocket and REST on one port, from a recording or generated.",
        allow_abbrev=False,
    )
    _add_market_options(parser)
    _add_server_options(parser)
    parser.set_defaults(run=run)


def _add_market_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--market", metavar="spot|usdm", help="which market; default: the recording's, else spot")
    parser.add_argument("--recording", metavar="PATH", help="repeat a recorded connection instead of generating a market")
    parser.add_argument("--speed", metavar="N|max", help="pace of the recording: 1 as recorded, max as fast as it is read")
    parser.add_argument("--times", metavar="original|now", help="keep the recorded event times, or move them to the present")
    help_symbols = "symbols to generate; default: BTCUSDT ETHUSDT BNBUSDT"
    parser.add_argument("--symbols", nargs="+", action="extend", metavar="SYMBOL", help=help_symbols)
    parser.add_argument("--rate", metavar="N|max", help="aggregated trades per second over all symbols; default: 100")
    help_event_rate = (
        "how many of them make up a second of the market's own clock: at --rate 100, 1 makes it run 100 times as fast"
    )
    parser.add_argument("--event-rate", metavar="N", help=help_event_rate)
    parser.add_argument("--count", metavar="N", help="fall silent after so many aggregated trades")
    parser.add_argument(
        "--seed", metavar="N", help="same ids and prices in every run; without it the market goes on by the clock"
    )
    parser.add_argument("--first-id", metavar="N", help="the first id of every symbol")


def _add_server_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: 127.0.0.1")
    parser.add_argument("--port", default="0", help="port to listen on; default: any free one")
    parser.add_argument("--tls-cert", metavar="PATH", help="serve wss:// and https:// with this certificate (PEM)")
    parser.add_argument("--tls-key", metavar="PATH", help="the certificate's private key (PEM)")
    parser.add_argument("--ping-interval", metavar="SECONDS", help="time between the server's pings; default: the exchange's own")
    parser.add_argument("--fault", metavar="KIND|JSON", help='a fault, as "reset" or {"kind": "close", "code": 1008}')
    parser.add_argument("--fault-after", metavar="SECONDS", help="when the fault strikes; default: at once")
    parser.add_argument("--duration", metavar="SECONDS", help="end after this long; default: run until stopped")
    parser.add_argument("--json", action="store_true", help="print one JSON line when ready and one at the end")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM, SIGINT or the end of `--duration`."""
    from k2.simulator.exchange import Exchange  # noqa: PLC0415 - aiohttp is slow to import, and other commands do without
    from k2.simulator.plan import make_plan  # noqa: PLC0415 - the same

    try:
        plan = make_plan(vars(args))
        return asyncio.run(_serve(Exchange(plan.market, plan.options), plan, as_json=args.json))
    except K2Error as error:
        print(f"k2 exchange: {error}", file=sys.stderr)
        return error.exit_code


async def _serve(exchange: Exchange, plan: Plan, *, as_json: bool) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await exchange.start()
    _print_ready(exchange, as_json=as_json)
    striking = asyncio.create_task(_strike(exchange, plan))
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), plan.duration_s)
    finally:
        striking.cancel()
        await exchange.stop()
    _print_summary(exchange, as_json=as_json)
    return EXIT_OK


async def _strike(exchange: Exchange, plan: Plan) -> None:
    if plan.fault is None:
        return
    await asyncio.sleep(plan.fault_after_s)
    try:
        await exchange.inject(plan.fault)
    except ValueError as error:
        print(f"k2 exchange: --fault: {error}", file=sys.stderr)


def _print_ready(exchange: Exchange, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"ws_url": exchange.ws_url, "rest_url": exchange.rest_url}), flush=True)
        return
    symbols, kinds = len(exchange.market.instruments()), exchange.market.stream_kinds()
    print(f"Simulated Binance ({exchange.market.venue}), {symbols} symbol{'' if symbols == 1 else 's'}. Stop it with Ctrl-C.")
    print(f"  WebSocket  {exchange.ws_url}/stream?streams=<symbol>@{kinds[0]}")
    for line in stream_lines(kinds):
        print(line)
    print(f"  REST       {exchange.rest_url}", flush=True)


def stream_lines(kinds: Sequence[str]) -> list[str]:
    """What can be subscribed to: the streams of one symbol, then those of all symbols."""
    from k2.simulator.streams import in_short  # noqa: PLC0415 - as above: other commands do without the simulator

    own = [f"<symbol>@{kind}" for kind in in_short(kind for kind in kinds if not kind.startswith("!"))]
    texts = {"Streams": ", ".join(own), "All": ", ".join(kind for kind in kinds if kind.startswith("!"))}
    wrapped = textwrap.TextWrapper(_WIDTH, subsequent_indent=" " * 13, break_long_words=False, break_on_hyphens=False)
    return [line for label, text in texts.items() if text for line in wrapped.wrap(f"  {label:<11}{text}")]


def _print_summary(exchange: Exchange, *, as_json: bool) -> None:
    sent = dict(sorted(exchange.sent.items()))
    if as_json:
        print(json.dumps({"sent": sent, "sent_total": sum(sent.values()), "connections": len(exchange.connections)}), flush=True)
        return
    print(f"Sent {sum(sent.values()):,} frames over {len(exchange.connections)} connections.")
    for stream, count in sent.items():
        print(f"  {count:>12,}  {stream}")
    sys.stdout.flush()
