"""The group on links without a network: what a change of the streams does while it runs."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from k2.ingestion.adapters.feed.group import Connections
from k2.ingestion.adapters.feed.policy import Cause
from unit.feed.fake_links import FAST, GroupRun, names, streaming
from unit.feed.servers import eventually


async def test_change_asks_only_for_the_difference() -> None:
    """What is gone is unsubscribed from, what is new subscribed to, and what stays is not mentioned."""
    async with GroupRun(names(3)) as run:
        await streaming(run)
        (link,) = run.transport.links
        run.group.change(["m2@trade", "m1@trade", "m7@trade"])
        await eventually(lambda: run.group.connected and not run.group.leaving)
        await run.told.wait_for("subscribed", 2)
        assert link.asked[1:] == [("UNSUBSCRIBE", ("m0@trade",)), ("SUBSCRIBE", ("m7@trade",))]
        assert run.transport.links == [link]
        assert run.told.named("subscribed")[1:] == [("m7@trade",)]


async def test_connected_all_the_while() -> None:
    """A stream that is added to an open connection does not make the others count as lost."""
    async with GroupRun(names(1)) as run:
        await streaming(run)
        run.group.change(names(40))
        while len(run.transport.links[0].subscribed) < 40:
            assert run.group.connected
            await asyncio.sleep(0)


async def test_leaving_until_the_exchange_has_answered() -> None:
    """A removed stream may still arrive until its UNSUBSCRIBE is answered."""
    run = GroupRun(names(2))
    async with run:
        await streaming(run)
        (link,) = run.transport.links
        link._answers = lambda request: None  # noqa: ARG005 - it answers nothing
        run.group.change(names(1))
        assert run.group.leaving == {"m1@trade"}
        await eventually(lambda: len(link.asked) == 2)
        assert run.group.leaving == {"m1@trade"}
        link.deliver(b'{"result": null, "id": 2}')
        assert run.group.leaving == frozenset()


async def test_streams_that_a_connection_loses_all_close_it() -> None:
    """The connection with nothing left says good-bye; the other goes on."""
    async with GroupRun([*names(1), *names(1, "p")]) as run:
        await streaming(run)
        run.group.change(names(1))
        assert run.group.connections == Connections(1, 1)
        assert await run.told.wait_for("disconnected") == (Cause.STOPPING, 1000, "")
        await eventually(lambda: len(run.group._members) == 1)
        assert run.group.connected


async def test_change_while_disconnected_is_what_the_next_connection_asks_for() -> None:
    """A reconnect subscribes what is wanted then, and says nothing of what was wanted before."""
    async with GroupRun(names(3)) as run:
        await streaming(run)
        run.transport.links[0].drop()
        run.group.change(["m2@trade", "m9@trade"])
        await run.told.wait_for("connected", 2)
        await streaming(run)
        assert run.transport.links[1].asked == [("SUBSCRIBE", ("m2@trade", "m9@trade"))]


async def test_reconnect_brings_back_its_own_streams_only() -> None:
    """What dropped comes back; what did not is asked for nothing."""
    async with GroupRun(names(4), limit=2) as run:
        await streaming(run)
        dropped, other = run.transport.links
        dropped.drop()
        await run.told.wait_for("connected", 3)
        await streaming(run)
        assert run.transport.links[2].subscribed == dropped.subscribed
        assert len(other.asked) == 1


async def test_new_connections_inherit_pause_and_hold() -> None:
    """A connection that comes while the group is paused or held waits with the others."""
    async with GroupRun(names(1)) as run:
        await streaming(run)
        run.group.pause()
        run.group.hold("Kafka is slower than the exchange")
        run.group.change([*names(1), *names(1, "p")])
        await asyncio.sleep(0.05)
        assert (run.transport.open_links, run.group.held_for) == ([], "Kafka is slower than the exchange")
        run.group.resume()
        run.group.release()
        await streaming(run)
        assert len(run.transport.open_links) == 2


async def test_change_after_the_end_opens_nothing() -> None:
    """A stopped group stays stopped."""
    async with GroupRun(names(1)) as run:
        await streaming(run)
        await run.group.stop()
        run.group.change(names(5, "p"))
        await asyncio.sleep(0.02)
        assert run.transport.open_links == []


NAMES = st.lists(st.sampled_from([*names(15), *names(15, "p")]), max_size=30)


@given(st.lists(NAMES, min_size=1, max_size=8), st.integers(1, 7))
def test_what_the_feeds_want_is_what_was_set_last(changes: list[list[str]], limit: int) -> None:
    """After any changes: all of the last set, on one connection each, none with too many, and no feed without a stream."""
    run = GroupRun([], limit)
    for streams in changes:
        run.group.change(streams)
        wanted = [stream for feed in run.group._carrying for stream in feed.streams]
        assert sorted(wanted) == sorted(run.group.streams) == sorted(set(streams))
        assert all(0 < len(feed.streams) <= limit for feed in run.group._carrying)


@given(st.lists(st.tuples(NAMES, st.integers(0, 3)), min_size=1, max_size=5), st.integers(3, 9))
def test_the_exchange_sends_what_was_set_last(changes: list[tuple[list[str], int]], limit: int) -> None:
    """The same where it runs: once all is answered, the exchange sends the last set, each stream on one connection."""

    async def scenario() -> None:
        async with GroupRun([], limit, replace(FAST, requests_per_s=100_000, tick_s=0.001, streams_per_request=4)) as run:
            run.group._shared.budget._windows.pop()  # all may dial at once: this is about streams, not about time
            for streams, turns in changes:
                run.group.change(streams)
                for _ in range(turns):
                    await asyncio.sleep(0)
            last = sorted(set(changes[-1][0]))
            await eventually(lambda: sorted(s for link in run.transport.open_links for s in link.subscribed) == last)
            assert all(len(link.subscribed) <= limit for link in run.transport.open_links)

    asyncio.run(scenario())
