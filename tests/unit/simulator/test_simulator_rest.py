"""The REST side as a client meets it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import yarl

from k2.simulator import weight
from unit.simulator.wire import dial, get, receive, small_market

if TYPE_CHECKING:
    from k2.simulator.exchange import Exchange
    from unit.simulator.conftest import Serve


async def _exhausted(exchange: Exchange) -> Exchange:
    """Let the market run to its end."""
    async with dial(exchange, "/ws/btcusdt@trade") as client:
        await receive(client, 1)
        await asyncio.wait_for(exchange.exhausted.wait(), 10)
    return exchange


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        pytest.param("", list(range(1, 21)), id="newest"),
        pytest.param("&limit=3", [18, 19, 20], id="newest-three"),
        pytest.param("&fromId=5&limit=3", [5, 6, 7], id="from-id-is-inclusive"),
        pytest.param("&fromId=19", [19, 20], id="to-the-end"),
        pytest.param("&fromId=21", [], id="beyond"),
        pytest.param("&startTime=0&limit=2", [1, 2], id="from-a-time"),
        pytest.param("&endTime=1", [], id="until-a-time"),
    ],
)
async def test_aggregated_trades_are_found(serve: Serve, query: str, ids: list[int]) -> None:
    """By id, by time, or the newest."""
    exchange = await _exhausted(await serve())
    status, body, _ = await get(exchange, f"/api/v3/aggTrades?symbol=BTCUSDT{query}")
    assert (status, [trade["a"] for trade in body]) == (200, ids)


@pytest.mark.parametrize(
    ("venue", "target", "keys"),
    [
        ("spot", "/api/v3/aggTrades", "a p q f l T m M"),
        ("usdm", "/fapi/v1/aggTrades", "a p q f l T nq m"),
        ("spot", "/api/v3/trades", "id price qty quoteQty time isBuyerMaker isBestMatch"),
        ("spot", "/api/v3/historicalTrades", "id price qty quoteQty time isBuyerMaker isBestMatch"),
        ("usdm", "/fapi/v1/trades", "id price qty quoteQty time isBuyerMaker isRPITrade"),
        ("usdm", "/fapi/v1/historicalTrades", "id price qty quoteQty time isBuyerMaker isRPITrade"),
    ],
)
async def test_answers_have_the_exchanges_fields(serve: Serve, venue: str, target: str, keys: str) -> None:
    """Each endpoint prints its own keys."""
    exchange = await _exhausted(await serve(small_market(venue=venue)))
    _, body, _ = await get(exchange, f"{target}?symbol=BTCUSDT", headers={"X-MBX-APIKEY": "any"})
    assert (len(body), list(body[0])) == (20, keys.split())


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/api/v3/aggTrades", 400, -1102),
        ("/api/v3/aggTrades?symbol=NOPE", 400, -1121),
        ("/api/v3/aggTrades?symbol=btcusdt", 400, -1121),
        ("/api/v3/aggTrades?symbol=BTCUSDT&limit=1001", 400, -1130),
        ("/api/v3/aggTrades?symbol=BTCUSDT&fromId=x", 400, -1100),
        ("/api/v3/exchangeInfo?symbol=NOPE", 400, -1121),
        ('/api/v3/exchangeInfo?symbols=["BTCUSDT","NOPE"]', 400, -1121),
        ("/api/v3/exchangeInfo?symbols=BTCUSDT", 400, -1100),
        ('/api/v3/exchangeInfo?symbol=BTCUSDT&symbols=["BTCUSDT"]', 400, -1128),
    ],
)
async def test_wrong_requests_are_refused(serve: Serve, target: str, status: int, code: int) -> None:
    """With the exchange's status and code."""
    exchange = await serve()
    answered, body, _ = await get(exchange, target)
    assert (answered, body["code"]) == (status, code)
    assert exchange.rest_requests[-1].status == status


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/fapi/v1/aggTrades?symbol=BTCUSDT&fromId=1&startTime=5", 400, -1128),
        ("/fapi/v1/aggTrades?symbol=BTCUSDT&startTime=5&endTime=3600006", 400, -1127),
        ("/fapi/v1/historicalTrades?symbol=BTCUSDT", 401, -2014),
    ],
)
async def test_futures_are_stricter(serve: Serve, target: str, status: int, code: int) -> None:
    """No id together with times, an hour at most, and a key for older trades."""
    answered, body, _ = await get(await serve(small_market(venue="usdm")), target)
    assert (answered, body["code"]) == (status, code)


@pytest.mark.parametrize(
    ("query", "symbols"),
    [
        ("", ["BTCUSDT", "BTCFDUSD", "ETHBTC"]),
        ("?symbol=ETHBTC", ["ETHBTC"]),
        ('?symbols=["BTCUSDT","BTCFDUSD"]', ["BTCUSDT", "BTCFDUSD"]),
    ],
)
async def test_exchange_info_lists_the_symbols(serve: Serve, query: str, symbols: list[str]) -> None:
    """All of them or those asked for, with their assets."""
    exchange = await serve(small_market(symbols=("BTCUSDT", "BTCFDUSD", "ETHBTC")))
    _, body, _ = await get(exchange, f"/api/v3/exchangeInfo{query}")
    assert [entry["symbol"] for entry in body["symbols"]] == symbols
    assert all(entry["baseAsset"] + entry["quoteAsset"] == entry["symbol"] for entry in body["symbols"])
    assert body["rateLimits"][0]["limit"] == 6_000


