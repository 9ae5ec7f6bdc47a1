"""The watch over one connection, on a clock of its own."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from k2.ingestion.adapters.feed.policy import FeedPolicy
from k2.ingestion.adapters.feed.watch import Verdict, Watch, silence_limit_s

POLICY = FeedPolicy(heartbeat_interval_s=180, idle_ping_after_s=10, pong_timeout_s=5, silence_timeout_s=120)
QUIET = replace(POLICY, heartbeat_interval_s=0, silence_timeout_s=0)


def verdicts(watch: Watch, seconds: int, **heard: bool) -> dict[int, Verdict]:
    """Tick once a second and keep what was not well, by second."""
    told = {"heard": False, "reading": True} | heard
    ticks = ((second, watch.tick(second, data_frames=0, **told)) for second in range(1, seconds + 1))
    return {second: verdict for second, verdict in ticks if verdict is not Verdict.WELL}


def test_half_open_connection_is_dead_within_20_s() -> None:
    """With nothing heard at all, a ping goes out after 10 s, and 5 s later the connection is dead."""
    told = verdicts(Watch(QUIET, 0, data_frames=0, now_s=0), 15)
    assert told == {10: Verdict.PING, 15: Verdict.DEAD}


def test_answered_pings_keep_a_quiet_connection() -> None:
    """A connection that answers its idle pings lives, one ping every idle period."""
    watch = Watch(QUIET, 0, data_frames=0, now_s=0)
    pings = []
    answered = False
    for second in range(1, 61):
        verdict = watch.tick(second, heard=answered, data_frames=0, reading=True)
        answered = verdict is Verdict.PING
        pings += [second] if answered else []
        assert verdict is not Verdict.DEAD
    assert pings == [10, 21, 32, 43, 54]


def test_heartbeat_goes_out_regardless() -> None:
    """However much is heard, a ping goes out every heartbeat interval."""
    told = verdicts(Watch(replace(POLICY, silence_timeout_s=0), 0, data_frames=0, now_s=0), 600, heard=True)
    assert told == {180: Verdict.PING, 360: Verdict.PING, 540: Verdict.PING}


def test_heartbeat_is_no_test_of_life() -> None:
    """An unanswered heartbeat alone is no reason to end a connection that is heard otherwise."""
    policy = FeedPolicy(heartbeat_interval_s=7, idle_ping_after_s=10, pong_timeout_s=1, silence_timeout_s=0)
    assert set(verdicts(Watch(policy, 0, data_frames=0, now_s=0), 60, heard=True).values()) == {Verdict.PING}


def test_silence_counts_data_only() -> None:
    """A connection that is heard but brings no data is silent at the limit."""
    watch = Watch(replace(POLICY, heartbeat_interval_s=0), 120, data_frames=0, now_s=0)
    assert verdicts(watch, 120, heard=True) == {120: Verdict.SILENT}


def test_data_ends_silence() -> None:
    """Each change of the data count starts the silence anew."""
    watch = Watch(replace(POLICY, heartbeat_interval_s=0), 120, data_frames=5, now_s=0)
    assert watch.tick(119, heard=True, data_frames=6, reading=True) is Verdict.WELL
    assert watch.tick(238, heard=True, data_frames=6, reading=True) is Verdict.WELL
    assert watch.tick(239, heard=True, data_frames=6, reading=True) is Verdict.SILENT


def test_pause_concludes_nothing() -> None:
    """While paused nothing is dead or silent, and afterwards all periods begin anew."""
    watch = Watch(replace(POLICY, heartbeat_interval_s=0), 120, data_frames=0, now_s=0)
    watch.tick(10, heard=False, data_frames=0, reading=True)
    assert verdicts(watch, 500, reading=False) == {}
    told = [watch.tick(500 + second, heard=False, data_frames=0, reading=True) for second in (9, 10, 14, 15)]
    assert told == [Verdict.WELL, Verdict.PING, Verdict.WELL, Verdict.DEAD]


def test_zero_switches_off() -> None:
    """Without idle pings, heartbeat and silence limit, a connection is always well."""
    policy = FeedPolicy(heartbeat_interval_s=0, idle_ping_after_s=0, silence_timeout_s=0)
    assert verdicts(Watch(policy, 0, data_frames=0, now_s=0), 1000) == {}


@pytest.mark.parametrize(
    ("timeout_s", "silent_connections", "limit_s"),
    [
        pytest.param(120, 0, 120, id="first"),
        pytest.param(120, 1, 240, id="doubles"),
        pytest.param(120, 4, 1800, id="half-an-hour-at-most"),
        pytest.param(120, 10_000, 1800, id="however-many"),
        pytest.param(3600, 0, 3600, id="never-under-what-was-asked"),
        pytest.param(0, 3, 0, id="off"),
    ],
)
def test_silence_limit_grows(timeout_s: float, silent_connections: int, limit_s: float) -> None:
    """The limit doubles with each silent connection in a row, up to half an hour."""
    assert silence_limit_s(FeedPolicy(silence_timeout_s=timeout_s), silent_connections) == limit_s
