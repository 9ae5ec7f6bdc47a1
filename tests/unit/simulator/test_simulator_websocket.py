"""The WebSocket side as a client meets it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus

from unit.simulator.wire import ask, dial, ended, eventually, receive, small_market, stays_silent

if TYPE_CHECKING:
    from unit.simulator.conftest import Serve


def _ids(frames: list[bytes], key: str = "a") -> list[int]:
    events = [json.loads(frame) for frame in frames]
    return [event.get("data", event)[key] for event in events]


@pytest.mark.parametrize(
    ("target", "combined"),
    [
        pytest.param("/ws/btcusdt@aggTrade", False, id="raw"),
        pytest.param("/ws/btcusdt@aggTrade/ethusdt@trade", False, id="raw-several"),
        pytest.param("/stream?streams=btcusdt@aggTrade/x@y", True, id="combined"),
        pytest.param("/stream?streams=btcusdt%40aggTrade", True, id="combined-encoded"),
        pytest.param("/market/stream?streams=btcusdt@aggTrade", True, id="futures-path"),
        pytest.param("/market/ws/btcusdt@aggTrade", False, id="futures-path-raw"),
    ],
)
async def test_streams_named_in_the_url_arrive_in_order(serve: Serve, target: str, *, combined: bool) -> None:
    """Every frame arrives, in the market's order, wrapped below /stream and bare below /ws."""
    exchange = await serve()
    async with dial(exchange, target) as client:
        frames = await receive(client, 20)
        assert _ids(frames) == list(range(1, 21))
        assert all(("stream" in json.loads(frame)) is combined for frame in frames)
        await asyncio.wait_for(exchange.exhausted.wait(), 5)
        assert await stays_silent(client, 0.05)
    assert exchange.sent == {"btcusdt@aggTrade": 20}


@pytest.mark.parametrize(("target", "wrapped"), [("/ws", False), ("/stream", True)])
async def test_a_subscription_on_the_open_socket_starts_the_stream(serve: Serve, target: str, *, wrapped: bool) -> None:
    """SUBSCRIBE is acknowledged unwrapped, and the frames follow in the framing of the path."""
    exchange = await serve()
    async with dial(exchange, target) as client:
        assert await ask(client, "SUBSCRIBE", ["btcusdt@trade"], 7) == {"result": None, "id": 7}
        frames = await receive(client, 20)
    assert _ids(frames, "t") == list(range(1, 21))
    assert ("stream" in json.loads(frames[0])) is wrapped


async def test_framing_can_be_switched_on_the_open_socket(serve: Serve) -> None:
    """SET_PROPERTY combined makes a raw connection a combined one."""
    exchange = await serve()
    async with dial(exchange, "/ws") as client:
        assert (await ask(client, "GET_PROPERTY", ["combined"]))["result"] is False
        await ask(client, "SET_PROPERTY", ["combined", True])
        await ask(client, "SUBSCRIBE", ["btcusdt@aggTrade"])
        assert json.loads((await receive(client))[0])["stream"] == "btcusdt@aggTrade"


@pytest.mark.parametrize("stream", ["BTCUSDT@aggTrade", "nosuch@aggTrade", "btcusdt@depth@7ms", "btcusdt@aggtrade", "x"])
async def test_a_stream_that_does_not_exist_is_acknowledged_and_silent(serve: Serve, stream: str) -> None:
    """An acknowledgement proves nothing: the stream is listed and never sends."""
    exchange = await serve()
    async with dial(exchange, "/stream") as client:
        assert await ask(client, "SUBSCRIBE", [stream]) == {"result": None, "id": 1}
        assert (await ask(client, "LIST_SUBSCRIPTIONS"))["result"] == [stream]
        assert await stays_silent(client)


