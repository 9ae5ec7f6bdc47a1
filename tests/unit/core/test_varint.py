"""Variable-length integers against the specification's own algorithm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.core.varint import LENGTHS, encode_long

EDGES = [sign * (2**bits) + nudge for bits in range(64) for sign in (1, -1) for nudge in (-1, 0, 1)]


def _naive(number: int) -> bytes:
    zigzagged = (number << 1) ^ (number >> 63)
    groups = []
    while zigzagged > 127:
        groups.append((zigzagged & 127) | 128)
        zigzagged >>= 7
    return bytes([*groups, zigzagged])


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_long_is_written_as_specified(number: int) -> None:
    """Tables and memos change nothing in the bytes."""
    assert encode_long(number) == _naive(number)


def test_edges_of_every_length_are_written_as_specified() -> None:
    """The same at every power of two, where the number of bytes changes."""
    inside = [number for number in EDGES if -(2**63) <= number < 2**63]
    assert [encode_long(number) for number in inside] == [_naive(number) for number in inside]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 2**70, -(2**70), 10**40])
def test_number_beyond_64_bits_is_an_error(number: int) -> None:
    """What needs more than ten bytes is no long."""
    with pytest.raises(OverflowError):
        encode_long(number)


def test_lengths_are_longs_and_large_ones_are_not_kept() -> None:
    """The table of lengths answers for any length without growing with the largest."""
    assert LENGTHS[5_000_000] == _naive(5_000_000)
    assert 5_000_000 not in LENGTHS
