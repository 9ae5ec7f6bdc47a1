"""Where `--from` begins: one text, one place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.tail.places import FORMS, Place, place

NOW_MS = 1_795_630_388_356
NOON_MS = 1_795_608_000_000  # 2026-11-25T12:00:00Z
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("end", "end"),
        ("start", "start"),
        ("0s", NOW_MS),
        ("250ms", NOW_MS - 250),
        ("10m", NOW_MS - 600_000),
        ("2h", NOW_MS - 2 * HOUR_MS),
        ("1d", NOW_MS - DAY_MS),
        ("1w", NOW_MS - 7 * DAY_MS),
        ("1h30m15s", NOW_MS - 5_415_000),
        ("2026-11-25", NOON_MS - 12 * HOUR_MS),
        ("2026-11-25T12:00", NOON_MS),
        ("2026-11-25 12:00:00", NOON_MS),
        ("2026-11-25T12:00:00Z", NOON_MS),
        ("2026-11-25t12:00:00z", NOON_MS),
        ("2026-11-25T12:00:00.25Z", NOON_MS + 250),
        ("2026-11-25T12:00:00.123456789Z", NOON_MS + 123),
        ("2026-11-25T14:00:00+02:00", NOON_MS),
        ("2026-11-25T06:30:00-05:30", NOON_MS),
        ("1795608000", NOON_MS),
        ("1795608000.5", NOON_MS + 500),
        ("1795608000.1239", NOON_MS + 123),
        ("1795608000123", NOON_MS + 123),
        ("1795608000123456", NOON_MS + 123),
        ("1795608000123456789", NOON_MS + 123),
        ("99999w", 0),
        ("1950-01-01", 0),
        ("0001-01-01T00:00:00+23:59", 0),
    ],
)
def test_a_text_names_one_place(text: str, expected: Place) -> None:
    """Words, ages, dates, times with and without a zone, and times since 1970 in the unit that their digits tell."""
    assert place(text, NOW_MS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "now", "END", "latest", "-1", "+5m", "10", "10 m", "10M", "m", "1.5h", "10m ago", "20261125", "123456789",
        "12345678901", "2026-11-25T12", "2026-11-25T12:00:00+02", "2026-W48-3", "25.11.2026", "2026-11-25T12:00:00Z x", "٣m",
        "2026-1-1",
    ],
)  # fmt: skip
def test_what_names_no_place_is_told_what_would(text: str) -> None:
    """Among them numbers whose unit cannot be told, such as a date without its hyphens."""
    with pytest.raises(ValueError, match="is none of: end, start") as refused:
        place(text, NOW_MS)
    assert str(refused.value).endswith(FORMS)


@pytest.mark.parametrize(
    "text", ["2026-02-30", "2026-13-01", "2026-11-25T25:00", "2026-11-25T12:00:60Z", "2026-11-25T12:00+24:00"]
)
def test_a_time_that_no_calendar_has(text: str) -> None:
    """The form is right, and the day or hour does not exist."""
    with pytest.raises(ValueError, match="is no time: "):
        place(text, NOW_MS)


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - hypothesis wants bounds without a zone
    st.integers(-23 * 60, 23 * 60),
)
def test_the_same_moment_in_any_zone(moment: datetime, minutes: int) -> None:
    """What RFC 3339 writes in two zones is one place."""
    at = moment.replace(tzinfo=UTC)
    elsewhere = at.astimezone(timezone(timedelta(minutes=minutes)))
    assert place(elsewhere.isoformat(), NOW_MS) == place(at.isoformat(), NOW_MS) == (at - EPOCH) // timedelta(milliseconds=1)
