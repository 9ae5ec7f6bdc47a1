"""
From a dead letter to what is to be done with it now: the pipeline of the client, once more.

An event goes through the same steps as when it came over the wire, except that it comes in no particular order. A record that
was encoded before keeps its bytes, as long as the registry still has the schema that they were written with.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
from msgspec import Struct

from k2.ingestion.core.letter_reader import Letter
from k2.ingestion.core.outcome import DeadLetter, Headers, Ignored, Outcome, Publish, Reason, Record
from k2.ingestion.core.pipeline import SOURCE_HEADER, Pipeline
from k2.ingestion.core.schemas import Schema
from k2.ingestion.core.sequence import AnyOrder
from k2.ingestion.exchanges.binance.streams import KINDS, StreamKind, build_rows, stream_name

LETTER_HEADER = "k2-dead-letter"
MOST_PIPELINES = 10_000  # what names them comes from files, so there is a bound

_SYMBOL = re.compile(r"[^\W_]+(_[0-9]{6})?")


class ToPublish(Struct, frozen=True):
    """Records that are ready to be produced."""

    records: tuple[Record, ...]


class FailsAgain(Struct, frozen=True):
    """The event still cannot be published."""

    failure: DeadLetter


class NothingToPublish(Struct, frozen=True):
    """The letter holds no event that belongs into a topic, and why not."""

    why: str


Prepared = ToPublish | FailsAgain | NothingToPublish


class Wanted(Struct, frozen=True):
    """What the client's settings ask for: it decides about letters whose event had found no stream, and so has no topic."""

    market: str
    stream: str
    topic: str
    symbols: frozenset[str]


class Environment(Struct, frozen=True):
    """
    What has to be asked for. Each may raise a K2Error, which ends the run.

    `schema` loads one by name; `schema_id` is the id to encode with, by topic and schema; `still_reads` tells whether consumers
    can read a value with what the registry has for its schema id; `quote_asset` is that of a market's symbol.
    """

    schema: Callable[[str], Schema]
    schema_id: Callable[[str, Schema], int]
    still_reads: Callable[[bytes], bool]
    quote_asset: Callable[[str, str], str]


class Workbench:
    """Prepares letters one after the other."""

    def __init__(self, wanted: Wanted, environment: Environment) -> None:
        self._wanted, self._environment = wanted, environment
        self._pipelines: dict[tuple[str, str, str, str], Pipeline] = {}

    def prepare(self, letter: Letter, now_us: int) -> Prepared:
        """
        What is to be done with a letter.

        Args:
            now_us: Microseconds since the Unix epoch. It judges events whose time was out of range, as our own clock may have
                been wrong; all others keep the time at which they were received.
        """
        if letter.record is None:
            return _from_outcome(self._process(letter, letter.payload, now_us), letter)
        if self._environment.still_reads(letter.record.value):
            return ToPublish((as_replayed(letter.record, letter),))
        return self._encoded_anew(letter, now_us)

    def _encoded_anew(self, letter: Letter, now_us: int) -> Prepared:
        """The registry has lost the schema of the bytes, or has another one under its id: the event itself is in the letter."""
        kind = letter.stream  # a record's letter names the kind of stream only
        frame = {"stream": stream_name(letter.symbol, kind), "data": letter.original_message}
        return _from_outcome(self._process(letter, msgspec.json.encode(frame), now_us), letter)

    def _process(self, letter: Letter, frame: bytes, now_us: int) -> Outcome:
        received_at_us = letter.received_at_us
        if received_at_us is None or letter.reason is Reason.TIMESTAMP_OUT_OF_RANGE:
            received_at_us = now_us
        outcomes = self._pipeline_for(letter, frame).process(frame, received_at_us)
        return outcomes[0]  # of a frame with one event, as all are that we stream

    def _pipeline_for(self, letter: Letter, frame: bytes) -> Pipeline:
        name = letter.stream if "@" in letter.stream else _stream_named_in(frame)
        symbol, _, stream = name.rpartition("@")
        key = (letter.market, stream, symbol.upper(), letter.topic)
        if key not in self._pipelines:
            if len(self._pipelines) >= MOST_PIPELINES:
                self._pipelines.clear()
            self._pipelines[key] = self._new_pipeline(*key)
        return self._pipelines[key]

    def _new_pipeline(self, market: str, stream: str, symbol: str, topic: str) -> Pipeline:
        kind, wanted = KINDS.get((market, stream)), self._wanted
        is_wanted = (market, stream) == (wanted.market, wanted.stream) and symbol in wanted.symbols
        if kind is None or not _SYMBOL.fullmatch(symbol) or not (topic or is_wanted):
            return Pipeline({})
        return self._row_of(kind, symbol, topic or wanted.topic)

    def _row_of(self, kind: StreamKind, symbol: str, topic: str) -> Pipeline:
        environment = self._environment
        schema = environment.schema(kind.schema_name)
        schema_id = environment.schema_id(topic, schema)
        currency = environment.quote_asset(kind.market, symbol)
        return Pipeline(build_rows(kind, [symbol], lambda _: currency, topic, schema.parsed, schema_id, sequence=AnyOrder))


def as_replayed(record: Record, letter: Letter) -> Record:
    """The record with the marks of a replay instead of those that it had, so that consumers know why it comes so late."""
    headers: Headers = [(SOURCE_HEADER, b"replay"), (LETTER_HEADER, letter.id.encode())]
    return Record(record.topic, record.key, record.value, record.timestamp_ms, headers)


def _from_outcome(outcome: Outcome, letter: Letter) -> Prepared:
    if isinstance(outcome, Publish):
        return ToPublish(tuple(as_replayed(record, letter) for record in outcome.records))
    if isinstance(outcome, DeadLetter):
        return FailsAgain(outcome)
    return NothingToPublish(outcome.reason.value if isinstance(outcome, Ignored) else outcome.kind.value)


class _Named(Struct):
    stream: str = ""
    s: str = ""
    e: str = ""


def _stream_named_in(frame: bytes) -> str:
    """The name of the stream that a frame says it is of; empty where it says none."""
    try:
        named = msgspec.json.decode(frame, type=_Named)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return named.stream or f"{named.s}@{named.e}"
