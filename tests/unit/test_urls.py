"""Which address serves which market and stream."""

from __future__ import annotations

import pytest

from k2.errors import ConfigurationError
from k2.ingestion.exchanges.binance.urls import DEFAULT_WS_URLS, Market, dial_url, is_exchange_host, rest_url_for, stream_name


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
        pytest.param("wss://h/ws?timeUnit=MICROSECOND", "wss://h/stream?timeUnit=MICROSECOND", id="parameters-stay"),
        pytest.param("wss://h/stream?streams=a@trade/b@trade", "wss://h/stream", id="streams-are-dropped"),
        pytest.param("wss://h/stream?streams=a&timeUnit=x#f", "wss://h/stream?timeUnit=x", id="only-the-streams"),
    ],
)
def test_spot_is_dialled_at_the_combined_endpoint(ws_url: str, dialled: str) -> None:
    """Whatever form the URL has, the connection goes to the server's combined-stream endpoint."""
    assert dial_url(ws_url, Market.SPOT, "aggTrade") == dialled


@pytest.mark.parametrize(
    ("kind", "branch"),
    [
        ("aggTrade", "market"),
        ("kline_1m", "market"),
        ("markPrice@1s", "market"),
        ("ticker", "market"),
        ("miniTicker", "market"),
        ("forceOrder", "market"),
        ("trade", "public"),
        ("bookTicker", "public"),
        ("depth", "public"),
        ("depth@100ms", "public"),
        ("depth5@100ms", "public"),
        ("depth20", "public"),
        ("rpiDepth@500ms", "public"),
    ],
)
def test_futures_streams_are_dialled_on_their_branch(kind: str, branch: str) -> None:
    """On the exchange's futures server each stream has one branch; on the other it would stay silent for ever."""
    assert dial_url(DEFAULT_WS_URLS[Market.USDM], Market.USDM, kind) == f"wss://fstream.binance.com/{branch}/stream"


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
    assert dial_url(ws_url, Market.USDM, "aggTrade") == dialled


@pytest.mark.parametrize(
    ("ws_url", "hint"),
    [
        pytest.param("https://stream.binance.com", "ws://HOST", id="no-websocket"),
        pytest.param("stream.binance.com:9443", "ws://HOST", id="no-scheme"),
        pytest.param("wss://", "ws://HOST", id="no-host"),
        pytest.param("wss://h:port/ws", "ws://HOST", id="no-port-number"),
        pytest.param("wss://user:canary@h/ws", "must not carry", id="credentials"),
        pytest.param("http://user:canary@h/ws", "ws://HOST", id="credentials-and-no-websocket"),
        pytest.param("wss://fstream.binance.com/ws", "serves the market usdm", id="another-market"),
    ],
)
def test_impossible_url_is_a_configuration_error(ws_url: str, hint: str) -> None:
    """A URL that cannot work is refused by the option's name, and never with a password in the text."""
    with pytest.raises(ConfigurationError, match=hint) as error:
        dial_url(ws_url, Market.SPOT, "aggTrade")
    assert "--ws-url" in str(error.value)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("ws_url", "market", "configured", "rest_url"),
    [
        pytest.param("wss://stream.binance.com:9443/ws", "spot", None, "https://api.binance.com", id="spot"),
        pytest.param("wss://data-stream.binance.vision", "spot", None, "https://data-api.binance.vision", id="data-only"),
        pytest.param("wss://stream.testnet.binance.vision/ws", "spot", None, "https://testnet.binance.vision", id="testnet"),
        pytest.param("wss://fstream.binance.com/ws", "usdm", None, "https://fapi.binance.com", id="futures"),
        pytest.param("wss://fstream.binancefuture.com", "usdm", None, "https://testnet.binancefuture.com", id="futures-testnet"),
        pytest.param("ws://127.0.0.1:9000", "spot", None, None, id="foreign-host-means-no-rest"),
        pytest.param("ws://127.0.0.1:9000", "spot", "http://127.0.0.1:9001/", "http://127.0.0.1:9001", id="configured"),
    ],
)
def test_rest_follows_the_server(ws_url: str, market: str, configured: str | None, rest_url: str | None) -> None:
    """REST is what was configured, else what belongs to the exchange's server, else off."""
    assert rest_url_for(ws_url, market, configured) == rest_url


@pytest.mark.parametrize(
    ("ws_url", "own"),
    [
        ("wss://stream.binance.com:9443/ws", True),
        ("wss://STREAM.BINANCE.COM/ws", True),
        ("wss://stream.binance.com.example/ws", False),
        ("ws://127.0.0.1:9000/ws", False),
    ],
)
def test_exchange_hosts_are_known_by_name(ws_url: str, own: bool) -> None:
    """Only the exchange's own hosts count, by their full name."""
    assert is_exchange_host(ws_url) is own


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