async def test_futures_exchange_info_ignores_filters(serve: Serve) -> None:
    """The futures endpoint always lists everything."""
    exchange = await serve(small_market(venue="usdm", symbols=("BTCUSDT", "ETHUSDT")))
    _, body, _ = await get(exchange, "/fapi/v1/exchangeInfo?symbol=NOPE")
    assert [entry["symbol"] for entry in body["symbols"]] == ["BTCUSDT", "ETHUSDT"]


async def test_a_market_has_its_own_prefix(serve: Serve) -> None:
    """A spot exchange knows nothing of the futures paths."""
    exchange = await serve()
    assert (await get(exchange, "/api/v3/ping"))[:2] == (200, {})
    assert (await get(exchange, "/api/v3/time"))[1].keys() == {"serverTime"}
    with pytest.raises(Exception, match="404"):
        await get(exchange, "/fapi/v1/ping")


@pytest.mark.parametrize(("venue", "prefix"), [("spot", "/api/v3"), ("usdm", "/fapi/v1")])
async def test_candles_and_the_order_book_are_served(serve: Serve, venue: str, prefix: str) -> None:
    """Twelve values a candle; as many levels as asked for."""
    exchange = await _exhausted(await serve(small_market(venue=venue)))
    status, rows, _ = await get(exchange, f"{prefix}/klines?symbol=BTCUSDT&interval=1d")
    assert (status, [len(row) for row in rows], rows[0][8]) == (200, [12], 20)
    status, book, _ = await get(exchange, f"{prefix}/depth?symbol=BTCUSDT&limit=5")
    assert (status, len(book["bids"]), len(book["asks"]), "E" in book) == (200, 5, 5, venue == "usdm")


@pytest.mark.parametrize(
    ("zone", "hours"), [("0", 0), ("8", 8), ("-1:00", -1), ("05:45", 5.75), ("+14:00", 14), ("%2B14:00", 14), ("-12", -12)]
)
async def test_candles_begin_in_the_time_zone_asked_for(serve: Serve, zone: str, hours: float) -> None:
    """Days begin at its midnight, and are told in UTC."""
    exchange = await _exhausted(await serve())
    _, rows, _ = await get(
        exchange, yarl.URL(f"/api/v3/klines?symbol=BTCUSDT&interval=1d&timeZone={zone}", encoded=True).raw_path_qs
    )
    assert (rows[0][0] + hours * 3_600_000) % 86_400_000 == 0


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("symbol=BTCUSDT", -1102),
        ("symbol=BTCUSDT&interval=7m", -1120),
        ("interval=1m", -1102),
        ("symbol=BTCUSDT&interval=1m&limit=1001", -1130),
        ("symbol=BTCUSDT&interval=1m&timeZone=15", -1130),
        ("symbol=BTCUSDT&interval=1m&timeZone=east", -1130),
    ],
)
async def test_wrong_requests_for_candles_are_refused(serve: Serve, query: str, code: int) -> None:
    """With the exchange's codes."""
    status, body, _ = await get(await serve(), f"/api/v3/klines?{query}")
    assert (status, body["code"]) == (400, code)


async def test_weight_is_announced_and_limited(serve: Serve) -> None:
    """Every answer tells the weight used; beyond the limit comes 429 with the seconds to wait."""
    exchange = await serve(weight_per_minute=24)
    _, _, first = await get(exchange, "/api/v3/exchangeInfo")
    status, body, second = await get(exchange, "/api/v3/historicalTrades?symbol=BTCUSDT")
    assert first["X-MBX-USED-WEIGHT-1M"] == "20"
    assert (status, body["code"]) == (429, -1003)
    assert 1 <= int(second["Retry-After"]) <= 60


def test_weight_begins_anew_every_minute() -> None:
    """What was used in one minute does not count in the next."""
    budget = weight.Weight(10)
    assert [budget.charge(6, 60.0), budget.charge(6, 70.0), budget.charge(6, 120.0)] == [None, 50, None]


@pytest.mark.parametrize(("levels", "spot", "usdm"), [(5, 5, 2), (100, 5, 5), (500, 25, 10), (1_000, 50, 20), (9_999, 250, 20)])
def test_an_order_book_weighs_by_its_levels(levels: int, spot: int, usdm: int) -> None:
    """As the exchange's tables say."""
    assert (weight.of_depth("spot", levels), weight.of_depth("usdm", levels)) == (spot, usdm)


@pytest.mark.parametrize(
    ("candles", "spot", "usdm"), [(1, 2, 1), (99, 2, 1), (100, 2, 2), (499, 2, 2), (500, 2, 5), (1_001, 2, 10)]
)
def test_candles_weigh_by_their_number(candles: int, spot: int, usdm: int) -> None:
    """Flat on spot, in steps on futures."""
    assert (weight.of_klines("spot", candles), weight.of_klines("usdm", candles)) == (spot, usdm)
