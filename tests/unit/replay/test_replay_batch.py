"""A letter on its way through a batch, and the new letter that it becomes where it failed again."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from faults.assembly import SCHEMA_ID, frame_of, make_record, trade_event
from k2.ingestion.core.delivery import verdict_on
from k2.ingestion.core.identity import record_name
from k2.ingestion.core.letter_reader import MOST_ATTEMPTS, Letter, read_letter
from k2.ingestion.core.letters import FailedRecord
from k2.ingestion.core.outcome import DeadLetter, Headers, Reason, Record, Stage, WriteOutcome
from k2.replay.batch import Item, fate_of, has_failed, letter_of, make_item, names_of, records_of, result_of
from k2.replay.ledger import LetterFate, Sending
from k2.replay.publisher import Refusal
from k2.replay.summary import LetterResult
from k2.replay.workbench import FailsAgain, NothingToPublish, ToPublish
from unit.replay.letters import (
    RECEIVED_AT_US,
    SYMBOL,
    TOPIC,
    broken_line,
    empty_line,
    good_line,
    identity_of,
    letter_from,
    new_letter,
    new_workbench,
    record_line,
)

UNKNOWN_ID = 999


def item_of(line: bytes) -> Item:
    letter = read_letter(line)
    return make_item(letter, new_workbench().prepare(letter, RECEIVED_AT_US))


def refused(item: Item, code: str = "MSG_SIZE_TOO_LARGE") -> Item:
    [record] = records_of(item)
    item.refusals = (Refusal(record, verdict_on(code, alone=True), f"{code}: no"),)
    return item


def there(item: Item) -> Item:
    item.there = frozenset(names_of(item))
    return item


@pytest.mark.parametrize(
    ("item", "fate", "result"),
    [
        pytest.param(item_of(good_line(1)), LetterFate.PUBLISHED, (LetterResult.PUBLISHED, ""), id="delivered"),
        pytest.param(there(item_of(record_line(1))), LetterFate.PUBLISHED, (LetterResult.ALREADY, ""), id="found-in-the-topic"),
        pytest.param(item_of(empty_line(1)), LetterFate.NOTHING, (LetterResult.NOTHING, ""), id="no-event"),
        pytest.param(
            refused(item_of(good_line(1))), LetterFate.REFILED, (LetterResult.FAILED, "MSG_SIZE_TOO_LARGE: no"), id="refused"
        ),
        pytest.param(
            item_of(broken_line(1)),
            LetterFate.REFILED,
            (LetterResult.FAILED, "decode/missing_field: Object missing required field `p` - at `$.data`"),
            id="not-to-be-encoded",
        ),
    ],
)
def test_every_end_of_a_letter_has_a_fate_and_a_result(item: Item, fate: LetterFate, result: tuple[LetterResult, str]) -> None:
    """The fate is what the ledger remembers, the result what this run counts."""
    assert (fate_of(item), result_of(item)) == (fate, result)
    assert has_failed(item) is (fate is LetterFate.REFILED)


def test_records_are_named_by_topic_and_message_id() -> None:
    """One that has no message_id of ours is named by its bytes, so that it is recognised in the topic as well."""
    assert item_of(good_line(1)).sendings == (Sending(TOPIC, identity_of(1), "good-1"),)
    record = Record("t", b"k", b"\0" + SCHEMA_ID.to_bytes(4, "big") + b"what is that", 1)
    failed = FailedRecord(record, Stage.PRODUCE, Reason.TOO_LARGE, "no", WriteOutcome.NOT_WRITTEN, {}, "aggTrade", SYMBOL)
    letter = letter_from(failed, "stranger")
    item = make_item(letter, new_workbench().prepare(letter, RECEIVED_AT_US))
    assert names_of(item) == {("t", record_name(record.value))}
    assert record_name(record.value).startswith("sha256:")
    assert names_of(item_of(broken_line(1))) == names_of(item_of(empty_line(1))) == set()


def test_a_replayed_record_tells_its_letter() -> None:
    """That is how a refusal finds its way back."""
    [record] = records_of(item_of(good_line(1, "letter-ü")))
    assert letter_of(record) == "letter-ü"
    assert letter_of(make_record(1)) == ""


def new_document(item: Item) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(new_letter(item))
    return document


FAILED_AGAIN = [
    pytest.param(lambda: item_of(broken_line(1, "old", attempts=4)), id="event"),
    pytest.param(lambda: refused(item_of(good_line(1, "old", attempts=4))), id="refused-event"),
    pytest.param(lambda: refused(item_of(record_line(1, "old", attempts=4))), id="refused-record"),
    pytest.param(lambda: lost_record("old", attempts=4), id="lost-record"),
]


@pytest.mark.parametrize("make", FAILED_AGAIN)
def test_a_new_letter_stands_for_the_old_one(make: Any) -> None:
    """One attempt more and the old one's id; its own follows from that, so that written twice it is still one."""
    before_us = time.time_ns() // 1_000
    first, second = new_document(make()), new_document(make())
    assert (first["attempts"], first["replay_of"], first["market"]) == (5, "old", "spot")
    assert first["received_at_us"] == RECEIVED_AT_US
    assert first["id"] == second["id"] != "old"
    again = read_letter(new_letter(make()))
    assert before_us <= round(again.failed_at.timestamp() * 1_000_000) <= time.time_ns() // 1_000
    assert again.attempts == 5


def test_each_attempt_has_an_id_of_its_own() -> None:
    """And so has each letter."""
    items = [item_of(broken_line(1, name, attempts=attempts)) for name in "ab" for attempts in (1, 2)]
    assert len({new_document(item)["id"] for item in items}) == 4


