"""How both transports open links: refusals, failures, TLS, proxies and compression."""

from __future__ import annotations

import asyncio
import ssl
import zlib
from email.utils import formatdate
from time import time

import pytest
import trustme

from k2.ingestion.adapters.feed.port import ConnectFailedError, ConnectFailure, HandshakeRefusedError, LinkOptions, Transport
from k2.ingestion.adapters.feed.transports import choose_transport
from unit.feed.links import OPTIONS, ended, frames_of, greet, opened
from unit.feed.servers import CLOSE, TEXT, Frames, Handler, Peer, listening

REFUSALS = [
    pytest.param("429 Too Many Requests", ["Retry-After: 7"], 429, 7.0, id="throttled"),
    pytest.param("418 I'm a Teapot", ["retry-after:120"], 418, 120.0, id="banned"),
    pytest.param("451 Unavailable For Legal Reasons", [], 451, None, id="restricted"),
    pytest.param("503 Service Unavailable", ["Retry-After: soon"], 503, None, id="nonsense"),
    pytest.param("522 Connection Timed Out", [], 522, None, id="status-unknown-to-python"),
    pytest.param("302 Found", ["Location: /elsewhere"], 302, None, id="redirect"),
    pytest.param("200 OK", [], 200, None, id="web-page"),
]


@pytest.mark.parametrize(("answer", "headers", "status", "retry_after_s"), REFUSALS)
async def test_refusal_tells_status_and_time(
    transport: Transport, answer: str, headers: list[str], status: int, retry_after_s: float | None
) -> None:
    """An HTTP answer other than 101 is a refusal with its status, what Retry-After asks for, and the body's words."""

    async def handler(peer: Peer) -> None:
        await peer.refuse(answer, *headers, body=b'{"msg": "the reason"}')

    async with listening(handler) as port:
        with pytest.raises(HandshakeRefusedError) as refusal:
            await opened(transport, port, Frames())
    assert (refusal.value.status, refusal.value.retry_after_s) == (status, retry_after_s)
    assert "the reason" in refusal.value.detail


async def test_retry_after_may_be_a_date(transport: Transport) -> None:
    """A Retry-After with an HTTP date is the time until then."""

    async def handler(peer: Peer) -> None:
        await peer.refuse("429 Too Many Requests", f"Retry-After: {formatdate(time() + 90, usegmt=True)}")

    async with listening(handler) as port:
        with pytest.raises(HandshakeRefusedError) as refusal:
            await opened(transport, port, Frames())
    assert refusal.value.retry_after_s == pytest.approx(90, abs=15)


async def hang_up(peer: Peer) -> None:
    """Close without a word."""


async def reset_at_once(peer: Peer) -> None:
    await peer.read_request()
    peer.reset()


async def say_nothing(peer: Peer) -> None:
    await peer.until_gone()


async def talk_nonsense(peer: Peer) -> None:
    await peer.read_request()
    peer.writer.write(b"220 mail.example ESMTP\r\n\r\n")


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        pytest.param(hang_up, ConnectFailure.RESET, id="hangs-up"),
        pytest.param(reset_at_once, ConnectFailure.RESET, id="resets"),
        pytest.param(say_nothing, ConnectFailure.TIMEOUT, id="accepts-and-is-silent"),
        pytest.param(talk_nonsense, ConnectFailure.PROTOCOL, id="speaks-something-else"),
    ],
)
async def test_failure_has_a_kind(transport: Transport, handler: Handler, kind: ConnectFailure) -> None:
    """Whatever keeps a connection from opening is told by a bounded kind, within the time to open one."""
    async with listening(handler) as port, asyncio.timeout(5):
        with pytest.raises(ConnectFailedError) as failure:
            await opened(transport, port, Frames(), LinkOptions(open_timeout_s=0.3))
    assert failure.value.kind is kind
    assert failure.value.detail


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        pytest.param("ws://127.0.0.1:1/stream", ConnectFailure.REFUSED, id="nobody-listens"),
        pytest.param("ws://nowhere.invalid/stream", ConnectFailure.DNS, id="no-such-name"),
        pytest.param("ws://" + "x" * 70 + ".invalid/", ConnectFailure.DNS, id="impossible-name"),
        pytest.param("ftp://127.0.0.1/", ConnectFailure.PROTOCOL, id="no-websocket"),
    ],
)
async def test_unreachable_address_has_a_kind(transport: Transport, url: str, kind: ConnectFailure) -> None:
    """An address that leads nowhere is told by a bounded kind."""
    with pytest.raises(ConnectFailedError) as failure:
        await transport.open(url, Frames(), OPTIONS)
    assert failure.value.kind is kind


