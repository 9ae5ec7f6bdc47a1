"""
What becomes of the frames of one stream: decode, sequence, map, encode.

Three kinds of row answer to `process`: a stream of one symbol, a stream that is captured as it is, and an all-market stream
(`array_rows`). None raises, whatever the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from k2.ingestion.core.decimals import NumberError
from k2.ingestion.core.outcome import (
    Control,
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
from k2.ingestion.core.sequence import RisingSequence
from k2.ingestion.core.sequence import Sequence as Numbering
from k2.ingestion.core.wire import DECODE_ERRORS, WireDecoder, reason_of

Outcomes = tuple[Outcome, ...]

_OLDEST_US = 1_483_228_800_000_000  # 2017-01-01, the year Binance opened
_FUTURE_TOLERANCE_US = 600_000_000  # ten minutes for clocks that disagree

SOURCE_HEADER = "k2-source"
LATE_HEADERS: Headers = [(SOURCE_HEADER, b"late")]
BACKFILL_HEADERS: Headers = [(SOURCE_HEADER, b"backfill")]

_NUMBERED = frozenset({IgnoreReason.NOT_A_TRADE})  # left out, and yet numbered like those that are published


ALL_SYMBOLS = "ALL"  # stands for the symbol of an all-market stream


class MarketEvent(Protocol):
    """
    What a row asks of a decoded event.

    `exchange_id` numbers it, and `first_id` is the first of the ids that it covers. `symbol` and `occurred_at_ms` are None where
    the payload has none: then the stream's name and the time of receipt stand for them. `event_time_ms` is 0 then.
    """

    @property
    def symbol(self) -> str | None: ...
    @property
    def exchange_id(self) -> int: ...
    @property
    def first_id(self) -> int: ...
    @property
    def occurred_at_ms(self) -> int | None: ...
    @property
    def event_time_ms(self) -> int: ...


# Makes a record's value: of an event, the time of its receipt in microseconds, and its frame.
Writer = Callable[[Any, int, bytes], bytes]


class Destination(Struct, frozen=True):
    """One of the topics that a row writes to, the key there, and what makes the value."""

    topic: str
    key: bytes | None
    write: Writer


class Row(Protocol):
    """
    What the pipeline, and whoever reads off a client, ask of a row.

    It counts what it published (`published`), what it left out on purpose (`ignored`) and the exchange's time of the latest event
    (`last_event_ms`). `sparse` says that silence is nothing unusual here. `captures` take every frame as it is, beside what the
    row makes of it.
    """

    stream: str
    symbol: str
    topic: str
    sparse: bool
    captures: Sequence[Destination]
    sequence: Numbering
    published: int
    ignored: int
    last_event_ms: int

    def process(self, frame: bytes, received_at_us: int) -> Outcomes:
        """The outcomes of one frame: at least one. Never raises."""


class StreamRow:
    """One stream of one symbol: all that is needed to turn its frames into records."""

    __slots__ = (
        "_key", "_more", "_skip", "_wire", "_write",
        "captures", "ignored", "last_event_ms", "published", "sequence", "sparse", "stream", "symbol", "topic",
    )  # fmt: skip

    def __init__(
        self,
        *,
        stream: str,
        symbol: str,
        wire: WireDecoder,
        destinations: Sequence[Destination],
        sequence: Numbering,
        captures: Sequence[Destination] = (),
        skip: Callable[[Any], IgnoreReason | None] | None = None,
        sparse: bool = False,
    ) -> None:
        self.stream, self.symbol, self.sequence, self.sparse = stream, symbol, sequence, sparse
        self.captures: Sequence[Destination] = tuple(captures)
        first, *more = destinations
        self.topic, self._key, self._write = first.topic, first.key, first.write
        self._more = tuple(more)
        self._wire, self._skip = wire, skip
        self.published = self.ignored = 0
        self.last_event_ms = 0

    def process(self, frame: bytes, received_at_us: int) -> Outcomes:  # noqa: C901 - in one piece: each call would cost 1 %
        """The outcome of one frame of this stream. The straight way through is the hot path."""
        try:
            event: MarketEvent = self._wire.decode(frame).data
        except DECODE_ERRORS as error:
            return self._undecodable(frame, received_at_us, error)
        if event.symbol != self.symbol and event.symbol is not None:
            why = f"stream {self.stream} carried an event of {event.symbol[:64]!r}"
            return (self._dead(frame, Stage.ROUTE, Reason.UNKNOWN_STREAM, why),)
        if self._skip is not None and (reason := self._skip(event)):
            return self._left_out(event, reason, received_at_us)
        exchange_id, sequence = event.exchange_id, self.sequence
        occurred_at_ms = event.occurred_at_ms
        if occurred_at_ms is None:
            occurred_at_ms = received_at_us // 1000
        if not _OLDEST_US <= occurred_at_ms * 1000 <= received_at_us + _FUTURE_TOLERANCE_US:
            sequence.account_for(exchange_id, event.first_id)
            why = f"occurred at {occurred_at_ms} ms, received at {received_at_us // 1000} ms"
            return (self._dead(frame, Stage.MAP, Reason.TIMESTAMP_OUT_OF_RANGE, why),)
        try:
            value = self._write(event, received_at_us, frame)
            further = self._written_further(event, received_at_us, frame) if self._more else None
        except (NumberError, *DECODE_ERRORS) as error:
            sequence.account_for(exchange_id, event.first_id)
            return (self._unwritable(frame, event, error),)

        if exchange_id == sequence.next_id:
            sequence.next_id = exchange_id + 1
            if occurred_at_ms > sequence.last_time_ms:  # noqa: PLR1730 - max() takes four times as long
                sequence.last_time_ms = occurred_at_ms
            headers = None
            notices: tuple[Notice, ...] = ()
        else:
            publish, late, notices = sequence.observe(exchange_id, occurred_at_ms, event.first_id)
            if not publish:
                self.ignored += 1
                return (Ignored(IgnoreReason.DUPLICATE),)
            headers = LATE_HEADERS if late else None
        self.published += 1
        event_time_ms = self.last_event_ms = event.event_time_ms
        records: tuple[Record, ...] = (Record(self.topic, self._key, value, occurred_at_ms, headers),)
        if further is not None:
            records += self._further(further, occurred_at_ms, headers)
        return (Publish(records, event_time_ms, notices),)

    def _unwritable(self, frame: bytes, event: Any, error: Exception) -> DeadLetter:
        if isinstance(error, NumberError):
            return self._dead(frame, Stage.ENCODE, error.reason, f"{_field_with(event, error.text)}: {error}")
        # A JSON layout takes the payload's own bytes, in which there may be what decoding it did not look at.
        return self._dead(frame, Stage.DECODE, reason_of(error), str(error))

    def _written_further(self, event: Any, received_at_us: int, frame: bytes) -> list[bytes]:
        # Not in place: what a comprehension takes from around it becomes a cell, and costs at every use.
        return [other.write(event, received_at_us, frame) for other in self._more]

    def _further(self, values: Sequence[bytes], occurred_at_ms: int, headers: Headers | None) -> tuple[Record, ...]:
        return tuple(
            Record(other.topic, other.key, value, occurred_at_ms, headers)
            for other, value in zip(self._more, values, strict=True)
        )

    def _undecodable(self, frame: bytes, received_at_us: int, error: Exception) -> Outcomes:
        appeared = self._wire.adopt(error)
        if appeared is None:
            return (self._dead(frame, Stage.DECODE, reason_of(error), str(error)),)
        (outcome,) = self.process(frame, received_at_us)
        assert not isinstance(outcome, Control)  # noqa: S101 - for the type checker: a row knows no protocol frames
        outcome.notices = (*appeared, *outcome.notices)
        return (outcome,)

    def _left_out(self, event: MarketEvent, reason: IgnoreReason, received_at_us: int) -> Outcomes:
        self.ignored += 1
        if reason is IgnoreReason.OPEN_CANDLE and _is_plausible(event.event_time_ms, received_at_us):
            # It forms, so every one before it is closed: one that we have not seen was missed, and need not be waited for.
            return (Ignored(reason, self.sequence.foresee(event.exchange_id, event.event_time_ms)),)
        if reason not in _NUMBERED:
            return (Ignored(reason),)
        # Its id counts like any other: without it the next trade would look like a gap. Its time is unchecked and moves nothing.
        _, _, notices = self.sequence.observe(event.exchange_id, self.sequence.last_time_ms, event.first_id)
        return (Ignored(reason, notices),)

    def _dead(self, frame: bytes, stage: Stage, reason: Reason, why: str) -> DeadLetter:
        return DeadLetter(stage, reason, why, frame, self.stream, self.symbol, self.topic)


def _is_plausible(time_ms: int, received_at_us: int) -> bool:
    return _OLDEST_US <= time_ms * 1000 <= received_at_us + _FUTURE_TOLERANCE_US


def _field_with(event: Any, text: str) -> str:
    """The field of an event that holds this text, in whatever depth."""
    return next((name for name in event.__struct_fields__ if _holds(getattr(event, name), text)), "number")


def _holds(value: Any, text: str) -> bool:
    if isinstance(value, Struct):
        return any(_holds(getattr(value, name), text) for name in value.__struct_fields__)
    return any(_holds(item, text) for item in value) if isinstance(value, list | tuple) else bool(value == text)


def captured(row: Row, frame: bytes, received_at_us: int) -> Outcomes:
    """
    What becomes of a frame that is kept as it is, whatever becomes of its events.

    Its records go with the first of them: a frame has one at least.
    """
    outcomes = row.process(frame, received_at_us)
    if row.captures:
        first, records = outcomes[0], tuple(frame_record(to, frame, received_at_us) for to in row.captures)
        if isinstance(first, Publish):
            first.records += records
        elif not isinstance(first, Control):
            first.captured = records
    return outcomes


def frame_record(to: Destination, frame: bytes, received_at_us: int) -> Record:
    """The record of a frame that is kept as it is."""
    return Record(to.topic, to.key, to.write(None, received_at_us, frame), received_at_us // 1000)


class RawRow:
    """A stream that is captured as it is: every frame becomes a record, whatever it holds, and the time is that of receipt."""

    def __init__(self, stream: str, symbol: str, destinations: Sequence[Destination], *, sparse: bool = False) -> None:
        self.stream, self.symbol, self.topic, self.sparse = stream, symbol, destinations[0].topic, sparse
        self.captures: Sequence[Destination] = ()  # it is one itself
        self.sequence: Numbering = RisingSequence(stream, symbol)
        self.published = self.ignored = self.last_event_ms = 0
        self._destinations = tuple(destinations)

    def process(self, frame: bytes, received_at_us: int) -> Outcomes:
        self.published += 1
        self.last_event_ms = received_at_us // 1000  # frames that are not decoded tell no time of their own
        return (Publish(tuple(frame_record(to, frame, received_at_us) for to in self._destinations), 0),)
