"""The REST client against servers that behave and that do not."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme
from msgspec.structs import replace

from k2.ingestion.adapters.rest import RestClient, RestError, RestFailure, RestOptions
from k2.ingestion.exchanges.binance.symbols import SymbolInfo
from unit.feed.servers import Handler, Peer, listening

OPTIONS = RestOptions(timeout_s=5.0)
BTC = SymbolInfo("BTCUSDT", "BTC", "USDT", "TRADING")
LISTING = json.dumps({"symbols": [{"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING"}]}).encode()


class Exchange:
    """Answers each request with the next answer, the last one for all further ones, and keeps the requests' targets."""

    def __init__(self, *answers: tuple[str, tuple[str, ...], bytes]) -> None:
        self.answers = list(answers)
        self.targets: list[str] = []
        self.requests: list[bytes] = []

    async def serve(self, peer: Peer) -> None:
        await peer.read_request()
        self.requests.append(peer.request)
        self.targets.append(peer.request.decode().split(" ")[1])
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await peer.answer(status, *headers, body=body)


def answering(status: str, *headers: str, body: bytes = b"") -> Exchange:
    return Exchange((status, headers, body))


async def ask(
    handler: Handler, symbols: list[str], market: str = "spot", options: RestOptions = OPTIONS
) -> dict[str, SymbolInfo]:
    async with listening(handler) as port, RestClient(f"http://127.0.0.1:{port}/", market, options) as client:
        return await client.exchange_info(symbols)


async def failure_of(handler: Handler, options: RestOptions = OPTIONS) -> RestError:
    with pytest.raises(RestError) as failure:
        await ask(handler, ["BTCUSDT"], options=options)
    return failure.value


async def test_spot_asks_for_its_symbols_only() -> None:
    """On spot the request names the symbols, and leaves out the permission sets that make up most of the answer."""
    exchange = answering("200 OK", body=LISTING)
    assert await ask(exchange.serve, ["btcusdt", "牛来USDT"]) == {"BTCUSDT": BTC}
    target = urlsplit(exchange.targets[0])
    assert target.path == "/api/v3/exchangeInfo"
    assert parse_qs(target.query) == {"symbols": ['["BTCUSDT","牛来USDT"]'], "showPermissionSets": ["false"]}
    assert b"User-Agent: k2/" in exchange.requests[0]


async def test_futures_ask_for_everything() -> None:
    """The futures server knows no such parameter, so the whole list is asked for."""
    exchange = answering("200 OK", body=LISTING)
    assert await ask(exchange.serve, ["BTCUSDT"], market="usdm") == {"BTCUSDT": BTC}
    assert exchange.targets == ["/fapi/v1/exchangeInfo"]


async def test_one_unknown_symbol_does_not_spoil_the_rest() -> None:
    """Where the exchange refuses the request for one unknown symbol, the whole list is asked for."""
    refusal = b'{"code":-1121,"msg":"Invalid symbol."}'
    exchange = Exchange(("400 Bad Request", (), refusal), ("200 OK", (), LISTING))
    assert await ask(exchange.serve, ["BTCUSDT", "NOPE"]) == {"BTCUSDT": BTC}
    assert [urlsplit(target).query for target in exchange.targets][1] == "showPermissionSets=false"


async def test_used_weight_is_remembered() -> None:
    """The weight that the exchange reports is kept, from refusals too."""
    exchange = Exchange(
        ("200 OK", ("X-MBX-USED-WEIGHT-1M: 42", "x-mbx-used-weight: 7"), LISTING),
        ("429 Too Many Requests", ("x-mbx-used-weight-1m: 6001",), b""),
    )
    async with listening(exchange.serve) as port, RestClient(f"http://127.0.0.1:{port}", "spot", OPTIONS) as client:
        assert client.used_weight is None
        await client.exchange_info([])
        assert client.used_weight == 42
        with pytest.raises(RestError):
            await client.exchange_info([])
        assert client.used_weight == 6001


@pytest.mark.parametrize(
    ("status", "header", "kind", "retry_after_s"),
    [
        pytest.param("400 Bad Request", "X: y", RestFailure.REJECTED, None, id="rejected"),
        pytest.param("403 Forbidden", "X: y", RestFailure.FORBIDDEN, None, id="firewall"),
        pytest.param("418 Teapot", "Retry-After: 120", RestFailure.BANNED, 120, id="banned"),
        pytest.param("429 Too Many Requests", "Retry-After: 7", RestFailure.THROTTLED, 7, id="throttled"),
        pytest.param("451 Unavailable", "X: y", RestFailure.RESTRICTED, None, id="restricted"),
        pytest.param("503 Unavailable", "Retry-After: 3", RestFailure.SERVER_ERROR, 3, id="server-error"),
        pytest.param("302 Found", "Location: http://127.0.0.1:1/", RestFailure.PROTOCOL, None, id="redirect"),
    ],
)
async def test_refusal_has_a_kind(status: str, header: str, kind: RestFailure, retry_after_s: float | None) -> None:
    """Each status is an error of a bounded kind, with the exchange's number and words and the time to wait."""
    failure = await failure_of(answering(status, header, body=b'{"code":-1003,"msg":"the reason"}').serve)
    assert (failure.kind, failure.status, failure.retry_after_s) == (kind, int(status[:3]), retry_after_s)
    assert (failure.code, failure.detail) == (-1003, "the reason")


