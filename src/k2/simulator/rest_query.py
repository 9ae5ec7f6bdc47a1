"""What a REST request asks for, read from its parameters, or the refusal that the exchange gives instead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from k2.simulator.intervals import HOUR_MS, INTERVALS, MINUTE_MS
from k2.simulator.market import CandleWindow, Venue, Window

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULT_LIMIT, _MAX_LIMIT = 500, 1_000
_CANDLE_MAX_LIMITS: dict[Venue, int] = {"spot": 1_000, "usdm": 1_500}
DEPTH_LIMITS: dict[Venue, int] = {"spot": 100, "usdm": 500}  # unless another is asked for
_TIME_ZONE = re.compile(r"(?P<sign>[+ -]?)(?P<hours>\d{1,2})(:(?P<minutes>[0-5]\d))?")  # a "+" in a URL is read as a space
_TIME_ZONES_MS = range(-12 * HOUR_MS, 14 * HOUR_MS + 1)


class RestError(Exception):
    """A refusal with the exchange's own code and text."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code, self.status = code, status


def mandatory(query: Mapping[str, str], name: str) -> str:
    text = query.get(name, "")
    if not text:
        raise RestError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return text


def symbol_list(text: str) -> list[str]:
    try:
        return msgspec.json.decode(text, type=list[str])
    except msgspec.MsgspecError:
        raise RestError(-1100, "Illegal characters found in parameter 'symbols'.") from None


def trade_window(query: Mapping[str, str]) -> Window:
    return Window(trade_limit(query), integer(query, "fromId"), integer(query, "startTime"), integer(query, "endTime"))


def check_usdm_window(window: Window) -> None:
    """Futures take no id together with times, and an hour at most."""
    bounded = window.start_ms is not None or window.end_ms is not None
    if window.from_id is not None and bounded:
        raise RestError(-1128, "Combination of optional parameters invalid.")
    if window.start_ms is not None and window.end_ms is not None and window.end_ms - window.start_ms > HOUR_MS:
        raise RestError(-1127, "More than 1 hours between startTime and endTime.")


def candle_window(query: Mapping[str, str], venue: Venue) -> CandleWindow:
    interval = mandatory(query, "interval")
    if interval not in INTERVALS[venue]:
        raise RestError(-1120, "Invalid interval.")
    limit = _limit(query, _DEFAULT_LIMIT, _CANDLE_MAX_LIMITS[venue])
    offset_ms = _time_zone_ms(query["timeZone"]) if venue == "spot" and "timeZone" in query else 0
    return CandleWindow(interval, limit, integer(query, "startTime"), integer(query, "endTime"), offset_ms)


def trade_limit(query: Mapping[str, str]) -> int:
    return _limit(query, _DEFAULT_LIMIT, _MAX_LIMIT)


def depth_limit(query: Mapping[str, str], venue: Venue) -> int:
    """Levels a side. What is too many is read as many, as spot does."""
    return integer(query, "limit") or DEPTH_LIMITS[venue]


def asked_limit(query: Mapping[str, str], default: int = _DEFAULT_LIMIT) -> int:
    """What a request is weighed by, even one that is refused later."""
    text = query.get("limit", "")
    return int(text) if text.isdecimal() else default


def integer(query: Mapping[str, str], name: str) -> int | None:
    if name not in query:
        return None
    if not query[name].isdecimal():
        raise RestError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(query[name])


def _limit(query: Mapping[str, str], default: int, maximum: int) -> int:
    limit = integer(query, "limit")
    if limit is None:
        return default
    if not 1 <= limit <= maximum:
        raise RestError(-1130, "Data sent for parameter 'limit' is not valid.")
    return limit


def _time_zone_ms(text: str) -> int:
    """How far a time zone like "8", "-1:00" or "05:45" is ahead of UTC."""
    found = _TIME_ZONE.fullmatch(text)
    ahead_ms = 0 if found is None else int(found["hours"]) * HOUR_MS + int(found["minutes"] or 0) * MINUTE_MS
    offset_ms = -ahead_ms if found is not None and found["sign"] == "-" else ahead_ms
    if found is None or offset_ms not in _TIME_ZONES_MS:
        raise RestError(-1130, "Data sent for parameter 'timeZone' is not valid.")
    return offset_ms
