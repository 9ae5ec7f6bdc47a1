"""Candles of a generated market, against the trades that it told."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.simulator.intervals import DAY_MS, EAST_8_MS, HOUR_MS, INTERVALS, MINUTE_MS, next_opening_ms, opening_ms
from k2.simulator.market import CandleWindow, Venue
from unit.simulator.listening import BEGAN_MS, VENUES, begun, events, of


def _told(trades: list[dict[str, Any]], candle: dict[str, Any]) -> dict[str, Any]:
    """What a candle should say, from the single trades within its bounds."""
    inside = [trade for trade in trades if candle["t"] <= trade["T"] <= candle["T"]]
    prices = [Decimal(trade["p"]) for trade in inside]
    bought = [trade for trade in inside if not trade["m"]]
    return {
        "f": inside[0]["t"],
        "L": inside[-1]["t"],
        "o": prices[0],
        "c": prices[-1],
        "h": max(prices),
        "l": min(prices),
        "v": sum(Decimal(trade["q"]) for trade in inside),
        "n": len(inside),
        "q": sum(Decimal(trade["q"]) * Decimal(trade["p"]) for trade in inside),
        "V": sum(Decimal(trade["q"]) for trade in bought),
        "Q": sum(Decimal(trade["q"]) * Decimal(trade["p"]) for trade in bought),
    }


@pytest.mark.parametrize(("venue", "interval"), [("spot", "1s"), ("spot", "1m"), ("usdm", "1m")])
def test_a_candle_is_what_its_trades_say(venue: Venue, interval: str) -> None:
    """Every value of every candle, closed or not, is that of the trades that were told before it."""
    streams = ("btcusdt@trade", f"btcusdt@kline_{interval}")
    trades: list[dict[str, Any]] = []
    candles = 0
    for stream, event in events(begun(venue=venue), streams, 140.0):
        if stream == "btcusdt@trade":
            trades.append(event)
            continue
        said = event["k"] if interval == "1s" or event["k"]["t"] > BEGAN_MS else None
        if said is None or not said["n"]:
            continue
        expected = _told(trades, said)
        assert {key: Decimal(said[key]) if isinstance(said[key], str) else said[key] for key in expected} == expected
        candles += 1
    assert candles > 60


@pytest.mark.parametrize("venue", VENUES)
def test_each_candle_closes_once(venue: Venue) -> None:
    """Its last frame says so, at its end, and the next frame is of the candle after it."""
    candles = [
        event["k"] | {"E": event["E"]}
        for event in of(events(begun(venue=venue), ("btcusdt@kline_1m",), 200.0), "btcusdt@kline_1m")
    ]
    closed = [candle for candle in candles if candle["x"]]
    assert [candle["t"] for candle in closed] == [BEGAN_MS - 50_000 + n * MINUTE_MS for n in range(4)]
    assert all(candle["E"] == candle["T"] + 1 for candle in closed)
    opened = list(dict.fromkeys(candle["t"] for candle in candles))
    assert opened == sorted(opened)
    assert all(candle["t"] <= candle["E"] - 1 <= candle["T"] for candle in candles)


@pytest.mark.parametrize("venue", VENUES)
def test_a_candle_closes_even_if_nobody_traded(venue: Venue) -> None:
    """Ids are -1, there are no trades, and all prices are the last one before."""
    streams = ("btcusdt@aggTrade", "btcusdt@kline_1m")
    told = events(begun(venue=venue, rate=0.01), streams, 1_000.0)
    closed = [event["k"] for event in of(told, "btcusdt@kline_1m") if event["k"]["x"]]
    empty = [candle for candle in closed if not candle["n"]]
    assert len(closed) == 17
    assert len(empty) >= 5
    assert all((c["f"], c["L"], float(c["v"]), float(c["q"])) == (-1, -1, 0.0, 0.0) for c in empty)
    assert all(c["o"] == c["h"] == c["l"] == c["c"] for c in empty)
    for before, after in pairwise(closed):
        assert after["n"] or after["o"] == before["c"]


def test_a_late_subscriber_sees_the_same_candles() -> None:
    """A candle does not know who listens."""
    streams = ("btcusdt@kline_1m",)
    early = events(begun(), streams, 60.0)
    market = begun()
    market.pull(30.0, (), 100_000)
    late = events(market, streams, 60.0, since_s=30.0)
    assert late == early[-len(late) :]
    assert len(late) == 15


def test_futures_candles_are_spaced_within() -> None:
    """A blank follows every comma of the inner object and no other, as on the wire; nothing is printed beside it."""
    frame = next(iter(begun(venue="usdm").pull(20.0, ("btcusdt@kline_1m",), 10_000)))
    head, _, candle = frame.raw.decode().partition('"k":')
    assert head.count(", ") == 0
    assert candle.count(", ") == candle.count(",") == 16


def test_an_unchanged_futures_candle_is_not_repeated_at_once() -> None:
    """Four frames a second come while there is trading, else one in two seconds."""
    busy = events(begun(venue="usdm", rate=500.0), ("btcusdt@kline_1m",), 20.0)
    idle = events(begun(venue="usdm", rate=0.0001), ("btcusdt@kline_1m",), 20.0)
    assert (len(busy), len(idle)) == (79, 9)


@pytest.mark.parametrize(
    ("interval", "at", "offset_ms", "opens", "next_opens"),
    [
        ("1m", 90_000, 0, 60_000, 120_000),
        ("1d", DAY_MS + 1, 0, DAY_MS, 2 * DAY_MS),
        ("1d", DAY_MS + 1, EAST_8_MS, DAY_MS - EAST_8_MS, 2 * DAY_MS - EAST_8_MS),
        ("1d", DAY_MS + 17 * HOUR_MS, EAST_8_MS, 2 * DAY_MS - EAST_8_MS, 3 * DAY_MS - EAST_8_MS),
        ("1w", 1_763_700_000_000, 0, 1_763_337_600_000, 1_763_942_400_000),  # a Friday; Monday, and the next
        ("1M", 1_763_700_000_000, 0, 1_761_955_200_000, 1_764_547_200_000),
        ("1M", 1_764_530_000_000, EAST_8_MS, 1_764_518_400_000, 1_767_196_800_000),  # November in UTC, December in the east
        ("1M", 1_766_000_000_000, 0, 1_764_547_200_000, 1_767_225_600_000),  # over the end of the year
    ],
)
def test_candles_begin_where_the_calendar_says(interval: str, at: int, offset_ms: int, opens: int, next_opens: int) -> None:
    """Days, weeks from Monday, months, each in its time zone."""
    assert (opening_ms(interval, at, offset_ms), next_opening_ms(interval, opens, offset_ms)) == (opens, next_opens)


@settings(deadline=None)
@given(st.sampled_from(INTERVALS["spot"]), st.integers(0, 4_102_444_800_000), st.sampled_from([0, EAST_8_MS]))
def test_every_moment_is_in_one_candle(interval: str, at_ms: int, offset_ms: int) -> None:
    """Candles follow each other without gap or overlap."""
    opens_ms = opening_ms(interval, at_ms, offset_ms)
    assert opens_ms <= at_ms < next_opening_ms(interval, opens_ms, offset_ms)
    assert opening_ms(interval, next_opening_ms(interval, opens_ms, offset_ms) - 1, offset_ms) == opens_ms


@pytest.mark.parametrize("venue", VENUES)
def test_rest_lists_the_candles_that_were_streamed(venue: Venue) -> None:
    """Twelve values each, the same as in the closed frames; the unfinished candle comes last."""
    market = begun(venue=venue)
    streamed = [event["k"] for event in of(events(market, ("btcusdt@kline_1m",), 200.0), "btcusdt@kline_1m") if event["k"]["x"]]
    rows = market.klines("BTCUSDT", CandleWindow("1m"))
    keys = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
    assert rows[:-1] == [[candle[key] for key in keys] for candle in streamed]
    assert rows[-1][0] == streamed[-1]["T"] + 1


@pytest.mark.parametrize(
    ("window", "opens"),
    [
        pytest.param(CandleWindow("1m", limit=2), [2, 3], id="newest"),
        pytest.param(CandleWindow("1m", start_ms=BEGAN_MS, limit=2), [1, 2], id="from-a-time"),
        pytest.param(CandleWindow("1m", start_ms=BEGAN_MS + 10_000, end_ms=BEGAN_MS + 70_000), [1, 2], id="inclusive"),
        pytest.param(CandleWindow("1m", end_ms=BEGAN_MS + 9_999), [0], id="until-a-time"),
        pytest.param(CandleWindow("1m", start_ms=BEGAN_MS + 10_000_000), [], id="future"),
    ],
)
def test_rest_selects_candles_by_their_opening(window: CandleWindow, opens: list[int]) -> None:
    """Bounds are inclusive; the first candle is the one in which the market began."""
    market = begun()
    market.pull(180.0, (), 100_000)
    rows = market.klines("BTCUSDT", window)
    assert [row[0] for row in rows] == [BEGAN_MS - 50_000 + number * MINUTE_MS for number in opens]
