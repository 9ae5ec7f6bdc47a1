"""What is said at the end of a recording."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from k2.ingestion.adapters.feed.policy import Cause
from k2.ingestion.adapters.feed.port import ConnectFailure, LinkClosed
from k2.reading.patience import unheard
from k2.recorder.connections import Connections
from k2.recorder.counts import Count
from k2.recorder.summary import EndedBy, Summary, as_json, as_lines

WELL = Summary(
    output="x.gz",
    ended_by=EndedBy.SIGNAL,
    duration_s=1.23456,
    output_bytes=1_500,
    streams={"btcusdt@trade": Count(3, 4_000), "btcusdt@blockTrade": Count()},
    dropped={},
    unwritten=Count(),
    odd=0,
    first_odd="",
    joined=0,
    connections=1,
    reconnections=0,
    interruptions={},
    refusals={},
)
LOST = LinkClosed(1006, "", by_us=False)


def test_a_complete_recording_for_people() -> None:
    """The sums, and a line for each stream, silent ones too."""
    first, *streams = as_lines(WELL)
    assert first == "Recorded 3 frames (4,000 bytes) in 1.2 s: x.gz has 1,500 bytes."
    assert [line.split() for line in streams] == [
        ["0", "0", "bytes", "btcusdt@blockTrade"],
        ["3", "4,000", "bytes", "btcusdt@trade"],
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"interruptions": {"reset": 2, "silence": 1}, "reconnections": 3},
            "3 interruptions (reset 2, silence 1), 3",
        ),
        ({"dropped": {"a@b": Count(2, 70), "c@d": Count(1, 30)}}, "3 frames (100 bytes) were dropped"),
        ({"unwritten": Count(5, 1_000)}, "5 frames (1,000 bytes) had come and were not written"),
        ({"odd": 1, "first_odd": "b'garbage'"}, "1 frames that are no market data; the first one: b'garbage'"),
        ({"refusals": {"a@b": "2: no"}}, "Refused: a@b: 2: no"),
    ],
)
def test_what_is_missing_is_told(change: dict[str, Any], told: str) -> None:
    """One line for each thing, and the recording does not count as complete."""
    summary = replace(WELL, **change)
    assert told in as_lines(summary)[-1]
    assert not as_json(summary)["complete"]


def test_the_summary_as_json() -> None:
    """Sums beside the counts by stream."""
    fields = as_json(replace(WELL, dropped={"a@b": Count(2, 70)}))
    assert (fields["frames"], fields["frame_bytes"], fields["duration_s"], fields["ended_by"]) == (3, 4_000, 1.235, "signal")
    assert fields["streams"]["btcusdt@trade"] == {"frames": 3, "bytes": 4_000}
    assert (fields["dropped"], fields["dropped_streams"]) == ({"frames": 2, "bytes": 70}, {"a@b": {"frames": 2, "bytes": 70}})
    assert as_json(WELL)["complete"]


def test_lost_connections_are_counted_and_told() -> None:
    """Our own farewell is no interruption, and a failed attempt no connection."""
    told: list[str] = []
    connections = Connections(told.append)
    connections.connected("ws://x")
    connections.disconnected(Cause.RESET, LOST)
    connections.connect_failed(ConnectFailure.REFUSED, "nobody there", 1.5)
    connections.refused(451, "restricted", 60.0)
    connections.connected("ws://x")
    connections.disconnected(Cause.STOPPING, LOST)
    assert (connections.opened, connections.reconnections, connections.interruptions) == (2, 1, {"reset": 1})
    assert told == [
        "a connection ended (reset, code 1006): what is sent until the next one is missed",
        "no connection: refused: nobody there; next attempt in 1.5 s",
        "no connection: HTTP 451: restricted; next attempt in 60.0 s",
        "connected again to ws://x",
    ]
    assert connections.last_failure == "HTTP 451: restricted"


def test_a_stream_that_is_granted_after_all_is_not_refused() -> None:
    """The exchange is asked again."""
    connections = Connections(unheard)
    connections.subscription_refused(["a@b", "c@d"], "2: no")
    connections.subscribed(["a@b"])
    assert connections.refusals == {"c@d": "2: no"}