async def test_cancelled_dial_leaves_nothing_open(transport: Transport) -> None:
    """Cancelling while the server ponders closes the connection at once."""
    gone = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.read_request()
        await peer.until_gone()
        gone.set()

    async with listening(handler) as port:
        dialling = asyncio.ensure_future(opened(transport, port, Frames()))
        await asyncio.sleep(0.1)
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling
        async with asyncio.timeout(5):
            await gone.wait()


def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_trusted_certificate_is_accepted(transport: Transport) -> None:
    """With the authority in the context, frames arrive over TLS and the link closes in good order."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    frames = Frames()
    async with listening(greet, server_tls(authority)) as port:
        url = f"wss://127.0.0.1:{port}/stream"
        link = await transport.open(url, frames, LinkOptions(tls=context, close_timeout_s=1.0))
        await frames.wait_for(1)
        await link.close()
        assert (await ended(link)).by_us
    assert frames == [b"hello"]


async def test_unknown_certificate_is_rejected(transport: Transport) -> None:
    """Without the authority there is no connection, and the kind says why."""
    async with listening(greet, server_tls(trustme.CA())) as port:
        with pytest.raises(ConnectFailedError, match="certificate") as failure:
            await transport.open(f"wss://127.0.0.1:{port}/stream", Frames(), OPTIONS)
    assert failure.value.kind is ConnectFailure.TLS


async def test_tls_that_breaks_off_is_told(transport: Transport) -> None:
    """A server that hangs up in the middle of the TLS handshake is a reset."""

    async def handler(peer: Peer) -> None:
        await peer.reader.read(10)

    async with listening(handler) as port:
        with pytest.raises(ConnectFailedError) as failure:
            await transport.open(f"wss://127.0.0.1:{port}/", Frames(), OPTIONS)
    assert failure.value.kind is ConnectFailure.RESET


async def test_tls_that_never_answers_times_out(transport: Transport) -> None:
    """The time to open a connection covers TLS too."""
    async with listening(say_nothing) as port, asyncio.timeout(5):
        with pytest.raises(ConnectFailedError) as failure:
            await transport.open(f"wss://127.0.0.1:{port}/", Frames(), LinkOptions(open_timeout_s=0.3))
    assert failure.value.kind is ConnectFailure.TIMEOUT


async def test_proxy_is_used_as_given(transport: Transport) -> None:
    """A proxy is asked to connect, and the link runs through it."""
    asked: list[bytes] = []

    async def proxy(peer: Peer) -> None:
        await peer.read_request()
        asked.append(peer.request.split(b"\r\n")[0])
        peer.writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await greet(peer)

    frames = Frames()
    async with listening(proxy) as port:
        options = LinkOptions(proxy=f"http://127.0.0.1:{port}", close_timeout_s=0.5)
        link = await transport.open("ws://exchange.invalid:8080/stream", frames, options)
        await frames.wait_for(1)
        await link.close()
        await ended(link)
    assert asked == [b"CONNECT exchange.invalid:8080 HTTP/1.1"]


async def test_refusing_proxy_is_told_without_its_password(transport: Transport) -> None:
    """A proxy that refuses is a failure of the protocol, and its credentials appear nowhere."""

    async def proxy(peer: Peer) -> None:
        await peer.refuse("407 Proxy Authentication Required")

    async with listening(proxy) as port:
        options = LinkOptions(proxy=f"http://user:canary@127.0.0.1:{port}")
        with pytest.raises(ConnectFailedError) as failure:
            await transport.open("ws://exchange.invalid/stream", Frames(), options)
    assert failure.value.kind is ConnectFailure.PROTOCOL
    assert "canary" not in str(failure.value)


async def test_environment_names_no_proxy(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxies are not used."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    frames = Frames()
    async with listening(greet) as port:
        link = await opened(transport, port, frames)
        await frames.wait_for(1)
        await link.close()
        await ended(link)


async def test_compression_is_not_offered_unasked(transport: Transport) -> None:
    """The upgrade request offers no extension, and names the program."""
    requests: list[bytes] = []

    async def handler(peer: Peer) -> None:
        await peer.accept()
        requests.append(peer.request.lower())

    await frames_of(transport, handler)
    assert b"sec-websocket-extensions" not in requests[0]
    assert b"user-agent: k2/" in requests[0]


async def test_compressed_messages_are_inflated() -> None:
    """With compression asked for, websockets offers it and hands over what was compressed as it was."""
    message = b'{"s":"BTCUSDT"}' * 20

    async def handler(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Extensions: permessage-deflate")
        deflate = zlib.compressobj(wbits=-15)
        payload = (deflate.compress(message) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")
        peer.send(TEXT | 0x40, payload)
        peer.send(CLOSE, b"")

    transport = choose_transport("auto", compression=True)
    frames, _ = await frames_of(transport, handler, LinkOptions(compression=True, close_timeout_s=0.5))
    assert frames == [message]
