"""Faults, as a client suffers them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
import pytest
from websockets.exceptions import InvalidStatus

from k2.simulator import faults, garbage
from k2.simulator.catalogue import CATALOGUES
from k2.simulator.market import Venue
from k2.simulator.samples import sample
from unit.simulator.listening import VENUES
from unit.simulator.wire import ask, dial, ended, eventually, get, receive, small_market, stays_silent

if TYPE_CHECKING:
    from k2.simulator.exchange import Exchange
    from unit.simulator.conftest import Serve


async def test_close_sends_code_and_reason(serve: Serve) -> None:
    """The client gets the close frame that was asked for."""
    exchange = await serve()
    async with dial(exchange, "/ws") as client:
        striking = asyncio.create_task(exchange.inject(faults.Close(4321, "because")))
        assert await ended(client) == (4321, "because")
        await striking


async def test_a_fault_can_strike_one_connection(serve: Serve) -> None:
    """Only the numbered connection is closed; a number that is not open is an error."""
    exchange = await serve()
    async with dial(exchange, "/ws") as one, dial(exchange, "/ws") as other:
        striking = asyncio.create_task(exchange.inject(faults.Close(connection=1)))
        assert (await ended(one))[0] == 1001
        await striking
        assert (await ask(other, "LIST_SUBSCRIPTIONS"))["result"] == []
        with pytest.raises(ValueError, match="connection 9 is not open"):
            await exchange.inject(faults.Reset(connection=9))


async def test_reset_breaks_the_connection_hard(serve: Serve) -> None:
    """The client's socket sees a TCP reset."""
    exchange = await serve()
    async with aiohttp.ClientSession() as session, session.ws_connect(exchange.ws_url + "/ws") as client:
        await exchange.inject(faults.Reset())
        message = await client.receive(timeout=5)
        assert message.type in {aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSED}
        assert client.close_code == 1006
    assert exchange.connections[0].ending is not None
    assert exchange.connections[0].ending.reason == "reset"


async def test_silence_leaves_the_connection_open(serve: Serve) -> None:
    """No frame, no reply and no pong comes any more; new connections are served."""
    exchange = await serve(small_market(rate=200.0, count=None))
    async with dial(exchange, "/ws/btcusdt@trade", close_timeout=0.1) as client:
        await receive(client)
        await exchange.inject(faults.Silence())
        while not await stays_silent(client):
            pass
        pong = asyncio.ensure_future(await client.ping())
        assert await eventually(lambda: len(exchange.connections[0].pings) == 1)
        assert not pong.done()
        assert exchange.connections[0].open
        async with dial(exchange, "/ws/btcusdt@trade") as other:
            await receive(other)
    assert await eventually(lambda: not exchange.connections[0].open)


async def test_single_streams_can_fall_silent(serve: Serve) -> None:
    """The other streams go on, until the fault is cleared."""
    exchange = await serve(small_market(rate=200.0, count=None, symbols=("BTCUSDT", "ETHUSDT")))
    await exchange.inject(faults.Silence(streams=("btcusdt@trade",)))
    async with dial(exchange, "/stream?streams=btcusdt@trade/ethusdt@trade") as client:
        assert {json.loads(frame)["stream"] for frame in await receive(client, 5)} == {"ethusdt@trade"}
        assert exchange.withheld["btcusdt@trade"] >= 4
        await exchange.inject(faults.Clear())
        assert "btcusdt@trade" in {json.loads(frame)["stream"] for frame in await receive(client, 20)}


@pytest.mark.parametrize("on_rest", [True, False], ids=["lost-on-the-way", "never-existed"])
async def test_skipped_ids_are_missing(serve: Serve, *, on_rest: bool) -> None:
    """The next ids of a symbol are not sent; REST has them only where they exist."""
    exchange = await serve()
    await exchange.inject(faults.Skip("BTCUSDT", 3, on_rest=on_rest))
    async with dial(exchange, "/ws/btcusdt@aggTrade") as client:
        assert [json.loads(frame)["a"] for frame in await receive(client, 17)] == list(range(4, 21))
    _, body, _ = await get(exchange, "/api/v3/aggTrades?symbol=BTCUSDT&fromId=1&limit=5")
    assert [trade["a"] for trade in body] == ([1, 2, 3, 4, 5] if on_rest else [4, 5])
    assert exchange.withheld == {"btcusdt@aggTrade": 3}


