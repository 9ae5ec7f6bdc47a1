"""
All-market streams: frames that hold many events, each of which stands or falls for itself.

Futures send some of these streams with a single event in a frame; that is an array of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Raw, Struct

from k2.ingestion.core.outcome import DeadLetter, Ignored, IgnoreReason, Outcome, Publish, Reason, Stage
from k2.ingestion.core.rows import ALL_SYMBOLS, Destination, Outcomes, StreamRow
from k2.ingestion.core.sequence import RisingSequence
from k2.ingestion.core.sequence import Sequence as Numbering
from k2.ingestion.core.wire import DECODE_ERRORS, reason_of

MOST_SYMBOLS = 20_000  # of one stream; the exchange lists some 3,600


class _Envelope(Struct):
    data: Raw


class _Named(Struct):
    """What tells of which symbol an element is: `s`, in a forced order's case inside `o`."""

    s: str = ""
    o: Raw = Raw(b"")


_envelope = msgspec.json.Decoder(_Envelope).decode
_elements = msgspec.json.Decoder(list[Raw]).decode
_named = msgspec.json.Decoder(_Named).decode


class ArrayRow:
    """
    An all-market stream: each element of its frames stands or falls for itself.

    An element goes the way of a frame that carries it alone, through a row of its own symbol, which `make` provides when the
    symbol comes for the first time. So a dead letter holds the element in the frame's form, and can be replayed.
    """

    def __init__(
        self,
        stream: str,
        topic: str,
        make: Callable[[str], StreamRow],
        *,
        captures: Sequence[Destination] = (),
        sparse: bool = False,
    ) -> None:
        self.stream, self.symbol, self.topic, self.sparse = stream, ALL_SYMBOLS, topic, sparse
        self.captures: Sequence[Destination] = tuple(captures)
        self.sequence: Numbering = RisingSequence(stream, ALL_SYMBOLS)
        self.published = self.ignored = self.last_event_ms = 0
        self._make = make
        self._rows: dict[str, StreamRow] = {}
        self._head = b'{"stream":"' + stream.encode() + b'","data":'

    def process(self, frame: bytes, received_at_us: int) -> Outcomes:
        try:
            data = _envelope(frame).data
            elements = _elements(data) if bytes(data).startswith(b"[") else [data]
        except DECODE_ERRORS as error:
            return (DeadLetter(Stage.DECODE, reason_of(error), str(error), frame, self.stream, "", self.topic),)
        outcomes = [outcome for element in elements for outcome in self._element(bytes(element), received_at_us)]
        self._count(outcomes)
        return tuple(outcomes) or (Ignored(IgnoreReason.EMPTY),)

    def _element(self, element: bytes, received_at_us: int) -> Outcomes:
        frame = self._head + element + b"}"
        try:
            symbol = _symbol_in(element)
        except DECODE_ERRORS as error:
            return (DeadLetter(Stage.DECODE, reason_of(error), str(error), frame, self.stream, "", self.topic),)
        row = self._rows.get(symbol)
        if row is None:
            if not symbol or len(self._rows) >= MOST_SYMBOLS:
                why = "an element without a symbol" if not symbol else f"more than {MOST_SYMBOLS} symbols"
                return (DeadLetter(Stage.ROUTE, Reason.UNKNOWN_STREAM, why, frame, self.stream, symbol[:64], self.topic),)
            row = self._rows[symbol] = self._make(symbol)
        return row.process(frame, received_at_us)

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if type(outcome) is Publish:
                self.published += 1
                self.last_event_ms = outcome.event_time_ms
            elif type(outcome) is Ignored:
                self.ignored += 1


def _symbol_in(element: bytes) -> str:
    named = _named(element)
    return named.s or (_named(named.o).s if bytes(named.o).startswith(b"{") else "")
