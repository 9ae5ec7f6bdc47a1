"""Candles of the past: what is asked of REST, and how its answer becomes frames."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.exchanges.binance.candle_history import frames, parameters
from k2.ingestion.exchanges.binance.candles import candle_number

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ROW: list[Any] = [1_700_000_040_000, "1.5", "2.5", "0.5", "2.0", "10", 1_700_000_099_999, "20", 7, "4", "8", "0"]
NUMBER = candle_number("1m", 1_700_000_040_000)
DAY_MS = 86_400_000
FIXED_MS = {
    "1s": 1_000, "1m": 60_000, "30m": 1_800_000, "12h": 43_200_000, "1d": DAY_MS, "3d": 3 * DAY_MS, "1w": 7 * DAY_MS,
}  # fmt: skip


def month_after(moment: datetime) -> datetime:
    return (moment.replace(day=1) + timedelta(days=32)).replace(day=1)


@given(st.sampled_from(sorted(FIXED_MS)), st.integers(0, 2**21), st.integers(0, 400), st.integers(0, 604_799_000))
def test_the_window_holds_every_candle_that_is_asked_for(interval: str, first: int, more: int, offset_ms: int) -> None:
    """Wherever in its interval a candle begins, in UTC or elsewhere, and with no more around them than one answer holds."""
    length_ms = FIXED_MS[interval]
    asked = parameters(f"kline_{interval}", "BTCUSDT", first, first + more)
    start_ms, end_ms = int(asked["startTime"]), int(asked["endTime"])
    for number in (first, first + more):
        opened_ms = number * length_ms + offset_ms % length_ms
        assert candle_number(interval, opened_ms) == number
        assert start_ms <= opened_ms <= end_ms
    assert (end_ms - start_ms) // length_ms + 1 <= int(asked["limit"])


@given(st.integers(0, 720), st.sampled_from([0, -8]))
def test_the_window_holds_the_months_that_are_asked_for(months: int, zone_hours: int) -> None:
    """Months have no fixed length; the window is wide enough for all that the exchange can have, and one answer holds it."""
    moment = EPOCH
    for _ in range(months):
        moment = month_after(moment)
    opened_ms = max(0, int((moment + timedelta(hours=zone_hours)).timestamp() * 1_000))
    number = candle_number("1M", opened_ms)
    asked = parameters("kline_1M", "BTCUSDT", number, number)
    assert int(asked["startTime"]) <= opened_ms <= int(asked["endTime"])


@pytest.mark.parametrize(("spec", "zone"), [("kline_1d", None), ("kline_1d@+08:00", "8"), ("kline_1M@+08:00", "8")])
def test_the_time_zone_is_asked_for(spec: str, zone: str | None) -> None:
    """As REST writes it: hours without a sign for those east of Greenwich."""
    assert parameters(spec, "BTCUSDT", 20_000, 20_000).get("timeZone") == zone


def told(answer: Any, first: int = NUMBER, last: int = NUMBER, spec: str = "kline_1m") -> list[dict[str, Any]]:
    found = frames(spec, "BTCUSDT", range(first, last + 1), json.dumps(answer).encode())
    return [json.loads(found[number]) for number in sorted(found)]


def test_a_row_becomes_the_frame_that_tells_of_its_end() -> None:
    """Every value under the stream's key; REST does not tell which trades were in it."""
    [frame] = told([ROW])
    assert frame == {
        "stream": "btcusdt@kline_1m",
        "data": {
            "e": "kline", "E": 1_700_000_099_999, "s": "BTCUSDT",
            "k": {
                "t": 1_700_000_040_000, "T": 1_700_000_099_999, "s": "BTCUSDT", "i": "1m", "f": -1, "L": -1, "o": "1.5",
                "c": "2.0", "h": "2.5", "l": "0.5", "v": "10", "n": 7, "x": True, "q": "20", "V": "4", "Q": "8", "B": "0",
            },
        },
    }  # fmt: skip


def test_neighbours_are_left_out() -> None:
    """The window is wider than what is missing."""
    rows = [[ROW[0] + 60_000 * step, *ROW[1:]] for step in (-2, -1, 0, 1, 2)]
    assert [frame["data"]["k"]["t"] for frame in told(rows, NUMBER - 1, NUMBER)] == [ROW[0] - 60_000, ROW[0]]


@pytest.mark.parametrize("answer", [{}, [[]], [[1]], [["x", *ROW[1:]]], [ROW[:8]], "no", [7]])
def test_another_form_is_refused(answer: Any) -> None:
    """A broken answer is an error that can be told, never an exception of its own kind."""
    with pytest.raises(ValueError, match="documented form"):
        told(answer, 0, 2**62)
