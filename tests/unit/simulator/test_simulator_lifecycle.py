"""Beginning and end: handshakes on record, stopping, going on with the same market, TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING

import trustme

from unit.simulator.wire import dial, ended, eventually, receive, small_market

if TYPE_CHECKING:
    from unit.simulator.conftest import Serve


def _ids(frames: list[bytes], key: str = "a") -> list[int]:
    return [json.loads(frame)[key] for frame in frames]


async def test_handshakes_are_on_record(serve: Serve) -> None:
    """What a client asked for when it connected can be looked at."""
    exchange = await serve()
    async with dial(exchange, "/stream?streams=a@b", additional_headers={"X-Test": "yes"}):
        pass
    handshake = exchange.handshakes[0]
    assert (handshake.target, handshake.status, handshake.headers["x-test"]) == ("/stream?streams=a@b", 101, "yes")
    assert await eventually(lambda: exchange.connections[0].ending is not None)
    assert exchange.connections[0].ending is not None
    assert (exchange.connections[0].ending.by, exchange.connections[0].ending.code) == ("client", 1000)


async def test_stopping_closes_the_connections(serve: Serve) -> None:
    """A client of an exchange that stops gets a close frame."""
    exchange = await serve()
    async with dial(exchange, "/ws") as client:
        stopping = asyncio.create_task(exchange.stop())
        assert await ended(client) == (1001, "exchange stopped")
        await stopping


async def test_a_client_that_reads_nothing_does_not_hold_up_the_end(serve: Serve) -> None:
    """Where the close frame cannot get through, the connection is dropped after the close timeout."""
    exchange = await serve(small_market(count=100_000), close_timeout_s=0.2)
    async with dial(exchange, "/ws/btcusdt@trade", max_queue=1) as client:
        await receive(client)
        await asyncio.wait_for(exchange.stop(), 10)
        assert not exchange.open_connections


async def test_another_exchange_goes_on_with_the_same_market(serve: Serve) -> None:
    """A market outlives its server: after a restart the ids go on."""
    market = small_market(rate=2_000.0, count=None)
    first = await serve(market)
    async with dial(first, "/ws/btcusdt@trade") as client:
        last = _ids(await receive(client, 3), "t")[-1]
    await first.stop()
    second = await serve(market, port=first.port)
    async with dial(second, "/ws/btcusdt@trade") as client:
        assert _ids(await receive(client), "t")[0] > last


async def test_tls_can_be_switched_on(serve: Serve) -> None:
    """With a certificate the exchange serves wss:// and https://."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    server, client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    certificate.configure_cert(server)
    authority.configure_trust(client_side)
    exchange = await serve(tls=server)
    assert exchange.rest_url.startswith("https://127.0.0.1:")
    async with dial(exchange, "/ws/btcusdt@aggTrade", ssl=client_side) as client:
        assert _ids(await receive(client, 20)) == list(range(1, 21))
