"""The feed over both transports: subscriptions, ends of connections, pacing."""

from __future__ import annotations

import asyncio
import json

import pytest
from msgspec.structs import replace

from k2.errors import UnavailableError
from k2.ingestion.adapters.feed.backoff import AttemptBudget
from k2.ingestion.adapters.feed.feed import Endpoint, Feed
from k2.ingestion.adapters.feed.policy import Cause, FeedPolicy, FeedState
from k2.ingestion.adapters.feed.port import ConnectFailure, Transport
from unit.feed.running import POLICY, STREAMS, Engine, Told, announce_shutdown, behave, fall_silent, in_turn, running
from unit.feed.servers import CLOSE, PING, TEXT, Handler, Peer, eventually


async def test_feed_subscribes_and_delivers(transport: Transport) -> None:
    """A feed connects, subscribes its streams, is connected when they are acknowledged, and delivers."""
    async with running(transport, behave) as run:
        await eventually(lambda: run.engine.data)
        assert run.feed.connected
        assert run.feed.state is FeedState.STREAMING
        assert [event[0] for event in run.told.events] == ["connecting", "connected", "subscribed"]
        assert run.told.named("subscribed") == [tuple(STREAMS)]


async def test_not_connected_before_the_acknowledgement(transport: Transport) -> None:
    """An open link whose subscription is not answered yet does not count as connected."""
    answer = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.accept()
        await answer.wait()
        await peer.acknowledge()
        await peer.serve_calmly()

    async with running(transport, handler) as run:
        await run.told.wait_for("connected")
        await asyncio.sleep(0.05)
        assert (run.feed.connected, run.feed.state) == (False, FeedState.SUBSCRIBING)
        answer.set()
        await run.streaming()


async def test_many_streams_go_in_batches(transport: Transport) -> None:
    """More streams than one request holds are asked for one batch after another, each acknowledged for itself."""
    batches: list[list[str]] = []

    async def handler(peer: Peer) -> None:
        await peer.accept()
        batches.extend([await peer.acknowledge() for _ in range(3)])
        await peer.serve_calmly()

    streams = [f"s{number}@trade" for number in range(25)]
    policy = replace(POLICY, streams_per_request=10, requests_per_s=100)
    async with running(transport, handler, policy, streams=streams) as run:
        await run.streaming()
        assert batches == [streams[:10], streams[10:20], streams[20:]]
        assert len(run.told.named("subscribed")) == 3


async def test_refused_subscription_is_asked_for_again(transport: Transport) -> None:
    """A refused request is told with its streams and the error; the other streams go on, and it is made again."""

    async def handler(peer: Peer) -> None:
        await peer.accept()
        request = json.loads(await peer.receive_kind(TEXT))
        peer.text(json.dumps({"error": {"code": 2, "msg": "Invalid request"}, "id": request["id"]}).encode())
        await peer.acknowledge()
        await peer.acknowledge()
        await peer.serve_calmly()

    policy = replace(POLICY, streams_per_request=1, requests_per_s=100, refused_retry_s=0.1)
    async with running(transport, handler, policy) as run:
        await run.streaming()
        assert run.told.named("subscription_refused") == [(STREAMS[0], "Invalid request")]
        assert run.told.named("subscribed") == [(STREAMS[1],), (STREAMS[0],)]


async def close_with_1001(peer: Peer) -> None:
    await peer.accept()
    await peer.acknowledge()
    peer.send(CLOSE, b"\x03\xe9maintenance")
    await peer.receive_kind(CLOSE)


async def reset(peer: Peer) -> None:
    await peer.accept()
    await peer.acknowledge()
    peer.reset()


async def never_acknowledge(peer: Peer) -> None:
    await peer.accept()
    await peer.serve_calmly()


async def send_no_data(peer: Peer) -> None:
    await peer.accept()
    await peer.acknowledge()
    await peer.serve_calmly()


async def send_too_much(peer: Peer) -> None:
    await peer.accept()
    peer.writer.write(b"\x81\x7f" + (64 * 1024 * 1024).to_bytes(8, "big"))
    await peer.until_gone()


ENDS = [
    pytest.param(close_with_1001, POLICY, Cause.CLOSED_BY_SERVER, 1001, id="server-closes"),
    pytest.param(reset, POLICY, Cause.RESET, 1006, id="reset"),
    pytest.param(fall_silent, replace(POLICY, idle_ping_after_s=0.1), Cause.PONG_TIMEOUT, 1006, id="half-open"),
    pytest.param(send_no_data, replace(POLICY, silence_timeout_s=0.2), Cause.SILENCE, 1006, id="no-data"),
    pytest.param(never_acknowledge, replace(POLICY, ack_timeout_s=0.2), Cause.ACK_TIMEOUT, 1006, id="no-acknowledgement"),
    pytest.param(announce_shutdown, POLICY, Cause.SERVER_SHUTDOWN, 1000, id="server-announces"),
    pytest.param(send_too_much, POLICY, Cause.PROTOCOL, 1009, id="too-large"),
]


@pytest.mark.parametrize(("handler", "policy", "cause", "code"), ENDS)
async def test_every_end_has_a_cause_and_is_recovered_from(
    transport: Transport, handler: Handler, policy: FeedPolicy, cause: Cause, code: int
) -> None:
    """However a connection ends, its cause and code are told, and the next one streams."""
    async with running(transport, in_turn(handler, behave), policy) as run:
        assert (await run.told.wait_for("disconnected"))[:2] == (cause, code)
        await eventually(lambda: run.engine.data)
        await run.streaming()


