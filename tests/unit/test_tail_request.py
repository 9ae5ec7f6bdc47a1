"""What the options of `k2 tail` mean together."""

from __future__ import annotations

from typing import Any

import pytest

from k2.errors import ConfigurationError
from k2.tail.request import Format, Request, make_request
from unit.topic_records import topic_record

NOW_MS = 1_795_630_388_356


def requested(on_terminal: bool = False, **values: Any) -> Request:
    return make_request(values, NOW_MS, on_terminal=on_terminal)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({}, Request("end", 10), id="nothing-is-the-last-ten"),
        pytest.param({"records": "3"}, Request("end", 3), id="the-last-three"),
        pytest.param({"place": "start"}, Request("start", None), id="from-the-start-all"),
        pytest.param({"place": "start", "records": "5"}, Request("start", 5), id="the-first-five"),
        pytest.param({"place": "10m"}, Request(NOW_MS - 600_000, None), id="from-a-time-all"),
        pytest.param({"follow": True}, Request("end", None, follow=True), id="follow-what-is-new"),
        pytest.param({"follow": True, "records": "2"}, Request("end", 2, follow=True), id="follow-to-the-second"),
        pytest.param({"follow": True, "place": "start"}, Request("start", None, follow=True), id="everything-and-on"),
        pytest.param({"key": ["A", "牛"]}, Request("end", 10, keys=frozenset({b"A", "牛".encode()})), id="keys"),
        pytest.param({"partition": ["1", "0", "1"]}, Request("end", 10, partitions=frozenset({0, 1})), id="partitions"),
    ],
)
def test_options_add_up(values: dict[str, Any], expected: Request) -> None:
    """The last ten by default; all of what has no natural number; and N where N was asked for."""
    assert requested(**values) == expected


@pytest.mark.parametrize(
    ("values", "on_terminal", "expected"),
    [
        ({}, True, "table"),
        ({}, False, "json"),
        ({"format": "auto"}, True, "table"),
        ({"format": "table"}, False, "table"),
        ({"format": "JSON"}, True, "json"),
        ({"json": True}, True, "json"),
        ({"json": True, "format": "json"}, True, "json"),
        ({"json": True, "format": "auto"}, True, "json"),
    ],
)
def test_a_table_is_for_a_terminal(values: dict[str, Any], on_terminal: bool, expected: Format) -> None:
    """Unless one form is asked for, it is the one that whoever reads it can use."""
    assert requested(on_terminal, **values).format == expected


def test_every_fault_is_told_at_once() -> None:
    """Each under the name of its option, with what would be right."""
    with pytest.raises(ConfigurationError) as refused:
        requested(place="yesterday", records="0", partition=["-1", "x"], format="xml")
    assert [fault.partition(":")[0] for fault in refused.value.faults] == [
        "--from", "--records", "--partition", "--partition", "--format",
    ]  # fmt: skip


def test_two_forms_at_once_make_no_sense() -> None:
    """A table and JSON exclude each other."""
    with pytest.raises(ConfigurationError, match="exclude each other"):
        requested(json=True, format="table")


@pytest.mark.parametrize(
    ("keys", "key", "wanted"),
    [([], None, True), ([], b"A", True), (["A"], b"A", True), (["A"], b"B", False), (["A"], None, False), ([""], b"", True)],
)
def test_keys_choose(keys: list[str], key: bytes | None, wanted: bool) -> None:
    """Records of these keys only; of every key, and of none, where no key was named."""
    assert requested(key=keys).wants(topic_record(key=key)) is wanted
