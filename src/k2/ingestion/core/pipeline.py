"""
The only place where the steps meet: route, decode, sequence, map, encode.

`Pipeline.process` turns any bytes into outcomes and raises nothing. Here are no clock, no log, no metric and no configuration:
they are handed in, or read from the outcomes by the shell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from k2.ingestion.core.avro import Encoder
from k2.ingestion.core.decimals import NumberError
from k2.ingestion.core.outcome import (
    Control,
    ControlKind,
    DeadLetter,
    Headers,
    Ignored,
    IgnoreReason,
    Notice,
    Outcome,
    Publish,
    Reason,
    Record,
    Stage,
)
from k2.ingestion.core.sequence import ContiguousSequence
from k2.ingestion.core.wire import DECODE_ERRORS, WireDecoder, reason_of

Outcomes = tuple[Outcome, ...]

_HEAD_LENGTH = len(b'{"stream":"')
_OLDEST_US = 1_483_228_800_000_000  # 2017-01-01, the year Binance opened
_FUTURE_TOLERANCE_US = 600_000_000  # ten minutes for clocks that disagree

SOURCE_HEADER = "k2-source"
LATE_HEADERS: Headers = [(SOURCE_HEADER, b"late")]


class StreamRow:
    """
    One stream of one symbol: all that is needed to turn its frames into records.

    Counts what it published (`published`) and the exchange's time of the latest event (`last_event_ms`) for the break-downs by
    symbol.
    """

    __slots__ = (
        "_encode", "_id_prefix", "_is_no_event", "_key", "_to_value", "_wire",
        "last_event_ms", "published", "sequence", "stream", "symbol", "topic",
    )  # fmt: skip

    def __init__(
        self,
        *,
        stream: str,
        symbol: str,
        topic: str,
        id_prefix: bytes,
        wire: WireDecoder,
        encode: Encoder,
        to_value: Callable[[Encoder, bytes, Any, int], bytes],
        sequence: ContiguousSequence,
        is_no_event: Callable[[Any], bool] | None = None,
    ) -> None:
        self.stream, self.symbol, self.topic, self.sequence = stream, symbol, topic, sequence
        self._key, self._id_prefix = symbol.encode(), id_prefix
        self._wire, self._encode, self._to_value, self._is_no_event = wire, encode, to_value, is_no_event
        self.published = 0
        self.last_event_ms = 0

    def process(self, frame: bytes, received_at_us: int) -> Outcomes:
        """The outcome of one frame of this stream. The straight way through is the hot path."""
        try:
            event = self._wire.decode(frame).data
        except DECODE_ERRORS as error:
            return self._undecodable(frame, received_at_us, error)
        if event.symbol != self.symbol:
            why = f"stream {self.stream} carried an event of {event.symbol[:64]!r}"
            return (self._dead(frame, Stage.ROUTE, Reason.UNKNOWN_STREAM, why),)
        if self._is_no_event is not None and self._is_no_event(event):
            return self._no_event(event)
        exchange_id, traded_at_ms, sequence = event.exchange_id, event.traded_at_ms, self.sequence
        if not _OLDEST_US <= traded_at_ms * 1000 <= received_at_us + _FUTURE_TOLERANCE_US:
            sequence.account_for(exchange_id)
            why = f"traded at {traded_at_ms} ms, received at {received_at_us // 1000} ms"
            return (self._dead(frame, Stage.MAP, Reason.TIMESTAMP_OUT_OF_RANGE, why),)
        try:
            value = self._to_value(self._encode, self._id_prefix, event, received_at_us)
        except NumberError as error:
            sequence.account_for(exchange_id)
            return (self._dead(frame, Stage.ENCODE, error.reason, f"{_field_with(event, error.text)}: {error}"),)

        if exchange_id == sequence.next_id:
            sequence.next_id = exchange_id + 1
            if traded_at_ms > sequence.last_time_ms:  # noqa: PLR1730 - max() takes four times as long
                sequence.last_time_ms = traded_at_ms
            headers = None
            notices: tuple[Notice, ...] = ()
        else:
            publish, late, notices = sequence.observe(exchange_id, traded_at_ms)
            if not publish:
                return (Ignored(IgnoreReason.DUPLICATE),)
            headers = LATE_HEADERS if late else None
        self.published += 1
        self.last_event_ms = event.event_time_ms
        return (Publish((Record(self.topic, self._key, value, traded_at_ms, headers),), event.event_time_ms, notices),)

    def _undecodable(self, frame: bytes, received_at_us: int, error: Exception) -> Outcomes:
        appeared = self._wire.adopt(error)
        if appeared is None:
            return (self._dead(frame, Stage.DECODE, reason_of(error), str(error)),)
        (outcome,) = self.process(frame, received_at_us)
        assert not isinstance(outcome, Control)  # noqa: S101 - for the type checker: a row knows no protocol frames
        outcome.notices = (*appeared, *outcome.notices)
        return (outcome,)

    def _no_event(self, event: Any) -> Outcomes:
        # Its id counts like any other: without it the next trade would look like a gap. Its time is unchecked and moves nothing.
        _, _, notices = self.sequence.observe(event.exchange_id, self.sequence.last_time_ms)
        return (Ignored(IgnoreReason.NOT_A_TRADE, notices),)

    def _dead(self, frame: bytes, stage: Stage, reason: Reason, why: str) -> DeadLetter:
        return DeadLetter(stage, reason, why, frame, self.stream, self.symbol, self.topic)


def _field_with(event: Any, text: str) -> str:
    """The field of an event that holds this text."""
    return next((name for name in event.__struct_fields__ if getattr(event, name) == text), "number")


class Pipeline:
    """Routes frames to rows by the stream's name, and understands the exchange's protocol frames."""

    def __init__(self, rows: Mapping[bytes, StreamRow]) -> None:
        self._rows = dict(rows)

    @property
    def rows(self) -> list[StreamRow]:
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
            return self._route_slowly(frame, received_at_us)
        return row.process(frame, received_at_us)

    def _route_slowly(self, frame: bytes, received_at_us: int) -> Outcomes:
        try:
            message = msgspec.json.decode(frame)
        except DECODE_ERRORS as error:
            return (DeadLetter(Stage.DECODE, reason_of(error), str(error), frame),)
        if not isinstance(message, dict):
            return (_unroutable(frame, f"a JSON {type(message).__name__} where an object was expected"),)
        if "stream" in message:
            return self._route_combined(frame, message, received_at_us)
        row = self._rows.get(_raw_name(message))
        if row is not None:
            return _process_raw(row, frame, received_at_us)
        control = _control(message)
        return (control or _unroutable(frame, "neither a combined frame nor an event that we asked for"),)

    def _route_combined(self, frame: bytes, message: dict[str, Any], received_at_us: int) -> Outcomes:
        name = message["stream"] if isinstance(message["stream"], str) else ""
        row = self._rows.get(name.encode())
        if row is not None:
            return row.process(frame, received_at_us)
        if _announces_shutdown(message.get("data")):
            return (Control(ControlKind.SERVER_SHUTDOWN),)
        return (_unroutable(frame, "a stream that we did not ask for", name),)


def _raw_name(event: dict[str, Any]) -> bytes:
    symbol, kind = event.get("s"), event.get("e")
    return f"{symbol.lower()}@{kind}".encode() if isinstance(symbol, str) and isinstance(kind, str) else b""


def _process_raw(row: StreamRow, frame: bytes, received_at_us: int) -> Outcomes:
    """A bare event, as the exchange's `/ws` path sends them: wrapped here, and its dead letters unwrapped again."""
    outcomes = row.process(b'{"stream":"' + row.stream.encode() + b'","data":' + frame + b"}", received_at_us)
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
