"""The streams change while the client runs: what stays is not interrupted, what is new comes, what is gone is let go."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from integration.support import FIRST_ID, Rig, RunningClient, generated, ids_by_symbol, wait_until
from kit.ports import free_port
from kit.verify import read_topic

if TYPE_CHECKING:
    from pathlib import Path

    from integration.support import RunningExchange

FOUR = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
PROFILE = """
version: 1
description: symbols that change
options:
  symbols: [{symbols}]
  streams: [{streams}]
topics:
  - {{id: trades, name: {prefix}.binance, streams: [aggTrade], layout: avro, partitions: 3}}
  - {{id: quotes, name: {prefix}.quotes.binance, streams: [bookTicker], layout: avro, partitions: 3}}
"""


def profile(rig: Rig, *symbols: str, streams: str = "aggTrade, bookTicker") -> Path:
    """The profile's file, put in place as a careful editor does: whole at every moment."""
    path, fresh = rig.directory / "mine.yaml", rig.directory / "mine.yaml.new"
    fresh.write_text(PROFILE.format(symbols=", ".join(symbols), streams=streams, prefix=rig.prefix), encoding="utf-8")
    fresh.replace(path)
    return path


def started(rig: Rig, exchange: RunningExchange, path: Path) -> RunningClient:
    port = free_port()
    arguments = ["--profile", path, "--ws-url", exchange.ws_url, "--kafka-bootstrap", rig.bootstrap]
    arguments += ["--schema-registry", rig.registry_url, "--http-port", port, "--dead-letter-dir", "dlq"]
    return rig.start(arguments, port)


def subscribed(exchange: RunningExchange) -> set[str]:
    return exchange.read(
        lambda server: {name for connection in server.open_connections for name in connection.subscriptions.streams}
    )


def streams_of(*symbols: str, specs: tuple[str, ...] = ("aggTrade", "bookTicker")) -> set[str]:
    return {f"{symbol.lower()}@{spec}" for symbol in symbols for spec in specs}


@pytest.mark.parametrize("way", ["signal", "file"])
def test_symbols_come_and_go_without_a_restart(rig: Rig, way: str) -> None:
    """By SIGHUP or by the file alone: the symbol that stays has every trade, on the connection that it had."""
    exchange = rig.exchange(generated(300, symbols=FOUR))
    path = profile(rig, "BTCUSDT", "ETHUSDT")
    client = started(rig, exchange, path)
    client.wait_for_produced(300)
    profile(rig, "BTCUSDT", "SOLUSDT")
    if way == "signal":
        os.kill(client.pid, signal.SIGHUP)
    wait_until(lambda: subscribed(exchange) == streams_of("BTCUSDT", "SOLUSDT"), "the new subscriptions")
    before = client.metrics.produced
    client.wait_for_produced(before + 300)
    assert client.get_json("/health")[1]["symbols"] == ["BTCUSDT", "SOLUSDT"]
    sheet = client.stopped()
    assert sheet["balanced"]
    assert sheet["dead_lettered"] == 0
    ids = ids_by_symbol(rig.records())
    assert ids["BTCUSDT"] == list(range(FIRST_ID, FIRST_ID + len(ids["BTCUSDT"])))
    for symbol in ("ETHUSDT", "SOLUSDT"):
        assert all(after - earlier == 1 for earlier, after in itertools.pairwise(ids[symbol])), symbol
    assert len(exchange.connections) == 1


def test_a_stream_is_added_and_taken_away(rig: Rig) -> None:
    """A stream whose topic is there already can be had without a restart as well."""
    exchange = rig.exchange(generated(300, symbols=FOUR))
    two = ("BTCUSDT", "ETHUSDT")
    client = started(rig, exchange, profile(rig, *two))
    client.wait_for_produced(100)
    profile(rig, *two, streams="aggTrade, ethusdt@bookTicker")
    without = streams_of(*two) - {"btcusdt@bookTicker"}
    wait_until(lambda: subscribed(exchange) == without, "the stream to be let go")
    profile(rig, *two)
    wait_until(lambda: subscribed(exchange) == streams_of(*two), "the stream to come back")
    client.wait_for_produced(client.metrics.produced + 100)
    assert client.stopped()["balanced"]
    quotes = read_topic(rig.bootstrap, rig.registry_url, f"{rig.prefix}.quotes.binance")
    sequences = [record.value["source_sequence"] for record in quotes if record.key == "BTCUSDT"]
    assert sequences == sorted(set(sequences))


def test_a_faulty_file_changes_nothing(rig: Rig) -> None:
    """The fault is logged with its line, the client goes on, and the mended file is taken."""
    exchange = rig.exchange(generated(300, symbols=FOUR))
    path = profile(rig, "BTCUSDT")
    client = started(rig, exchange, path)
    client.wait_for_produced(100)
    path.write_text(path.read_text(encoding="utf-8").replace("symbols:", "symbls:"), encoding="utf-8")
    fault = client.wait_for_event("Settings not reloaded")["fault"]
    assert f"{path}:" in fault
    assert "symbls" in fault
    assert subscribed(exchange) == streams_of("BTCUSDT")
    profile(rig, "BTCUSDT", "ETHUSDT")
    wait_until(lambda: subscribed(exchange) == streams_of("BTCUSDT", "ETHUSDT"), "the mended file to be taken")
    assert client.stopped()["balanced"]


def test_what_needs_a_restart_is_said_to(rig: Rig) -> None:
    """An option that cannot change while the client runs is named, and the symbols change all the same."""
    exchange = rig.exchange(generated(300, symbols=FOUR))
    path = profile(rig, "BTCUSDT")
    client = started(rig, exchange, path)
    client.wait_for_produced(100)
    changed = path.read_text(encoding="utf-8").replace("[BTCUSDT]", "[ETHUSDT]\n  kafka-compression: zstd")
    path.write_text(changed, encoding="utf-8")
    assert client.wait_for_event("Changed in the settings, but needs a restart")["option"] == "--kafka-compression"
    wait_until(lambda: subscribed(exchange) == streams_of("ETHUSDT"), "the new subscriptions")
    assert client.stopped()["balanced"]


EMBEDDED = """
import json, sys, time
from k2.ingestion import BinanceClient

client = BinanceClient(**json.loads(sys.argv[1]))
assert client.get_metrics()["messages_processed"] == 0
thread = client.start_in_background()
deadline = time.monotonic() + 30
while client.get_metrics()["messages_delivered"] < 200 and time.monotonic() < deadline and thread.is_alive():
    time.sleep(0.02)
health = client.get_health()["status"]
client.stop()
print(json.dumps({"metrics": client.get_metrics(), "health": health, "alive": thread.is_alive()}))
"""


def test_a_program_runs_the_client_in_its_background(rig: Rig) -> None:
    """The documented lines: build, start, look at the numbers, stop; everything that was received is in the topic."""
    exchange = rig.exchange(generated(300))
    options = {
        "symbols": ["BTCUSDT", "ETHUSDT"], "ws_url": exchange.ws_url, "kafka_bootstrap": rig.bootstrap,
        "schema_registry": rig.registry_url, "topic_prefix": rig.prefix, "http_port": 0, "log_file": "off",
        "dead_letter_dir": str(rig.directory / "dlq"), "state_dir": str(rig.directory / "state"),
    }  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-c", EMBEDDED, json.dumps(options)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    metrics = told["metrics"]
    assert (told["health"], told["alive"], metrics["messages_failed"], metrics["messages_buffered"]) == ("healthy", False, 0, 0)
    assert metrics["messages_received"] == metrics["messages_processed"] == metrics["messages_delivered"] == len(rig.records())
