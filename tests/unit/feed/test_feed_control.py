"""What the engine may do to a feed: pause, hold, stop, cancel; and what its own defects do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from k2.errors import ConfigurationError
from k2.ingestion.adapters.feed.feed import Endpoint, Feed
from k2.ingestion.adapters.feed.policy import Cause, FeedState
from k2.ingestion.adapters.feed.port import Transport
from unit.feed.running import POLICY, STREAMS, Engine, Running, Told, announce_shutdown, behave, fall_silent, in_turn, running
from unit.feed.servers import TEXT, Handler, Peer, eventually, frame, listening


async def test_paused_feed_is_not_taken_for_dead(transport: Transport) -> None:
    """While paused, idle detection and acknowledgements wait; after `resume` what was sent meanwhile arrives."""
    total = 20_000

    async def handler(peer: Peer) -> None:
        await peer.accept()
        await peer.acknowledge()
        await eventually(lambda: paused)
        for _ in range(total // 100):
            peer.writer.write(frame(TEXT, b'{"trade": 1, "padding": "' + b"x" * 400 + b'"}') * 100)
            await peer.writer.drain()
        await peer.serve_calmly()

    paused = []
    async with running(transport, handler, replace(POLICY, idle_ping_after_s=0.1, pong_timeout_s=0.1)) as run:
        await run.streaming()
        run.feed.pause()
        paused.append(True)
        await asyncio.sleep(0.5)
        assert len(run.engine.data) < total
        run.feed.resume()
        await eventually(lambda: len(run.engine.data) == total)
        assert run.told.named("disconnected") == []


async def test_paused_feed_does_not_dial(transport: Transport) -> None:
    """A link that drops while paused is dialled again only after `resume`: its acknowledgement could not be read."""

    async with running(transport, in_turn(fall_silent, behave)) as run:
        await run.streaming()
        run.feed.pause()
        run.feed.hold("test")
        await run.told.wait_for("disconnected")
        run.feed.release()
        await asyncio.sleep(0.1)
        assert len(run.told.named("connecting")) == 1
        run.feed.resume()
        await run.streaming()


async def test_hold_closes_and_stays_away(transport: Transport) -> None:
    """A held feed closes in good order, does not come back by itself, and does at once when released."""
    async with running(transport, behave) as run:
        await eventually(lambda: run.engine.data)
        run.feed.hold("back-pressure")
        assert not run.feed.connected
        assert await run.told.wait_for("disconnected") == (Cause.HOLD, 1000, "")
        await asyncio.sleep(0.2)
        assert (run.feed.state, run.feed.held_for) == (FeedState.HELD, "back-pressure")
        assert len(run.told.named("connecting")) == 1
        run.feed.release()
        await run.streaming()
        assert run.feed.held_for is None


async def test_hold_breaks_off_a_dial(transport: Transport) -> None:
    """A hold while the server ponders abandons the attempt."""
    gone = asyncio.Event()

    async def ponder(peer: Peer) -> None:
        await peer.read_request()
        await peer.until_gone()
        gone.set()

    async with running(transport, in_turn(ponder, behave)) as run:
        await run.told.wait_for("connecting")
        await asyncio.sleep(0.1)
        run.feed.hold("test")
        async with asyncio.timeout(5):
            await gone.wait()
        await eventually(lambda: run.feed.state is FeedState.HELD)
        run.feed.release()
        await run.streaming()


async def test_server_shutdown_is_left_at_once(transport: Transport) -> None:
    """An announced shutdown costs no back-off."""
    policy = replace(POLICY, reconnect_min_s=60, reconnect_max_s=60)
    async with running(transport, in_turn(announce_shutdown, behave), policy) as run:
        await run.told.wait_for("disconnected")
        await run.streaming()


async def test_endless_announcements_are_paced(transport: Transport) -> None:
    """A server that announces its shutdown on every connection is left at once only the first time."""
    policy = replace(POLICY, reconnect_min_s=60, reconnect_max_s=60)
    async with running(transport, announce_shutdown, policy) as run:
        await run.told.wait_for("disconnected", 2)
        await asyncio.sleep(0.1)
        assert len(run.told.named("connecting")) == 2


async def test_stop_shakes_hands(transport: Transport) -> None:
    """A stopped feed closes with 1000 and ends."""
    async with running(transport, behave) as run:
        await run.streaming()
        await run.feed.stop()
        await run.task
        assert run.told.named("disconnected") == [(Cause.STOPPING, 1000, "")]
        assert (run.feed.state, run.feed.connected) == (FeedState.STOPPED, False)


async def refuse_for_long(peer: Peer) -> None:
    await peer.refuse("429 Too Many Requests", "Retry-After: 3600")


async def ponder(peer: Peer) -> None:
    await peer.read_request()
    await peer.until_gone()


@pytest.mark.parametrize(
    ("handler", "reached"),
    [
        pytest.param(refuse_for_long, lambda run: run.told.named("refused"), id="while-waiting"),
        pytest.param(ponder, lambda run: run.told.named("connecting"), id="while-dialling"),
        pytest.param(fall_silent, lambda run: run.feed.connected, id="while-the-server-is-deaf"),
    ],
)
async def test_stop_is_prompt(transport: Transport, handler: Handler, reached: Callable[[Running], object]) -> None:
    """Whatever a feed is at, it stops within the close timeout."""
    async with running(transport, handler) as run:
        await eventually(lambda: reached(run))
        async with asyncio.timeout(3):
            await run.feed.stop()
            await run.task


async def test_stop_before_run_means_never(transport: Transport) -> None:
    """A feed that was stopped before it ran never dials."""
    told, engine = Told(), Engine()
    feed = Feed(Endpoint("ws://127.0.0.1:1/stream", transport), STREAMS, engine, told, POLICY)
    await feed.stop()
    await feed.run()
    assert told.events == []


async def test_cancelled_feed_drops_its_link(transport: Transport) -> None:
    """Cancelling `run` leaves no connection behind."""
    gone = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.accept()
        await peer.acknowledge()
        with contextlib.suppress(ConnectionError):
            await peer.until_gone()
        gone.set()

    async with running(transport, handler) as run:
        await run.streaming()
        run.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run.task
        async with asyncio.timeout(5):
            await gone.wait()


async def test_defect_of_the_engine_ends_the_feed(transport: Transport) -> None:
    """What the sink raises is raised by `run`, not swallowed by a reconnect."""

    async def handler(peer: Peer) -> None:
        await peer.accept()
        peer.text(b"no json")
        await peer.until_gone()

    async with listening(handler) as port:
        engine = Engine()
        engine.feed = Feed(Endpoint(f"ws://127.0.0.1:{port}/stream", transport), STREAMS, engine, Told(), POLICY)
        with pytest.raises(json.JSONDecodeError):
            await engine.feed.run()


def test_too_many_streams_are_refused(transport: Transport) -> None:
    """More streams than the exchange takes on a connection are a configuration error."""
    streams = [f"s{number}@trade" for number in range(1025)]
    with pytest.raises(ConfigurationError, match="1024"):
        Feed(Endpoint("ws://127.0.0.1:1/", transport), streams, Engine(), Told(), POLICY)
