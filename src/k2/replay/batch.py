"""One letter of a batch: what is sent for it, what came of that, and the line that stands for it where it failed again."""

from __future__ import annotations

import time
import uuid

from msgspec import Struct

from k2.ingestion.core.delivery import in_doubt
from k2.ingestion.core.identity import message_identity
from k2.ingestion.core.letter_reader import MOST_ATTEMPTS, Letter
from k2.ingestion.core.letters import FailedRecord, encode_letter, original_message
from k2.ingestion.core.outcome import DeadLetter, Headers, Record, Stage, WriteOutcome
from k2.replay.ledger import LetterFate, Sending
from k2.replay.publisher import Refusal
from k2.replay.summary import LetterResult
from k2.replay.workbench import FailsAgain, Prepared, ToPublish

_NEW_IDS = uuid.UUID("9f0c6a3e-5d5b-4d6f-8f6b-3a1f0f6c2b11")  # the name space of letters that replace others


RecordName = tuple[str, str]  # topic and message_id, or the letter's id where the record has none of ours


class Item(Struct):
    """A letter on its way through a batch. `is_there`: its record was found in the topic, its first delivery had arrived."""

    letter: Letter
    prepared: Prepared
    sendings: tuple[Sending, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    is_there: bool = False


def make_item(letter: Letter, prepared: Prepared) -> Item:
    records = prepared.records if isinstance(prepared, ToPublish) else ()
    # A record without an identity of ours is recognised by its letter, which means: not in the topic.
    sendings = tuple(Sending(record.topic, message_identity(record.value) or letter.id, letter.id) for record in records)
    return Item(letter, prepared, sendings)


def records_of(item: Item) -> tuple[Record, ...]:
    return item.prepared.records if isinstance(item.prepared, ToPublish) else ()


def names_of(item: Item) -> set[RecordName]:
    return {(sending.topic, sending.message_id) for sending in item.sendings}


def letter_of(record: Record) -> str:
    """The id of the letter that a replayed record comes from: its last header."""
    _, value = (record.headers or [("", b"")])[-1]
    return value.decode() if isinstance(value, bytes) else ""


def has_failed(item: Item) -> bool:
    return bool(item.refusals) or isinstance(item.prepared, FailsAgain)


def fate_of(item: Item) -> LetterFate:
    if has_failed(item):
        return LetterFate.REFILED
    return LetterFate.PUBLISHED if item.sendings else LetterFate.NOTHING


def result_of(item: Item) -> tuple[LetterResult, str]:
    if item.is_there:
        return LetterResult.ALREADY, ""
    if item.refusals:
        return LetterResult.FAILED, item.refusals[0].error
    if isinstance(item.prepared, FailsAgain):
        failure = item.prepared.failure
        return LetterResult.FAILED, f"{failure.stage}/{failure.reason}: {failure.error}"
    return (LetterResult.PUBLISHED if isinstance(item.prepared, ToPublish) else LetterResult.NOTHING), ""


def new_letter(item: Item) -> bytes:
    """
    The line that stands for a letter from now on.

    Its id follows from the old one: were it written twice, because a run was killed in between, it would still be one letter.
    """
    letter, attempts = item.letter, min(item.letter.attempts + 1, MOST_ATTEMPTS)
    return encode_letter(
        _failure(item),
        letter_id=str(uuid.uuid5(_NEW_IDS, f"{letter.id}:{attempts}")),
        failed_at_us=time.time_ns() // 1_000,
        received_at_us=letter.received_at_us,
        market=letter.market,
        attempts=attempts,
        replay_of=letter.id,
    )


def _failure(item: Item) -> DeadLetter | FailedRecord:
    letter = item.letter
    if isinstance(item.prepared, FailsAgain):
        failure = item.prepared.failure
        if letter.record is not None:  # its bytes stay what they are: one day somebody finds their schema
            known = letter.outcome, letter.original_message, letter.stream, letter.symbol
            return FailedRecord(letter.record, failure.stage, failure.reason, failure.error, *known)
        failure.stream, failure.symbol = failure.stream or letter.stream, failure.symbol or letter.symbol
        failure.topic = failure.topic or letter.topic
        return failure
    refusal = item.refusals[0]
    record = Record(refusal.record.topic, refusal.record.key, refusal.record.value, refusal.record.timestamp_ms, _headers(letter))
    message = letter.original_message if letter.record is not None else original_message(letter.payload, letter.symbol)
    # The letter of a record names the kind of stream only. A bare event that had found none names it itself.
    stream = letter.stream.rpartition("@")[2] or message.get("e", "")
    symbol = letter.symbol or record.key.decode(errors="replace")
    verdict = in_doubt(refusal.verdict) if letter.outcome is WriteOutcome.UNKNOWN else refusal.verdict
    return FailedRecord(record, Stage.PRODUCE, verdict.reason, refusal.error, verdict.written, message, stream, symbol)


def _headers(letter: Letter) -> Headers | None:
    return letter.record.headers if letter.record is not None else None
