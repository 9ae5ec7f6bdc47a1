"""
The REST side of a simulated exchange: what a client needs to know symbols and to fill gaps.

Answers come from what the market has issued so far. Source: binance-spot-api-docs, rest-api.md; for USD-M futures the
comments of the official connectors.
"""

from __future__ import annotations

import time
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from msgspec import Struct

from k2.simulator import weight
from k2.simulator.listing import exchange_info
from k2.simulator.market import PastTrade, TradeKind, Venue, Window
from k2.simulator.rest_query import (
    DEPTH_LIMITS,
    RestError,
    asked_limit,
    candle_window,
    check_usdm_window,
    depth_limit,
    mandatory,
    symbol_list,
    trade_limit,
    trade_window,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from k2.simulator.faults import Refuse
    from k2.simulator.hub import Hub
    from k2.simulator.injector import Injector
    from k2.simulator.market import Market

PREFIXES: dict[Venue, str] = {"spot": "/api/v3", "usdm": "/fapi/v1"}
_REMEMBERED = 10_000
_TOO_MANY = (-1003, "Too many requests; please wait.")
_REFUSALS = {
    418: (-1003, "Way too many requests; this address is banned for a while."),
    429: _TOO_MANY,
    451: (0, "Service unavailable from a restricted location."),
}
_EMPTY_BOOK = b'{"lastUpdateId":0,"bids":[],"asks":[]}'


class RestRequest(Struct, frozen=True):
    """A request that REST answered, at `at_s` of the monotonic clock."""

    at_s: float
    target: str
    status: int


class _Endpoint(Struct, frozen=True):
    """A path below the prefix, what makes its answer, and what a request of it weighs."""

    name: str
    answer: Callable[[web.Request], bytes]
    weight: Callable[[Mapping[str, str]], int]


class Rest:
    """
    The endpoints of one market.

    Attributes:
        requests: What was asked and answered, the newest last.
    """

    def __init__(self, market: Market, hub: Hub, injector: Injector, per_minute: int | None) -> None:
        self.requests: deque[RestRequest] = deque(maxlen=_REMEMBERED)
        self.weight = weight.Weight(weight.PER_MINUTE[market.venue] if per_minute is None else per_minute)
        self._market, self._hub, self._injector = market, hub, injector

    def routes(self) -> list[web.RouteDef]:
        prefix = PREFIXES[self._market.venue]
        return [web.get(f"{prefix}/{endpoint.name}", self._handler(endpoint)) for endpoint in self._endpoints()]

    def _endpoints(self) -> list[_Endpoint]:
        return [
            _Endpoint("ping", lambda _request: b"{}", self._flat(1, 1)),
            _Endpoint("time", lambda _request: msgspec.json.encode({"serverTime": _wall_ms()}), self._flat(1, 1)),
            _Endpoint("exchangeInfo", self._exchange_info, self._flat(20, 1)),
            _Endpoint("aggTrades", self._agg_trades, self._flat(4, 20)),
            _Endpoint("historicalTrades", self._historical_trades, self._flat(25, 200)),
            _Endpoint("trades", self._recent_trades, self._flat(25, 5)),
            _Endpoint("klines", self._klines, self._of_klines),
            _Endpoint("depth", self._depth, self._of_depth),
        ]

    def _handler(self, endpoint: _Endpoint) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            response = self._respond(endpoint, request)
            self.requests.append(RestRequest(time.monotonic(), request.path_qs, response.status))
            return response

        return handle

    def _respond(self, endpoint: _Endpoint, request: web.Request) -> web.Response:
        if refusal := self._injector.refusal("rest"):
            return refused(refusal)
        wait_s = self.weight.charge(endpoint.weight(request.query), time.time())
        headers = {weight.HEADER: str(self.weight.used)}
        if wait_s is not None:
            return _refusal(RestError(*_TOO_MANY, 429), {**headers, "Retry-After": str(wait_s)})
        try:
            return web.Response(body=endpoint.answer(request), content_type="application/json", headers=headers)
        except RestError as error:
            return _refusal(error, headers)

    def _flat(self, spot: int, usdm: int) -> Callable[[Mapping[str, str]], int]:
        return lambda _query: spot if self._market.venue == "spot" else usdm

    def _of_klines(self, query: Mapping[str, str]) -> int:
        return weight.of_klines(self._market.venue, asked_limit(query))

    def _of_depth(self, query: Mapping[str, str]) -> int:
        return weight.of_depth(self._market.venue, asked_limit(query, DEPTH_LIMITS[self._market.venue]))

    def _exchange_info(self, request: web.Request) -> bytes:
        symbols = self._asked_symbols(request.query) if self._market.venue == "spot" else None
        listed = self._market.instruments()
        chosen = listed if symbols is None else {symbol: listed[symbol] for symbol in symbols}
        return msgspec.json.encode(exchange_info(self._market.venue, list(chosen.values()), _wall_ms(), self.weight.per_minute))

    def _asked_symbols(self, query: Mapping[str, str]) -> list[str] | None:
        if "symbol" in query and "symbols" in query:
            raise RestError(-1128, "Combination of optional parameters invalid.")
        symbols = [query["symbol"]] if "symbol" in query else symbol_list(query["symbols"]) if "symbols" in query else None
        if symbols is not None and not set(symbols) <= set(self._market.instruments()):
            raise RestError(-1121, "Invalid symbol.")
        return symbols

    def _agg_trades(self, request: web.Request) -> bytes:
        window = trade_window(request.query)
        if self._market.venue == "usdm":
            check_usdm_window(window)
        return msgspec.json.encode([self._agg_trade(t) for t in self._issued("aggTrade", request, window)])

    def _historical_trades(self, request: web.Request) -> bytes:
        if self._market.venue == "usdm" and not request.headers.get("X-MBX-APIKEY"):
            raise RestError(-2014, "API-key format invalid.", 401)
        window = trade_window({name: value for name, value in request.query.items() if name in {"limit", "fromId"}})
        return msgspec.json.encode([self._trade(t) for t in self._issued("trade", request, window)])

    def _recent_trades(self, request: web.Request) -> bytes:
        window = Window(limit=trade_limit(request.query))
        return msgspec.json.encode([self._trade(t) for t in self._issued("trade", request, window)])

    def _klines(self, request: web.Request) -> bytes:
        symbol, window = self._symbol(request.query), candle_window(request.query, self._market.venue)
        return msgspec.json.encode(self._market.klines(symbol, window))

    def _depth(self, request: web.Request) -> bytes:
        symbol, limit = self._symbol(request.query), depth_limit(request.query, self._market.venue)
        return self._market.depth(symbol, limit) or _EMPTY_BOOK

    def _issued(self, kind: TradeKind, request: web.Request, window: Window) -> list[PastTrade]:
        symbol = self._symbol(request.query)
        hidden = self._hub.hidden_ids.get(f"{symbol.lower()}@{kind}", ())
        return [trade for trade in self._market.history(kind, symbol, window) if trade.id not in hidden]

    def _symbol(self, query: Mapping[str, str]) -> str:
        symbol = mandatory(query, "symbol")
        if symbol not in self._market.instruments():
            raise RestError(-1121, "Invalid symbol.")
        return symbol

    def _agg_trade(self, t: PastTrade) -> dict[str, object]:
        common = {"a": t.id, "p": t.price, "q": t.quantity, "f": t.first_id, "l": t.last_id, "T": t.traded_at_ms}
        if self._market.venue == "spot":
            return {**common, "m": t.buyer_is_maker, "M": True}
        return {**common, "nq": t.quantity, "m": t.buyer_is_maker}

    def _trade(self, t: PastTrade) -> dict[str, object]:
        trade = {
            "id": t.id,
            "price": t.price,
            "qty": t.quantity,
            "quoteQty": _product(t.price, t.quantity),
            "time": t.traded_at_ms,
        }
        last = "isBestMatch" if self._market.venue == "spot" else "isRPITrade"
        return {**trade, "isBuyerMaker": t.buyer_is_maker, last: self._market.venue == "spot"}


def refused(fault: Refuse) -> web.Response:
    """The answer of an exchange that turns a client away."""
    headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
    return _refusal(RestError(*_REFUSALS.get(fault.status, (-1000, "Service unavailable.")), fault.status), headers)


def _refusal(error: RestError, headers: Mapping[str, str]) -> web.Response:
    body = msgspec.json.encode({"code": error.code, "msg": str(error)})
    return web.Response(status=error.status, body=body, content_type="application/json", headers=headers)


def _product(price: str, quantity: str) -> str:
    return f"{Decimal(price) * Decimal(quantity):.8f}"


def _wall_ms() -> int:
    return int(time.time() * 1_000)
