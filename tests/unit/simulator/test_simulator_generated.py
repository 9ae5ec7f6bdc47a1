"""The generated market by itself."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.simulator import symbols
from k2.simulator.book import Book
from k2.simulator.generated import CONTINUOUS_SINCE_MS, GeneratedMarket, GeneratedOptions
from k2.simulator.instruments import decimal_text, listing
from k2.simulator.market import TRADE_KINDS, TradeKind, Venue, Window, select
from k2.simulator.rendering import RENDERERS, Trade
from k2.simulator.schedule import PacedSchedule
from k2.simulator.tape import Tape

_BEGAN_MS = 1_763_700_000_000
_EVERYTHING = {f"{symbol}@{kind}" for symbol in ("btcusdt", "ethusdt", "bnbusdt", "newusdt") for kind in TRADE_KINDS}


def _begun(**options: Any) -> GeneratedMarket:
    market = GeneratedMarket(GeneratedOptions(**options))
    market.begin(0.0, _BEGAN_MS)
    return market


def _events(market: GeneratedMarket, *ages_s: float) -> list[dict[str, Any]]:
    return [json.loads(frame.raw) for age_s in ages_s for frame in market.pull(age_s, _EVERYTHING, 10_000)]


def _of(events: list[dict[str, Any]], symbol: str, kind: str) -> list[dict[str, Any]]:
    return [event for event in events if (event["s"], event["e"]) == (symbol, kind)]


_TRADE = Trade("BTCUSDT", 7, "61837.63000000", "0.02000000", 5, 7, 1723161255342, 1723161255343, True)


@pytest.mark.parametrize(
    ("venue", "kind", "text"),
    [
        pytest.param(
            "spot",
            "aggTrade",
            '{"e":"aggTrade","E":1723161255343,"s":"BTCUSDT","a":7,"p":"61837.63000000","q":"0.02000000","f":5,"l":7,'
            '"T":1723161255342,"m":true,"M":true}',
            id="spot-aggTrade",
        ),
        pytest.param(
            "spot",
            "trade",
            '{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":7,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}',
            id="spot-trade",
        ),
        pytest.param(
            "usdm",
            "aggTrade",
            '{"e":"aggTrade","E":1723161255343,"a":7,"s":"BTCUSDT","p":"61837.63000000","q":"0.02000000","nq":"0.02000000","f":5,"l":7,'
            '"T":1723161255342,"m":true,"st":1}',
            id="usdm-aggTrade",
        ),
        pytest.param(
            "usdm",
            "trade",
            '{"e":"trade","E":1723161255343,"T":1723161255342,"s":"BTCUSDT","t":7,"p":"61837.63000000","q":"0.02000000","X":"MARKET",'
            '"m":true,"st":1}',
            id="usdm-trade",
        ),
    ],
)
def test_trades_are_printed_as_the_exchange_prints_them(venue: Venue, kind: TradeKind, text: str) -> None:
    """Keys, their order and the absence of spaces are those of real frames."""
    assert RENDERERS[venue, kind](_TRADE) == text


@pytest.mark.parametrize("venue", ["spot", "usdm"])
def test_ids_count_without_a_hole(venue: Venue) -> None:
    """Aggregated ids, trade ids, and the trades that aggregates name are contiguous per symbol."""
    events = _events(_begun(venue=venue, rate=1_000.0), 0.3, 0.7, 1.0)
    for symbol in ("BTCUSDT", "ETHUSDT", "BNBUSDT"):
        aggregates, trades = _of(events, symbol, "aggTrade"), _of(events, symbol, "trade")
        assert len(aggregates) > 300
        assert [a["a"] for a in aggregates] == list(range(aggregates[0]["a"], aggregates[0]["a"] + len(aggregates)))
        assert [t["t"] for t in trades] == [t for a in aggregates for t in range(a["f"], a["l"] + 1)]


def test_an_aggregate_is_the_sum_of_its_trades() -> None:
    """Price, side and time are the same, quantities add up."""
    events = _events(_begun(rate=500.0), 1.0)
    trades = {trade["t"]: trade for trade in _of(events, "ETHUSDT", "trade")}
    for aggregate in _of(events, "ETHUSDT", "aggTrade"):
        fills = [trades[number] for number in range(aggregate["f"], aggregate["l"] + 1)]
        assert sum(Decimal(fill["q"]) for fill in fills) == Decimal(aggregate["q"])
        assert {(fill["p"], fill["m"], fill["T"]) for fill in fills} == {(aggregate["p"], aggregate["m"], aggregate["T"])}


def test_the_same_seed_gives_the_same_market() -> None:
    """Ids, prices, sizes and sides repeat with the seed; another seed gives others."""
    first, again, other = (_events(_begun(rate=100.0, seed=seed), 1.0) for seed in (5, 5, 6))
    assert first == again
    assert [e["p"] for e in first] != [e["p"] for e in other]


def test_frames_do_not_depend_on_who_listens() -> None:
    """A market that was listened to in parts issued the same trades."""
    whole, parts = _begun(rate=100.0), _begun(rate=100.0)
    unheard = len(_events(whole, 0.5))
    parts.pull(0.5, (), 10_000)
    assert unheard
    assert _events(parts, 1.0) == _events(whole, 1.0)


def test_numbers_look_like_the_exchanges() -> None:
    """Prices walk in whole ticks near their level and change; spot prints eight decimals; sizes are positive and vary."""
    aggregates = _of(_events(_begun(rate=3_000.0), 1.0), "BTCUSDT", "aggTrade")
    prices = [Decimal(a["p"]) for a in aggregates]
    assert all(len(a["p"].partition(".")[2]) == len(a["q"].partition(".")[2]) == 8 for a in aggregates)
    assert all(price % Decimal("0.01") == 0 and 60_000 < price < 64_000 for price in prices)
    assert len(set(prices)) > 10
    assert len({a["q"] for a in aggregates}) > 100
    assert min(Decimal(a["q"]) for a in aggregates) > 0
    assert {a["m"] for a in aggregates} == {True, False}


_TAPE = Tape(Random(1), (1, 2, 7))  # noqa: S311 - chance to repeat


@settings(deadline=None)
@given(st.sampled_from(["spot", "usdm"]), st.text(min_size=1, max_size=12), st.integers(0, 10**12))
def test_any_symbol_can_be_traded(venue: Venue, symbol: str, take: int) -> None:
    """Whatever its name, a symbol has positive prices, and sizes that its single trades can share."""
    book = Book(listing(symbol, venue, {}), _TAPE, seed=1, first_id=1)
    aggregate, fills = book.aggregate(take, _BEGAN_MS), list(book.fills(take, _BEGAN_MS))
    assert Decimal(aggregate.price) > 0
    assert min(Decimal(fill.quantity) for fill in fills) > 0
    assert sum(Decimal(fill.quantity) for fill in fills) == Decimal(aggregate.quantity)


def test_times_follow_the_rate() -> None:
    """As many events come as the rate asks for, each with a time that has passed, in order."""
    events = [e for e in _events(_begun(rate=1_024.0), *(step / 10 for step in range(101))) if e["e"] == "aggTrade"]
    assert abs(len(events) - 10_240) < 200
    times = [event["E"] for event in events]
    assert times == sorted(times)
    assert times[0] >= _BEGAN_MS
    assert times[-1] <= _BEGAN_MS + 10_000
    assert all(event["T"] <= event["E"] for event in events)


_CHANCE = Random(3)  # noqa: S311 - chance to repeat


@settings(deadline=None)
@given(st.floats(0.01, 1e6), st.integers(0, 10**12))
def test_an_event_is_issued_when_it_is_due(per_second: float, number: int) -> None:
    """Just before an event is due it is not issued, and just after it is."""
    schedule = PacedSchedule(per_second, _CHANCE)
    due_s = schedule.due_s(number)
    slack_s = due_s * 1e-12  # what floating point may lose
    assert schedule.due_count(due_s - slack_s, 0, 1 << 62) <= number
    assert schedule.due_count(due_s + slack_s, 0, 1 << 62) > number


def test_count_ends_the_market() -> None:
    """After `count` aggregated trades the market is over."""
    market = _begun(rate=None, count=30)
    assert len(_of(_events(market, 0.0, 0.1, 0.2), "BTCUSDT", "aggTrade")) == 10
    assert market.idle_s(0.3) is None


def test_a_market_with_a_beginning_in_the_past_goes_on_by_the_clock() -> None:
    """Two servers started at different times issue the same trades at the same time."""
    early, late = (
        GeneratedMarket(GeneratedOptions(rate=50.0, began_at_ms=CONTINUOUS_SINCE_MS)),
        GeneratedMarket(GeneratedOptions(rate=50.0, began_at_ms=CONTINUOUS_SINCE_MS)),
    )
    early.begin(1_000.0, _BEGAN_MS)
    late.begin(5.0, _BEGAN_MS + 2_000)
    early.pull(1_002.0, (), 10_000)
    assert early.issued == pytest.approx(late.issued, abs=1)
    newest, expected = _events(late, 6.0)[-1], _events(early, 1_003.0)[-1]
    assert (newest["s"], newest["p"], newest["q"]) == (expected["s"], expected["p"], expected["q"])
    assert abs(newest["E"] - (_BEGAN_MS + 3_000)) < 500


@pytest.mark.parametrize("kind", TRADE_KINDS)
def test_the_past_is_what_was_sent(kind: TradeKind) -> None:
    """Every issued trade can be asked for again by id, and is the same."""
    market = _begun(rate=200.0, symbols=("BTCUSDT", "ETHUSDT"))
    sent = _of(_events(market, 0.4, 1.0), "ETHUSDT", kind)
    key = "a" if kind == "aggTrade" else "t"
    past = market.history(kind, "ETHUSDT", Window(limit=1_000, from_id=0))
    assert [(p.id, p.price, p.quantity, p.traded_at_ms, p.buyer_is_maker) for p in past] == [
        (e[key], e["p"], e["q"], e["T"], e["m"]) for e in sent
    ]


@pytest.mark.parametrize("kind", TRADE_KINDS)
def test_nothing_that_is_not_issued_yet_can_be_asked_for(kind: TradeKind) -> None:
    """The newest trade of the past is the newest that was sent; before the first event there is none."""
    market = _begun(rate=10.0, symbols=("BTCUSDT", "ETHUSDT"))
    assert market.history(kind, "BTCUSDT", Window()) == []
    sent = _of(_events(market, 2.0), "BTCUSDT", kind)
    assert [p.id for p in market.history(kind, "BTCUSDT", Window(limit=1))] == [sent[-1]["a" if kind == "aggTrade" else "t"]]


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.data())
def test_a_window_selects_what_its_bounds_say(steps: list[int], data: st.DataObject) -> None:
    """Selection by bisection agrees with going through everything."""
    times = [sum(steps[: i + 1]) for i in range(len(steps))]
    bound = st.none() | st.integers(-2, 130)
    start, end, limit = data.draw(bound), data.draw(bound), data.draw(st.integers(1, 45))
    inside = [i for i, t in enumerate(times) if (start is None or t >= start) and (end is None or t <= end)]
    expected = inside[-limit:] if start is None else inside[:limit]
    assert list(select(len(times), lambda i: i, times.__getitem__, Window(limit, None, start, end))) == expected


@settings(deadline=None)
@given(st.integers(0, 10**30), st.integers(0, 12))
def test_decimal_text_is_exact(value: int, decimals: int) -> None:
    """Text and integer name the same number, with exactly the decimals asked for."""
    text = decimal_text(value, decimals)
    assert int(text.replace(".", "")) == value
    assert len(text.partition(".")[2]) == decimals


@pytest.mark.parametrize(
    ("symbol", "assets"),
    [
        ("BTCUSDT", ("BTC", "USDT")),
        ("BTCFDUSD", ("BTC", "FDUSD")),
        ("BTCJPY", ("BTC", "JPY")),
        ("ETHBTC", ("ETH", "BTC")),
        ("RUNEEUR", ("RUNE", "EUR")),
        ("BTCUSDT_260925", ("BTC", "USDT")),
        ("USDT", ("USDT", "USDT")),
        ("XYZ", ("XYZ", "USDT")),
    ],
)
def test_symbols_are_split_by_their_longest_suffix(symbol: str, assets: tuple[str, str]) -> None:
    """The longest known quote asset wins."""
    assert symbols.split(symbol) == assets


def test_a_given_quote_asset_is_believed() -> None:
    """An explicit mapping beats the suffix."""
    listed = _begun(symbols=("ABCDEUR",), quotes={"ABCDEUR": "DEUR"}).instruments()["ABCDEUR"]
    assert (listed.base_asset, listed.quote_asset) == ("ABC", "DEUR")


def test_symbols_share_the_rate_evenly() -> None:
    """Each symbol gets its part of the total."""
    events = _events(_begun(rate=300.0), 1.0)
    counts = Counter(event["s"] for event in events if event["e"] == "aggTrade")
    assert max(counts.values()) - min(counts.values()) <= 1
