"""Opening links and waiting for their ends, in the tests of the transports."""

from __future__ import annotations

import asyncio

from k2.ingestion.adapters.feed.port import Link, LinkClosed, LinkOptions, Transport
from unit.feed.servers import Frames, Handler, Peer, listening

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


async def greet(peer: Peer) -> None:
    """Say hello and behave from then on."""
    await peer.accept()
    peer.text(b"hello")
    await peer.serve_calmly()