async def test_closed_link_is_noticed_at_once(transport: Transport) -> None:
    """A close is noticed when it happens, not at the next tick of the watch."""
    async with running(transport, in_turn(close_with_1001, behave), replace(POLICY, tick_s=60)) as run:
        await run.told.wait_for("disconnected")
        await run.streaming()


async def test_heartbeat_pings_come_regardless_of_data(transport: Transport) -> None:
    """A busy connection is pinged every heartbeat interval too."""
    pings: list[bytes] = []

    async def handler(peer: Peer) -> None:
        await peer.accept()
        await peer.acknowledge()
        flood = asyncio.create_task(trickle(peer))
        try:
            while len(pings) < 3:
                pings.append(await peer.receive_kind(PING))
        finally:
            flood.cancel()

    async def trickle(peer: Peer) -> None:
        while True:
            peer.text(b'{"trade": 1}')
            await asyncio.sleep(0.01)

    async with running(transport, handler, replace(POLICY, heartbeat_interval_s=0.05)):
        await eventually(lambda: len(pings) >= 3)


async def test_accept_and_drop_is_paced(transport: Transport) -> None:
    """A server that accepts and drops is dialled at the back-off's pace, and each attempt counts on."""

    async def handler(peer: Peer) -> None:
        await peer.accept()

    async with running(transport, handler, replace(POLICY, reconnect_min_s=0.1, reconnect_max_s=0.2)) as run:
        await asyncio.sleep(1.0)
        attempts = run.told.named("connecting")
        assert attempts == [(number + 1,) for number in range(len(attempts))]
        assert 2 <= len(attempts) <= 11


async def test_attempt_budget_holds_whatever_happens(transport: Transport) -> None:
    """With no delay between failures at all, the budget still bounds the attempts."""

    async def handler(peer: Peer) -> None:
        await peer.refuse("503 Service Unavailable")

    policy = replace(POLICY, reconnect_min_s=0.0, reconnect_max_s=0.0)
    async with running(transport, handler, policy, AttemptBudget(attempts=4, window_s=60)) as run:
        await run.told.wait_for("refused", 4)
        await asyncio.sleep(0.2)
        refusals = run.told.named("refused")
        assert len(refusals) == 4
        assert refusals[-1][2] > 30  # what is announced includes the wait for the budget


async def test_data_resets_the_back_off(transport: Transport) -> None:
    """After a connection that brought data, attempts count from 1 again up to the first failure."""

    async def drop(peer: Peer) -> None:
        await peer.accept()

    async def deliver_and_drop(peer: Peer) -> None:
        await peer.accept()
        await peer.acknowledge()
        peer.text(b'{"trade": 1}')

    async with running(transport, in_turn(drop, drop, deliver_and_drop, behave)) as run:
        await run.told.wait_for("connected", 4)
        assert run.told.named("connecting") == [(1,), (2,), (3,), (2,)]


async def test_refusal_is_told_and_obeyed(transport: Transport) -> None:
    """A 429 with Retry-After is told with the status and keeps the feed away that long."""
    dialled: list[float] = []

    async def handler(peer: Peer) -> None:
        dialled.append(asyncio.get_running_loop().time())
        if len(dialled) == 1:
            await peer.refuse("429 Too Many Requests", "Retry-After: 1")
        else:
            await behave(peer)

    async with running(transport, handler) as run:
        status, detail, retry_in_s = await run.told.wait_for("refused")
        assert (status, retry_in_s) == (429, 1.0)
        assert "too many attempts" in detail
        await run.streaming()
    assert dialled[1] - dialled[0] >= 0.9


async def test_restricted_location_is_named(transport: Transport) -> None:
    """A 451 is told with its meaning, and retried slowly."""

    async def handler(peer: Peer) -> None:
        await peer.refuse("451 Unavailable For Legal Reasons", body=b"Service unavailable from a restricted location")

    async with running(transport, handler) as run:
        status, detail, retry_in_s = await run.told.wait_for("refused")
        assert (status, retry_in_s) == (451, 300.0)
        assert "data-stream.binance.vision" in detail
        assert "restricted location" in detail


async def test_nobody_there_is_told_by_kind(transport: Transport) -> None:
    """A failed connect is told with its kind and the time to the next attempt."""
    told, engine = Told(), Engine()
    engine.feed = Feed(Endpoint("ws://127.0.0.1:1/stream", transport), STREAMS, engine, told, POLICY)
    task = asyncio.create_task(engine.feed.run())
    kind, _, retry_in_s = await told.wait_for("connect_failed", 2)
    await engine.feed.stop()
    await task
    assert kind is ConnectFailure.REFUSED
    assert 0 < retry_in_s <= POLICY.reconnect_max_s


async def test_gives_up_only_when_told_to(transport: Transport) -> None:
    """With `give_up_after`, that many failures in a row end the feed with an error that names the server."""

    async def handler(peer: Peer) -> None:
        await peer.refuse("503 Service Unavailable")

    async with running(transport, handler, replace(POLICY, give_up_after=3)) as run:
        with pytest.raises(UnavailableError, match="3 failures in a row"):
            await run.task
        assert len(run.told.named("connecting")) == 3
        assert run.feed.state is FeedState.STOPPED
