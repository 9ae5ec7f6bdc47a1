"""
What a failed delivery means: one table from librdkafka's code names to what each is about, and so to the fate of the record.

`KafkaError.retriable()` is always false in callbacks, so the code's name decides. Only a code that blames records can make a
dead letter of one. Everything else is held, codes that nobody has heard of yet among them: a topic that is closed to us, a
broker that is ill or a version that does not fit concerns every record alike, and dead letters would be a copy of the market.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct

from k2.ingestion.core.outcome import Reason, WriteOutcome


class Fate(StrEnum):
    """What to do with a record whose delivery failed."""

    ALONE = "alone"  # one bad record fails its whole batch: produce each once more, alone
    HOLD = "hold"  # nothing wrong with the record: keep it, in order, and try again later
    DEAD = "dead"


class Concern(StrEnum):
    """What a code is about."""

    RECORD = "record"  # or another one of its batch
    TOPIC = "topic"  # as it is: absent, made anew, or with properties that let none of our records in
    PERMISSION = "permission"  # who we are and what we may do, which an operator can change while we wait
    CLUSTER = "cluster"  # a state that passes: a leader that moves, a disk that fails, a quota that is spent
    CONNECTION = "connection"
    VERSION = "version"  # client and broker do not understand each other, about this request and so about any
    PRODUCER = "producer"  # its id, epoch, sequence or room; it goes on with a new epoch, or is made anew
    GIVEN_UP = "given_up"  # nobody refused it: a time limit or our own end came first
    OTHER = "other"  # no answer to a record at all, or a code of tomorrow


class Verdict(Struct, frozen=True):
    """What to do with a record, whether it may be in the topic all the same, and as what it is filed if it dies of this."""

    fate: Fate
    written: WriteOutcome
    reason: Reason


CODES: Mapping[Concern, tuple[str, ...]] = MappingProxyType(
    {
        Concern.RECORD: (
            "INVALID_MSG",
            "INVALID_MSG_SIZE",
            "INVALID_RECORD",
            "INVALID_TIMESTAMP",
            "MSG_SIZE_TOO_LARGE",
            "RECORD_LIST_TOO_LARGE",
            "_INVALID_ARG",
            "_INVALID_DIFFERENT_RECORD",  # the broker named the bad records of the batch, and this is none of them
        ),
        Concern.TOPIC: (
            "INCONSISTENT_TOPIC_ID",
            "POLICY_VIOLATION",
            "TOPIC_EXCEPTION",
            "UNKNOWN_TOPIC_ID",
            "UNKNOWN_TOPIC_OR_PART",
            "UNSUPPORTED_COMPRESSION_TYPE",
            "UNSUPPORTED_FOR_MESSAGE_FORMAT",
            "_UNKNOWN_PARTITION",
            "_UNKNOWN_TOPIC",
        ),
        Concern.PERMISSION: (
            "CLUSTER_AUTHORIZATION_FAILED",
            "GROUP_AUTHORIZATION_FAILED",
            "ILLEGAL_SASL_STATE",
            "SASL_AUTHENTICATION_FAILED",
            "SECURITY_DISABLED",
            "TOPIC_AUTHORIZATION_FAILED",
            "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            "UNSUPPORTED_SASL_MECHANISM",
            "_AUTHENTICATION",
        ),
        Concern.CLUSTER: (
            "BROKER_NOT_AVAILABLE",
            "COORDINATOR_LOAD_IN_PROGRESS",
            "COORDINATOR_NOT_AVAILABLE",
            "FENCED_LEADER_EPOCH",
            "KAFKA_STORAGE_ERROR",
            "LEADER_NOT_AVAILABLE",
            "NOT_COORDINATOR",
            "NOT_ENOUGH_REPLICAS",
            "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
            "NOT_LEADER_FOR_PARTITION",
            "REBOOTSTRAP_REQUIRED",
            "REPLICA_NOT_AVAILABLE",
            "REQUEST_TIMED_OUT",
            "THROTTLING_QUOTA_EXCEEDED",
            "UNKNOWN",  # the broker's own defect or overload: it may last for an hour, and strike every record of that hour
            "UNKNOWN_LEADER_EPOCH",
        ),
        Concern.CONNECTION: (
            "NETWORK_EXCEPTION",
            "_ALL_BROKERS_DOWN",
            "_BAD_MSG",
            "_DESTROY_BROKER",
            "_FAIL",
            "_RESOLVE",
            "_SSL",
            "_TIMED_OUT",
            "_TRANSPORT",
        ),
        Concern.VERSION: (
            "INVALID_REQUEST",
            "INVALID_REQUIRED_ACKS",
            "UNSUPPORTED_VERSION",
            "_UNKNOWN_PROTOCOL",
            "_UNSUPPORTED_FEATURE",
        ),
        Concern.PRODUCER: (
            "DUPLICATE_SEQUENCE_NUMBER",
            "INVALID_PRODUCER_EPOCH",
            "OUT_OF_ORDER_SEQUENCE_NUMBER",
            "PRODUCER_FENCED",
            "UNKNOWN_PRODUCER_ID",
            "_CRIT_SYS_RESOURCE",
            "_FATAL",
            "_FENCED",
            "_GAPLESS_GUARANTEE",
            "_QUEUE_FULL",
            "_STATE",
        ),
        Concern.GIVEN_UP: (
            "_MSG_TIMED_OUT",
            "_PURGE_INFLIGHT",
            "_PURGE_QUEUE",
            "_TIMED_OUT_QUEUE",
        ),
    }
)
FATES: Mapping[Concern, Fate] = MappingProxyType(
    {
        Concern.RECORD: Fate.ALONE,
        Concern.TOPIC: Fate.HOLD,
        Concern.PERMISSION: Fate.HOLD,
        Concern.CLUSTER: Fate.HOLD,
        Concern.CONNECTION: Fate.HOLD,
        Concern.VERSION: Fate.HOLD,
        Concern.PRODUCER: Fate.HOLD,
        Concern.GIVEN_UP: Fate.DEAD,
        Concern.OTHER: Fate.HOLD,
    }
)
_CONCERNS = {code: concern for concern, codes in CODES.items() for code in codes}
_REASONS = {
    "MSG_SIZE_TOO_LARGE": Reason.TOO_LARGE,
    "RECORD_LIST_TOO_LARGE": Reason.TOO_LARGE,
    "_PURGE_QUEUE": Reason.NOT_DELIVERED_AT_SHUTDOWN,
    "_PURGE_INFLIGHT": Reason.NOT_DELIVERED_AT_SHUTDOWN,
}
# Not even _PURGE_QUEUE is certain: what was sent and lost its answer with the connection waits in the queue again.
_ALWAYS_IN_DOUBT = frozenset({Concern.CONNECTION, Concern.GIVEN_UP, Concern.OTHER})
# The batch may be in the log: it failed or timed out after, or while, it was appended, or an earlier one of its kind was.
_MAYBE_APPENDED = frozenset(
    {
        "UNKNOWN",
        "REQUEST_TIMED_OUT",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "KAFKA_STORAGE_ERROR",
        "OUT_OF_ORDER_SEQUENCE_NUMBER",
        "DUPLICATE_SEQUENCE_NUMBER",
        "UNKNOWN_PRODUCER_ID",
        "_AUTHENTICATION",  # it ends a connection, on which something may have been under way
        "_CRIT_SYS_RESOURCE",
        "_FATAL",
        "_FENCED",
        "_GAPLESS_GUARANTEE",
        "_STATE",
    }
)
NEVER_HANDED_OVER = Verdict(Fate.DEAD, WriteOutcome.NOT_WRITTEN, Reason.NOT_DELIVERED_AT_SHUTDOWN)  # it waited with us
_BY_OUTCOME = {WriteOutcome.UNKNOWN: Reason.DELIVERY_UNKNOWN, WriteOutcome.NOT_WRITTEN: Reason.DELIVERY_REJECTED}


def concern_of(code: str) -> Concern:
    """What a code is about, by `KafkaError.name()`."""
    return _CONCERNS.get(code, Concern.OTHER)


def write_outcome(code: str) -> WriteOutcome:
    """
    What a failed delivery says about the topic, by `KafkaError.name()`; everything not known for sure is `unknown`.

    Source: librdkafka's INTRODUCTION.md, "Message persistence status"; the status itself is not exposed in Python.
    """
    in_doubt = concern_of(code) in _ALWAYS_IN_DOUBT or code in _MAYBE_APPENDED
    return WriteOutcome.UNKNOWN if in_doubt else WriteOutcome.NOT_WRITTEN


def verdict_on(code: str, *, alone: bool) -> Verdict:
    """
    Judge a failed delivery.

    Args:
        code: The error's name, as `KafkaError.name()` gives it.
        alone: True where the record was the only one of its batch, so that the refusal is its own.
    """
    fate = FATES[concern_of(code)]
    if fate is Fate.ALONE and alone:
        fate = Fate.DEAD
    written = write_outcome(code)
    return Verdict(fate, written, _REASONS.get(code, _BY_OUTCOME[written]))


def in_doubt(verdict: Verdict) -> Verdict:
    """The same verdict on a record that an earlier attempt may have written."""
    unknown = WriteOutcome.UNKNOWN
    reason = Reason.DELIVERY_UNKNOWN if verdict.reason is Reason.DELIVERY_REJECTED else verdict.reason
    return Verdict(verdict.fate, unknown, reason)
