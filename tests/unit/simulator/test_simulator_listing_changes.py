"""Symbols that are listed and delisted while the market runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from k2.simulator import faults
from k2.simulator.market import Venue, Window
from k2.simulator.recorded import RecordedMarket
from k2.simulator.recording import load
from unit.simulator.listening import VENUES, begun, events, of
from unit.simulator.wire import dial, get, receive, recording_path, small_market

if TYPE_CHECKING:
    from k2.simulator.exchange import Exchange
    from unit.simulator.conftest import Serve

_STREAMS = tuple(f"{symbol}@{kind}" for symbol in ("btcusdt", "ethusdt", "newusdt") for kind in ("trade", "aggTrade", "kline_1m"))


@pytest.mark.parametrize("venue", VENUES)
def test_a_new_symbol_trades_from_its_listing(venue: Venue) -> None:
    """Its ids begin with its first one, REST has its past, and nothing changes for the others."""
    market, undisturbed = (begun(venue=venue, symbols=("BTCUSDT", "ETHUSDT"), first_ids=1) for _ in range(2))
    before = events(market, _STREAMS, 3.0)
    market.list_symbol("NEWUSDT")
    after = events(market, _STREAMS, 6.0, since_s=3.0)
    trades = of(after, "newusdt@trade")
    assert of(before, "newusdt@trade") == []
    assert [trade["t"] for trade in trades] == list(range(1, len(trades) + 1))
    assert len(of(after, "newusdt@aggTrade")) > 50
    assert len(market.history("trade", "NEWUSDT", Window(limit=1_000, from_id=0))) == len(trades)
    assert "NEWUSDT" in market.instruments()
    others = [pair for pair in [*before, *after] if not pair[0].startswith("newusdt")]
    assert others == events(undisturbed, _STREAMS, 6.0)


@pytest.mark.parametrize(("venue", "status"), [("spot", "BREAK"), ("usdm", "SETTLING")])
def test_a_delisted_symbol_falls_silent(venue: Venue, status: str) -> None:
    """Its streams and its part in those of all symbols end; exchangeInfo says why, or has it no more."""
    market = begun(venue=venue, symbols=("BTCUSDT", "ETHUSDT"))
    events(market, _STREAMS, 2.0)
    market.delist("ETHUSDT")
    told = events(market, (*_STREAMS, "!miniTicker@arr"), 5.0, since_s=2.0)
    assert {stream for stream, _ in told if "ethusdt" in stream} == set()
    assert "ETHUSDT" not in {ticker["s"] for array in of(told, "!miniTicker@arr") for ticker in array}
    assert {symbol: instrument.status for symbol, instrument in market.instruments().items()} == {
        "BTCUSDT": "TRADING",
        "ETHUSDT": status,
    }
    market.list_symbol("ETHUSDT")
    market.delist("ETHUSDT", listed=False)
    assert list(market.instruments()) == ["BTCUSDT"]


def test_a_symbol_that_is_listed_again_goes_on_with_its_next_id() -> None:
    """No id is left out for the time without trading, and the past keeps its times."""
    market = begun(symbols=("BTCUSDT", "ETHUSDT"))
    first = of(events(market, _STREAMS, 2.0), "ethusdt@trade")
    market.delist("ETHUSDT")
    events(market, _STREAMS, 4.0, since_s=2.0)
    market.list_symbol("ETHUSDT")
    second = of(events(market, _STREAMS, 6.0, since_s=4.0), "ethusdt@trade")
    assert second[0]["t"] == first[-1]["t"] + 1
    assert second[0]["T"] - first[-1]["T"] > 1_900
    past = market.history("trade", "ETHUSDT", Window(limit=1_000, from_id=0))
    assert [(trade.id, trade.traded_at_ms, trade.price) for trade in past] == [
        (t["t"], t["T"], t["p"]) for t in [*first, *second]
    ]


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (faults.ListSymbol("BTCUSDT"), "symbol BTCUSDT is listed already"),
        (faults.ListSymbol("newusdt"), "symbol 'newusdt' must be in upper case"),
        (faults.Delist("NOPE"), "symbol NOPE is not listed"),
    ],
)
async def test_a_senseless_change_is_refused(serve: Serve, fault: faults.Fault, complaint: str) -> None:
    """The error names the symbol."""
    with pytest.raises(ValueError, match=complaint):
        await (await serve()).inject(fault)


def test_a_recording_cannot_change_its_symbols() -> None:
    """What was recorded was recorded."""
    market = RecordedMarket(load(recording_path("spot_multi_20211012.txt")))
    for change in (market.list_symbol, market.delist):
        with pytest.raises(ValueError, match="symbols of a recording cannot change"):
            change("NEWUSDT")


async def test_another_process_can_change_what_is_listed(serve: Serve) -> None:
    """By the control endpoint, while clients are subscribed: the new symbol's stream speaks, the old one's ends."""
    exchange = await serve(small_market(rate=200.0, count=None, symbols=("BTCUSDT", "ETHUSDT")))
    async with dial(exchange, "/stream?streams=newusdt@trade") as client:
        await _order(exchange, {"kind": "list_symbol", "symbol": "NEWUSDT"})
        assert b'"s":"NEWUSDT"' in (await receive(client))[0]
        await _order(exchange, {"kind": "delist", "symbol": "NEWUSDT"})
        _, body, _ = await get(exchange, "/api/v3/exchangeInfo")
        assert {entry["symbol"]: entry["status"] for entry in body["symbols"]} == {
            "BTCUSDT": "TRADING",
            "ETHUSDT": "TRADING",
            "NEWUSDT": "BREAK",
        }
        sent = exchange.sent["newusdt@trade"]
        async with dial(exchange, "/ws/btcusdt@trade") as other:
            await receive(other, 20)
        assert exchange.sent["newusdt@trade"] == sent


async def _order(exchange: Exchange, fault: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as session, session.post(exchange.rest_url + "/control/fault", json=fault) as response:
        assert response.status == 200


async def test_hundreds_of_symbols_are_listed(serve: Serve) -> None:
    """Six hundred symbols, each with its status, and all of them in the streams of all symbols."""
    symbols = tuple(f"S{number}USDT" for number in range(600))
    exchange = await serve(small_market(symbols=symbols, rate=2_000.0, count=None))
    _, body, _ = await get(exchange, "/api/v3/exchangeInfo")
    assert [(entry["symbol"], entry["status"]) for entry in body["symbols"]] == [(symbol, "TRADING") for symbol in symbols]