@pytest.mark.parametrize(
    ("path", "silent", "speaking"), [("/public", "aggTrade", "trade"), ("/market", "trade", "aggTrade")], ids=["public", "market"]
)
async def test_a_futures_path_delivers_its_own_streams_only(serve: Serve, path: str, silent: str, speaking: str) -> None:
    """The other path's streams are acknowledged and stay silent."""
    exchange = await serve(small_market(venue="usdm"))
    async with dial(exchange, f"{path}/stream") as client:
        await ask(client, "SUBSCRIBE", [f"btcusdt@{silent}"])
        assert await stays_silent(client)
        await ask(client, "SUBSCRIBE", [f"btcusdt@{speaking}"])
        assert json.loads((await receive(client))[0])["stream"] == f"btcusdt@{speaking}"


async def test_unsubscribing_ends_a_stream(serve: Serve) -> None:
    """After UNSUBSCRIBE only what was under way arrives, and the market goes on without the reader."""
    exchange = await serve(small_market(rate=500.0, count=None))
    async with dial(exchange, "/ws/btcusdt@aggTrade") as client:
        await receive(client, 5)
        await client.send('{"method":"UNSUBSCRIBE","params":["btcusdt@aggTrade"],"id":2}')
        async with asyncio.timeout(5):
            while json.loads(await client.recv()) != {"result": None, "id": 2}:
                pass
        assert await stays_silent(client)


@pytest.mark.parametrize("text", ["hello", "{", b"\x00\x01"])
async def test_no_json_closes_with_1008(serve: Serve, text: str | bytes) -> None:
    """Anything but JSON ends the connection with "Invalid request"."""
    exchange = await serve()
    async with dial(exchange, "/ws") as client:
        await client.send(text)
        assert await ended(client) == (1008, "Invalid request")


async def test_too_many_client_messages_close_with_1008(serve: Serve) -> None:
    """The sixth message within a second is one too many; pings count."""
    exchange = await serve(messages_per_s=5)
    async with dial(exchange, "/ws") as client:
        for _ in range(3):
            await client.ping()
            await client.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        closed = await ended(client)
    assert closed == (1008, "Too many requests")


async def test_more_streams_than_allowed_are_refused(serve: Serve) -> None:
    """1,024 streams fit on a connection, one more does not."""
    exchange = await serve()
    streams = [f"s{i}@trade" for i in range(1_025)]
    async with dial(exchange, "/ws") as client:
        assert (await ask(client, "SUBSCRIBE", streams))["error"]["code"] == 2
        assert (await ask(client, "SUBSCRIBE", streams[1:]))["result"] is None
    with pytest.raises(InvalidStatus, match="400"):
        await dial(exchange, "/ws/" + "/".join("abcdefg"[i % 7] + str(i) for i in range(1_025))).__aenter__()


async def test_the_server_pings_and_remembers_the_pongs(serve: Serve) -> None:
    """Pings carry the time in milliseconds, and the pongs that answer them are on record."""
    exchange = await serve(ping_interval_s=0.05)
    async with dial(exchange, "/ws"):
        connection = exchange.connections[0]
        assert await eventually(lambda: len(connection.pongs) >= 3)
    assert all(len(pong.payload) == 13 and pong.payload.isdigit() for pong in connection.pongs)


