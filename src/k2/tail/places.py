"""Where to begin in a topic, from the text of an option."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

from k2.ingestion.option_values import quoted

Place = Literal["end", "start"] | int  # a number is a time, in milliseconds since the Unix epoch

FORMS = (
    "end, start, an age without a sign (10m, 2h, 1h30m), a date, an RFC 3339 time (without a zone: UTC), or seconds (10 digits) "
    "or ms (13) since 1970"
)

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_AGE_PART = re.compile(r"([0-9]{1,9})(ms|[smhdw])")
# Seconds have ten digits in all years from 2001 to 2286, so the number of digits tells the unit.
_EPOCH_FORM = re.compile(r"[0-9]{10}(\.[0-9]+)?|[0-9]{13}|[0-9]{16}|[0-9]{19}")
_DIGITS_OF_MS = 13
_CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
_DATE_FORM = re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ]{_CLOCK}(Z|[+-][0-9]{{2}}:[0-9]{{2}})?)?", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def place(text: str, now_ms: int) -> Place:
    """
    The place that a text names. An age counts back from `now_ms`; what lies before 1970 is 1970.

    Raises:
        ValueError: it names none; the text says what would.
    """
    match text:
        case "end" | "start":
            return text
        case _:
            return max(0, _time_ms(text, now_ms))


def _time_ms(text: str, now_ms: int) -> int:
    for form, milliseconds in _FORMS:
        if form.fullmatch(text):
            return milliseconds(text, now_ms)
    raise ValueError(f"{quoted(text)} is none of: {FORMS}")


def _of_age(text: str, now_ms: int) -> int:
    return now_ms - sum(int(number) * _UNITS_MS[unit] for number, unit in _AGE_PART.findall(text))


def _since_epoch(text: str, _now_ms: int) -> int:
    return int(text.replace(".", "")[:_DIGITS_OF_MS].ljust(_DIGITS_OF_MS, "0"))


def _at_date(text: str, _now_ms: int) -> int:
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(f"{quoted(text)} is no time: {error}") from None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)


_FORMS: tuple[tuple[re.Pattern[str], Callable[[str, int], int]], ...] = (
    (re.compile(rf"({_AGE_PART.pattern})+"), _of_age),
    (_EPOCH_FORM, _since_epoch),
    (_DATE_FORM, _at_date),
)