def test_attempts_have_an_end() -> None:
    """A number that somebody made up does not grow into one that can be read no more."""
    assert read_letter(new_letter(item_of(broken_line(1, attempts=MOST_ATTEMPTS)))).attempts == MOST_ATTEMPTS


def lost_record(letter_id: str, event: dict[str, Any] | None = None, **known: Any) -> Item:
    """A record whose schema the registry does not know any more, of an event that cannot be read either."""
    made = make_record(1)
    value = b"\0" + UNKNOWN_ID.to_bytes(4, "big") + made.value[5:]
    record = Record(TOPIC, made.key, value, made.timestamp_ms, [("k2-source", b"late")])
    failed = FailedRecord(
        record, Stage.PRODUCE, Reason.DELIVERY_UNKNOWN, "no", WriteOutcome.UNKNOWN, event or {}, "aggTrade", SYMBOL
    )
    letter = letter_from(failed, letter_id, **known)
    return make_item(letter, new_workbench().prepare(letter, RECEIVED_AT_US))


def test_a_record_that_nobody_can_read_stays_a_record() -> None:
    """Bytes, key, headers and doubt are kept for the day on which somebody finds the schema; as a frame they would be garbage."""
    item = lost_record("old", {"s": SYMBOL})
    again = read_letter(new_letter(item))
    assert again.record == item.letter.record
    assert (again.outcome, again.stream, again.symbol) == (WriteOutcome.UNKNOWN, "aggTrade", SYMBOL)
    assert (again.stage, again.reason, again.original_message) == (Stage.DECODE, Reason.MISSING_FIELD, {"s": SYMBOL})


def test_an_event_keeps_what_was_known_of_it() -> None:
    """Stream, symbol and topic do not get lost where the event cannot even be routed any more."""
    failure = DeadLetter(Stage.DECODE, Reason.NOT_UTF8, "no", b'{"a":"\xff"}', "btcusdt@aggTrade", SYMBOL, TOPIC)
    letter = letter_from(failure)
    again = read_letter(new_letter(make_item(letter, new_workbench().prepare(letter, RECEIVED_AT_US))))
    assert (again.stream, again.symbol, again.topic) == ("btcusdt@aggTrade", SYMBOL, TOPIC)
    assert again.payload == failure.payload


@pytest.mark.parametrize("headers", [None, [("k2-source", b"late"), ("x", None)]], ids=["none", "some"])
def test_a_refused_record_keeps_its_first_headers(headers: Headers | None) -> None:
    """Those of this replay would be repeated by the next one."""
    item = refused(item_of(record_line(1, headers=headers)))
    again = read_letter(new_letter(item))
    assert again.record == item.letter.record
    assert again.record is not None
    assert again.record.headers == headers


@pytest.mark.parametrize(
    ("outcome", "code", "expected"),
    [
        pytest.param(WriteOutcome.NOT_WRITTEN, "MSG_SIZE_TOO_LARGE", ("not_written", "too_large"), id="no-doubt"),
        pytest.param(WriteOutcome.NOT_WRITTEN, "INVALID_TIMESTAMP", ("not_written", "delivery_rejected"), id="rejected"),
        pytest.param(WriteOutcome.NOT_WRITTEN, "_MSG_TIMED_OUT", ("unknown", "delivery_unknown"), id="a-new-doubt"),
        pytest.param(WriteOutcome.UNKNOWN, "MSG_SIZE_TOO_LARGE", ("unknown", "too_large"), id="the-old-doubt"),
        pytest.param(
            WriteOutcome.UNKNOWN, "INVALID_TIMESTAMP", ("unknown", "delivery_unknown"), id="the-old-doubt-of-a-rejected"
        ),
    ],
)
def test_a_doubt_is_never_forgotten(outcome: WriteOutcome, code: str, expected: tuple[str, str]) -> None:
    """What may be in the topic since the first attempt still may be after a second one was refused."""
    document = new_document(refused(item_of(record_line(1, outcome=outcome)), code))
    assert (document["outcome"], document["reason"], document["stage"]) == (*expected, "produce")


@pytest.mark.parametrize(
    ("letter", "stream"),
    [
        pytest.param(read_letter(good_line(3)), "aggTrade", id="of-a-known-stream"),
        pytest.param(
            letter_from(DeadLetter(Stage.ROUTE, Reason.UNKNOWN_STREAM, "no", json.dumps(trade_event(3)).encode())),
            "aggTrade",
            id="bare",
        ),
        pytest.param(
            letter_from(DeadLetter(Stage.ROUTE, Reason.UNKNOWN_STREAM, "no", frame_of(trade_event(3)), "btcusdt@aggTrade")),
            "aggTrade",
            id="not-asked-for",
        ),
    ],
)
def test_an_event_that_is_refused_can_be_made_again(letter: Letter, stream: str) -> None:
    """Its new letter is that of a record, with all that encoding it anew takes should the registry lose its schema."""
    item = refused(make_item(letter, new_workbench().prepare(letter, RECEIVED_AT_US)))
    again = read_letter(new_letter(item))
    assert (again.stream, again.symbol, again.original_message) == (stream, SYMBOL, trade_event(3))
    assert again.record is not None
    again.record.value = b"\0" + UNKNOWN_ID.to_bytes(4, "big") + again.record.value[5:]
    prepared = new_workbench().prepare(again, RECEIVED_AT_US)
    assert isinstance(prepared, ToPublish)
    assert prepared.records[0].value == records_of(item)[0].value


def test_only_what_is_to_be_published_has_records() -> None:
    """An item of nothing, or of a failure, sends nothing."""
    assert records_of(item_of(broken_line(1))) == records_of(item_of(empty_line(1))) == ()
    assert isinstance(item_of(broken_line(1)).prepared, FailsAgain)
    assert isinstance(item_of(empty_line(1)).prepared, NothingToPublish)