@pytest.mark.parametrize("status", [418, 429, 451, 503])
async def test_handshakes_can_be_refused(serve: Serve, status: int) -> None:
    """The next handshakes are answered with a status and Retry-After, and the one after them is accepted."""
    exchange = await serve()
    await exchange.inject(faults.Refuse(status, count=1, retry_after_s=7))
    with pytest.raises(InvalidStatus) as refused:
        await dial(exchange, "/ws").__aenter__()
    assert (refused.value.response.status_code, refused.value.response.headers["Retry-After"]) == (status, "7")
    async with dial(exchange, "/ws"):
        pass
    assert [handshake.status for handshake in exchange.handshakes] == [status, 101]


@pytest.mark.parametrize(("target", "statuses"), [("websocket", [200, 503]), ("rest", [451, 101]), ("both", [451, 451])])
async def test_rest_can_be_refused_too(serve: Serve, target: faults.Target, statuses: list[int]) -> None:
    """A refusal is for WebSockets, for REST or for both, until it is cleared."""
    exchange = await serve()
    await exchange.inject(faults.Refuse(503 if target == "websocket" else 451, target=target))
    assert [(await get(exchange, "/api/v3/ping"))[0], await _handshake_status(exchange)] == statuses
    await exchange.inject(faults.Clear())
    assert [(await get(exchange, "/api/v3/ping"))[0], await _handshake_status(exchange)] == [200, 101]


