"""
From a dead letter to what is to be done with it now: the pipeline of the client, once more.

An event goes through the same steps as when it came over the wire, except that it comes in no particular order, and to all
topics that take it: no record of it was made when it failed. A record that was encoded before goes to its own topic alone. It
keeps its bytes, as long as the registry still has the schema that they were written with.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import msgspec
from msgspec import Raw, Struct

from k2.ingestion.adapters.registry_decoder import parsed_schema
from k2.ingestion.core.decoding import UndecodableError, decode_framed
from k2.ingestion.core.identity import digest, message_identity
from k2.ingestion.core.letter_reader import Letter
from k2.ingestion.core.outcome import Control, DeadLetter, Headers, Ignored, Outcome, Publish, Reason, Record, Stage
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.core.rows import SOURCE_HEADER
from k2.ingestion.exchanges.binance.kinds import RAW_SCHEMA, RAW_TOPIC
from k2.ingestion.exchanges.binance.names import Stream, is_full_name, spec_of, stream_name
from k2.ingestion.topic_plan import RAW, TopicPlan
from k2.replay.destinations import ANYTHING, Destinations, Environment, Wanted, named_stream

LETTER_HEADER = "k2-dead-letter"

_parsed = cache(parsed_schema)


class ToPublish(Struct, frozen=True):
    """Records that are ready to be produced, and what of an array of events still cannot be published."""

    records: tuple[Record, ...]
    failures: tuple[DeadLetter, ...] = ()


class FailsAgain(Struct, frozen=True):
    """The event still cannot be published; of an array of events all of them."""

    failure: DeadLetter
    others: tuple[DeadLetter, ...] = ()

    @property
    def failures(self) -> tuple[DeadLetter, ...]:
        return (self.failure, *self.others)


class NothingToPublish(Struct, frozen=True):
    """The letter holds no event that belongs into a topic, and why not."""

    why: str


Prepared = ToPublish | FailsAgain | NothingToPublish


def failures_of(prepared: Prepared) -> tuple[DeadLetter, ...]:
    """What still cannot be published."""
    return () if isinstance(prepared, NothingToPublish) else prepared.failures


class Workbench:
    """Prepares letters one after the other."""

    def __init__(self, wanted: Wanted, environment: Environment) -> None:
        self._environment = environment
        self._destinations = Destinations(wanted, environment)

    def prepare(self, letter: Letter, now_us: int) -> Prepared:
        """
        What is to be done with a letter.

        Args:
            now_us: Microseconds since the Unix epoch. It judges events whose time was out of range, as our own clock may have
                been wrong; all others keep the time at which they were received.
        """
        if letter.record is None:
            outcomes = self._pipeline_of_event(letter).process_history(letter.payload, _received_at_us(letter, now_us))
            return _from_outcomes(outcomes, letter)
        if self._can_be_read(letter, letter.record):
            return ToPublish((as_replayed(letter.record, letter),))
        return self._encoded_anew(letter, letter.record, now_us)

    def _pipeline_of_event(self, letter: Letter) -> Pipeline:
        name = letter.stream if is_full_name(letter.stream) else _stream_named_in(letter.payload)
        stream = named_stream(letter.market, name)
        if stream is None:
            return Pipeline({})
        plans = self._destinations.of_event(letter.market, stream, letter.topic)
        return self._destinations.pipeline(letter.market, stream, _of_these_events(plans, stream, letter.payload))

    def _can_be_read(self, letter: Letter, record: Record) -> bool:
        """Whether a consumer of the record's topic can read its bytes: JSON always, Avro as long as its schema is known."""
        plan = self._destinations.plan_named(letter.market, record.topic)
        is_json = _is_object(record.value) if plan is None else not plan.needs_schema
        return is_json or self._environment.still_reads(record.value)

    def _encoded_anew(self, letter: Letter, record: Record, now_us: int) -> Prepared:
        """The registry has lost the schema of the bytes, or has another one under its id: the event itself is in the letter."""
        spec, symbol = _told_by(letter, record)
        if spec == RAW_TOPIC:
            return self._captured_anew(letter, record, now_us)
        frame = msgspec.json.encode({"stream": stream_name(symbol, spec), "data": letter.original_message})
        stream = named_stream(letter.market, stream_name(symbol, spec))
        plans = [] if stream is None else self._destinations.of_record(letter.market, stream, record.topic)
        return self._processed(letter, stream, [plan for plan in plans if plan.layout != RAW], frame, now_us)

    def _captured_anew(self, letter: Letter, record: Record, now_us: int) -> Prepared:
        """The same for a captured frame. The letter shows its event only, so the frame is taken from the record itself."""
        stream, frame = named_stream(letter.market, letter.stream), self._frame_in(record)
        if stream is None or frame is None:
            why = "the captured frame cannot be read any more"
            return FailsAgain(DeadLetter(Stage.DECODE, Reason.WRONG_TYPE, why, record.value))
        planned = self._destinations.plan_named(letter.market, record.topic)
        plan = TopicPlan(name=record.topic, streams=ANYTHING, layout=RAW, schema_name=RAW_SCHEMA) if planned is None else planned
        return self._processed(letter, stream, [plan] if plan.layout == RAW else [], frame, now_us)

    def _frame_in(self, record: Record) -> bytes | None:
        """The frame in a record whose bytes are as our own schema has them, which the frame's digest proves."""
        try:
            fields = decode_framed(record.value, _parsed(self._environment.schema(RAW_SCHEMA).text))
        except UndecodableError:
            return None
        frame: bytes = fields["payload"]
        return frame if str(fields["message_id"]).endswith(f".{digest(frame)}") else None

    def _processed(
        self, letter: Letter, stream: Stream | None, plans: Sequence[TopicPlan], frame: bytes, now_us: int
    ) -> Prepared:
        pipeline = Pipeline({}) if stream is None else self._destinations.pipeline(letter.market, stream, plans)
        return _from_outcomes(pipeline.process_history(frame, _received_at_us(letter, now_us)), letter)


