"""
The rows of the routing table, built from streams and from where their records go.

An output is a topic together with how a value is made for it: in Avro under a schema's id, in a named JSON layout, or the frame
as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from k2.ingestion.core.array_rows import ArrayRow
from k2.ingestion.core.avro import frame_prefix
from k2.ingestion.core.avro_fallback import best_encoder
from k2.ingestion.core.avro_values import Schema
from k2.ingestion.core.identity import digest
from k2.ingestion.core.rows import ALL_SYMBOLS, Destination, RawRow, Row, StreamRow, Writer
from k2.ingestion.core.sequence import Sequence as Numbering
from k2.ingestion.core.wire import WireDecoder
from k2.ingestion.exchanges.binance.kinds import ASSET_CLASSES, StreamKind
from k2.ingestion.exchanges.binance.names import Stream, stream_name, stream_of

VENUE = "BINANCE"


class Subject(Struct, frozen=True):
    """Whose records are written: the stream's market, kind and spec, the symbol, and the currency of its prices."""

    market: str
    spec: str
    symbol: str
    currency: str
    kind: StreamKind | None = None


class Output(Struct, frozen=True):
    """A topic that takes a stream's records. `keyed` by their symbol, or not at all."""

    topic: str
    writer: Callable[[Subject], Writer]
    keyed: bool = True
    decodes: bool = True  # False where frames are taken as they are


def identity_prefix(market: str, spec: str) -> str:
    """How the message_id of every record of a market's stream begins."""
    return f"binance.{market}.{spec}."


def avro_output(topic: str, schema: Schema, schema_id: int, *, keyed: bool = True) -> Output:
    """Records in the kind's own mapping, under this schema."""

    def writer(subject: Subject) -> Writer:
        kind = subject.kind
        assert kind is not None  # noqa: S101 - for the type checker: who decodes knows the kind
        encode = best_encoder(
            schema,
            prefix=frame_prefix(schema_id),
            constants={**_constants(subject), **kind.constants(subject.spec)},
            maps={} if kind.vendor_data is None else {"vendor_data": kind.vendor_data},
        )
        return kind.writer(encode, _identity(subject, subject.spec))

    return Output(topic, writer, keyed=keyed)


def raw_output(topic: str, schema: Schema, schema_id: int, *, keyed: bool = True) -> Output:
    """The frame as it came, under the schema of captured frames."""

    def writer(subject: Subject) -> Writer:
        name = subject.spec if subject.symbol == ALL_SYMBOLS else stream_name(subject.symbol, subject.spec)
        encode = best_encoder(schema, prefix=frame_prefix(schema_id), constants={**_constants(subject), "stream": name})
        identity = _identity(subject, "raw")

        def write(_event: object, received_at_us: int, frame: bytes) -> bytes:
            return encode(identity + digest(frame).encode(), frame, received_at_us)

        return write

    return Output(topic, writer, keyed=keyed, decodes=False)


def _constants(subject: Subject) -> Mapping[str, Any]:
    return {
        "symbol": subject.symbol,
        "exchange": VENUE,
        "asset_class": ASSET_CLASSES[subject.market],
        "currency": subject.currency,
    }


def _identity(subject: Subject, spec: str) -> bytes:
    return f"{identity_prefix(subject.market, spec)}{subject.symbol}.".encode()


class RowBuilder:
    """
    Builds rows. Streams of one kind share their decoder, so that a field that is new is noticed once.

    Args:
        quote_asset: The currency of a symbol's prices.
        updates: Whether candles that are not closed yet are wanted as well.
        sequence: Makes what watches over a symbol's numbering, where it is not what the kind says.
    """

    def __init__(
        self,
        market: str,
        quote_asset: Callable[[str], str],
        *,
        updates: bool = False,
        sequence: Callable[[str, str], Numbering] | None = None,
    ) -> None:
        self._market, self._quote_asset, self._updates, self._sequence = market, quote_asset, updates, sequence
        self._decoders: dict[type[Struct], WireDecoder] = {}

    def table(self, streams: Iterable[Stream], outputs: Callable[[Stream], Sequence[Output]]) -> dict[bytes, Row]:
        """The routing table: a row for each stream, by its name as it stands in a frame."""
        return {stream.name.encode(): self.row(stream, outputs(stream)) for stream in streams}

    def row(self, stream: Stream, outputs: Sequence[Output]) -> Row:
        """The row of one stream, whose records go to all these outputs."""
        kind = stream.kind
        decoding = [output for output in outputs if output.decodes]
        captures = [self._capture(stream, output) for output in outputs if not output.decodes]
        if kind is None or not decoding:
            return RawRow(stream.name, stream.symbol, captures, sparse=stream.is_sparse)
        if self._updates and kind.updates is not None:
            kind = kind.updates
        if stream.is_all_market:
            return self._array_row(stream, kind, decoding, captures)
        return self._stream_row(stream, kind, stream.symbol, decoding, captures)

    def _capture(self, stream: Stream, output: Output) -> Destination:
        return self._destination(output, stream.wish, stream.symbol, None)

    def _array_row(
        self, stream: Stream, kind: StreamKind, outputs: Sequence[Output], captures: Sequence[Destination]
    ) -> ArrayRow:
        return ArrayRow(
            stream.name,
            outputs[0].topic,
            lambda symbol: self._stream_row(stream, kind, symbol, outputs),
            captures=captures,
            sparse=kind.sparse,
        )

    def _stream_row(
        self,
        stream: Stream,
        kind: StreamKind,
        symbol: str,
        outputs: Sequence[Output],
        captures: Sequence[Destination] = (),
    ) -> StreamRow:
        return StreamRow(
            stream=stream.name,
            symbol=symbol,
            wire=self._decoder(kind),
            destinations=[self._destination(output, stream.spec, symbol, kind) for output in outputs],
            sequence=(self._sequence or kind.numbering)(stream.spec, symbol),
            captures=captures,
            skip=kind.skip,
            sparse=kind.sparse,
        )

    def _destination(self, output: Output, spec: str, symbol: str, kind: StreamKind | None) -> Destination:
        currency = "" if symbol == ALL_SYMBOLS else self._quote_asset(symbol)
        write = output.writer(Subject(self._market, spec, symbol, currency, kind))
        return Destination(output.topic, symbol.encode() if output.keyed else None, write)

    def _decoder(self, kind: StreamKind) -> WireDecoder:
        if kind.event_type not in self._decoders:
            self._decoders[kind.event_type] = WireDecoder(kind.name, kind.event_type)
        return self._decoders[kind.event_type]


def rows_of(
    market: str, spec: str, symbols: Iterable[str], quote_asset: Callable[[str], str], output: Output
) -> dict[bytes, Row]:
    """The routing table for one spec of these symbols and one topic."""
    streams = [stream_of(market, stream_name(symbol, spec)) for symbol in symbols]
    return RowBuilder(market, quote_asset).table(streams, lambda _: [output])