async def _handshake_status(exchange: Exchange) -> int:
    try:
        async with dial(exchange, "/ws"):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def test_connections_can_be_accepted_and_dropped(serve: Serve) -> None:
    """The handshake succeeds and the connection is gone, without a close frame."""
    exchange = await serve()
    await exchange.inject(faults.AcceptAndDrop(1))
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(exchange.ws_url + "/ws") as client:
            assert (await client.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSED
            assert client.close_code == 1006
        async with session.ws_connect(exchange.ws_url + "/ws") as client:
            await client.send_str('{"method":"LIST_SUBSCRIPTIONS","id":1}')
            assert (await client.receive_json(timeout=5))["result"] == []
    assert [handshake.status for handshake in exchange.handshakes] == [101, 101]


@pytest.mark.parametrize(("target", "wrapped"), [("/ws", False), ("/stream", True)])
async def test_a_shutdown_is_announced(serve: Serve, target: str, *, wrapped: bool) -> None:
    """serverShutdown comes unasked in the connection's framing, then the connection closes; new ones are not struck."""
    exchange = await serve()
    async with dial(exchange, target) as client:
        await exchange.inject(faults.Shutdown(close_after_s=0.1))
        event = json.loads((await receive(client))[0])
        async with dial(exchange, target) as successor:
            assert (await ended(client))[0] == 1001
            assert (await ask(successor, "LIST_SUBSCRIPTIONS"))["result"] == []
    assert event.get("stream") == ("!serverShutdown" if wrapped else None)
    assert event.get("data", event)["e"] == "serverShutdown"


@pytest.mark.parametrize("venue", ["spot", "usdm"])
@pytest.mark.parametrize("name", garbage.NAMES)
def test_garbage_is_what_its_name_says(name: str, venue: Venue) -> None:
    """Each kind of garbage differs from the well-formed event, and is always the same."""
    good = garbage._envelope("btcusdt@aggTrade", garbage._compact(sample(venue, "btcusdt@aggTrade", 5)))
    payload, opcode = garbage.frame(name, venue, "btcusdt@aggTrade", 5)
    assert payload != good
    assert garbage.frame(name, venue, "btcusdt@aggTrade", 5) == (payload, opcode)


@pytest.mark.parametrize(("venue", "kind"), [(venue, kind) for venue in VENUES for kind in CATALOGUES[venue].kinds])
def test_every_stream_has_its_garbage(venue: Venue, kind: str) -> None:
    """Each garbage that fits is other than the well-formed event; what does not fit is refused by name."""
    stream = kind if kind.startswith("!") else f"btcusdt@{kind}"
    good = garbage._envelope(stream, garbage._compact(sample(venue, stream, 5)))
    fitting = garbage.names_for(venue, stream)
    assert {"empty_object", "price_nan", "not_json", "truncated"} <= set(fitting)
    assert good not in {garbage.frame(name, venue, stream, 5)[0] for name in fitting}
    for name in set(garbage.NAMES) - set(fitting):
        with pytest.raises(ValueError, match=f"garbage {name} does not fit"):
            garbage.frame(name, venue, stream, 5)


@pytest.mark.parametrize(
    ("venue", "stream", "name", "spoilt"),
    [
        ("spot", "btcusdt@kline_1m", "price_nan", '"c":"NaN"'),
        ("spot", "btcusdt@bookTicker", "price_negative", '"b":"-1.00000000"'),
        ("spot", "btcusdt@depth@100ms", "price_empty", '"b":[["",'),
        ("spot", "btcusdt@depth5", "id_as_text", '"lastUpdateId":"1"'),
        ("usdm", "!miniTicker@arr", "price_as_number", '"c":1.5'),
        ("usdm", "btcusdt@forceOrder", "time_zero", '"T":0'),
    ],
)
def test_garbage_spoils_what_its_name_says(venue: Venue, stream: str, name: str, spoilt: str) -> None:
    """Also where the field has another name than in a trade, or lies deeper."""
    assert spoilt in garbage.frame(name, venue, stream, 0)[0].decode()


@pytest.mark.parametrize("kind", ["kline_1m", "depth@100ms", "bookTicker", "!miniTicker@arr"])
async def test_any_stream_can_be_silenced_and_skipped(serve: Serve, kind: str) -> None:
    """Silence withholds all of its frames, Skip the next ones, and both are counted."""
    stream = kind if kind.startswith("!") else f"btcusdt@{kind}"
    exchange = await serve(small_market(rate=2_000.0, event_rate=20.0, count=None))
    await exchange.inject(faults.Silence(streams=(stream,)))
    async with dial(exchange, f"/stream?streams={stream}") as client:
        assert await eventually(lambda: exchange.withheld[stream] >= 3)
        assert exchange.sent[stream] == 0
        await exchange.inject(faults.Clear())
        await receive(client)
        if not kind.startswith("!"):
            withheld = exchange.withheld[stream]
            await exchange.inject(faults.Skip("BTCUSDT", 2, kinds=(kind,), on_rest=False))
            await receive(client, 20)
            assert exchange.withheld[stream] == withheld + 2


async def test_garbage_goes_out_as_it_is(serve: Serve) -> None:
    """All kinds at once, invalid text included; what was handed in comes last; the counters know."""
    exchange = await serve()
    async with aiohttp.ClientSession() as session, session.ws_connect(exchange.ws_url + "/stream") as client:
        names = tuple(name for name in garbage.NAMES if name != "not_utf8")
        await exchange.inject(faults.Garbage(names, frames=(b"mine",)))
        received = [await client.receive(timeout=5) for _ in range(len(names) + 1)]
        await exchange.inject(faults.Garbage(("not_utf8",)))
        assert (await client.receive(timeout=5)).type is aiohttp.WSMsgType.ERROR
    assert received[-1].data == "mine"
    assert [message.type for message in received].count(aiohttp.WSMsgType.BINARY) == 1
    assert exchange.garbage_sent == {**dict.fromkeys(garbage.NAMES, 1), "given": 1}
    assert exchange.sent == {}


async def test_unknown_garbage_is_refused(serve: Serve) -> None:
    """The error lists what there is."""
    with pytest.raises(ValueError, match="no garbage is named nonsense; known: not_json"):
        await (await serve()).inject(faults.Garbage(("nonsense",)))


async def test_faults_can_be_ordered_over_http(serve: Serve) -> None:
    """Another process strikes by POST and reads the counters by GET."""
    exchange = await serve()
    async with dial(exchange, "/ws/btcusdt@trade") as client, aiohttp.ClientSession() as session:
        await receive(client, 20)
        url = exchange.rest_url + "/control/fault"
        striking = asyncio.create_task(_post(session, url, {"kind": "close", "code": 4000, "reason": "http"}))
        assert await ended(client) == (4000, "http")
        assert await striking == (200, '{"ok":true}')
        status, text = await _post(session, url, {"kind": "close", "code": "x"})
        assert (status, "Expected `int`" in text) == (400, True)
        state = json.loads(await (await session.get(exchange.rest_url + "/control/state")).text())
    assert state["sent"] == {"btcusdt@trade": 20}
    assert state["connections"][0]["ending"] == {"by": "server", "code": 4000, "reason": "http"}


async def _post(session: aiohttp.ClientSession, url: str, fault: object) -> tuple[int, str]:
    async with session.post(url, json=fault) as response:
        return response.status, await response.text()


@pytest.mark.parametrize("kind", [kind for kind in faults.KINDS if kind not in {"skip", "list_symbol", "delist"}])
def test_a_fault_can_be_named_alone(kind: str) -> None:
    """The bare name means the fault with its defaults."""
    assert type(faults.from_json(kind)).__struct_config__.tag == kind


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("explode", "no fault is named 'explode'; known: close"),
        ("skip", "symbol"),
        ('{"kind":"close","code":[]}', "int"),
        ("{", "truncated"),
    ],
)
def test_a_wrong_fault_says_what_is_wrong(text: str, complaint: str) -> None:
    """Unknown names, missing fields and wrong types are ValueErrors."""
    with pytest.raises(ValueError, match=complaint):
        faults.from_json(text)
