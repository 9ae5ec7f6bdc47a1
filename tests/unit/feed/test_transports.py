"""What arrives over both transports, and how their links end."""

from __future__ import annotations

import asyncio

import pytest

from k2.ingestion.adapters.feed.port import LinkClosed, LinkOptions, Transport
from unit.feed.links import OPTIONS, ended, frames_of, opened
from unit.feed.servers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frames, Peer, eventually, frame, listening


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


async def test_frames_go_to_the_sink_of_the_moment(transport: Transport) -> None:
    """A link that is told of another sink hands it what comes from then on, and nothing twice."""
    go_on = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.accept()
        peer.text(b"one")
        await go_on.wait()
        peer.text(b"two")
        peer.send(CLOSE, b"")

    first, second = Frames(), Frames()
    async with listening(handler) as port:
        link = await opened(transport, port, first)
        await first.wait_for(1)
        link.hand_to(second)
        go_on.set()
        await ended(link)
    assert (first, second) == ([b"one"], [b"two"])


async def test_aborted_link_takes_no_other_sink(transport: Transport) -> None:
    """After an abort nobody gets anything, whatever the link is told."""

    async def handler(peer: Peer) -> None:
        await peer.accept()
        for _ in range(1000):
            peer.text(b"late")
        await peer.until_gone()

    first, second = Frames(), Frames()
    async with listening(handler) as port:
        link = await opened(transport, port, first)
        link.abort()
        link.hand_to(second)
        await ended(link)
    assert second == []


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
