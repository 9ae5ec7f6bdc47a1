"""Which streams are recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from k2.errors import ConfigurationError, UnavailableError
from k2.ingestion.exchanges.binance.names import stream_of
from k2.ingestion.settings import load_settings
from k2.recorder.request import Request
from k2.recorder.wanted import rare_ones, wanted_streams

OUTPUT = Path("x.gz")


@pytest.mark.parametrize(
    ("flags", "wishes", "names"),
    [
        pytest.param(["--streams", "trade"], (), ["btcusdt@trade", "bnbusdt@trade"], id="the-clients"),
        pytest.param(["--streams", "trade"], ("depth@100ms",), ["btcusdt@depth@100ms", "bnbusdt@depth@100ms"], id="asked-for"),
        pytest.param([], ("madeUp", "!ticker_1h@arr"), ["btcusdt@madeUp", "bnbusdt@madeUp", "!ticker_1h@arr"], id="unknown"),
        pytest.param([], ("BTCUSDT@aggtrade", "btcusdt@aggTrade"), ["btcusdt@aggTrade"], id="put-right"),
        pytest.param(["--shard", "1/2"], ("trade", "!miniTicker@arr"), ["btcusdt@trade"], id="shard"),
    ],
)
async def test_wishes_become_streams(flags: list[str], wishes: tuple[str, ...], names: list[str]) -> None:
    """Of the client's own wishes where none were made here; each stream once."""
    settings = load_settings(["--symbols", "BTCUSDT", "BNBUSDT", *flags], {})
    streams = await wanted_streams(settings, Request(OUTPUT, wishes))
    assert [stream.name for stream in streams] == names


async def test_what_can_be_no_stream_is_a_fault() -> None:
    """It names the option and the word."""
    with pytest.raises(ConfigurationError, match="--streams: '!!x' is no name"):
        await wanted_streams(load_settings([], {}), Request(OUTPUT, ("!!x",)))


async def test_a_part_without_streams_is_a_fault() -> None:
    """All-market streams belong to another part."""
    settings = load_settings(["--shard", "1/2"], {})
    with pytest.raises(ConfigurationError, match="there is nothing to record"):
        await wanted_streams(settings, Request(OUTPUT, ("!miniTicker@arr",)))


async def test_all_symbols_need_the_exchanges_list() -> None:
    """Where REST is off there is none."""
    settings = load_settings(["--symbols", "ALL:USDT", "--ws-url", "ws://127.0.0.1:1"], {})
    with pytest.raises(UnavailableError, match="set --rest-url"):
        await wanted_streams(settings, Request(OUTPUT))


def test_silence_says_nothing_of_rare_and_of_unknown_streams() -> None:
    """A connection of these only is not replaced because it is silent."""
    names = ["btcusdt@trade", "btcusdt@blockTrade", "btcusdt@madeUp"]
    assert rare_ones(stream_of("spot", name) for name in names) == {"btcusdt@blockTrade", "btcusdt@madeUp"}
