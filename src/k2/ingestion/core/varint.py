"""
Avro's variable-length integers, from tables.

A long is zigzag-coded and cut into groups of seven bits, lowest first. The lowest 14 bits come out of a table of two-byte pieces;
what is above them stays the same for the next 8,192 ids and is memoised.

Source: Avro 1.12 specification, "Primitive types".
"""

from __future__ import annotations

_MEMO_ENTRIES = 65_536
_TIMES_REMEMBERED = 1_024
_ZIGZAG_LIMIT = 1 << 64

# Two groups with their continuation bits set: what stands for 14 bits that are not the last ones.
PAIRS = [bytes(((n & 0x7F) | 0x80, (n >> 7) | 0x80)) for n in range(1 << 14)]


def _encode_zigzagged(zigzagged: int) -> bytes:
    groups = bytearray()
    while zigzagged >> 7:
        groups.append((zigzagged & 0x7F) | 0x80)
        zigzagged >>= 7
    groups.append(zigzagged)
    return bytes(groups)


class _VarintMemo(dict[int, bytes]):
    """Zigzag-coded number to its bytes; `bits` of it were cut off below already."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self._limit = _ZIGZAG_LIMIT >> bits

    def __missing__(self, zigzagged: int) -> bytes:
        if not 0 <= zigzagged < self._limit:
            raise OverflowError("does not fit an Avro long of 64 bits")
        encoded = _encode_zigzagged(zigzagged)
        if len(self) >= _MEMO_ENTRIES:
            self.clear()
        self[zigzagged] = encoded
        return encoded


SMALL = _VarintMemo(0)
REST = _VarintMemo(14)  # what stands above the lowest two groups
SMALL_LIMIT = 1 << 14

# The same for numbers that are not negative and not zigzag-coded yet: their zigzag code is twice the number.
EVEN_PAIRS = PAIRS[0::2]
EVEN_BITS = 13


def encode_long(number: int) -> bytes:
    """
    One Avro int or long.

    Raises:
        OverflowError: `number` needs more than 64 bits.
    """
    zigzagged = number << 1 if number >= 0 else (~number << 1) | 1
    if zigzagged < SMALL_LIMIT:
        return SMALL[zigzagged]
    return PAIRS[zigzagged & 0x3FFF] + REST[zigzagged >> 14]


class _TimeMemo(dict[int, bytes]):
    """A time to its Avro long. One read of the socket has one receive time, and trades come many to a millisecond."""

    def __missing__(self, time: int) -> bytes:
        encoded = encode_long(time)
        if len(self) >= _TIMES_REMEMBERED:
            self.clear()
        self[time] = encoded
        return encoded


TIMES = _TimeMemo()


class _LengthMemo(dict[int, bytes]):
    """A length to its Avro long; lengths are few, so nothing here is bounded but by the largest frame."""

    def __missing__(self, length: int) -> bytes:
        encoded = encode_long(length)
        if length < _MEMO_ENTRIES:
            self[length] = encoded
        return encoded


LENGTHS = _LengthMemo()
