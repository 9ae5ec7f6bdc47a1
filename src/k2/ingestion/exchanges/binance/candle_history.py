"""
Candles of the past: what to ask REST for, and its answer as the frames that would have told of them.

Source: Binance spot API docs, "Kline/Candlestick data" (an array of twelve values; `timeZone` for candles that do not begin in
UTC); USD-M futures docs, the same without time zones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from k2.ingestion.exchanges.binance.candles import UNITS_MS, UTC_ZONE, candle_number, constants
from k2.ingestion.exchanges.binance.names import stream_name

MOST_CANDLES = 1_000  # in one answer
_LONGEST_MS = {**UNITS_MS, "M": 31 * UNITS_MS["d"]}

_rows = msgspec.json.Decoder(list[list[Any]]).decode


def parameters(spec: str, symbol: str, first: int, last: int) -> dict[str, str]:
    """
    What to ask for candles `first` to `last` of a stream such as `kline_1m`, both numbers inclusive (`candles.candle_number`).

    The window is wider by an interval or two, as a number does not tell to the millisecond when its candle begins.
    """
    fields = constants(spec)
    interval, zone = fields["interval"], fields["time_zone"]
    length_ms = _LONGEST_MS[interval[-1]] * int(interval[:-1])
    epoch = candle_number(interval, 0)
    asked = {
        "symbol": symbol,
        "interval": interval,
        "startTime": str(max(0, _begin_ms(interval, first - epoch, length_ms) - length_ms)),
        "endTime": str((last - epoch + 2) * length_ms),
        "limit": str(MOST_CANDLES),
    }
    return asked if zone == UTC_ZONE else asked | {"timeZone": zone.removesuffix(":00").replace("+0", "")}


def _begin_ms(interval: str, number: int, length_ms: int) -> int:
    # A month has 28 days at least: the earliest that so many of them can have ended.
    return number * (length_ms if interval[-1] != "M" else length_ms * 28 // 31)


def frames(spec: str, symbol: str, wanted: Collection[int], answer: bytes) -> dict[int, bytes]:
    """
    The wanted ones of the answer's candles by number, each as the frame that tells of its end. REST tells no ids of its trades.

    Raises:
        ValueError: the answer has not the documented form.
    """
    try:
        interval = constants(spec)["interval"]
        numbered = {candle_number(interval, row[0]): row for row in _rows(answer)}
        return {number: _frame(spec, symbol, row) for number, row in numbered.items() if number in wanted}
    except (msgspec.MsgspecError, IndexError, TypeError) as error:
        raise ValueError(f"not the documented form of candles: {error}") from error


def _frame(spec: str, symbol: str, row: list[Any]) -> bytes:
    event: Mapping[str, Any] = {
        "e": "kline",
        "E": row[6],
        "s": symbol,
        "k": {
            "t": row[0], "T": row[6], "s": symbol, "i": constants(spec)["interval"], "f": -1, "L": -1,
            "o": row[1], "c": row[4], "h": row[2], "l": row[3], "v": row[5], "n": row[8], "x": True,
            "q": row[7], "V": row[9], "Q": row[10], "B": "0",
        },
    }  # fmt: skip
    return msgspec.json.encode({"stream": stream_name(symbol, spec), "data": event})
