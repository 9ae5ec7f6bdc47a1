"""
Which address serves which market and stream.

Source: spot docs "General WSS information", testnet and demo pages; futures notice of 2026-04-23, which split the futures server
into `/public` and `/market`: on the wrong branch a stream is acknowledged and stays silent for ever.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from msgspec import Struct

from k2.errors import ConfigurationError


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

DEFAULT_WS_URLS = MappingProxyType({Market.SPOT: "wss://stream.binance.com:9443/ws", Market.USDM: "wss://fstream.binance.com/ws"})

# By the stream's kind without speed, depth or interval. Everything else is on /market.
_PUBLIC_KINDS = frozenset({"bookTicker", "depth", "rpiDepth", "trade"})


def is_exchange_host(ws_url: str) -> bool:
    """True for Binance's own servers, false for simulators, relays and the like."""
    return urlsplit(ws_url).hostname in _HOSTS


def dial_url(ws_url: str, market: str, stream_kind: str) -> str:
    """
    The address to connect to for `--ws-url`: the server's combined-stream endpoint.

    A path ending in `/ws` or `/stream`, or none, becomes `/stream`. On the exchange's own futures servers it is the branch that
    carries `stream_kind` ("aggTrade", "kline_1m", "depth5@100ms"). Streams named in the URL are dropped, for they are subscribed
    to; other parameters, such as `timeUnit`, stay.

    Raises:
        ConfigurationError: not a WebSocket URL, credentials in it, or another market's server.
    """
    parts = _checked(ws_url, market)
    path = f"/{_branch(stream_kind)}/stream" if _is_futures(parts) else _combined(parts.path)
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "streams"])
    return parts._replace(path=path, query=query, fragment="").geturl()


def rest_url_for(ws_url: str, market: str, rest_url: str | None = None) -> str | None:
    """
    The REST address: what was configured, else the one that belongs to the exchange's server.

    None with a foreign `--ws-url` and no `--rest-url`: then there is no REST, and nothing of ours goes to the real exchange.
    """
    if rest_url:
        return rest_url.rstrip("/")
    host = _HOSTS.get(_checked(ws_url, market).hostname or "")
    return host.rest_url if host else None


def stream_name(symbol: str, kind: str) -> str:
    """The stream of a symbol: "BTCUSDT" and "aggTrade" make "btcusdt@aggTrade". Symbols may hold any script."""
    return f"{symbol.lower()}@{kind}"


def _checked(ws_url: str, market: str) -> SplitResult:
    try:
        parts = urlsplit(ws_url)
        valid = parts.scheme in {"ws", "wss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket left open
        valid = False
    if not valid:
        raise ConfigurationError(f"--ws-url must be ws://HOST[:PORT] or wss://HOST[:PORT], not {_shown(ws_url)!r}")
    if parts.username is not None:
        raise ConfigurationError("--ws-url must not carry a user or password; Binance's market data needs none")
    host = _HOSTS.get(parts.hostname or "")
    if host and host.market != market:
        raise ConfigurationError(f"--ws-url {parts.hostname} serves the market {host.market}, but --market is {market}")
    return parts


def _shown(url: str) -> str:
    """A URL as an error may quote it: without what may be credentials."""
    scheme, found, rest = url.rpartition("@")
    return f"***@{rest}" if found and scheme else url


def _is_futures(parts: SplitResult) -> bool:
    host = _HOSTS.get(parts.hostname or "")
    return host is not None and host.market is Market.USDM


def _branch(stream_kind: str) -> str:
    name = stream_kind.split("@", 1)[0].split("_", 1)[0].rstrip("0123456789")
    return "public" if name in _PUBLIC_KINDS else "market"


def _combined(path: str) -> str:
    stem, _, ending = path.rstrip("/").rpartition("/")
    if ending in {"", "ws", "stream"}:
        return f"{stem}/stream"
    return path
