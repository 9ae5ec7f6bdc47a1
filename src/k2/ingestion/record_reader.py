"""
What a record of ours tells about itself: the stream that it came from, and the exchange's message as near as it allows.

It serves dead letters of records that could not be delivered, long after their frames are gone.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import fastavro
import msgspec
from msgspec import Struct

from k2.ingestion.core.avro import FRAME_BYTES
from k2.ingestion.core.letters import original_message
from k2.ingestion.core.outcome import Record
from k2.ingestion.exchanges.binance.kinds import kind_of
from k2.ingestion.exchanges.binance.layouts import LAYOUTS
from k2.ingestion.topic_plan import RAW, TopicPlan

_NO_AVRO = (EOFError, ValueError, IndexError, TypeError, OverflowError)
_NO_MESSAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, msgspec.MsgspecError, RecursionError)


class Told(Struct, frozen=True):
    """What a record tells. All is empty or None where it is not one of ours, or says nothing about it."""

    stream: str = ""
    received_at_us: int | None = None
    original_message: dict[str, Any] = {}


NOTHING = Told()


class RecordReader:
    """
    Reads the records of the topics that we write.

    Args:
        schemas: The parsed schema of each topic that holds Avro.
    """

    def __init__(self, market: str, plans: Mapping[str, TopicPlan], schemas: Mapping[str, Any]) -> None:
        self._market, self._plans = market, dict(plans)
        self._schemas = {topic: fastavro.parse_schema(schema) for topic, schema in schemas.items()}

    def told_by(self, record: Record) -> Told:
        """What the record tells; never raises."""
        plan = self._plans.get(record.topic)
        if plan is None:
            return NOTHING
        try:
            return self._told_in_avro(plan, record.value) if plan.needs_schema else _told_in_json(plan, record.value)
        except _NO_MESSAGE:  # a letter without it is better than none
            return NOTHING

    def _told_in_avro(self, plan: TopicPlan, value: bytes) -> Told:
        fields = _decoded(value, self._schemas[plan.name])
        received_at_us = fields.get("ingestion_timestamp")
        if plan.layout == RAW:
            return Told(fields["stream"], received_at_us, original_message(fields["payload"]))
        spec = fields["message_id"].split(".")[2]
        kind = kind_of(self._market, spec)
        return Told(spec, received_at_us, kind.original(fields) if kind else {})


def _told_in_json(plan: TopicPlan, value: bytes) -> Told:
    document = msgspec.json.decode(value)
    pattern, *more = plan.streams
    only = "" if more or "*" in pattern else pattern
    return Told(only, None, LAYOUTS[plan.layout].original(document))


def _decoded(value: bytes, schema: Any) -> dict[str, Any]:
    """The record's fields, times in microseconds; empty where it is not one of ours."""
    try:
        fields = fastavro.schemaless_reader(io.BytesIO(value[FRAME_BYTES:]), schema)
    except _NO_AVRO:
        return {}
    return {name: _microseconds(field) for name, field in fields.items()} if isinstance(fields, dict) else {}


def _microseconds(value: Any) -> Any:
    return round(value.timestamp() * 1_000_000) if hasattr(value, "timestamp") else value
