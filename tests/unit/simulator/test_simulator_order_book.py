"""The order book of a generated market, put together again from what it streams."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from k2.simulator.market import Venue
from unit.simulator.listening import VENUES, begun, events, of

if TYPE_CHECKING:
    from k2.simulator.generated import GeneratedMarket

_DIFFS = [
    *(("spot", kind) for kind in ("depth", "depth@100ms")),
    *(("usdm", kind) for kind in ("depth", "depth@100ms", "depth@500ms", "depth@0ms")),
]
_TOPS = [
    *(("spot", levels, speed) for levels in (5, 10, 20) for speed in ("", "@100ms")),
    *(("usdm", levels, speed) for levels in (5, 10, 20) for speed in ("", "@100ms", "@500ms")),
]


class _Replica:
    """A book kept as the exchange's documentation says: quantities are absolute, 0 removes a level."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.bids = {Decimal(price): quantity for price, quantity in snapshot["bids"]}
        self.asks = {Decimal(price): quantity for price, quantity in snapshot["asks"]}
        self.last_update_id = snapshot["lastUpdateId"]

    def apply(self, event: dict[str, Any]) -> None:
        for side, changes in ((self.bids, event["b"]), (self.asks, event["a"])):
            for price, quantity in changes:
                if Decimal(quantity):
                    side[Decimal(price)] = quantity
                else:
                    side.pop(Decimal(price), None)
        self.last_update_id = event["u"]

    def top(self, levels: int) -> tuple[list[tuple[Decimal, str]], list[tuple[Decimal, str]]]:
        return sorted(self.bids.items(), reverse=True)[:levels], sorted(self.asks.items())[:levels]


def _snapshot(market: GeneratedMarket, limit: int = 1_000) -> dict[str, Any]:
    return json.loads(market.depth("BTCUSDT", limit) or b"")  # type: ignore[no-any-return]


def _side(levels: list[list[str]]) -> list[tuple[Decimal, str]]:
    return [(Decimal(price), quantity) for price, quantity in levels]


def _follows(venue: Venue, event: dict[str, Any], last_update_id: int) -> bool:
    return bool(event["U"] == last_update_id + 1 if venue == "spot" else event["pu"] == last_update_id)


@pytest.mark.parametrize(("venue", "kind"), _DIFFS)
def test_depth_ids_never_break(venue: Venue, kind: str) -> None:
    """Each change follows the one before, and futures ids jump; a subscriber who comes later gets the same changes."""
    stream = f"btcusdt@{kind}"
    whole = of(events(begun(venue=venue, symbols=("BTCUSDT", "ETHUSDT")), (stream,), 20.0), stream)
    market = begun(venue=venue, symbols=("BTCUSDT", "ETHUSDT"))
    market.pull(7.77, (), 100_000)
    late = of(events(market, (stream,), 20.0, since_s=7.77), stream)
    assert all(_follows(venue, after, before["u"]) for before, after in pairwise(whole))
    assert all(event["U"] <= event["u"] for event in whole)
    assert (venue == "usdm") is all(after["U"] > before["u"] + 1 for before, after in pairwise(whole))
    assert late == whole[-len(late) :]
    assert len(late) >= 12


@pytest.mark.parametrize(("venue", "kind"), _DIFFS)
def test_whoever_joins_when_has_the_same_book(venue: Venue, kind: str) -> None:
    """A snapshot at any time and the changes that it does not have yet make the same book as an earlier one."""
    stream, market = f"btcusdt@{kind}", begun(venue=venue)
    replicas, told = [_Replica(_snapshot(market))], []
    for since_s, until_s in ((0.0, 5.03), (5.03, 12.4), (12.4, 15.0)):
        told += of(events(market, (stream,), until_s, since_s), stream)
        replicas.append(_Replica(_snapshot(market)))
    for replica in replicas[:-1]:
        missed = [event for event in told if event["u"] > replica.last_update_id]
        assert missed[0]["U"] <= replica.last_update_id + 1 or missed[0]["pu"] == replica.last_update_id
        for event in missed:
            replica.apply(event)
    books = [replica.top(1_000) for replica in replicas[:-1]]
    assert books[0] == books[1] == books[2]
    assert [len(side) for side in books[0]] == [25, 25]


@pytest.mark.parametrize(("venue", "levels", "speed"), _TOPS)
def test_partial_depth_is_the_top_of_the_book(venue: Venue, levels: int, speed: str) -> None:
    """It shows the best levels of the book that the changes of the same speed make, under the same ids."""
    changes, tops = f"btcusdt@depth{speed}", f"btcusdt@depth{levels}{speed}"
    market = begun(venue=venue)
    replica = _Replica(_snapshot(market))
    told = events(market, (changes, tops), 10.0)
    books: dict[int, Any] = {}
    for event in of(told, changes):
        replica.apply(event)
        books[replica.last_update_id] = replica.top(levels)
    keys = ("bids", "asks", "lastUpdateId") if venue == "spot" else ("b", "a", "u")
    shown = [[event[key] for key in keys] for event in of(told, tops)]
    assert [(_side(bids), _side(asks)) for bids, asks, _ in shown] == [books[number] for _, _, number in shown]
    assert len(shown) >= 9


@pytest.mark.parametrize("venue", VENUES)
def test_the_best_prices_surround_the_trade(venue: Venue) -> None:
    """A quote follows each take; a seller traded at its bid, a buyer at its offer; ids only rise."""
    told = events(begun(venue=venue), ("btcusdt@aggTrade", "btcusdt@bookTicker"), 10.0)
    takes, quotes = of(told, "btcusdt@aggTrade"), of(told, "btcusdt@bookTicker")
    assert [quote["b"] if take["m"] else quote["a"] for take, quote in zip(takes, quotes, strict=True)] == [t["p"] for t in takes]
    assert all(Decimal(quote["b"]) < Decimal(quote["a"]) for quote in quotes)
    ids = [quote["u"] for quote in quotes]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("venue", VENUES)
def test_the_best_prices_are_those_of_the_book(venue: Venue) -> None:
    """Under the id of a partial book its first levels are the quote of the same id."""
    top = "btcusdt@depth5@100ms"
    told = events(begun(venue=venue), ("btcusdt@bookTicker", top), 10.0)
    quotes = {quote["u"]: quote for quote in of(told, "btcusdt@bookTicker")}
    compared = 0
    for event in of(told, top):
        number = event.get("lastUpdateId", event.get("u"))
        if number in quotes:
            bids, asks = event.get("bids", event.get("b")), event.get("asks", event.get("a"))
            quote = quotes[number]
            assert ([quote["b"], quote["B"]], [quote["a"], quote["A"]]) == (bids[0], asks[0])
            compared += 1
    assert compared > 50


def test_futures_ids_are_common_to_all_symbols() -> None:
    """Over several symbols the ids of quotes rise in the order of their coming."""
    symbols = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
    streams = [f"{symbol.lower()}@bookTicker" for symbol in symbols]
    ids = [event["u"] for _, event in events(begun(venue="usdm", symbols=symbols), streams, 5.0)]
    assert ids == sorted(set(ids))


def test_rest_shows_as_many_levels_as_asked_for() -> None:
    """The limit counts a side."""
    market = begun()
    market.pull(3.0, (), 100_000)
    book = _snapshot(market, 5)
    assert (list(book), len(book["bids"]), len(book["asks"])) == (["lastUpdateId", "bids", "asks"], 5, 5)
