"""Both transports against servers that behave and that do not."""

from __future__ import annotations

import asyncio
import ssl
import zlib
from email.utils import formatdate
from time import time

import pytest
import trustme

from k2.ingestion.adapters.feed.port import (
    ConnectFailedError,
    ConnectFailure,
    HandshakeRefusedError,
    Link,
    LinkClosed,
    LinkOptions,
    Transport,
)
from k2.ingestion.adapters.feed.transports import choose_transport
from unit.feed.servers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frames, Handler, Peer, eventually, frame, listening

OPTIONS = LinkOptions(open_timeout_s=5.0, close_timeout_s=0.5)


async def opened(transport: Transport, port: int, sink: Frames, options: LinkOptions = OPTIONS) -> Link:
    return await transport.open(f"ws://127.0.0.1:{port}/stream", sink, options)


async def ended(link: Link) -> LinkClosed:
    async with asyncio.timeout(10):
        return await link.wait_closed()


async def frames_of(transport: Transport, handler: Handler, options: LinkOptions = OPTIONS) -> tuple[Frames, LinkClosed]:
    """Everything that a server's handler makes arrive, and how the link ended."""
    frames = Frames()
    async with listening(handler) as port:
        link = await opened(transport, port, frames, options)
        return frames, await ended(link)


async def test_messages_arrive_whole_and_in_order(transport: Transport) -> None:
    """Text and binary messages of every length encoding reach the sink as bytes, in order."""
    messages = [b"{}", b"x" * 125, b"y" * 126, b"z" * 65_536, "牛来".encode()]

    async def handler(peer: Peer) -> None:
        await peer.accept()
        for message in messages:
            peer.text(message)
        peer.send(BINARY, b"\x00\xff")
        peer.send(CLOSE, b"")

    frames, _ = await frames_of(transport, handler)
    assert frames == [*messages, b"\x00\xff"]


async def test_fragments_become_one_message(transport: Transport) -> None:
    """A fragmented message arrives once, whole, whatever control frames come in between."""

    async def handler(peer: Peer) -> None:
        await peer.accept()
        peer.send(TEXT, b"one,", fin=False)
        peer.send(PING, b"in between")
        peer.send(CONTINUATION, b"two,", fin=False)
        peer.send(CONTINUATION, b"three")
        peer.text(b"next")
        peer.send(CLOSE, b"")

    frames, _ = await frames_of(transport, handler)
    assert frames == [b"one,two,three", b"next"]


async def test_invalid_utf8_is_handed_on(transport: Transport) -> None:
    """Text that is no UTF-8 is for the pipeline to judge: the bytes arrive and the link stays."""

    async def handler(peer: Peer) -> None:
        await peer.accept()
        peer.text(b"\xff\xfe")
        peer.text(b"after")
        peer.send(CLOSE, b"")

    frames, _ = await frames_of(transport, handler)
    assert frames == [b"\xff\xfe", b"after"]


@pytest.mark.parametrize("payload", [b"", b"1763000000000", b"\x00" * 125], ids=["empty", "milliseconds", "longest"])
async def test_ping_is_answered_with_its_payload(transport: Transport, payload: bytes) -> None:
    """A server's ping is answered by a pong with the same payload, also in the middle of a flood, and counts as heard."""
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def handler(peer: Peer) -> None:
        await peer.accept()
        peer.writer.write(frame(TEXT, b"x" * 200) * 2000 + frame(PING, payload) + frame(TEXT, b"x" * 200) * 2000)
        answers.put_nowait(await peer.receive_kind(PONG))
        peer.send(CLOSE, b"")
        await peer.until_gone()

    frames, _ = await frames_of(transport, handler)
    assert answers.get_nowait() == payload
    assert len(frames) == 4000


async def test_control_frames_count_as_heard(transport: Transport) -> None:
    """A pong to our own ping is heard, although no frame reaches the sink."""

    async def handler(peer: Peer) -> None:
        await peer.accept()
        await peer.serve_calmly()

    frames = Frames()
    async with listening(handler) as port:
        link = await opened(transport, port, frames)
        link.clear_heard()
        link.ping()
        await eventually(lambda: link.heard)
        await link.close()
    assert frames == []


