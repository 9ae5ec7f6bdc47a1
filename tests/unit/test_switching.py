"""New settings under a running client: what can be had at once, and what needs a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from k2.ingestion.settings import Settings, load_settings
from k2.ingestion.switching import fixed_differences, live_differences, with_live_values

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNNING = ("--symbols", "BTCUSDT", "--streams", "aggTrade", "kline_1m")


def settings(*words: str) -> Settings:
    return load_settings(words, {"HOME": "/home/somebody"})


@pytest.mark.parametrize(
    ("words", "differences"),
    [
        (RUNNING, []),
        (("--symbols", "ETHUSDT", "SOLUSDT", "--streams", "aggTrade", "kline_1m"), []),
        (("--symbols", "BTCUSDT", "--streams", "aggTrade", "kline_1m", "kline_5m"), []),
        (("--symbols", "BTCUSDT", "--streams", "aggTrade"), []),
        ((*RUNNING, "bookTicker"), ["topic market.crypto.quotes.binance"]),
        ((*RUNNING, "--raw-streams", "trade"), ["topic market.crypto.raw.binance"]),
        ((*RUNNING, "--http-port", "9000", "--log-level", "DEBUG"), ["--http-port", "--log-level"]),
        (
            (*RUNNING, "--partitions", "3"),
            ["--partitions", "topic market.crypto.trades.binance", "topic market.crypto.klines.binance"],
        ),
    ],
    ids=" ".join,
)
def test_what_needs_a_restart_is_named(words: Sequence[str], differences: list[str]) -> None:
    """Symbols and streams whose topics are written already do not; everything else does, a new topic among it."""
    assert fixed_differences(settings(*RUNNING), settings(*words)) == differences


@pytest.mark.parametrize(
    ("symbols", "changed"),
    [(["BTCUSDT"], []), (["ETHUSDT"], ["--symbols"]), (["BTCUSDT", "ALL:USDT"], ["--symbols"])],
)
def test_what_changes_at_once_is_named(symbols: list[str], changed: list[str]) -> None:
    """All symbols of a quote asset are a change of the symbols like any other."""
    wanted = settings("--symbols", *symbols, "--streams", "aggTrade", "kline_1m")
    assert live_differences(settings(*RUNNING), wanted) == changed


def test_what_can_be_had_is_taken_over() -> None:
    """The rest of the new settings stays out: what runs is what was started."""
    wanted = settings("--symbols", "ETHUSDT", "--streams", "kline_5m", "bookTicker", "--http-port", "9000", "--retention-ms", "5")
    found = with_live_values(settings(*RUNNING), wanted)
    assert (found.feed.symbols, found.http.port) == (("ETHUSDT",), 8001)
    assert [(plan.name, plan.streams, plan.retention_ms) for plan in found.topics] == [
        ("market.crypto.trades.binance", ("aggTrade",), 604_800_000),
        ("market.crypto.klines.binance", ("kline_5m",), 604_800_000),
    ]


def test_what_was_taken_back_is_as_it_was() -> None:
    """An edit that needs a restart, and is undone, leaves nothing behind."""
    started = settings(*RUNNING)
    assert with_live_values(started, settings(*RUNNING, "--retention-ms", "5")) == started
    assert with_live_values(started, settings(*RUNNING)) == started
