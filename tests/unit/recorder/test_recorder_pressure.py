"""When reading pauses because the disk is behind."""

from __future__ import annotations

import pytest

from k2.recorder.pressure import Pressure, Room

ROOM = Room(low_bytes=10, high_bytes=30, most_bytes=60, patience_s=5.0)


@pytest.mark.parametrize(
    ("looks", "verdicts"),
    [
        pytest.param([(0, 0), (29, 1)], [True, True], id="keeps-up"),
        pytest.param([(30, 0), (29, 1), (11, 2), (10, 3), (29, 4)], [False, False, False, True, True], id="catches-up"),
        pytest.param([(30, 0), (60, 4.9), (60, 5), (31, 6), (60, 60)], [False, False, True, True, True], id="stays-behind"),
        pytest.param([(30, 0), (60, 5), (10, 6), (30, 7)], [False, True, True, False], id="behind-again"),
    ],
)
def test_a_pause_ends_when_there_is_room_or_patience_is_over(looks: list[tuple[int, float]], verdicts: list[bool]) -> None:
    """One that ran out of patience does not begin again before there was room."""
    pressure = Pressure(ROOM)
    assert [pressure.may_read(waiting_bytes, now_s) for waiting_bytes, now_s in looks] == verdicts
