"""The group on links without a network: how streams are spread, whose frame is whose, and what is done to all."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from k2.errors import ConfigurationError, UnavailableError
from k2.ingestion.adapters.feed.group import Connections
from k2.ingestion.adapters.feed.intake import Inlet
from k2.ingestion.adapters.feed.policy import Cause
from k2.ingestion.adapters.feed.port import ConnectFailedError, ConnectFailure
from unit.feed.fake_links import FAST, GroupRun, names, streaming, trade
from unit.feed.servers import eventually


async def test_streams_are_spread_by_address_and_number() -> None:
    """Each address has its own connections, none of them with more streams than it may have."""
    async with GroupRun([*names(25), *names(5, "p")], limit=10) as run:
        await streaming(run)
        assert sorted((link.url, len(link.subscribed)) for link in run.transport.links) == [
            ("ws://h/market", 5), ("ws://h/market", 10), ("ws://h/market", 10), ("ws://h/public", 5),
        ]  # fmt: skip
        assert run.group.connections == Connections(4, 4)
        assert sorted(run.told.named("connected")) == [("ws://h/market",)] * 3 + [("ws://h/public",)]


async def test_not_connected_while_one_is_not() -> None:
    """The group is connected when every connection is, and not any more when one drops."""
    async with GroupRun([*names(1), *names(1, "p")], policy=replace(FAST, reconnect_min_s=60, reconnect_max_s=60)) as run:
        assert (run.group.connected, run.group.connections) == (False, Connections(0, 2))
        await streaming(run)
        run.carrier_of("p0@trade").drop()
        await run.told.wait_for("disconnected")
        assert (run.group.connected, run.group.connections) == (False, Connections(1, 2))


async def test_nothing_wanted_is_not_connected() -> None:
    """A group without streams runs, has no connection, and opens one with the first stream."""
    async with GroupRun([]) as run:
        await asyncio.sleep(0.02)
        assert (run.group.connected, run.group.connections, run.transport.links) == (False, Connections(0, 0), [])
        run.group.change(names(1))
        await streaming(run)


async def test_two_connections_open_at_once_and_more_by_and_by() -> None:
    """The two branches need not wait for each other; a third connection is dialled a moment later."""
    async with GroupRun(names(3), limit=1) as run:
        await eventually(lambda: len(run.transport.links) >= 2)
        await asyncio.sleep(0.1)
        assert len(run.transport.links) == 2
        await eventually(lambda: len(run.transport.links) == 3)


async def test_request_ids_are_unique_over_all_connections() -> None:
    """No id is used by two connections."""
    ids: list[object] = []
    run = GroupRun([*names(30), *names(30, "p")])
    acknowledge = run.transport.answers

    def note(request: dict[str, object]) -> bytes | None:
        ids.append(request["id"])
        return acknowledge(request)

    run.transport.answers = note
    async with run:
        await streaming(run)
        assert sorted(map(str, ids)) == ["1", "2", "3", "4", "5", "6"]


class TestTheWayOfTheFrames:
    async def test_one_connection_hands_straight_to_the_engine(self) -> None:
        """Nothing stands between the link and the sink, and the data is credited all the same."""
        async with GroupRun(names(2)) as run:
            await streaming(run)
            (link,) = run.transport.links
            assert link.sink is run.engine
            trade(link, events=3)
            run.group.turn_ended()
            assert [feed.data_frames for feed in run.group._feeds] == [3]

    async def test_several_connections_are_credited_each_for_itself(self) -> None:
        """Silence on one is not hidden by data on the other."""
        async with GroupRun([*names(1), *names(1, "p")]) as run:
            await streaming(run)
            for stream, events in (("m0@trade", 2), ("p0@trade", 5), ("m0@trade", 1)):
                trade(run.carrier_of(stream), events)
            run.group.turn_ended()
            assert {feed.url: feed.data_frames for feed in run.group._feeds} == {"ws://h/market": 3, "ws://h/public": 5}

    async def test_the_way_follows_the_number_of_connections(self) -> None:
        """The first link is marked when a second comes, without a reconnect, and speaks for itself again when it is alone."""
        async with GroupRun(names(1)) as run:
            await streaming(run)
            (first,) = run.transport.links
            run.group.change([*names(1), *names(1, "p")])
            await streaming(run)
            assert isinstance(first.sink, Inlet)
            run.group.change(names(1))
            await eventually(lambda: len(run.transport.open_links) == 1)
            await eventually(lambda: first.sink is run.engine)
            trade(first)
            run.group.turn_ended()
            assert [feed.data_frames for feed in run.group._feeds] == [1]

    async def test_silence_of_one_connection_is_noticed(self) -> None:
        """The one that brings nothing is left for silence; its neighbour that brings data stays."""
        async with GroupRun([*names(1), *names(1, "p")], policy=replace(FAST, silence_timeout_s=0.2)) as run:
            await streaming(run)
            talker = run.carrier_of("p0@trade")

            async def talk() -> None:
                while True:
                    trade(talker)
                    run.group.turn_ended()
                    await asyncio.sleep(0.01)

            talking = asyncio.create_task(talk())
            assert (await run.told.wait_for("disconnected"))[0] is Cause.SILENCE
            talking.cancel()
            assert talker.open

    async def test_shutdown_concerns_the_connection_that_said_so(self) -> None:
        """A server that goes down is left; the other connection stays."""
        async with GroupRun([*names(1), *names(1, "p")]) as run:
            await streaming(run)
            leaver, stayer = run.carrier_of("p0@trade"), run.carrier_of("m0@trade")
            leaver.deliver(b'{"e": "serverShutdown", "E": 1}')
            assert (await run.told.wait_for("disconnected"))[0] is Cause.SERVER_SHUTDOWN
            await streaming(run)
            assert (leaver.open, stayer.open) == (False, True)

    async def test_refusal_without_id_is_the_speaker_s(self) -> None:
        """Each refusal that names no request is taken for that of the connection on which it came."""
        run = GroupRun([*names(1), *names(1, "p")])
        run.transport.answers = lambda request: None if request["params"] == names(1) else b'{"error": {"msg": "no"}}'
        async with run:
            assert await run.told.wait_for("subscription_refused") == ("p0@trade", "no")


class TestAllTogether:
    async def test_pause_reaches_every_link(self) -> None:
        """Reading stops and goes on for all, and a breath is taken by all."""
        async with GroupRun([*names(1), *names(1, "p")]) as run:
            await streaming(run)
            run.group.pause()
            assert [link.paused for link in run.transport.links] == [True, True]
            run.group.resume()
            assert [link.paused for link in run.transport.links] == [False, False]
            run.group.breathe()
            await eventually(lambda: not any(link.paused for link in run.transport.links))
            assert [link.breaths for link in run.transport.links] == [2, 2]

    async def test_hold_closes_every_link(self) -> None:
        """All are closed in good order and stay away until released."""
        async with GroupRun([*names(1), *names(1, "p")]) as run:
            await streaming(run)
            run.group.hold("test")
            await run.told.wait_for("disconnected", 2)
            assert {event[0] for event in run.told.named("disconnected")} == {Cause.HOLD}
            run.group.release()
            await streaming(run)

    async def test_stop_ends_all_in_good_order(self) -> None:
        """Every connection says good-bye, and `run` returns."""
        run = GroupRun([*names(1), *names(1, "p")])
        task = run.start()
        await streaming(run)
        await run.group.stop()
        assert task.done()
        assert run.told.named("disconnected") == [(Cause.STOPPING, 1000, "")] * 2

    @pytest.mark.parametrize("cause", [Cause.STOPPING, Cause.HOLD])
    async def test_end_at_the_moment_of_opening(self, cause: Cause) -> None:
        """A stop or a hold that comes when a link has just opened, and is not served yet, ends it all the same."""
        for turns in range(8):
            async with GroupRun(names(1)) as run:
                for _ in range(turns):
                    await asyncio.sleep(0)
                if cause is Cause.HOLD:
                    run.group.hold("test")
                    await eventually(lambda: not run.transport.open_links)

    async def test_stop_before_run_means_never(self) -> None:
        """A group that was stopped before it ran never dials."""
        run = GroupRun(names(1))
        await run.group.stop()
        await run.group.run()
        assert run.told.events == []

    async def test_cancelled_group_drops_its_links(self) -> None:
        """Cancelling `run` leaves no connection behind."""
        run = GroupRun(names(3), limit=2)
        task = run.start()
        await streaming(run)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert run.transport.open_links == []

    async def test_one_that_gives_up_ends_all(self) -> None:
        """After `give_up_after` failures of one connection, the error comes out and the others are closed."""
        run = GroupRun([*names(1), *names(1, "p")], policy=replace(FAST, give_up_after=2))
        task = run.start()
        await streaming(run)
        run.transport.refuses = ConnectFailedError(ConnectFailure.REFUSED, "nobody")
        run.carrier_of("p0@trade").drop()
        with pytest.raises(UnavailableError, match="ws://h/public: gave up"):
            await task
        assert run.transport.open_links == []

    async def test_defect_of_the_engine_ends_all(self) -> None:
        """What the sink raises is raised by `run`."""
        run = GroupRun([*names(1), *names(1, "p")])
        task = run.start()
        await streaming(run)
        link = run.carrier_of("p0@trade")
        link._closed.set_exception(ZeroDivisionError("a defect"))
        with pytest.raises(ZeroDivisionError):
            await task
        assert run.transport.open_links == []


@pytest.mark.parametrize("limit", [0, -1, 1025])
def test_limit_is_the_exchange_s(limit: int) -> None:
    """A connection takes from 1 to 1,024 streams."""
    with pytest.raises(ConfigurationError, match="1024"):
        GroupRun(names(1), limit=limit)
