"""
Every code that Kafka can refuse a record with, as a Markdown table for the reference of errors.

`core.delivery` decides about what librdkafka hands over. What librdkafka settles by itself is known here, for readers only: the
tests see to it that it is so.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from k2.ingestion.core.delivery import CODES, Concern, Fate, verdict_on, write_outcome
from k2.ingestion.reference import table_row

HEADER = "| Code | About | What becomes of the record | `outcome`, if it dies |\n|---|---|---|---|"
OTHER = "any other"


class Course(StrEnum):
    """What becomes of a record that a code struck."""

    RETRIED = "retried"  # by librdkafka, for ever; nobody hears of it
    DELIVERED = "taken for delivered"  # by librdkafka: the broker has it already
    ALONE = "produced alone"
    HELD = "held"
    MADE_ANEW = "producer made anew"
    GIVEN_UP = "given up"


_SETTLED_BY_LIBRDKAFKA: Mapping[str, Course] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "BROKER_NOT_AVAILABLE",
                "COORDINATOR_LOAD_IN_PROGRESS",
                "COORDINATOR_NOT_AVAILABLE",
                "INVALID_MSG",
                "KAFKA_STORAGE_ERROR",
                "LEADER_NOT_AVAILABLE",
                "NOT_COORDINATOR",
                "NOT_ENOUGH_REPLICAS",
                "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
                "NOT_LEADER_FOR_PARTITION",
                "REPLICA_NOT_AVAILABLE",
                "REQUEST_TIMED_OUT",
                "UNKNOWN_PRODUCER_ID",
                "UNKNOWN_TOPIC_OR_PART",
                "_TRANSPORT",
            ),
            Course.RETRIED,
        ),
        "DUPLICATE_SEQUENCE_NUMBER": Course.DELIVERED,
        # Fatal to an idempotent producer: it takes no record any more.
        "OUT_OF_ORDER_SEQUENCE_NUMBER": Course.MADE_ANEW,
        "_FATAL": Course.MADE_ANEW,
    }
)
_BY_FATE = {Fate.ALONE: Course.ALONE, Fate.HOLD: Course.HELD, Fate.DEAD: Course.GIVEN_UP}


def course_of(code: str) -> Course:
    """What becomes of a record whose batch was refused with this code, by `KafkaError.name()`."""
    return _SETTLED_BY_LIBRDKAFKA.get(code) or _BY_FATE[verdict_on(code, alone=False).fate]


def delivery_codes_table() -> str:
    """One row for each code, by what it is about."""
    rows = [_row(f"`{code}`", concern, code) for concern, codes in CODES.items() for code in codes]
    return "\n".join([HEADER, *rows, _row(OTHER, Concern.OTHER, "")])


def _row(shown: str, concern: Concern, code: str) -> str:
    return table_row(shown, concern.value.replace("_", " "), course_of(code), f"`{write_outcome(code)}`")
