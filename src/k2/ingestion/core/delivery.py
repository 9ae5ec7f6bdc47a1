"""
What a delivery report means: one table from librdkafka's code names to the fate of the record.

`KafkaError.retriable()` is always false in callbacks, so the code's name decides. A record with a code that is in no table is
dead, and whether it was written is an open question unless we know better.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from k2.ingestion.core.outcome import Reason, WriteOutcome


class Fate(StrEnum):
    """What to do with a record whose delivery failed."""

    ALONE = "alone"  # one bad record fails its whole batch: produce each once more, alone
    HOLD = "hold"  # nothing wrong with the record: keep it, in order, and try again later
    DEAD = "dead"


class Verdict(Struct, frozen=True):
    """What to do with a record, whether it may be in the topic all the same, and as what it is filed if it dies of this."""

    fate: Fate
    written: WriteOutcome
    reason: Reason


FATES: dict[str, Fate] = {
    "INVALID_TIMESTAMP": Fate.ALONE,
    "INVALID_RECORD": Fate.ALONE,
    "MSG_SIZE_TOO_LARGE": Fate.ALONE,
    "RECORD_LIST_TOO_LARGE": Fate.ALONE,
    # The broker named the bad records of the batch, and this is none of them.
    "_INVALID_DIFFERENT_RECORD": Fate.ALONE,
    # The whole topic is closed to us. Dead letters would be a copy of the market, and an operator can open it again.
    "TOPIC_AUTHORIZATION_FAILED": Fate.HOLD,
    "CLUSTER_AUTHORIZATION_FAILED": Fate.HOLD,
    "SASL_AUTHENTICATION_FAILED": Fate.HOLD,
    "UNKNOWN_TOPIC_OR_PART": Fate.HOLD,
    "POLICY_VIOLATION": Fate.HOLD,
    "_AUTHENTICATION": Fate.HOLD,
    "_UNKNOWN_TOPIC": Fate.HOLD,
    "_UNKNOWN_PARTITION": Fate.HOLD,
    # librdkafka retries these itself and only hands them over when it gives up.
    "NOT_ENOUGH_REPLICAS": Fate.HOLD,
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND": Fate.HOLD,
    "KAFKA_STORAGE_ERROR": Fate.HOLD,
    "NOT_LEADER_FOR_PARTITION": Fate.HOLD,
    "LEADER_NOT_AVAILABLE": Fate.HOLD,
    "THROTTLING_QUOTA_EXCEEDED": Fate.HOLD,
    "REQUEST_TIMED_OUT": Fate.HOLD,
    "NETWORK_EXCEPTION": Fate.HOLD,
    # It starts a new epoch itself after this, and fails what it had sent in the old one.
    "INVALID_PRODUCER_EPOCH": Fate.HOLD,
    # The producer is done for, the record is not.
    "_FATAL": Fate.HOLD,
}
_REASONS = {
    "MSG_SIZE_TOO_LARGE": Reason.TOO_LARGE,
    "RECORD_LIST_TOO_LARGE": Reason.TOO_LARGE,
    "_MSG_SIZE_TOO_LARGE": Reason.TOO_LARGE,
    "_PURGE_QUEUE": Reason.NOT_DELIVERED_AT_SHUTDOWN,
    "_PURGE_INFLIGHT": Reason.NOT_DELIVERED_AT_SHUTDOWN,
}
# Codes of librdkafka's own (they begin with an underscore) under which nothing is in the log: it was not sent, or refused.
# Not _PURGE_QUEUE: what was sent and lost its answer with the connection waits in the queue again.
_NEVER_WRITTEN = frozenset(
    {
        "_QUEUE_FULL",
        "_INVALID_ARG",
        "_UNKNOWN_TOPIC",
        "_UNKNOWN_PARTITION",
        "_READ_ONLY",
        "_MSG_SIZE_TOO_LARGE",
        "_INVALID_DIFFERENT_RECORD",
    }
)
# Codes of the broker under which the batch may be in the log: it failed or timed out after, or while, it was appended.
_MAYBE_APPENDED = frozenset(
    {
        "UNKNOWN",
        "REQUEST_TIMED_OUT",
        "NETWORK_EXCEPTION",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "KAFKA_STORAGE_ERROR",
        "OUT_OF_ORDER_SEQUENCE_NUMBER",
        "DUPLICATE_SEQUENCE_NUMBER",
        "UNKNOWN_PRODUCER_ID",
    }
)
NEVER_HANDED_OVER = Verdict(Fate.DEAD, WriteOutcome.NOT_WRITTEN, Reason.NOT_DELIVERED_AT_SHUTDOWN)  # it waited with us
_BY_OUTCOME = {WriteOutcome.UNKNOWN: Reason.DELIVERY_UNKNOWN, WriteOutcome.NOT_WRITTEN: Reason.DELIVERY_REJECTED}


def write_outcome(code: str) -> WriteOutcome:
    """
    What a failed delivery says about the topic, by `KafkaError.name()`; everything not known for sure is `unknown`.

    Source: librdkafka's INTRODUCTION.md, "Message persistence status"; the status itself is not exposed in Python.
    """
    if code.startswith(("_", "ERR_")):
        return WriteOutcome.NOT_WRITTEN if code in _NEVER_WRITTEN else WriteOutcome.UNKNOWN
    return WriteOutcome.UNKNOWN if code in _MAYBE_APPENDED else WriteOutcome.NOT_WRITTEN


def verdict_on(code: str, *, alone: bool) -> Verdict:
    """
    Judge a failed delivery.

    Args:
        code: The error's name, as `KafkaError.name()` gives it.
        alone: True where the record was the only one of its batch, so that the refusal is its own.
    """
    fate = FATES.get(code, Fate.DEAD)
    if fate is Fate.ALONE and alone:
        fate = Fate.DEAD
    written = write_outcome(code)
    return Verdict(fate, written, _REASONS.get(code, _BY_OUTCOME[written]))


def in_doubt(verdict: Verdict) -> Verdict:
    """The same verdict on a record that an earlier attempt may have written."""
    unknown = WriteOutcome.UNKNOWN
    reason = Reason.DELIVERY_UNKNOWN if verdict.reason is Reason.DELIVERY_REJECTED else verdict.reason
    return Verdict(verdict.fate, unknown, reason)