def _received_at_us(letter: Letter, now_us: int) -> int:
    known = letter.received_at_us
    return now_us if known is None or letter.reason is Reason.TIMESTAMP_OUT_OF_RANGE else known


def _told_by(letter: Letter, record: Record) -> tuple[str, str]:
    """Spec and symbol of a record: its own identity tells them best, as its letter may lack a key to tell the symbol by."""
    identity = message_identity(record.value)
    if identity is None:
        return spec_of(letter.stream), letter.named_symbol
    _, _, spec, symbol, *_ = identity.split(".")
    return spec, symbol


def _of_these_events(plans: Sequence[TopicPlan], stream: Stream, frame: bytes) -> list[TopicPlan]:
    """
    The topics that are to have what a frame holds.

    The frame of one element of an array was made by us. Where whole frames are captured as well, it is none of those.
    """
    made_by_us = stream.is_all_market and not _holds_array(frame)
    without_captures = [plan for plan in plans if plan.layout != RAW]
    return without_captures if made_by_us and without_captures else list(plans)


def as_replayed(record: Record, letter: Letter) -> Record:
    """The record with the marks of a replay instead of those that it had, so that consumers know why it comes so late."""
    headers: Headers = [(SOURCE_HEADER, b"replay"), (LETTER_HEADER, letter.id.encode())]
    return Record(record.topic, record.key, record.value, record.timestamp_ms, headers)


def _from_outcomes(outcomes: Sequence[Outcome], letter: Letter) -> Prepared:
    """One outcome, or for an array one of each element."""
    records = [record for outcome in outcomes if isinstance(outcome, Publish) for record in outcome.records]
    failures = tuple(outcome for outcome in outcomes if isinstance(outcome, DeadLetter))
    if records:
        return ToPublish(tuple(as_replayed(record, letter) for record in records), failures)
    if failures:
        return FailsAgain(failures[0], failures[1:])
    left_out = next((outcome.reason for outcome in outcomes if isinstance(outcome, Ignored)), None)
    said = next((outcome.kind for outcome in outcomes if isinstance(outcome, Control)), None)
    return NothingToPublish(str(left_out or said))


_NO_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def _is_object(value: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(value), dict)
    except _NO_JSON:
        return False


class _Data(Struct):
    data: Raw = Raw(b"")


def _holds_array(frame: bytes) -> bool:
    try:
        return bytes(msgspec.json.decode(frame, type=_Data).data).startswith(b"[")
    except _NO_JSON:
        return False


class _Named(Struct):
    stream: str = ""
    s: str = ""
    e: str = ""


def _stream_named_in(frame: bytes) -> str:
    """The name of the stream that a frame says it is of; empty where it says none."""
    try:
        named = msgspec.json.decode(frame, type=_Named)
    except _NO_JSON:
        return ""
    return named.stream or f"{named.s}@{named.e}"
