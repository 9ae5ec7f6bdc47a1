"""
Exact decimals: the exchange's number texts as Avro `decimal` fields, without ever making a `Decimal` or a float.

A text is looked up in a bounded memo (three of four prices and sizes on real data were there a moment ago), and what is not
there is checked and encoded once. So the memo is also the validation: what it holds is right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from k2.ingestion.core.outcome import Reason
from k2.ingestion.core.varint import LENGTHS, encode_long

_UNSIGNED = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII).fullmatch
_SIGNED = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII).fullmatch
_MAX_TEXT_LENGTH = 128  # far above 38 digits with padding; keeps int() from chewing on a megabyte of digits
_MEMO_ENTRIES = 65_536  # some 9 MB; emptying it takes 2 ms of the event loop


class NumberError(ValueError):
    """A number text that the schema cannot hold exactly. `reason` says which way it fails."""

    def __init__(self, reason: Reason, text: str, why: str) -> None:
        super().__init__(f"{text[:64]!r} {why}")
        self.reason, self.text = reason, text


def plain_number(text: str, *, signed: bool = False) -> str:
    """
    The text itself, once it is known to be a plain decimal number, whatever schema is to hold it.

    Raises:
        NumberError: it is none, or beyond all reason; or negative where it may not be `signed`.
    """
    if len(text) > _MAX_TEXT_LENGTH:
        raise NumberError(Reason.NUMBER_OUT_OF_RANGE, text, f"has {len(text)} characters")
    if (_SIGNED if signed else _UNSIGNED)(text) is None:
        raise NumberError(Reason.NUMBER_INVALID, text, "is no plain decimal number")
    return text


class DecimalMemo(dict[str, bytes]):
    """
    Number text to Avro `bytes` field (length, then two's complement big-endian of the unscaled value).

    Looking up a text that is no plain decimal, or that has more than `scale` decimals after trailing zeros, or more than
    `precision` digits, raises NumberError; so does a negative one unless `signed`. Nothing is ever rounded.
    """

    def __init__(self, precision: int, scale: int, max_entries: int = _MEMO_ENTRIES, *, signed: bool = False) -> None:
        super().__init__()
        self._precision, self._scale, self._max_entries, self._signed = precision, scale, max_entries, signed
        self._limit = 10**precision

    def __missing__(self, text: str) -> bytes:
        encoded = self._encoded(text)
        if len(self) >= self._max_entries:
            self.clear()
        self[text] = encoded
        return encoded

    def _encoded(self, text: str) -> bytes:
        whole, _, fraction = text.partition(".")
        digits = whole + fraction
        # The exchange's own form, with all decimals written out, needs no more than this; `unscaled` takes every other.
        if len(fraction) == self._scale < len(digits) <= self._precision and digits.isdigit() and digits.isascii():
            unscaled = int(digits)
            size = unscaled.bit_length() // 8 + 1
            return LENGTHS[size] + unscaled.to_bytes(size, "big")
        return encode_unscaled(self.unscaled(text))

    def unscaled(self, text: str) -> int:
        """The number times 10 to the power of `scale`, exactly. Raises NumberError as a look-up does."""
        whole, _, fraction = plain_number(text, signed=self._signed).removeprefix("-").partition(".")
        fraction = fraction.rstrip("0")
        if len(fraction) > self._scale:
            raise NumberError(Reason.NUMBER_OUT_OF_RANGE, text, f"has more than {self._scale} decimals")
        unscaled = int(whole + fraction.ljust(self._scale, "0"))
        if unscaled >= self._limit:
            raise NumberError(Reason.NUMBER_OUT_OF_RANGE, text, f"has more than {self._precision} digits at scale {self._scale}")
        return -unscaled if text.startswith("-") else unscaled


def decimal_memo(schema: Mapping[str, Any]) -> DecimalMemo:
    """
    The memo of an Avro decimal type. Ours say `"signed": true` where a number may be negative, which few are.

    All rows share it: one for each symbol and field would be bounded as well, and fill the memory with thousands of symbols.
    """
    return _shared_memo(schema["precision"], schema.get("scale", 0), signed=schema.get("signed", False))


@cache
def _shared_memo(precision: int, scale: int, *, signed: bool) -> DecimalMemo:
    return DecimalMemo(precision, scale, signed=signed)


def encode_unscaled(unscaled: int) -> bytes:
    """An Avro decimal's bytes: the shortest two's complement, as fastavro and Java write it."""
    magnitude = unscaled if unscaled >= 0 else ~unscaled
    size = magnitude.bit_length() // 8 + 1
    return encode_long(size) + unscaled.to_bytes(size, "big", signed=True)