@pytest.mark.parametrize(
    ("sent", "closed"),
    [
        pytest.param(b"\x03\xe8", LinkClosed(1000, "", by_us=False), id="normal"),
        pytest.param(b"\x03\xe9bye", LinkClosed(1001, "bye", by_us=False), id="going-away"),
        pytest.param(b"\x03\xf0Pong timeout", LinkClosed(1008, "Pong timeout", by_us=False), id="policy"),
        pytest.param(b"\x0f\xa1own", LinkClosed(4001, "own", by_us=False), id="private-code"),
        pytest.param(b"", LinkClosed(1005, "", by_us=False), id="no-code"),
    ],
)
async def test_close_of_the_server_is_told(transport: Transport, sent: bytes, closed: LinkClosed) -> None:
    """A server's close ends the link with its code and reason."""

    async def handler(peer: Peer) -> None:
        await peer.accept()
        peer.send(CLOSE, sent)
        await peer.receive_kind(CLOSE)

    _, end = await frames_of(transport, handler)
    assert end == closed


@pytest.mark.parametrize("way", ["reset", "end of stream"])
async def test_loss_of_the_connection_is_told(transport: Transport, way: str) -> None:
    """A connection that ends without a close frame is 1006, not ours, and what came before it has arrived."""

    async def handler(peer: Peer) -> None:
        await peer.accept()
        peer.text(b"last")
        await peer.receive_kind(TEXT)
        if way == "reset":
            peer.reset()

    frames = Frames()
    async with listening(handler) as port:
        link = await opened(transport, port, frames)
        await frames.wait_for(1)
        link.send("go")
        assert await ended(link) == LinkClosed(1006, "", by_us=False)
    assert frames == [b"last"]


@pytest.mark.parametrize("fragmented", [False, True])
async def test_too_large_a_message_ends_the_link(transport: Transport, fragmented: bool) -> None:
    """A message over the limit, in one frame or in fragments, ends the link with 1009 from us and reaches nobody."""
    codes: asyncio.Queue[bytes] = asyncio.Queue()

    async def handler(peer: Peer) -> None:
        await peer.accept()
        if fragmented:
            peer.send(TEXT, b"x" * 700, fin=False)
            peer.send(CONTINUATION, b"x" * 700)
        else:
            peer.text(b"x" * 1400)
        codes.put_nowait(await peer.receive_kind(CLOSE))

    options = LinkOptions(close_timeout_s=0.5, max_frame_bytes=1000)
    frames, end = await frames_of(transport, handler, options)
    assert (end.code, end.by_us, frames) == (1009, True, [])
    assert codes.get_nowait()[:2] == b"\x03\xf1"


@pytest.mark.parametrize("opcode", [CONTINUATION, 3], ids=["continuation-of-nothing", "unknown-opcode"])
async def test_breach_of_the_protocol_ends_the_link(transport: Transport, opcode: int) -> None:
    """A frame that may not come ends the link with 1002 from us."""

    async def handler(peer: Peer) -> None:
        await peer.accept()
        peer.send(opcode, b"?")
        await peer.receive_kind(CLOSE)

    _, end = await frames_of(transport, handler)
    assert (end.code, end.by_us) == (1002, True)


async def test_close_shakes_hands(transport: Transport) -> None:
    """Our close sends 1000 and ends when the server has answered."""
    codes: asyncio.Queue[bytes] = asyncio.Queue()

    async def handler(peer: Peer) -> None:
        await peer.accept()
        codes.put_nowait(await peer.receive_kind(CLOSE))
        peer.send(CLOSE, b"\x03\xe8")

    async with listening(handler) as port:
        link = await opened(transport, port, Frames())
        await link.close()
        assert await ended(link) == LinkClosed(1000, "", by_us=True)
    assert codes.get_nowait()[:2] == b"\x03\xe8"


