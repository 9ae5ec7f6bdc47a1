"""
Which of the exchange's servers serves which market and stream.

Source: Binance spot docs, "General WSS information", "Market data only", "Testnet", "Demo mode"; USDⓈ-M docs, "Important
WebSocket Change Notice".
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from urllib.parse import parse_qsl, urlencode, urlsplit

from msgspec import Struct


class Market(StrEnum):
    """The markets of Binance that we stream."""

    SPOT = "spot"
    USDM = "usdm"


class _Host(Struct, frozen=True):
    """One of the exchange's own WebSocket servers and the REST server that belongs to it."""

    market: Market
    rest_url: str


_HOSTS = MappingProxyType(
    {
        "stream.binance.com": _Host(Market.SPOT, "https://api.binance.com"),
        "data-stream.binance.vision": _Host(Market.SPOT, "https://data-api.binance.vision"),
        "stream.testnet.binance.vision": _Host(Market.SPOT, "https://testnet.binance.vision"),
        "demo-stream.binance.com": _Host(Market.SPOT, "https://demo-api.binance.com"),
        "fstream.binance.com": _Host(Market.USDM, "https://fapi.binance.com"),
        "fstream.binancefuture.com": _Host(Market.USDM, "https://testnet.binancefuture.com"),
        "demo-fstream.binance.com": _Host(Market.USDM, "https://demo-fapi.binance.com"),
    }
)

# By the stream's kind without speed, depth or interval. Everything else is on /market.
_PUBLIC_KINDS = frozenset({"bookTicker", "depth", "rpiDepth", "trade"})

# Streams are subscribed to once the connection is open, and times are read in milliseconds, the exchange's default.
_DROPPED_PARAMETERS = frozenset({"streams", "timeUnit"})


def market_of(ws_url: str) -> Market | None:
    """The market that one of Binance's own servers serves; None for simulators, relays and the like."""
    host = _host(ws_url)
    return host.market if host else None


def rest_url_of(ws_url: str) -> str | None:
    """
    The REST address that counts with the same ids.

    None for a foreign server: then there is no REST, and nothing of ours goes to the real exchange.
    """
    host = _host(ws_url)
    return host.rest_url if host else None


def stream_url(ws_url: str, stream: str) -> str:
    """
    The address to connect to for one stream by its name: the combined-stream endpoint of the server at `ws_url`, a valid address.

    A path ending in `/ws` or `/stream`, or none, becomes `/stream`. On the exchange's own futures servers it is the branch that
    carries the stream ("btcusdt@kline_1m", "!markPrice@arr@1s").

    Streams with the same address can share a connection. A foreign server has one address for all of them; one that has branches
    as the exchange does is named with the branch ("ws://relay/market/stream"), and then carries that branch only.
    """
    parts = urlsplit(ws_url)
    path = f"/{_branch(stream)}/stream" if market_of(ws_url) is Market.USDM else _combined(parts.path)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in _DROPPED_PARAMETERS]
    return parts._replace(path=path, query=urlencode(query), fragment="").geturl()


def _host(ws_url: str) -> _Host | None:
    return _HOSTS.get(urlsplit(ws_url).hostname or "")


def _branch(stream: str) -> str:
    spec = stream.removeprefix("!") if stream.startswith("!") else stream.partition("@")[2]
    name = spec.split("@", 1)[0].split("_", 1)[0].rstrip("0123456789")
    return "public" if name in _PUBLIC_KINDS else "market"


def _combined(path: str) -> str:
    stem, _, ending = path.rstrip("/").rpartition("/")
    return f"{stem}/stream" if ending in {"", "ws", "stream"} else path
