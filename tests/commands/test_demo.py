"""Claims about `k2 demo`, run as its user runs it: with a client, a broker, a registry and an exchange of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from k2.cli.main import main
from k2.demo import director

COMMAND = (sys.executable, "-m", "k2.cli.main", "demo")
LONGEST_S = 90  # a busy machine; the demo itself gives up sooner


def environment(directory: Path) -> dict[str, str]:
    """Everything that the demo writes by itself lands in `directory`, where it can be looked for."""
    return {**os.environ, "TMPDIR": str(directory), "HOME": str(directory), "XDG_STATE_HOME": ""}


def start(directory: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=directory, env=environment(directory)
    )


def play(directory: Path, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a whole run."""
    with start(directory, *words) as process:
        try:
            out, err = process.communicate(timeout=LONGEST_S)
        finally:
            process.kill()
        return process.returncode, out, err


def sheet_of(output: str) -> dict[str, Any]:
    sheet: dict[str, Any] = json.loads(output.splitlines()[-1])
    return sheet


def clients_under(directory: Path) -> list[str]:
    """Command lines of running processes that write under `directory`."""
    lines = subprocess.run(["ps", "-A", "-ww", "-o", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if str(directory) in line]


def assert_nothing_left(directory: Path) -> None:
    deadline = time.monotonic() + 10
    while (clients_under(directory) or any(directory.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert clients_under(directory) == []
    assert list(directory.iterdir()) == []


def assert_whole(sheet: dict[str, Any]) -> None:
    """Sent is received, received has a fate, delivered was read back once, ids have no hole, letters are the broken frames."""
    assert sheet["balanced"] is True
    assert sheet["received"] == sheet["published"] + sheet["dead_lettered"] + sheet["ignored"]
    assert sheet["records"] == sheet["delivered"] + sheet["dead_lettered_records"] + sheet["spooled"] + sheet["in_flight"]
    assert sheet["consumed"] == sheet["distinct"] == sheet["delivered"] > 0
    assert sheet["consumed"] == sum(topic["consumed"] for topic in sheet["topics"].values())
    assert (sheet["missing"], sheet["in_flight"]) == (0, 0)
    assert sheet["received"] == sheet["sent_events"] + sheet["malformed"]
    assert sheet["events_in_topics"] == sheet["published"]
    assert sum(sheet["dead_letters"].values()) == sheet["malformed"] > 0


@pytest.mark.parametrize(
    "words",
    [pytest.param((), id="spot-aggTrade"), pytest.param(("--market", "usdm", "--stream", "trade"), id="usdm-trade")],
)
def test_the_books_of_a_run_balance(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Of trades: every number agrees with every other, and five letters of five sorts lie on the disk."""
    code, out, err = play(tmp_path, "--seconds", "3", "--json", *words)
    assert code == 0, err
    sheet = sheet_of(out)
    assert_whole(sheet)
    assert sheet["sent"] == sheet["sent_events"]
    assert sheet["dead_letters"] == dict.fromkeys(
        ("not_json", "missing_field", "wrong_type", "unknown_stream", "timestamp_out_of_range"), 1
    )
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("profile", "topics", "records_of_an_event"),
    [
        pytest.param("trades", {"market.crypto.trades.binance": "avro"}, 1, id="trades"),
        pytest.param("candles", {"binance_kline": "candle"}, 1, id="candles"),
        pytest.param(
            "events", {"binance-raw-events": "event", "binance-trades": "event", "binance-depth": "event"}, 2, id="events"
        ),
        pytest.param("envelopes", dict.fromkeys(("raw_trades", "raw_klines", "raw_tickers"), "envelope"), 1, id="envelopes"),
        pytest.param("futures", {"kline_data": "futures-kline", "order_book_data": "futures-quote"}, 1, id="futures"),
    ],
)
def test_the_books_of_every_profile_balance(
    tmp_path: Path, profile: str, topics: dict[str, str], records_of_an_event: int
) -> None:
    """Each topic of a profile holds its records in its own layout, and all of them together what was delivered."""
    code, out, err = play(tmp_path, "--profile", profile, "--seconds", "3", "--rate", "300", "--json")
    assert code == 0, err
    sheet = sheet_of(out)
    assert_whole(sheet)
    assert {name: topic["form"] for name, topic in sheet["topics"].items()} == topics
    assert all(topic["consumed"] > 0 for topic in sheet["topics"].values())
    assert round(sheet["records"] / sheet["published"]) == records_of_an_event
    assert_nothing_left(tmp_path)


SPOT = "kline_1s bookTicker depth@100ms depth5 !miniTicker@arr ticker !ticker_1h@arr avgPrice referencePrice blockTrade trade"
USDM = "kline_1m bookTicker depth depth20@100ms !miniTicker@arr !ticker@arr !markPrice@arr@1s !forceOrder@arr aggTrade"


@pytest.mark.parametrize(
    ("market", "streams", "raw"),
    [pytest.param("spot", SPOT, "aggTrade", id="spot"), pytest.param("usdm", USDM, "trade !miniTicker@arr", id="usdm")],
)
def test_the_books_of_every_kind_of_stream_balance(tmp_path: Path, market: str, streams: str, raw: str) -> None:
    """All kinds at once, arrays of all symbols among them, and captured frames: a frame may hold many events."""
    words = ("--market", market, "--streams", *streams.split(), "--raw-streams", *raw.split())
    code, out, err = play(tmp_path, "--seconds", "3", "--rate", "150", "--json", *words)
    assert code == 0, err
    sheet = sheet_of(out)
    assert_whole(sheet)
    assert sheet["sent_events"] > sheet["sent"]
    assert all(topic["consumed"] > 0 for topic in sheet["topics"].values())


def test_several_candles_close_while_one_watches(tmp_path: Path) -> None:
    """Closed candles of a minute come within seconds, as the market's time runs fast; that is said, and none is missing."""
    code, out, err = play(tmp_path, "--streams", "kline_1m", "--seconds", "3", "--json")
    assert code == 0, err
    sheet = sheet_of(out)
    assert_whole(sheet)
    candles = sheet["topics"]["market.crypto.klines.binance"]["series"]["kline_1m"]
    assert {symbol: held["records"] >= 3 for symbol, held in candles.items()} == {
        "BTCUSDT": True,
        "ETHUSDT": True,
        "BNBUSDT": True,
    }
    assert sheet["ignored_by_reason"]["open_candle"] > 0
    assert f"Market time runs {sheet['market_speed']} times as fast as yours" in err


def test_a_pipe_gets_plain_lines(tmp_path: Path) -> None:
    """Piped, there is a line a second without any control sequence, and then the sheet."""
    code, out, err = play(tmp_path, "--seconds", "2")
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    lines = out.splitlines()
    assert lines[0].startswith("Trades of a simulated Binance")
    assert len([line for line in lines if " received = " in line]) >= 1
    assert lines[-1].startswith("Balanced:")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_in_order(tmp_path: Path, number: int, code: int) -> None:
    """Ctrl-C in the middle: the client drains, the sheet is printed and balances, nothing is left."""
    with start(tmp_path, "--seconds", "60", "--json") as process:
        try:
            assert process.stderr is not None
            next(line for line in process.stderr if " received = " in line)
            process.send_signal(number)
            out, _ = process.communicate(timeout=LONGEST_S)
        finally:
            process.kill()
    assert process.returncode == code
    assert sheet_of(out)["balanced"] is True
    assert_nothing_left(tmp_path)


def test_killed_it_takes_the_client_with_it(tmp_path: Path) -> None:
    """Even without a chance to tidy up, neither the client nor the temporary directory outlives the demo."""
    with start(tmp_path, "--seconds", "60") as process:
        try:
            assert process.stdout is not None
            next(line for line in process.stdout if " received = " in line)
            assert clients_under(tmp_path)
        finally:
            process.kill()
    assert_nothing_left(tmp_path)


def test_what_is_to_be_kept_is_kept(tmp_path: Path) -> None:
    """--keep leaves the client's log and the dead letters in a directory of their own, and says where."""
    code, out, err = play(tmp_path, "--seconds", "1", "--keep", str(tmp_path / "kept"))
    assert code == 0, err
    (directory,) = (tmp_path / "kept").iterdir()
    assert str(directory) in out
    assert "Shutdown complete" in (directory / "client.log").read_text()
    letters = [line for path in (directory / "dead-letters").glob("*.jsonl") for line in path.read_text().splitlines()]
    assert len(letters) == 5


def test_a_proxy_of_the_users_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy variables, usual in companies, do not keep the parts from finding each other on loopback."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    code, out, err = play(tmp_path, "--seconds", "1", "--json")
    assert code == 0, err
    assert sheet_of(out)["balanced"] is True


def test_the_real_exchange_out_of_reach_is_said_with_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--live without a way to the exchange ends with 69 and one line that names the cause from the client's log."""
    for name in ("no_proxy", "NO_PROXY"):  # set by the demo for its whole process, which is ours here
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("BINANCE_WS_URL", "ws://127.0.0.1:9")
    monkeypatch.setattr(director, "CONNECT_TIMEOUT_S", 10.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["demo", "--live", "--json"]) == 69
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith("k2 demo: no connection to Binance within 10 s: Connection failed: refused")
    assert_nothing_left(tmp_path)


def test_options_that_cannot_be_are_refused_at_once(tmp_path: Path) -> None:
    """A wrong option is one line and exit code 2, before anything starts."""
    code, out, err = play(tmp_path, "--seconds", "never")
    assert (code, out) == (2, "")
    assert err == "k2 demo: --seconds: 'never' must be a number above 0 and at most 86,400\n"
