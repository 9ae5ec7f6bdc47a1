"""The clock of a generated market, where it is not the wall's."""

from __future__ import annotations

import json

import pytest

from k2.simulator.generated import CONTINUOUS_SINCE_MS, GeneratedMarket, GeneratedOptions
from k2.simulator.intervals import DAY_MS
from unit.simulator.listening import BEGAN_MS, begun, events, of

_STREAMS = ("btcusdt@trade", "btcusdt@kline_1m", "btcusdt@depth")


def test_a_faster_clock_closes_a_candle_in_a_moment() -> None:
    """At 100 trades a second, of which one makes up a second of the market, a minute lasts 0.6 seconds."""
    told = events(begun(rate=100.0, event_rate=1.0, began_at_ms=BEGAN_MS), _STREAMS, 2.0)
    closed = [event["k"]["t"] for event in of(told, "btcusdt@kline_1m") if event["k"]["x"]]
    assert len(closed) == 4
    trades = of(told, "btcusdt@trade")
    assert 150_000 < trades[-1]["T"] - trades[0]["T"] < 200_000


def test_a_market_with_its_own_clock_begins_in_the_past() -> None:
    """So that its events are not from the future; it does not catch up with what it would have traded since."""
    market = GeneratedMarket(GeneratedOptions(rate=100.0, event_rate=1.0))
    market.begin(5.0, BEGAN_MS)
    assert market.issued == 0
    first = json.loads(market.pull(5.1, ("btcusdt@trade",), 100)[0].raw)
    assert BEGAN_MS - DAY_MS <= first["T"] < BEGAN_MS - DAY_MS + 20_000


@pytest.mark.parametrize("batch", [1, 17, 256])
def test_at_full_speed_the_times_can_be_the_markets_own(batch: int) -> None:
    """Every byte is the same, however many events the readers take at once and however long they need."""

    def run(limit: int, pause_s: float) -> list[bytes]:
        market = begun(rate=None, event_rate=10.0, count=1_000, began_at_ms=BEGAN_MS)
        told: list[bytes] = []
        while market.idle_s(0.0) is not None:
            told += [frame.combined for frame in market.pull(len(told) * pause_s, _STREAMS, limit)]
        return told

    expected = run(1_000, 0.0)
    assert run(batch, 0.01) == expected
    assert sum(b'"x":true' in frame for frame in expected) == 2


def test_without_a_clock_of_its_own_a_market_at_full_speed_tells_the_walls_time() -> None:
    """Times are those of the batches."""
    market = begun(rate=None, count=100)
    times = {json.loads(frame.raw)["E"] for at_s in (1.0, 2.0) for frame in market.pull(at_s, ("btcusdt@trade",), 50)}
    assert times == {BEGAN_MS + 1_000, BEGAN_MS + 2_000}


def test_the_market_wakes_for_what_comes_by_time() -> None:
    """Where nobody trades for long it is due again when the next stream speaks."""
    market = begun(rate=1e-6)
    market.pull(0.0, ("btcusdt@kline_1m",), 10)
    assert market.idle_s(0.0) == pytest.approx(2.001, abs=0.002)
    market.pull(0.0, (), 10)
    assert (market.idle_s(0.0) or 0.0) > 1_000


def test_long_running_markets_cost_no_more() -> None:
    """A market that began years ago tells a month's candle at once, with the trades of that month."""
    market = GeneratedMarket(GeneratedOptions(rate=1_000.0, symbols=("BTCUSDT",), began_at_ms=CONTINUOUS_SINCE_MS))
    market.begin(0.0, BEGAN_MS)
    frame = market.pull(3.0, ("btcusdt@kline_1M",), 10_000)[0]
    candle = json.loads(frame.raw)["k"]
    assert candle["n"] == candle["L"] - candle["f"] + 1 > 2_000_000_000
