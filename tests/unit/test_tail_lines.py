"""A record as a line of JSON: everything in it, and nothing that could command a terminal."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.core.outcome import Headers
from k2.reading.decoded import Decoded
from k2.tail.lines import as_json, json_lines
from unit.topic_records import decoded_record

TOPIC = "market.test"
AT_MS = 1_723_161_255_342

ANY_HEADERS = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=4)
ANY_VALUES = st.none() | st.binary(max_size=20)


def line_of(decoded: Decoded) -> Any:
    (line,) = json_lines(TOPIC, [decoded]).splitlines()
    return json.loads(line)


def test_a_record_whole() -> None:
    """Every part has its name, times are RFC 3339, and decimals are exact text."""
    fields = {
        "price": Decimal("61837.63000000"),
        "at": datetime(2024, 8, 8, 23, 54, 15, 342000, UTC),
        "ids": [1, None],
        "raw": b"\xff",
    }
    decoded = decoded_record(fields, schema_id=7, partition=2, offset=9, at_ms=AT_MS, headers=[("k2-source", b"late")])
    assert line_of(decoded) == {
        "topic": TOPIC,
        "partition": 2,
        "offset": 9,
        "timestamp": "2024-08-08T23:54:15.342Z",
        "key": "BTCUSDT",
        "headers": {"k2-source": "late"},
        "schema_id": 7,
        "value": {"price": "61837.63000000", "at": "2024-08-08T23:54:15.342000Z", "ids": [1, None], "raw": "/w=="},
    }


@pytest.mark.parametrize(("value", "raw"), [(b"plain", "cGxhaW4="), (b"\x00\xff", "AP8="), (None, None)])
def test_what_cannot_be_decoded(value: bytes | None, raw: str | None) -> None:
    """The reason and the bytes stand where the fields would be."""
    line = line_of(decoded_record(None, error="no value", schema_id=None, value=value))
    assert (line["value"], line["error"], line["raw"], line["schema_id"]) == (None, "no value", raw, None)


def test_a_record_that_can_be_decoded_has_no_error() -> None:
    """So that `select(.error)` finds the others."""
    assert not {"error", "raw"} & line_of(decoded_record({})).keys()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"BTCUSDT", "BTCUSDT"),
        ("币安人生USDT".encode(), "币安人生USDT"),
        (b"", ""),
        (None, None),
        (b"\xff\xfe", {"base64": "//4="}),
    ],
)
def test_keys(key: bytes | None, expected: object) -> None:
    """Text where it is text, and otherwise an object that says so: base64 alone could be a key as well."""
    assert line_of(decoded_record({}, key=key))["key"] == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], {}),
        ([("a", b"1"), ("b", None), ("c", b"\xff")], {"a": "1", "b": None, "c": {"base64": "/w=="}}),
        ([("a", b"1"), ("b", b"2"), ("a", b"3")], {"a": ["1", "3"], "b": "2"}),
        ([("a", "text")], {"a": "text"}),
    ],
)
def test_headers(headers: Headers, expected: dict[str, object]) -> None:
    """By name, in their order; one that comes more than once has all its values."""
    assert line_of(decoded_record({}, headers=headers))["headers"] == expected


@pytest.mark.parametrize(
    ("at_ms", "expected"),
    [(0, "1970-01-01T00:00:00.000Z"), (AT_MS, "2024-08-08T23:54:15.342Z"), (-1, None), (2**62, None)],
)
def test_timestamps(at_ms: int, expected: str | None) -> None:
    """To the millisecond; null for a record without one, and for one beyond all calendars."""
    assert line_of(decoded_record({}, at_ms=at_ms))["timestamp"] == expected


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_has_not(number: float) -> None:
    """They are text, as a parser would refuse the line otherwise."""
    assert line_of(decoded_record({"ratio": number}))["value"]["ratio"] == str(number)


def test_times_without_a_zone() -> None:
    """Avro's local timestamps have none, and get none."""
    assert line_of(decoded_record({"at": datetime(2026, 1, 2, 3)}))["value"]["at"] == "2026-01-02T03:00:00.000000"  # noqa: DTZ001


@given(ANY_VALUES, ANY_VALUES, ANY_HEADERS, st.text())
def test_whatever_comes_is_one_line_of_ascii(key: bytes | None, value: bytes | None, headers: Headers, text: str) -> None:
    """No bytes and no text break the line or reach a terminal as a command, and the bytes can be had back."""
    line = json_lines(TOPIC, [decoded_record(None, error=text, key=key, value=value, headers=headers)])
    assert line.isascii()
    assert line[:-1].isprintable()
    document = json.loads(line)
    assert document["error"] == text
    assert value == (None if document["raw"] is None else base64.b64decode(document["raw"]))
    assert sum(len(found) if isinstance(found, list) else 1 for found in document["headers"].values()) == len(headers)


def test_one_line_for_each() -> None:
    """A batch is as many lines."""
    assert json_lines(TOPIC, []) == ""
    assert [
        json.loads(line)["offset"] for line in json_lines(TOPIC, [decoded_record({}, offset=n) for n in (3, 4)]).splitlines()
    ] == [
        3,
        4,
    ]
    assert as_json(TOPIC, decoded_record({}))["topic"] == TOPIC
