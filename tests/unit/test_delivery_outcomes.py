"""Whether a record that was not acknowledged may be in the topic all the same."""

from __future__ import annotations

import pytest

from k2.ingestion.core.delivery import write_outcome
from k2.ingestion.core.outcome import WriteOutcome


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("MSG_SIZE_TOO_LARGE", WriteOutcome.NOT_WRITTEN),
        ("INVALID_RECORD", WriteOutcome.NOT_WRITTEN),
        ("INVALID_TIMESTAMP", WriteOutcome.NOT_WRITTEN),
        ("RECORD_LIST_TOO_LARGE", WriteOutcome.NOT_WRITTEN),
        ("TOPIC_AUTHORIZATION_FAILED", WriteOutcome.NOT_WRITTEN),
        ("UNKNOWN_TOPIC_OR_PART", WriteOutcome.NOT_WRITTEN),
        ("_PURGE_QUEUE", WriteOutcome.UNKNOWN),
        ("_PURGE_INFLIGHT", WriteOutcome.UNKNOWN),
        ("_MSG_TIMED_OUT", WriteOutcome.UNKNOWN),
        ("_TIMED_OUT", WriteOutcome.UNKNOWN),
        ("_TRANSPORT", WriteOutcome.UNKNOWN),
        ("_FATAL", WriteOutcome.UNKNOWN),
        ("REQUEST_TIMED_OUT", WriteOutcome.UNKNOWN),
        ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", WriteOutcome.UNKNOWN),
        ("ERR_9999?", WriteOutcome.UNKNOWN),
    ],
)
def test_outcome_of_a_failed_delivery(code: str, outcome: WriteOutcome) -> None:
    """Only what surely never reached the log is not_written."""
    assert write_outcome(code) is outcome
