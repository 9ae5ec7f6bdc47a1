"""Which letters a replay takes: those that fit every filter that is given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.core.letter_reader import Letter
from k2.ingestion.core.outcome import Reason, Stage, WriteOutcome
from k2.replay.selection import Selection

FAILED_AT_MS = 1_700_000_100_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def letter(**changes: Any) -> Letter:
    fields: dict[str, Any] = {
        "id": "letter-1", "failed_at": EPOCH + timedelta(milliseconds=FAILED_AT_MS), "stage": Stage.MAP,
        "reason": Reason.TIMESTAMP_OUT_OF_RANGE, "error": "", "outcome": WriteOutcome.NOT_WRITTEN, "attempts": 1,
        "market": "spot", "stream": "btcusdt@aggTrade", "symbol": "BTCUSDT", "topic": "trades", "original_message": {},
        "payload": b"", "received_at_us": None,
    }  # fmt: skip
    return Letter(**{**fields, **changes})


LETTER = letter()
UNKNOWN_SYMBOL = letter(symbol="", original_message={"s": "ethUSDT"})
NO_SYMBOL = letter(symbol="")


@pytest.mark.parametrize(
    ("asked", "about", "taken"),
    [
        pytest.param({}, LETTER, True, id="nothing-asked"),
        pytest.param({"stages": {Stage.MAP, Stage.ENCODE}}, LETTER, True, id="one-of-the-stages"),
        pytest.param({"stages": {Stage.ENCODE}}, LETTER, False, id="another-stage"),
        pytest.param({"reasons": {Reason.TIMESTAMP_OUT_OF_RANGE}}, LETTER, True, id="the-reason"),
        pytest.param({"reasons": {Reason.NOT_JSON}}, LETTER, False, id="another-reason"),
        pytest.param({"symbols": {"BTCUSDT"}}, LETTER, True, id="the-symbol"),
        pytest.param({"symbols": {"BTC"}}, LETTER, False, id="a-part-of-the-symbol"),
        pytest.param({"symbols": {"ETHUSDT"}}, UNKNOWN_SYMBOL, True, id="the-symbol-that-the-event-claims"),
        pytest.param({"symbols": {"BTCUSDT"}}, NO_SYMBOL, False, id="no-symbol"),
        pytest.param({"topics": {"trades"}}, LETTER, True, id="the-topic"),
        pytest.param({"topics": {"trades"}}, letter(topic=""), False, id="no-topic"),
        pytest.param({"ids": {"letter-1", "letter-2"}}, LETTER, True, id="one-of-the-ids"),
        pytest.param({"ids": {"letter-2"}}, LETTER, False, id="another-id"),
        pytest.param({"since_ms": FAILED_AT_MS}, LETTER, True, id="from-this-moment-on"),
        pytest.param({"since_ms": FAILED_AT_MS + 1}, LETTER, False, id="from-a-moment-later-on"),
        pytest.param({"until_ms": FAILED_AT_MS}, LETTER, False, id="before-this-moment"),
        pytest.param({"until_ms": FAILED_AT_MS + 1}, LETTER, True, id="before-the-next"),
        pytest.param({"since_ms": 0, "until_ms": 0}, LETTER, False, id="no-time-at-all"),
        pytest.param({"stages": {Stage.MAP}, "symbols": {"ETHUSDT"}}, LETTER, False, id="one-of-two-filters"),
    ],
)
def test_a_letter_must_fit_every_filter(asked: dict[str, Any], about: Letter, taken: bool) -> None:
    """One value of each filter that is given; both ends of the time count as is written there."""
    assert selection(**asked).takes(about) is taken


def selection(**asked: Any) -> Selection:
    fields: dict[str, Any] = {name: frozenset(value) if isinstance(value, set) else value for name, value in asked.items()}
    return Selection(**fields)


TIMES_MS = st.integers(FAILED_AT_MS - 2, FAILED_AT_MS + 2)
ASKED = st.fixed_dictionaries(
    {},
    optional={
        "stages": st.sets(st.sampled_from(Stage)),
        "reasons": st.sets(st.sampled_from(Reason)),
        "symbols": st.sets(st.sampled_from(["BTCUSDT", "ETHUSDT", ""])),
        "topics": st.sets(st.sampled_from(["trades", "quotes", ""])),
        "ids": st.sets(st.sampled_from(["letter-1", "letter-2"])),
        "since_ms": TIMES_MS,
        "until_ms": TIMES_MS,
    },
)
LETTERS = st.builds(
    letter,
    id=st.sampled_from(["letter-1", "letter-2"]),
    failed_at=TIMES_MS.map(lambda at_ms: EPOCH + timedelta(milliseconds=at_ms)),
    stage=st.sampled_from(Stage),
    reason=st.sampled_from(Reason),
    symbol=st.sampled_from(["BTCUSDT", "btcusdt", "ETHUSDT", ""]),
    topic=st.sampled_from(["trades", "quotes", ""]),
)


@given(ASKED, LETTERS)
def test_filters_are_independent(asked: dict[str, Any], about: Letter) -> None:
    """All together take what each of them takes alone."""
    alone = [selection(**{name: value}).takes(about) for name, value in asked.items()]
    assert selection(**asked).takes(about) is all(alone)
    assert selection(**asked).asks_for_something is any(asked[name] not in (set(), None) for name in asked)
