"""What becomes of a record whose delivery failed."""

from __future__ import annotations

import confluent_kafka
import pytest
from confluent_kafka import KafkaError

from k2.ingestion.core.delivery import FATES, Fate, Verdict, in_doubt, verdict_on, write_outcome
from k2.ingestion.core.outcome import Reason, WriteOutcome

NOT_WRITTEN, UNKNOWN = WriteOutcome.NOT_WRITTEN, WriteOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("code", "in_batch", "alone"),
    [
        ("INVALID_TIMESTAMP", Fate.ALONE, Verdict(Fate.DEAD, NOT_WRITTEN, Reason.DELIVERY_REJECTED)),
        ("INVALID_RECORD", Fate.ALONE, Verdict(Fate.DEAD, NOT_WRITTEN, Reason.DELIVERY_REJECTED)),
        ("MSG_SIZE_TOO_LARGE", Fate.ALONE, Verdict(Fate.DEAD, NOT_WRITTEN, Reason.TOO_LARGE)),
        ("RECORD_LIST_TOO_LARGE", Fate.ALONE, Verdict(Fate.DEAD, NOT_WRITTEN, Reason.TOO_LARGE)),
        ("_MSG_SIZE_TOO_LARGE", Fate.DEAD, Verdict(Fate.DEAD, NOT_WRITTEN, Reason.TOO_LARGE)),
        ("TOPIC_AUTHORIZATION_FAILED", Fate.HOLD, Verdict(Fate.HOLD, NOT_WRITTEN, Reason.DELIVERY_REJECTED)),
        ("UNKNOWN_TOPIC_OR_PART", Fate.HOLD, Verdict(Fate.HOLD, NOT_WRITTEN, Reason.DELIVERY_REJECTED)),
        ("NOT_ENOUGH_REPLICAS", Fate.HOLD, Verdict(Fate.HOLD, NOT_WRITTEN, Reason.DELIVERY_REJECTED)),
        ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", Fate.HOLD, Verdict(Fate.HOLD, UNKNOWN, Reason.DELIVERY_UNKNOWN)),
        ("REQUEST_TIMED_OUT", Fate.HOLD, Verdict(Fate.HOLD, UNKNOWN, Reason.DELIVERY_UNKNOWN)),
        ("_FATAL", Fate.HOLD, Verdict(Fate.HOLD, UNKNOWN, Reason.DELIVERY_UNKNOWN)),
        ("_INVALID_DIFFERENT_RECORD", Fate.ALONE, Verdict(Fate.DEAD, NOT_WRITTEN, Reason.DELIVERY_REJECTED)),
        ("NETWORK_EXCEPTION", Fate.HOLD, Verdict(Fate.HOLD, UNKNOWN, Reason.DELIVERY_UNKNOWN)),
        ("_PURGE_QUEUE", Fate.DEAD, Verdict(Fate.DEAD, UNKNOWN, Reason.NOT_DELIVERED_AT_SHUTDOWN)),
        ("_PURGE_INFLIGHT", Fate.DEAD, Verdict(Fate.DEAD, UNKNOWN, Reason.NOT_DELIVERED_AT_SHUTDOWN)),
        ("INVALID_REQUIRED_ACKS", Fate.DEAD, Verdict(Fate.DEAD, NOT_WRITTEN, Reason.DELIVERY_REJECTED)),
        ("_A_CODE_OF_TOMORROW", Fate.DEAD, Verdict(Fate.DEAD, UNKNOWN, Reason.DELIVERY_UNKNOWN)),
        ("ERR_9999?", Fate.DEAD, Verdict(Fate.DEAD, UNKNOWN, Reason.DELIVERY_UNKNOWN)),
    ],
)
def test_verdict_on_a_failed_delivery(code: str, in_batch: Fate, alone: Verdict) -> None:
    """The code decides; a refusal that may be another record's fault is final only for a record that was alone."""
    assert verdict_on(code, alone=False).fate is in_batch
    assert verdict_on(code, alone=True) == alone


def _librdkafka_codes() -> list[str]:
    numbers = {
        value for name in dir(KafkaError) if isinstance(value := getattr(KafkaError, name), int) and not name.startswith("__")
    }
    return [confluent_kafka.KafkaError(number).name() for number in sorted(numbers)]


def test_every_code_of_librdkafka_has_a_verdict_that_agrees_with_itself() -> None:
    """Whatever librdkafka may report: nothing is produced alone for ever, and `unknown` and `rejected` never go together."""
    for code in _librdkafka_codes():
        final = verdict_on(code, alone=True)
        assert final.fate is not Fate.ALONE
        assert final.written is write_outcome(code)
        assert (final.reason, final.written) not in [(Reason.DELIVERY_REJECTED, UNKNOWN), (Reason.DELIVERY_UNKNOWN, NOT_WRITTEN)]


def test_doubt_about_an_earlier_attempt_stays() -> None:
    """What was sent before may be in the topic whatever became of the last attempt; fate and plainer reasons stay as they are."""
    for code in _librdkafka_codes():
        verdict = verdict_on(code, alone=True)
        doubtful = in_doubt(verdict)
        assert (doubtful.fate, doubtful.written) == (verdict.fate, UNKNOWN)
        assert doubtful.reason is (Reason.DELIVERY_UNKNOWN if verdict.reason is Reason.DELIVERY_REJECTED else verdict.reason)


def test_codes_of_the_table_exist() -> None:
    """A code that is spelled wrong would be looked up in vain."""
    assert FATES.keys() <= set(_librdkafka_codes())
