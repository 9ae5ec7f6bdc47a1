"""What a generated market tells of its prices: rolling windows, averages, mark prices, liquidations, blocks."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from k2.simulator.market import Venue
from unit.simulator.listening import BEGAN_MS, VENUES, begun, events, of

if TYPE_CHECKING:
    from k2.simulator.generated import GeneratedMarket

_ROLLING = [("spot", "ticker"), ("spot", "miniTicker"), ("spot", "ticker_1h"), ("usdm", "ticker"), ("usdm", "miniTicker")]


def _until(trades: list[dict[str, Any]], at_ms: int, since_ms: int = 0) -> list[dict[str, Any]]:
    return [trade for trade in trades if since_ms <= trade["T"] < at_ms]


@pytest.mark.parametrize(("venue", "kind"), _ROLLING)
def test_a_rolling_window_is_what_its_trades_say(venue: Venue, kind: str) -> None:
    """Prices, volumes, ids and numbers are those of the trades so far."""
    told = events(begun(venue=venue), ("btcusdt@trade", f"btcusdt@{kind}"), 20.0)
    trades = of(told, "btcusdt@trade")
    tickers = of(told, f"btcusdt@{kind}")
    assert len(tickers) == (19 if venue == "spot" else 9)
    for ticker in tickers:
        inside = _until(trades, ticker["E"])
        prices = [Decimal(trade["p"]) for trade in inside]
        assert [Decimal(ticker[key]) for key in "ohlc"] == [prices[0], max(prices), min(prices), prices[-1]]
        assert Decimal(ticker["v"]) == sum(Decimal(trade["q"]) for trade in inside)
        assert abs(Decimal(ticker["q"]) - sum(Decimal(trade["q"]) * Decimal(trade["p"]) for trade in inside)) < Decimal("0.01")
        if "F" in ticker:
            assert (ticker["F"], ticker["L"], ticker["n"]) == (inside[0]["t"], inside[-1]["t"], len(inside))
            assert Decimal(ticker["p"]) == prices[-1] - prices[0]
            assert min(prices) <= Decimal(ticker["w"]) <= max(prices)
        if "Q" in ticker:
            assert Decimal(ticker["Q"]) == Decimal(inside[-1]["q"])


def test_old_trades_leave_the_window() -> None:
    """After more than an hour the window of an hour begins later than the market."""
    market = begun(rate=None, event_rate=1.0, began_at_ms=BEGAN_MS)
    tickers = [event for _ in range(16) for event in of(_pulled(market), "btcusdt@ticker_1h")]
    last = tickers[-1]
    assert last["O"] % 60_000 == 0
    assert 3_600_000 - 1 <= last["C"] - last["O"] < 3_660_000
    assert last["O"] > BEGAN_MS
    assert last["F"] > tickers[0]["F"]
    assert last["n"] < last["L"] - tickers[0]["F"]


def _pulled(market: GeneratedMarket) -> list[tuple[str, Any]]:
    return [(frame.stream, json.loads(frame.raw)) for frame in market.pull(0.0, ("btcusdt@ticker_1h",), 256)]


def test_the_average_price_is_that_of_the_last_trades() -> None:
    """Weighted by quantity over five minutes, with the time of the newest trade."""
    told = events(begun(), ("btcusdt@trade", "btcusdt@avgPrice"), 10.0)
    trades = of(told, "btcusdt@trade")
    for event in of(told, "btcusdt@avgPrice"):
        inside = _until(trades, event["E"])
        volume = sum((Decimal(trade["q"]) for trade in inside), Decimal())
        average = sum((Decimal(trade["q"]) * Decimal(trade["p"]) for trade in inside), Decimal()) / volume
        assert abs(Decimal(event["w"]) - average) < Decimal("0.00000002")
        assert event["T"] == inside[-1]["T"]


def test_a_reference_price_may_be_unknown() -> None:
    """Some are null, most are prices near the last trade."""
    prices = [event["r"] for event in of(events(begun(), ("btcusdt@referencePrice",), 60.0), "btcusdt@referencePrice")]
    assert 1 <= prices.count(None) <= 10
    assert all(60_000 < Decimal(price) < 64_000 for price in prices if price is not None)


def test_mark_prices_follow_the_trades_and_name_the_next_funding() -> None:
    """Eight decimals, near the last price; funding is every eight hours."""
    told = events(begun(venue="usdm"), ("btcusdt@aggTrade", "btcusdt@markPrice", "btcusdt@markPrice@1s"), 30.0)
    slow, quick = of(told, "btcusdt@markPrice"), of(told, "btcusdt@markPrice@1s")
    assert (len(slow), len(quick)) == (10, 29)
    assert all(event in quick for event in slow[:-1])
    for event in quick:
        assert abs(Decimal(event["p"]) / Decimal(event["i"]) - 1) < Decimal("0.001")
        assert len(event["p"].partition(".")[2]) == len(event["r"].partition(".")[2]) == 8
        assert event["T"] % 28_800_000 == 0
        assert event["E"] < event["T"] <= event["E"] + 28_800_000


def test_a_liquidation_is_a_trade_that_was_told() -> None:
    """Its average price, its quantity, its side and its time are those of an aggregated trade; one a second at most."""
    told = events(begun(venue="usdm"), ("btcusdt@aggTrade", "btcusdt@forceOrder"), 30.0)
    takes = {(take["T"], take["p"], take["q"], take["m"]) for take in of(told, "btcusdt@aggTrade")}
    orders = of(told, "btcusdt@forceOrder")
    assert len(orders) > 10
    for event in orders:
        order = event["o"]
        assert (order["T"], order["ap"], order["q"], order["S"] == "SELL") in takes
        assert event["E"] % 1_000 == 0
        assert 0 < event["E"] - order["T"] <= 1_000


def test_blocks_are_rare_and_have_ids_of_their_own() -> None:
    """They count from 1, whatever the ids of trades."""
    told = events(begun(), ("btcusdt@aggTrade", "btcusdt@blockTrade"), 30.0)
    takes, blocks = of(told, "btcusdt@aggTrade"), of(told, "btcusdt@blockTrade")
    assert [block["t"] for block in blocks] == list(range(1, len(blocks) + 1))
    assert 5 < len(blocks) < len(takes) / 50


@pytest.mark.parametrize("venue", VENUES)
def test_a_market_without_a_trade_has_prices_too(venue: Venue) -> None:
    """Windows are empty: ids are -1, nothing was traded, and no price is missing."""
    told = events(begun(venue=venue, rate=1e-6), ("btcusdt@ticker", "btcusdt@miniTicker"), 10.0)
    for ticker in of(told, "btcusdt@ticker"):
        assert (ticker["F"], ticker["L"], ticker["n"], float(ticker["v"])) == (-1, -1, 0, 0.0)
        assert ticker["o"] == ticker["c"] == ticker["w"]
    assert len(told) >= 8