async def test_a_client_that_answers_no_ping_is_closed(serve: Serve) -> None:
    """Without its pong a connection ends with 1008 "Pong timeout"; an unasked-for pong does not save it."""
    exchange = await serve(ping_interval_s=0.05, pong_timeout_s=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", exchange.port)
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    upgrade = f"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}"
    writer.write(f"GET /ws HTTP/1.1\r\n{upgrade}\r\n\r\n".encode())
    writer.write(b"\x8a\x80\x00\x00\x00\x00")  # an empty pong
    received = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert received.endswith(b"\x88\x0e\x03\xf0Pong timeout")
    assert exchange.connections[0].ending is not None
    assert exchange.connections[0].ending.code == 1008


async def test_the_clients_own_pings_are_answered_and_recorded(serve: Serve) -> None:
    """A ping comes back as a pong with its payload."""
    exchange = await serve()
    async with dial(exchange, "/ws") as client:
        await asyncio.wait_for(await client.ping(b"are you there"), 5)
    assert [ping.payload for ping in exchange.connections[0].pings] == [b"are you there"]


async def test_an_old_connection_is_closed(serve: Serve) -> None:
    """A connection lives for its lifetime and no longer."""
    exchange = await serve(lifetime_s=0.1)
    async with dial(exchange, "/ws") as client:
        assert (await ended(client))[0] == 1001


@pytest.mark.parametrize(
    "offer",
    [
        pytest.param("permessage-deflate", id="shared-window"),
        pytest.param("permessage-deflate; server_no_context_takeover", id="window-per-message"),
    ],
)
async def test_compression_is_agreed_to_where_offered(serve: Serve, offer: str) -> None:
    """Compressed frames decode to the same bytes as plain ones, replies in between included."""
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory  # noqa: PLC0415 - this test only

    factory = ClientPerMessageDeflateFactory(server_no_context_takeover="no_context" in offer)
    plain, squeezed = await serve(), await serve()
    async with dial(plain, "/ws/btcusdt@trade") as client:
        expected = _without_times(await receive(client, 20))
    async with dial(squeezed, "/ws", extensions=[factory]) as client:
        await ask(client, "SUBSCRIBE", ["btcusdt@trade"])
        assert client.response is not None
        assert client.response.headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
        assert _without_times(await receive(client, 20)) == expected


def _without_times(frames: list[bytes]) -> list[dict[str, Any]]:
    return [{key: value for key, value in json.loads(frame).items() if key not in "ET"} for frame in frames]


async def test_compression_is_not_forced(serve: Serve) -> None:
    """An exchange without compression ignores the offer."""
    exchange = await serve(compression=False)
    async with dial(exchange, "/ws/btcusdt@trade", compression="deflate") as client:
        await receive(client, 20)
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers


async def test_every_subscriber_gets_every_frame(serve: Serve) -> None:
    """Two connections see the same trades, and the counters tell them apart."""
    exchange = await serve(start="called")
    async with dial(exchange, "/ws/btcusdt@trade") as one, dial(exchange, "/stream?streams=btcusdt@trade") as other:
        exchange.begin()
        assert _ids(await receive(one, 20), "t") == _ids(await receive(other, 20), "t")
    assert [connection.sent["btcusdt@trade"] for connection in exchange.connections] == [20, 20]
    assert exchange.sent["btcusdt@trade"] == 40


async def test_a_slow_reader_of_a_paced_market_is_cut_off(serve: Serve) -> None:
    """What a client does not read may not pile up without bound; the others are not disturbed."""
    exchange = await serve(small_market(rate=20_000.0, count=None), backlog_bytes=100_000)
    async with dial(exchange, "/ws/btcusdt@trade", max_queue=1) as slow, dial(exchange, "/ws/btcusdt@trade") as quick:
        reading = asyncio.create_task(_read_on(quick))
        assert await eventually(lambda: not exchange.connections[0].open)
        assert exchange.connections[1].open
        reading.cancel()
        assert (await ended(slow))[0] == 1006
    assert exchange.connections[0].ending is not None
    assert exchange.connections[0].ending.reason == "too slow"


async def _read_on(client: Any) -> None:
    async for _message in client:
        pass


async def test_a_market_at_full_speed_waits_for_its_slowest_reader(serve: Serve) -> None:
    """Nothing is dropped and nothing piles up: the market stands still while a reader does."""
    market = small_market(count=100_000)
    exchange = await serve(market, backlog_bytes=100_000, start="called")
    async with dial(exchange, "/ws/btcusdt@trade", max_queue=1) as slow:
        exchange.begin()
        await asyncio.sleep(0.3)
        assert market.issued < 100_000
        assert _ids(await receive(slow, 1_000), "t") == list(range(1, 1_001))
        assert exchange.connections[0].open


async def test_the_market_goes_on_while_nobody_listens(serve: Serve) -> None:
    """Ids count on between two connections, as trading does not wait for us."""
    exchange = await serve(small_market(rate=2_000.0, count=None))
    async with dial(exchange, "/ws/btcusdt@trade") as client:
        last = _ids(await receive(client, 5), "t")[-1]
    await asyncio.sleep(0.1)
    async with dial(exchange, "/ws/btcusdt@trade") as client:
        assert _ids(await receive(client), "t")[0] > last + 20
