"""Which address serves which market and stream."""

from __future__ import annotations

import pytest

from k2.ingestion.exchanges.binance.names import stream_name
from k2.ingestion.exchanges.binance.urls import Market, market_of, rest_url_of, stream_url


@pytest.mark.parametrize(
    ("ws_url", "dialled"),
    [
        pytest.param("wss://stream.binance.com:9443/ws", "wss://stream.binance.com:9443/stream", id="document-default"),
        pytest.param("wss://stream.binance.com:9443/stream", "wss://stream.binance.com:9443/stream", id="combined"),
        pytest.param("wss://stream.binance.com:9443/ws/", "wss://stream.binance.com:9443/stream", id="trailing-slash"),
        pytest.param("wss://data-stream.binance.vision", "wss://data-stream.binance.vision/stream", id="bare-host"),
        pytest.param("ws://127.0.0.1:8765", "ws://127.0.0.1:8765/stream", id="simulator"),
        pytest.param("ws://[::1]:8765/ws", "ws://[::1]:8765/stream", id="ipv6"),
        pytest.param("wss://relay.example/binance/ws", "wss://relay.example/binance/stream", id="relay-with-a-prefix"),
        pytest.param("wss://relay.example/binance", "wss://relay.example/binance", id="path-of-its-own"),
        pytest.param("wss://h/ws?token=x", "wss://h/stream?token=x", id="parameters-stay"),
        pytest.param("wss://h/stream?streams=a@trade/b@trade", "wss://h/stream", id="streams-are-dropped"),
        pytest.param("wss://h/stream?timeUnit=MICROSECOND&a=1#f", "wss://h/stream?a=1", id="times-stay-milliseconds"),
    ],
)
def test_spot_is_dialled_at_the_combined_endpoint(ws_url: str, dialled: str) -> None:
    """Whatever form the URL has, the connection goes to the server's combined-stream endpoint."""
    assert stream_url(ws_url, "btcusdt@aggTrade") == dialled


@pytest.mark.parametrize(
    ("ws_url", "dialled"),
    [
        pytest.param("wss://fstream.binance.com/public/ws", "wss://fstream.binance.com/market/stream", id="other-branch"),
        pytest.param("wss://fstream.binancefuture.com/ws", "wss://fstream.binancefuture.com/market/stream", id="testnet"),
        pytest.param("wss://demo-fstream.binance.com", "wss://demo-fstream.binance.com/market/stream", id="demo"),
        pytest.param("ws://127.0.0.1:9000/ws", "ws://127.0.0.1:9000/stream", id="foreign-hosts-have-no-branches"),
    ],
)
def test_only_the_exchange_s_futures_hosts_have_branches(ws_url: str, dialled: str) -> None:
    """The branch replaces any path on the exchange's own hosts and appears nowhere else."""
    assert stream_url(ws_url, "btcusdt@aggTrade") == dialled


@pytest.mark.parametrize(
    ("stream", "branch"),
    [
        ("btcusdt@aggTrade", "market"),
        ("btcusdt@kline_1m", "market"),
        ("btcusdt@markPrice@1s", "market"),
        ("btcusdt@forceOrder", "market"),
        ("btcusdt@miniTicker", "market"),
        ("btcusdt@ticker", "market"),
        ("btcusdt_perpetual@continuousKline_1m", "market"),
        ("btcusdt@trade", "public"),
        ("btcusdt@bookTicker", "public"),
        ("btcusdt@depth", "public"),
        ("btcusdt@depth@100ms", "public"),
        ("btcusdt@depth5@100ms", "public"),
        ("btcusdt@depth20", "public"),
        ("btcusdt@depth20@100ms", "public"),
        ("btcusdt@rpiDepth@500ms", "public"),
        ("牛来usdt@depth5", "public"),
        ("!bookTicker", "public"),
        ("!miniTicker@arr", "market"),
        ("!ticker@arr", "market"),
        ("!ticker_1h@arr", "market"),
        ("!markPrice@arr", "market"),
        ("!markPrice@arr@1s", "market"),
        ("!forceOrder@arr", "market"),
        ("!contractInfo", "market"),
    ],
)
def test_futures_streams_are_dialled_on_their_branch(stream: str, branch: str) -> None:
    """On the exchange's futures server each stream has one branch; on the other it would stay silent for ever."""
    for ws_url in ("wss://fstream.binance.com", "wss://fstream.binance.com/ws"):
        assert stream_url(ws_url, stream) == f"wss://fstream.binance.com/{branch}/stream"


@pytest.mark.parametrize(
    ("ws_url", "dialled"),
    [
        pytest.param("wss://stream.binance.com:9443/ws", "wss://stream.binance.com:9443/stream", id="spot"),
        pytest.param("ws://127.0.0.1:8765", "ws://127.0.0.1:8765/stream", id="simulator"),
        pytest.param("ws://127.0.0.1:8765/ws", "ws://127.0.0.1:8765/stream", id="simulator-raw"),
        pytest.param("ws://127.0.0.1:8765/market/stream", "ws://127.0.0.1:8765/market/stream", id="branch-stays"),
        pytest.param("wss://relay.example/public/ws", "wss://relay.example/public/stream", id="branch-stays-combined"),
    ],
)
def test_elsewhere_all_streams_share_an_address(ws_url: str, dialled: str) -> None:
    """Spot and foreign servers carry everything at one address; a branch that the address names stays."""
    assert {stream_url(ws_url, stream) for stream in ("btcusdt@kline_1m", "btcusdt@bookTicker", "!bookTicker")} == {dialled}


@pytest.mark.parametrize(
    ("ws_url", "market", "rest_url"),
    [
        pytest.param("wss://stream.binance.com:9443/ws", Market.SPOT, "https://api.binance.com", id="spot"),
        pytest.param("wss://STREAM.BINANCE.COM/ws", Market.SPOT, "https://api.binance.com", id="any-case"),
        pytest.param("wss://data-stream.binance.vision", Market.SPOT, "https://data-api.binance.vision", id="data-only"),
        pytest.param("wss://stream.testnet.binance.vision/ws", Market.SPOT, "https://testnet.binance.vision", id="testnet"),
        pytest.param("wss://fstream.binance.com/ws", Market.USDM, "https://fapi.binance.com", id="futures"),
        pytest.param("wss://fstream.binancefuture.com", Market.USDM, "https://testnet.binancefuture.com", id="futures-testnet"),
        pytest.param("ws://127.0.0.1:9000", None, None, id="foreign"),
        pytest.param("wss://stream.binance.com.example/ws", None, None, id="full-name-only"),
    ],
)
def test_the_exchange_s_own_hosts_are_known(ws_url: str, market: Market | None, rest_url: str | None) -> None:
    """Market and REST address follow the exchange's own server; a foreign one has neither."""
    assert (market_of(ws_url), rest_url_of(ws_url)) == (market, rest_url)


@pytest.mark.parametrize(
    ("symbol", "kind", "name"),
    [
        ("BTCUSDT", "aggTrade", "btcusdt@aggTrade"),
        ("btcusdt", "kline_1M", "btcusdt@kline_1M"),
        ("牛来USDT", "trade", "牛来usdt@trade"),
        ("BTCUSDT_250328", "bookTicker", "btcusdt_250328@bookTicker"),
    ],
)
def test_stream_names_have_lower_case_symbols_only(symbol: str, kind: str, name: str) -> None:
    """The symbol is put in lower case, whatever its script; the kind keeps its case, which tells minutes from months."""
    assert stream_name(symbol, kind) == name