@pytest.mark.parametrize("paused", [False, True])
async def test_close_is_bounded(transport: Transport, paused: bool) -> None:
    """A server that does not answer our close holds us up for the close timeout only; a paused link does not even wait."""

    async def handler(peer: Peer) -> None:
        await peer.accept()
        await peer.until_gone()
        await asyncio.sleep(30)

    async with listening(handler) as port:
        link = await opened(transport, port, Frames())
        if paused:
            link.pause()
        async with asyncio.timeout(5):
            await link.close()
        assert (await ended(link)).by_us


async def test_nothing_arrives_after_an_abort(transport: Transport) -> None:
    """An abort within the sink keeps back even the frames that were read together with the last one."""

    async def handler(peer: Peer) -> None:
        await peer.accept()
        await peer.receive_kind(TEXT)
        peer.writer.write(frame(TEXT, b"x" * 100) * 50)
        await peer.until_gone()

    class Aborting(Frames):
        def on_frame(self, frame: bytes, /) -> None:
            self.append(frame)
            if len(self) == 3:
                link.abort()

    frames = Aborting()
    async with listening(handler) as port:
        link = await opened(transport, port, frames)
        link.send("go")
        assert await ended(link) == LinkClosed(1006, "", by_us=True)
    assert len(frames) == 3


async def test_paused_link_stops_reading_and_goes_on_later(transport: Transport) -> None:
    """While paused, little more than what was buffered arrives; after `resume` everything does, in order."""
    total, payload = 20_000, 500

    async def handler(peer: Peer) -> None:
        await peer.accept()
        for number in range(total):
            peer.text(str(number).encode().rjust(payload))
            if number % 100 == 0:
                await peer.writer.drain()
        peer.send(CLOSE, b"")
        await peer.until_gone()

    frames = Frames()
    async with listening(handler) as port:
        link = await opened(transport, port, frames)
        link.pause()
        await asyncio.sleep(0.2)
        held_at = len(frames)
        await asyncio.sleep(0.2)
        assert len(frames) == held_at < total
        link.resume()
        await ended(link)
    assert [int(frame) for frame in frames] == list(range(total))


async def test_work_of_one_turn_is_bounded(transport: Transport) -> None:
    """However much the server has sent, the loop gets its turn after at most the receive buffer's worth of frames."""
    size = 200

    async def handler(peer: Peer) -> None:
        await peer.accept()
        for _ in range(40):
            peer.writer.write(frame(TEXT, b"x" * size) * 1000)
            await peer.writer.drain()
        peer.send(CLOSE, b"")
        await peer.until_gone()

    class Turns(Frames):
        largest = in_turn = 0

        def on_frame(self, frame: bytes, /) -> None:
            super().on_frame(frame)
            if self.in_turn == 0:
                asyncio.get_running_loop().call_soon(self.begin_turn)
            self.in_turn += 1

        def begin_turn(self) -> None:
            self.largest, self.in_turn = max(self.largest, self.in_turn), 0

    frames = Turns()
    async with listening(handler) as port:
        await ended(await opened(transport, port, frames))
    assert len(frames) == 40_000
    # One turn may end a read and begin the next.
    assert frames.largest * size <= 2 * OPTIONS.receive_buffer_bytes


async def test_error_of_the_sink_comes_out(transport: Transport) -> None:
    """What the sink raises ends the link and is raised to the one who waits for it."""

    async def handler(peer: Peer) -> None:
        await peer.accept()
        peer.text(b"frame")
        await peer.until_gone()

    class Broken(Frames):
        def on_frame(self, frame: bytes, /) -> None:
            raise ZeroDivisionError(f"a defect at {frame!r}")

    async with listening(handler) as port:
        link = await opened(transport, port, Broken())
        with pytest.raises(ZeroDivisionError, match="a defect"):
            await ended(link)


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


async def greet(peer: Peer) -> None:
    await peer.accept()
    peer.text(b"hello")
    await peer.serve_calmly()


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
