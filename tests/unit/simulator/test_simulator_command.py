"""`k2 exchange` as a process."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect

from k2.cli import exchange as command
from k2.errors import ConfigurationError
from k2.simulator import faults
from k2.simulator.market import Window
from k2.simulator.plan import make_plan
from unit.simulator.wire import recording_path

if TYPE_CHECKING:
    from pathlib import Path

_MAIN = """
import argparse, sys
from k2.cli.exchange import add_parser
parser = argparse.ArgumentParser()
add_parser(parser.add_subparsers())
args = parser.parse_args(sys.argv[1:])
sys.exit(args.run(args))
"""


async def _started(*arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, "-c", _MAIN, "exchange", *arguments, stdout=pipe, stderr=pipe)


async def _line(process: asyncio.subprocess.Process) -> Any:
    assert process.stdout is not None
    return json.loads(await asyncio.wait_for(process.stdout.readline(), 30))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_command_serves_until_it_is_told_to_end(number: signal.Signals) -> None:
    """It prints its addresses when ready, and a summary and exit code 0 at the end."""
    process = await _started("--json", "--rate", "max", "--count", "50", "--symbols", "BTCUSDT", "ETHUSDT")
    ready = await _line(process)
    async with connect(ready["ws_url"] + "/ws/btcusdt@aggTrade", proxy=None, max_queue=None) as client:
        for _ in range(25):
            await client.recv()
    process.send_signal(number)
    summary = await _line(process)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert summary == {"sent": {"btcusdt@aggTrade": 25}, "sent_total": 25, "connections": 1}
    assert ready["rest_url"] == ready["ws_url"].replace("ws://", "http://")


async def test_the_command_speaks_to_people_too() -> None:
    """Without --json it prints text, and --duration ends it."""
    process = await _started("--duration", "0.1", "--market", "usdm")
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (0, b"")
    assert b"Simulated Binance (usdm), 3 symbols" in out
    assert b"/stream?streams=<symbol>@aggTrade\n  Streams    <symbol>@aggTrade, <symbol>@trade, <symbol>@bookTicker" in out
    assert b"\n  All        !miniTicker@arr, !ticker@arr" in out
    assert b"Sent 0 frames over 0 connections." in out


async def test_a_fault_can_be_timed() -> None:
    """--fault strikes after --fault-after."""
    process = await _started("--json", "--fault", '{"kind":"close","code":4001}', "--fault-after", "0.5", "--duration", "20")
    ready = await _line(process)
    async with connect(ready["ws_url"] + "/ws", proxy=None) as client:
        await asyncio.wait_for(client.wait_closed(), 10)
        assert client.close_code == 4001
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 30) == 0
    await process.communicate()


async def test_a_port_in_use_is_named() -> None:
    """The command says which address it cannot have, and ends with 2."""
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    process = await _started("--port", str(port))
    _, err = await asyncio.wait_for(process.communicate(), 30)
    server.close()
    assert process.returncode == 2
    assert err.decode().splitlines() == [
        f"k2 exchange: cannot listen on 127.0.0.1:{port}: Address already in use; choose another --port"
    ]


def test_wrong_options_are_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """All faults are reported together, without a traceback."""
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["exchange", "--rate", "fast", "--port", "70000", "--times", "now"])
    assert args.run(args) == 2
    assert capsys.readouterr().err == (
        "k2 exchange: --times is for a recording only; --rate is 'fast', but must be a number above 0, or max; "
        "--port is '70000', but must be an integer from 0 to 65535\n"
    )


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"market": "coinm"}, "--market is 'coinm', but must be one of spot, usdm"),
        ({"rate": "0"}, "--rate is '0', but must be a number above 0, or max"),
        ({"rate": "nan"}, "--rate is 'nan', but must be a number above 0, or max"),
        ({"event_rate": "0"}, "--event-rate is '0', but must be a number above 0"),
        ({"recording": "/nonexistent", "event_rate": "1"}, "--event-rate is for a generated market only"),
        ({"count": "0"}, "--count is '0', but must be an integer from 1 to"),
        ({"seed": "-1"}, "--seed is '-1', but must be an integer from 0 to"),
        ({"first_id": "1.5"}, "--first-id is '1.5', but must be an integer"),
        ({"ping_interval": "0"}, "--ping-interval is '0', but must be a number above 0"),
        ({"duration": "-1"}, "--duration is '-1', but must be a number of 0 or more"),
        ({"fault": "explode"}, "--fault explode: no fault is named 'explode'"),
        ({"tls_key": "k"}, "--tls-key needs --tls-cert"),
        ({"tls_cert": "/nonexistent"}, "--tls-cert /nonexistent: cannot be used: No such file or directory"),
        ({"recording": "/nonexistent"}, "--recording /nonexistent: cannot be read: No such file or directory"),
        ({"recording": "/nonexistent", "symbols": ["X"]}, "--symbols is for a generated market only"),
        ({"speed": "2"}, "--speed is for a recording only"),
    ],
)
def test_each_wrong_option_is_named(values: dict[str, Any], complaint: str) -> None:
    """The error names the option, what was given, and what would do."""
    with pytest.raises(ConfigurationError) as raised:
        make_plan(values)
    assert any(fault.startswith(complaint) for fault in raised.value.faults)


def test_options_become_a_plan(tmp_path: Path) -> None:
    """A recording, its pace, the server's limits and a timed fault."""
    path = tmp_path / "r.txt"
    path.write_bytes(b'1.5: {"stream":"a@trade","data":{"X":"MARKET","st":1}}\n')
    plan = make_plan({"recording": str(path), "speed": "max", "fault": "reset", "fault_after": "3", "duration": "9", "port": "0"})
    assert (plan.market.eager, plan.market.venue, plan.fault, plan.fault_after_s, plan.duration_s) == (
        True,
        "usdm",
        faults.Reset(),
        3.0,
        9.0,
    )
    assert (plan.options.ping_interval_s, plan.options.messages_per_s) == (180.0, 10)


@pytest.mark.parametrize(
    ("values", "repeatable"),
    [({}, False), ({"seed": "4"}, True), ({"count": "5"}, True), ({"rate": "max"}, True), ({"event_rate": "1"}, True)],
)
def test_a_market_goes_on_by_the_clock_unless_it_is_to_be_repeated(values: dict[str, str], *, repeatable: bool) -> None:
    """Restarting the command continues the market; a seed begins it anew."""
    plan = make_plan(values)
    plan.market.begin(0.0, 1_763_700_000_000)
    plan.market.pull(0.0, (), 0)
    assert (plan.market.history("trade", "BTCUSDT", Window(limit=1)) == []) is repeatable


async def test_a_real_recording_is_served() -> None:
    """The recorded market is recognised and its symbols are listed."""
    process = await _started(
        "--json", "--recording", str(recording_path("usdm_multi_20210722.txt")), "--speed", "max", "--times", "now"
    )
    ready = await _line(process)
    async with connect(ready["ws_url"] + "/stream?streams=sushiusdt@aggTrade", proxy=None, max_queue=None) as client:
        first = json.loads(await asyncio.wait_for(client.recv(), 10))
    process.terminate()
    await asyncio.wait_for(process.communicate(), 30)
    assert (first["stream"], process.returncode) == ("sushiusdt@aggTrade", 0)
