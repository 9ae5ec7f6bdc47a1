"""Claims about the demo's options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from k2.demo.options import DemoOptions, make_options
from k2.errors import ConfigurationError


def test_nothing_is_needed() -> None:
    """Without options there are twelve seconds of three spot symbols at 600 events a second."""
    options = make_options({})
    assert (options.seconds, options.rate, options.symbols) == (12.0, 600.0, ("BTCUSDT", "ETHUSDT", "BNBUSDT"))
    assert options.topic == "market.crypto.trades.binance"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"seconds": "0.5"}, DemoOptions(seconds=0.5), id="seconds"),
        pytest.param({"symbols": ["btcusdt,ethbtc", "ETHBTC"]}, DemoOptions(symbols=("BTCUSDT", "ETHBTC")), id="symbols"),
        pytest.param({"market": "usdm", "stream": "trade"}, DemoOptions(market="usdm", stream="trade"), id="market-and-stream"),
        pytest.param({"rate": "1e3"}, DemoOptions(rate=1_000.0), id="rate"),
        pytest.param({"live": True}, DemoOptions(live=True), id="live"),
        pytest.param({"keep": "somewhere"}, DemoOptions(keep=Path("somewhere")), id="keep"),
    ],
)
def test_what_is_given_is_taken(values: dict[str, Any], expected: DemoOptions) -> None:
    """Each option changes its own value only."""
    assert make_options(values) == expected


def test_the_market_decides_the_topic() -> None:
    """Futures go into the topic that the client itself would choose."""
    assert make_options({"market": "usdm"}).topic == "market.futures.trades.binance"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param({"seconds": "0"}, "--seconds", id="no-time"),
        pytest.param({"seconds": "nan"}, "--seconds", id="no-number"),
        pytest.param({"seconds": "inf"}, "--seconds", id="no-end"),
        pytest.param({"rate": "max"}, "--rate", id="rate-in-words"),
        pytest.param({"rate": "1000000"}, "--rate", id="too-fast"),
        pytest.param({"rate": "5", "live": True}, "--rate", id="a-rate-for-the-real-exchange"),
        pytest.param({"symbols": ["BTC/USDT"]}, "--symbols", id="no-symbol"),
        pytest.param({"market": "coinm"}, "--market", id="unknown-market"),
        pytest.param({"stream": "depth"}, "--stream", id="unknown-stream"),
    ],
)
def test_a_fault_names_its_option(values: dict[str, Any], named: str) -> None:
    """What cannot be is refused before anything starts."""
    with pytest.raises(ConfigurationError, match=named):
        make_options(values)


def test_all_faults_are_reported_together() -> None:
    """One start shows everything that is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        make_options({"seconds": "x", "market": "y", "stream": "z"})
    assert len(caught.value.faults) == 3