async def test_web_page_in_place_of_json_is_told() -> None:
    """An HTML answer, even with 200, is a fault of the protocol and is quoted."""
    failure = await failure_of(answering("200 OK", "Content-Type: text/html", body=b"<html>sign in</html>").serve)
    assert failure.kind is RestFailure.PROTOCOL
    assert "sign in" in failure.detail


async def test_html_refusal_is_quoted() -> None:
    """The firewall's page is quoted where the exchange's own error is missing."""
    failure = await failure_of(answering("403 Forbidden", body=b"<html>blocked</html>").serve)
    assert (failure.kind, failure.code, failure.detail) == (RestFailure.FORBIDDEN, None, "<html>blocked</html>")


async def hang(peer: Peer) -> None:
    await peer.read_request()
    await asyncio.sleep(30)


async def hang_up(peer: Peer) -> None:
    await peer.read_request()


async def cut_off(peer: Peer) -> None:
    await peer.read_request()
    peer.writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"symbols"')


async def speak_smtp(peer: Peer) -> None:
    await peer.read_request()
    peer.writer.write(b"220 mail.example ESMTP\r\n")


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        pytest.param(hang, RestFailure.TIMEOUT, id="hangs"),
        pytest.param(hang_up, RestFailure.RESET, id="hangs-up"),
        pytest.param(cut_off, RestFailure.RESET, id="cut-off"),
        pytest.param(speak_smtp, RestFailure.PROTOCOL, id="speaks-something-else"),
    ],
)
async def test_broken_answer_has_a_kind(handler: Handler, kind: RestFailure) -> None:
    """Whatever breaks on the way is an error of a bounded kind, within the timeout."""
    async with asyncio.timeout(5):
        failure = await failure_of(handler, replace(OPTIONS, timeout_s=0.3))
    assert failure.kind is kind
    assert failure.detail


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        pytest.param("http://127.0.0.1:1", RestFailure.REFUSED, id="nobody-listens"),
        pytest.param("http://nowhere.invalid", RestFailure.DNS, id="no-such-name"),
    ],
)
async def test_unreachable_server_has_a_kind(url: str, kind: RestFailure) -> None:
    """A server that cannot be reached is told by its kind and address."""
    async with RestClient(url, "spot", OPTIONS) as client:
        with pytest.raises(RestError, match=url) as failure:
            await client.exchange_info([])
    assert failure.value.kind is kind


@pytest.mark.parametrize(
    ("headers", "pack"),
    [
        pytest.param((), bytes, id="plain"),
        pytest.param(("Content-Encoding: gzip",), gzip.compress, id="compressed"),
    ],
)
async def test_body_is_bounded(headers: tuple[str, ...], pack: Callable[[bytes], bytes]) -> None:
    """A body over the limit is not read to its end, nor inflated to it."""
    exchange = answering("200 OK", *headers, body=pack(b" " * 3_000_000))
    failure = await failure_of(exchange.serve, replace(OPTIONS, max_body_bytes=1_000_000))
    assert failure.kind is RestFailure.TOO_LARGE


async def test_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxies are not used."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert await ask(answering("200 OK", body=LISTING).serve, []) == {"BTCUSDT": BTC}


async def test_proxy_is_used_as_given() -> None:
    """A configured proxy gets the request for the exchange."""
    proxy = answering("200 OK", body=LISTING)
    async with listening(proxy.serve) as port:
        options = replace(OPTIONS, proxy=f"http://127.0.0.1:{port}")
        async with RestClient("http://exchange.invalid", "usdm", options) as client:
            assert await client.exchange_info([]) == {"BTCUSDT": BTC}
    assert proxy.targets == ["http://exchange.invalid/fapi/v1/exchangeInfo"]


async def test_certificates_are_verified() -> None:
    """An unknown certificate is refused, a trusted one taken."""
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with listening(answering("200 OK", body=LISTING).serve, server_context) as port:
        async with RestClient(f"https://127.0.0.1:{port}", "spot", OPTIONS) as client:
            with pytest.raises(RestError) as failure:
                await client.exchange_info([])
        async with RestClient(f"https://127.0.0.1:{port}", "spot", replace(OPTIONS, tls=trusting)) as client:
            assert await client.exchange_info([]) == {"BTCUSDT": BTC}
    assert failure.value.kind is RestFailure.TLS
