"""
The only place where the steps meet: route, and what the rows do with a frame.

`Pipeline.process` turns any bytes into outcomes and raises nothing. Here are no clock, no log, no metric and no configuration:
they are handed in, or read from the outcomes by the shell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from k2.ingestion.core.outcome import Control, ControlKind, DeadLetter, Reason, Stage
from k2.ingestion.core.rows import Outcomes, Row, captured
from k2.ingestion.core.wire import DECODE_ERRORS, reason_of

Take = Callable[[Row, bytes, int], Outcomes]  # what is done with a frame once its row is known

_HEAD_LENGTH = len(b'{"stream":"')


class Pipeline:
    """Routes frames to rows by the stream's name, and understands the exchange's protocol frames."""

    def __init__(self, rows: Mapping[bytes, Row]) -> None:
        self._rows = dict(rows)

    def add(self, row: Row) -> None:
        """From now on frames of this row's stream are its own."""
        self._rows[row.stream.encode()] = row

    @property
    def rows(self) -> list[Row]:
        return list(self._rows.values())

    def process(self, frame: bytes, received_at_us: int) -> Outcomes:
        """
        At least one outcome for any bytes, one for each event; nothing is raised.

        The name is cut from the frame's head; a frame that begins otherwise takes the slow way.

        Args:
            received_at_us: When the frame arrived, in microseconds since the Unix epoch.
        """
        try:
            row = self._rows[frame[_HEAD_LENGTH : frame.index(b'"', _HEAD_LENGTH)]]
        except (KeyError, ValueError):
            return self._route_slowly(frame, received_at_us, captured)
        if row.captures:
            return captured(row, frame, received_at_us)
        return row.process(frame, received_at_us)

    def process_history(self, frame: bytes, received_at_us: int) -> Outcomes:
        """The same for a frame that was made of what REST told: nobody sent it, so it is not captured."""
        row = self._rows.get(name_at_head(frame))
        return self._route_slowly(frame, received_at_us, _processed) if row is None else row.process(frame, received_at_us)

    def _route_slowly(self, frame: bytes, received_at_us: int, take: Take) -> Outcomes:
        try:
            message = msgspec.json.decode(frame)
        except DECODE_ERRORS as error:
            return (DeadLetter(Stage.DECODE, reason_of(error), str(error), frame),)
        if not isinstance(message, dict):
            return (_unroutable(frame, f"a JSON {type(message).__name__} where an object was expected"),)
        if "stream" in message:
            return self._route_combined(frame, message, received_at_us, take)
        row = self._rows.get(_raw_name(message))
        if row is not None:
            return _process_raw(row, frame, received_at_us, take)
        control = _control(message)
        return (control or _unroutable(frame, "neither a combined frame nor an event that we asked for"),)

    def _route_combined(self, frame: bytes, message: dict[str, Any], received_at_us: int, take: Take) -> Outcomes:
        name = message["stream"] if isinstance(message["stream"], str) else ""
        row = self._rows.get(name.encode())
        if row is not None:
            return take(row, frame, received_at_us)
        if _announces_shutdown(message.get("data")):
            return (Control(ControlKind.SERVER_SHUTDOWN),)
        return (_unroutable(frame, "a stream that we did not ask for", name),)


def name_at_head(frame: bytes) -> bytes:
    """What stands where the stream's name does in a frame of the usual form."""
    return frame[_HEAD_LENGTH : frame.find(b'"', _HEAD_LENGTH)]


def _processed(row: Row, frame: bytes, received_at_us: int) -> Outcomes:
    return row.process(frame, received_at_us)


def _raw_name(event: dict[str, Any]) -> bytes:
    symbol, kind = event.get("s"), event.get("e")
    return f"{symbol.lower()}@{kind}".encode() if isinstance(symbol, str) and isinstance(kind, str) else b""


def _process_raw(row: Row, frame: bytes, received_at_us: int, take: Take) -> Outcomes:
    """A bare event, as the exchange's `/ws` path sends them: wrapped here, and its dead letters unwrapped again."""
    outcomes = take(row, b'{"stream":"' + row.stream.encode() + b'","data":' + frame + b"}", received_at_us)
    for outcome in outcomes:
        if isinstance(outcome, DeadLetter):
            outcome.payload = frame
    return outcomes


def _unroutable(frame: bytes, why: str, stream: str = "") -> DeadLetter:
    return DeadLetter(Stage.ROUTE, Reason.UNKNOWN_STREAM, why, frame, stream[:256])


def _control(message: dict[str, Any]) -> Control | None:
    """
    Read a protocol frame: an answer to a request, or the announcement of a shutdown.

    Source: Binance spot API docs, "Live Subscribing/Unsubscribing to streams" and "Server Shutdown". Errors are documented bare
    and sent nested, so both forms are read.
    """
    if _announces_shutdown(message):
        return Control(ControlKind.SERVER_SHUTDOWN)
    error = message.get("error", message if {"code", "msg"} <= message.keys() else None)
    if error is not None:
        return Control(ControlKind.REFUSED, _request_id(message), _error_text(error))
    if "result" in message:
        return Control(ControlKind.ACKNOWLEDGED, _request_id(message))
    return None


def _announces_shutdown(event: object) -> bool:
    return isinstance(event, dict) and event.get("e") == "serverShutdown"


def _request_id(message: dict[str, Any]) -> int | None:
    request_id = message.get("id")
    return request_id if isinstance(request_id, int) and not isinstance(request_id, bool) else None


def _error_text(error: object) -> str:
    text = f"{_plain(error.get('code'))}: {_plain(error.get('msg'))}" if isinstance(error, dict) else _plain(error)
    return text[:500]


def _plain(value: object) -> str:
    # The text of a list or an object nested deeply enough cannot be made: it ends in a RecursionError.
    return str(value) if isinstance(value, str | int | float | None) else f"<{type(value).__name__}>"
