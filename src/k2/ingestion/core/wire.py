"""
Typed decoding of frames, strict about what is known and curious about what is not.

A frame decodes whole into one typed Struct that forbids unknown fields, so noticing a new field of the exchange costs nothing
until it comes. Then the field is reported once, the Struct is rebuilt with it, and decoding is strict again.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, ValidationError, field

from k2.ingestion.core.outcome import FieldAppeared, Notice, Reason

MAX_ADOPTED_FIELDS = 32  # beyond these the exchange is not adding fields but sending noise: decode leniently

_IN_ENVELOPE, _IN_DATA = "", "$.data"
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?:(.*)` - at `(\$[^`]*)`|(.*)`)", re.DOTALL)
_NAMEABLE = re.compile(r'[^"\\\x00-\x1f]{1,256}')  # what msgspec takes as a field's name on the wire
# Matched from the text's beginning: further on it quotes the frame, which may say anything.
_REASONS = (
    (re.compile(r"Object missing required field"), Reason.MISSING_FIELD),
    (re.compile(r"Expected `int` [<>]|Integer value out of range|Number out of range"), Reason.NUMBER_OUT_OF_RANGE),
)
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class WireDecoder:
    """
    Decodes frames of one stream kind: `{"stream": ..., "data": <event>}` with the event as `event_type`.

    `decode(frame)` returns the envelope (`.stream`, `.data`) or raises one of DECODE_ERRORS. On an error, `adopt` tells
    whether it was only an unknown field, which from then on is known.
    """

    def __init__(self, stream: str, event_type: type[Struct]) -> None:
        self._stream = stream
        self._event_type = event_type
        self._adopted: dict[tuple[str, str], None] = {}  # where, and which name
        self._strict = True
        self.decode = self._build()

    def adopt(self, error: Exception) -> tuple[Notice, ...] | None:
        """What is to be noticed about a field that was unknown until now, or None when `error` says something else."""
        found = _unknown_field(error)
        if found is None or not self._strict:
            return None
        where, name = found
        seen_before = found in self._adopted
        if seen_before or not self._is_adoptable(where, name):
            self._strict = False
        else:
            self._adopted[found] = None
        self.decode = self._build()
        return () if seen_before else (FieldAppeared(self._stream, name[:256]),)

    def _is_adoptable(self, where: str, name: str) -> bool:
        is_nameable = where in (_IN_ENVELOPE, _IN_DATA) and _NAMEABLE.fullmatch(name) is not None
        return is_nameable and len(self._adopted) < MAX_ADOPTED_FIELDS

    def _build(self) -> Any:
        event_type = _extended(self._event_type, self._fields(_IN_DATA), strict=self._strict)
        envelope: list[Any] = [("stream", str), ("data", event_type), *self._fields(_IN_ENVELOPE)]
        return msgspec.json.Decoder(msgspec.defstruct("Envelope", envelope, gc=False, forbid_unknown_fields=self._strict)).decode

    def _fields(self, where: str) -> list[Any]:
        names = [name for place, name in self._adopted if place == where]
        return [(f"adopted_{index}", Raw | UnsetType, field(name=name, default=UNSET)) for index, name in enumerate(names)]


def _unknown_field(error: Exception) -> tuple[str, str] | None:
    """Where msgspec met an unknown field, and its name, out of the error's text: it says so nowhere else."""
    match = _UNKNOWN_FIELD.fullmatch(str(error)) if isinstance(error, ValidationError) else None
    if match is None:
        return None
    return (match[2], match[1]) if match[2] else (_IN_ENVELOPE, match[3])


def _extended(event_type: type[Struct], fields: list[Any], *, strict: bool) -> type[Struct]:
    if not fields and strict:
        return event_type
    return msgspec.defstruct(event_type.__name__, fields, bases=(event_type,), gc=False, forbid_unknown_fields=strict)


def reason_of(error: Exception) -> Reason:
    """The bounded reason for what a decoder raised."""
    if isinstance(error, UnicodeDecodeError):
        return Reason.NOT_UTF8
    if not isinstance(error, ValidationError):
        return Reason.NOT_JSON
    return next((reason for pattern, reason in _REASONS if pattern.match(str(error))), Reason.WRONG_TYPE)
