"""What becomes of a record whose delivery failed."""

from __future__ import annotations

from itertools import chain

import pytest
from confluent_kafka import KafkaError

from k2.ingestion.core.delivery import CODES, FATES, Concern, Fate, Verdict, concern_of, in_doubt, verdict_on, write_outcome
from k2.ingestion.core.outcome import Reason, WriteOutcome

NOT_WRITTEN, UNKNOWN = WriteOutcome.NOT_WRITTEN, WriteOutcome.UNKNOWN

ALL_CODES = sorted({KafkaError(value).name() for value in vars(KafkaError).values() if isinstance(value, int)})
LOCAL_CODES = [code for code in ALL_CODES if code.startswith("_")]


@pytest.mark.parametrize(
    ("code", "in_batch", "alone"),
    [
        ("INVALID_TIMESTAMP", Fate.ALONE, Verdict(Fate.DEAD, NOT_WRITTEN, Reason.DELIVERY_REJECTED)),
        ("INVALID_RECORD", Fate.ALONE, Verdict(Fate.DEAD, NOT_WRITTEN, Reason.DELIVERY_REJECTED)),
        ("MSG_SIZE_TOO_LARGE", Fate.ALONE, Verdict(Fate.DEAD, NOT_WRITTEN, Reason.TOO_LARGE)),
        ("RECORD_LIST_TOO_LARGE", Fate.ALONE, Verdict(Fate.DEAD, NOT_WRITTEN, Reason.TOO_LARGE)),
        ("_INVALID_DIFFERENT_RECORD", Fate.ALONE, Verdict(Fate.DEAD, NOT_WRITTEN, Reason.DELIVERY_REJECTED)),
        ("TOPIC_AUTHORIZATION_FAILED", Fate.HOLD, Verdict(Fate.HOLD, NOT_WRITTEN, Reason.DELIVERY_REJECTED)),
        ("UNKNOWN_TOPIC_OR_PART", Fate.HOLD, Verdict(Fate.HOLD, NOT_WRITTEN, Reason.DELIVERY_REJECTED)),
        ("NOT_ENOUGH_REPLICAS", Fate.HOLD, Verdict(Fate.HOLD, NOT_WRITTEN, Reason.DELIVERY_REJECTED)),
        ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", Fate.HOLD, Verdict(Fate.HOLD, UNKNOWN, Reason.DELIVERY_UNKNOWN)),
        ("REQUEST_TIMED_OUT", Fate.HOLD, Verdict(Fate.HOLD, UNKNOWN, Reason.DELIVERY_UNKNOWN)),
        ("NETWORK_EXCEPTION", Fate.HOLD, Verdict(Fate.HOLD, UNKNOWN, Reason.DELIVERY_UNKNOWN)),
        ("INVALID_REQUIRED_ACKS", Fate.HOLD, Verdict(Fate.HOLD, NOT_WRITTEN, Reason.DELIVERY_REJECTED)),
        ("UNKNOWN", Fate.HOLD, Verdict(Fate.HOLD, UNKNOWN, Reason.DELIVERY_UNKNOWN)),
        ("_FATAL", Fate.HOLD, Verdict(Fate.HOLD, UNKNOWN, Reason.DELIVERY_UNKNOWN)),
        ("_MSG_TIMED_OUT", Fate.DEAD, Verdict(Fate.DEAD, UNKNOWN, Reason.DELIVERY_UNKNOWN)),
        ("_PURGE_QUEUE", Fate.DEAD, Verdict(Fate.DEAD, UNKNOWN, Reason.NOT_DELIVERED_AT_SHUTDOWN)),
        ("_PURGE_INFLIGHT", Fate.DEAD, Verdict(Fate.DEAD, UNKNOWN, Reason.NOT_DELIVERED_AT_SHUTDOWN)),
        ("_A_CODE_OF_TOMORROW", Fate.HOLD, Verdict(Fate.HOLD, UNKNOWN, Reason.DELIVERY_UNKNOWN)),
        ("ERR_9999?", Fate.HOLD, Verdict(Fate.HOLD, UNKNOWN, Reason.DELIVERY_UNKNOWN)),
    ],
)
def test_verdict_on_a_failed_delivery(code: str, in_batch: Fate, alone: Verdict) -> None:
    """The code decides; a refusal that may be another record's fault is final only for a record that was alone."""
    assert verdict_on(code, alone=False).fate is in_batch
    assert verdict_on(code, alone=True) == alone


def test_only_blame_or_the_end_kills() -> None:
    """A record dies of a code that blames records, or because nobody waits any longer; no other code ever makes a dead letter."""
    deadly = {concern_of(code) for code in ALL_CODES if verdict_on(code, alone=True).fate is Fate.DEAD}
    assert deadly == {Concern.RECORD, Concern.GIVEN_UP}


def test_codes_of_librdkafkas_own() -> None:
    """Its local codes: two blame a record, four say that the waiting was ended, and whatever else ails it, records are held."""
    by_fate = {fate: {code for code in LOCAL_CODES if verdict_on(code, alone=False).fate is fate} for fate in Fate}
    assert by_fate[Fate.ALONE] == {"_INVALID_ARG", "_INVALID_DIFFERENT_RECORD"}
    assert by_fate[Fate.DEAD] == {"_MSG_TIMED_OUT", "_TIMED_OUT_QUEUE", "_PURGE_QUEUE", "_PURGE_INFLIGHT"}
    assert len(by_fate[Fate.HOLD]) == len(LOCAL_CODES) - 6


def test_what_librdkafka_surely_never_sent() -> None:
    """Of its local codes these alone prove that nothing is in the topic; of any other the outcome is unknown."""
    assert {code for code in LOCAL_CODES if write_outcome(code) is NOT_WRITTEN} == {
        "_INVALID_ARG",
        "_INVALID_DIFFERENT_RECORD",
        "_QUEUE_FULL",
        "_UNKNOWN_PARTITION",
        "_UNKNOWN_PROTOCOL",
        "_UNKNOWN_TOPIC",
        "_UNSUPPORTED_FEATURE",
    }


def test_every_code_of_librdkafka_has_a_verdict_that_agrees_with_itself() -> None:
    """Whatever librdkafka may report: nothing is produced alone for ever, and `unknown` and `rejected` never go together."""
    for code in ALL_CODES:
        final = verdict_on(code, alone=True)
        assert final.fate is not Fate.ALONE
        assert final.written is write_outcome(code)
        assert (final.reason, final.written) not in [(Reason.DELIVERY_REJECTED, UNKNOWN), (Reason.DELIVERY_UNKNOWN, NOT_WRITTEN)]


def test_doubt_about_an_earlier_attempt_stays() -> None:
    """What was sent before may be in the topic whatever became of the last attempt; fate and plainer reasons stay as they are."""
    for code in ALL_CODES:
        verdict = verdict_on(code, alone=True)
        doubtful = in_doubt(verdict)
        assert (doubtful.fate, doubtful.written) == (verdict.fate, UNKNOWN)
        assert doubtful.reason is (Reason.DELIVERY_UNKNOWN if verdict.reason is Reason.DELIVERY_REJECTED else verdict.reason)


def test_the_table_knows_each_code_once() -> None:
    """A code that is spelled wrong would be looked up in vain, and one that stands twice would have two meanings."""
    listed = list(chain.from_iterable(CODES.values()))
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(ALL_CODES)
    assert FATES.keys() == set(Concern)
