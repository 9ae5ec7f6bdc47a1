"""Which connection carries which stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.adapters.feed.placement import Load, place

A, B = "ws://h/a", "ws://h/b"


def url_of(stream: str) -> str:
    return B if stream.startswith("b") else A


def load(url: str, streams: str = "", leaving: str = "") -> Load:
    return Load(url, tuple(streams.split()), frozenset(leaving.split()))


@pytest.mark.parametrize(
    ("wanted", "before", "after"),
    [
        pytest.param("a1 a2", [], [load(A, "a1 a2")], id="one-is-enough"),
        pytest.param("a1 a2 a3 a4", [], [load(A, "a1 a2 a3"), load(A, "a4")], id="more-than-one-holds"),
        pytest.param("a1 b1 a2", [], [load(A, "a1 a2"), load(B, "b1")], id="one-for-each-address"),
        pytest.param("a1 a1", [], [load(A, "a1")], id="once-only"),
        pytest.param("", [load(A, "a1")], [load(A)], id="nothing-is-left"),
        pytest.param("a2 a1", [load(A, "a1 a2")], [load(A, "a1 a2")], id="what-stays-keeps-its-place"),
        pytest.param("a1 a9", [load(A, "a1 a2 a3")], [load(A, "a1 a9")], id="what-goes-makes-room"),
        pytest.param("a1 a4 a5", [load(A, "a1"), load(A, "a4")], [load(A, "a1 a5"), load(A, "a4")], id="room-is-filled-first"),
        pytest.param("a1 b1", [load(A, "a1")], [load(A, "a1"), load(B, "b1")], id="room-elsewhere-is-none"),
        pytest.param("a9", [load(A, "a1")], [load(A, "a9")], id="an-emptied-one-is-used-again"),
        pytest.param(
            "a1 a2 a7", [load(A, "a1"), load(A, "a2", leaving="a7")], [load(A, "a1"), load(A, "a2 a7")], id="back-where-it-leaves"
        ),
        pytest.param(
            "a1 a2 a3 a4 a7",
            [load(A, "a1"), load(A, "a2 a3 a4", leaving="a7")],
            [load(A, "a1 a7"), load(A, "a2 a3 a4")],
            id="unless-that-is-full",
        ),
    ],
)
def test_places(wanted: str, before: list[Load], after: list[Load]) -> None:
    """With three streams to a connection."""
    assert place(wanted.split(), before, url_of, 3) == after


NAMES = st.lists(st.sampled_from([f"{address}{number}" for address in "ab" for number in range(12)]))


@given(st.lists(NAMES, max_size=8), st.integers(1, 5))
def test_every_wanted_stream_has_one_place(changes: list[list[str]], limit: int) -> None:
    """After any changes each stream is on one connection of its address, none holds too many, and what stays did not move."""
    loads: list[Load] = []
    for wanted in changes:
        after = place(wanted, loads, url_of, limit)
        carried = [stream for load in after for stream in load.streams]
        assert sorted(carried) == sorted(set(wanted))
        assert all(len(load.streams) <= limit for load in after)
        assert all(url_of(stream) == load.url for load in after for stream in load.streams)
        for old, new in zip(loads, after, strict=False):
            assert old.url == new.url
            assert set(old.streams) & set(wanted) <= set(new.streams)
        loads = [load for load in after if load.streams]
