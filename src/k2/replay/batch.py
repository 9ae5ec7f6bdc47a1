"""One letter of a batch: what is sent for it, what came of that, and the lines that stand for it where it failed again."""

from __future__ import annotations

import time
import uuid

from msgspec import Struct

from k2.ingestion.core.delivery import in_doubt
from k2.ingestion.core.identity import message_identity, record_name
from k2.ingestion.core.letter_reader import MOST_ATTEMPTS, Letter
from k2.ingestion.core.letters import FailedRecord, encode_letter, original_message
from k2.ingestion.core.outcome import DeadLetter, Headers, Record, Stage, WriteOutcome
from k2.ingestion.exchanges.binance.kinds import RAW_TOPIC
from k2.ingestion.exchanges.binance.names import spec_of
from k2.replay.ledger import LetterFate, Sending
from k2.replay.publisher import Refusal
from k2.replay.summary import LetterResult
from k2.replay.workbench import Prepared, ToPublish, failures_of

_NEW_IDS = uuid.UUID("9f0c6a3e-5d5b-4d6f-8f6b-3a1f0f6c2b11")  # the name space of letters that replace others


RecordName = tuple[str, str]  # topic and what the record is recognised by there


class Item(Struct):
    """
    A letter on its way through a batch.

    Attributes:
        refusals: What of it Kafka would not take.
        there: Which of its records need not be sent: the topic has them from an earlier run, or from their first delivery.
    """

    letter: Letter
    prepared: Prepared
    sendings: tuple[Sending, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    there: frozenset[RecordName] = frozenset()

    @property
    def is_there(self) -> bool:
        """Whether all its records are in their topics already."""
        return bool(self.sendings) and names_of(self) <= self.there


def make_item(letter: Letter, prepared: Prepared) -> Item:
    records = prepared.records if isinstance(prepared, ToPublish) else ()
    return Item(letter, prepared, tuple(Sending(record.topic, record_name(record.value), letter.id) for record in records))


def records_of(item: Item) -> tuple[Record, ...]:
    return item.prepared.records if isinstance(item.prepared, ToPublish) else ()


def names_of(item: Item) -> set[RecordName]:
    return {_name(sending) for sending in item.sendings}


def to_send(item: Item) -> list[tuple[Sending, Record]]:
    """What is left to be sent of a letter."""
    pairs = zip(item.sendings, records_of(item), strict=True)
    return [(sending, record) for sending, record in pairs if _name(sending) not in item.there]


def delivered_of(item: Item) -> list[Sending]:
    """What lies in its topic now, after the batch was sent. One record of a letter may be refused and another one not."""
    refused = {(refusal.record.topic, record_name(refusal.record.value)) for refusal in item.refusals}
    return [sending for sending in item.sendings if _name(sending) not in refused]


def _name(sending: Sending) -> RecordName:
    return sending.topic, sending.message_id


def letter_of(record: Record) -> str:
    """The id of the letter that a replayed record comes from: its last header."""
    _, value = (record.headers or [("", b"")])[-1]
    return value.decode() if isinstance(value, bytes) else ""


def has_failed(item: Item) -> bool:
    return bool(item.refusals or failures_of(item.prepared))


def fate_of(item: Item) -> LetterFate:
    if has_failed(item):
        return LetterFate.REFILED
    return LetterFate.PUBLISHED if item.sendings else LetterFate.NOTHING


def result_of(item: Item) -> tuple[LetterResult, str]:
    if item.refusals:
        return LetterResult.FAILED, item.refusals[0].error
    if failures := failures_of(item.prepared):
        return LetterResult.FAILED, f"{failures[0].stage}/{failures[0].reason}: {failures[0].error}"
    if item.is_there:
        return LetterResult.ALREADY, ""
    return (LetterResult.PUBLISHED if isinstance(item.prepared, ToPublish) else LetterResult.NOTHING), ""


def is_mixed(item: Item) -> bool:
    """Whether one part of the letter is to be published, and another one failed again: it holds an array of events."""
    return isinstance(item.prepared, ToPublish) and bool(item.prepared.failures)


# The ids of new letters follow from the old one's: were they written twice, because a run was killed in between, they would still
# be the same letters.


def letters_of_failures(item: Item) -> list[bytes]:
    """A line for each event that failed, which stands for it from now on."""
    return [_line(item, _failed(item.letter, failure), str(number)) for number, failure in enumerate(failures_of(item.prepared))]


def letters_of_refusals(item: Item) -> list[bytes]:
    """The same for each record that Kafka refused."""
    return [
        _line(item, _refused(item.letter, refusal), f"{refusal.record.topic}:{record_name(refusal.record.value)}")
        for refusal in item.refusals
    ]


def _line(item: Item, failed: DeadLetter | FailedRecord, part: str) -> bytes:
    letter, attempts = item.letter, min(item.letter.attempts + 1, MOST_ATTEMPTS)
    only_one = len(records_of(item)) + len(failures_of(item.prepared)) == 1
    name = f"{letter.id}:{attempts}" if only_one else f"{letter.id}:{attempts}:{part}"
    return encode_letter(
        failed,
        letter_id=str(uuid.uuid5(_NEW_IDS, name)),
        failed_at_us=time.time_ns() // 1_000,
        received_at_us=letter.received_at_us,
        market=letter.market,
        attempts=attempts,
        replay_of=letter.id,
    )


def _failed(letter: Letter, failure: DeadLetter) -> DeadLetter | FailedRecord:
    if letter.record is not None:  # its bytes stay what they are: one day somebody finds their schema
        known = letter.outcome, letter.original_message, letter.stream, letter.symbol
        return FailedRecord(letter.record, failure.stage, failure.reason, failure.error, *known)
    failure.stream, failure.symbol = failure.stream or letter.stream, failure.symbol or letter.symbol
    failure.topic = failure.topic or letter.topic
    return failure


def _refused(letter: Letter, refusal: Refusal) -> FailedRecord:
    record = Record(refusal.record.topic, refusal.record.key, refusal.record.value, refusal.record.timestamp_ms, _headers(letter))
    stream, symbol = _origin_of(letter, record)
    message = letter.original_message if letter.record is not None else original_message(letter.payload, symbol)
    verdict = in_doubt(refusal.verdict) if letter.outcome is WriteOutcome.UNKNOWN else refusal.verdict
    # A bare event that had found no stream names its kind itself.
    named = stream or message.get("e", "")
    return FailedRecord(record, Stage.PRODUCE, verdict.reason, refusal.error, verdict.written, message, named, symbol)


def _origin_of(letter: Letter, record: Record) -> tuple[str, str]:
    """Stream and symbol of a record, as the letter of one names them: by the spec, for a captured frame by the stream's name."""
    identity = message_identity(record.value)
    _, _, spec, symbol, *_ = identity.split(".") if identity else ("", "", spec_of(letter.stream), "", "")
    symbol = letter.symbol or symbol or (record.key or b"").decode(errors="replace")
    return (letter.stream if letter.record is not None or spec == RAW_TOPIC else spec), symbol


def _headers(letter: Letter) -> Headers | None:
    return letter.record.headers if letter.record is not None else None
