"""What an audit finds in a topic: every kind of fault, each counted for what it is."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.audit.comparison import ABSENT, Comparison
from k2.audit.recorded import RecordedEvents
from k2.audit.verdict import Difference, Kind, Verdict
from unit.audit_topics import SYMBOLS, agg_trade, frame_of, topic_of
from unit.topic_records import decoded_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k2.reading.decoded import Decoded

    Topic = list[Decoded]

FIRST_ID, LAST_ID = 100, 109
FRAMES = [frame_of(agg_trade(number, symbol)) for number in range(FIRST_ID, LAST_ID + 1) for symbol in SYMBOLS]
FIRST, SECOND, THIRD = (f"binance.spot.aggTrade.BTCUSDT.{number}" for number in (100, 101, 102))


def recorded() -> RecordedEvents:
    ids = [f"binance.spot.aggTrade.{symbol}.{number}" for number in range(FIRST_ID, LAST_ID + 1) for symbol in SYMBOLS]
    return RecordedEvents("spot", "aggTrade", dict(zip(ids, FRAMES, strict=True)), frozenset(SYMBOLS), 0)


def right_topic() -> Topic:
    """What the client makes of the recording: symbol after symbol, in one partition."""
    return topic_of(FRAMES)


def audited(topic: Sequence[Decoded], **options: Any) -> Verdict:
    comparison = Comparison(recorded(), **options)
    for decoded in topic:
        comparison.see(decoded)
    return comparison.verdict()


def counts(verdict: Verdict) -> dict[Kind, int]:
    """What was found at all."""
    return {kind: findings.count for kind, findings in verdict.findings.items() if findings.count}


def index_of(topic: Topic, message_id: str) -> int:
    return next(index for index, decoded in enumerate(topic) if decoded.fields and decoded.fields.get("message_id") == message_id)


def changed(decoded: Decoded, *, fields: dict[str, Any] | None = None, **record: Any) -> Decoded:
    """The record with other fields, or with another key, time, partition or headers."""
    other = msgspec.structs.replace(decoded.record, **record)
    return msgspec.structs.replace(decoded, record=other, fields={**(decoded.fields or {}), **(fields or {})})


def with_change(topic: Topic, message_id: str = FIRST, **change: Any) -> Topic:
    index = index_of(topic, message_id)
    return [*topic[:index], changed(topic[index], **change), *topic[index + 1 :]]


def moved_behind(topic: Topic, message_id: str, other: str, **change: Any) -> Topic:
    moved = topic[index_of(topic, message_id)]
    rest = [decoded for decoded in topic if decoded is not moved]
    index = index_of(rest, other) + 1
    return [*rest[:index], changed(moved, **change), *rest[index:]]


def beyond(number: int) -> Decoded:
    (record,) = topic_of([frame_of(agg_trade(number))])
    return record


def test_what_was_recorded_is_clean() -> None:
    """The client's own records leave nothing to be found."""
    verdict = audited(right_topic())
    assert (verdict.is_clean, counts(verdict), verdict.events, verdict.records) == (True, {}, len(FRAMES), len(FRAMES))


CASES: dict[str, tuple[Callable[[Topic], Topic], dict[Kind, int]]] = {
    "empty": (lambda _: [], {Kind.LOST: len(FRAMES)}),
    "one-left-out": (lambda topic: topic[1:], {Kind.LOST: 1}),
    "doubled-at-once": (lambda topic: [topic[0], *topic], {Kind.DOUBLED: 1}),
    "doubled-later": (lambda topic: [*topic, topic[0]], {Kind.DOUBLED: 1}),
    "three-times": (lambda topic: [*topic, topic[0], topic[0]], {Kind.DOUBLED: 2}),
    "played-twice": (lambda topic: topic * 2, {Kind.DOUBLED: len(FRAMES)}),
    "doubled-and-changed": (
        lambda topic: [*topic, changed(topic[0], fields={"side": "BUY"})],
        {Kind.DOUBLED: 1, Kind.CHANGED: 1},
    ),
    "swapped": (lambda topic: moved_behind(topic, FIRST, SECOND), {Kind.DISORDERED: 1}),
    "late-and-marked": (lambda topic: moved_behind(topic, FIRST, SECOND, headers=[("k2-source", b"late")]), {}),
    "late-with-another-header": (
        lambda topic: moved_behind(topic, FIRST, SECOND, headers=[("x", b"late")]),
        {Kind.DISORDERED: 1},
    ),
    "key-in-two-partitions": (lambda topic: with_change(topic, THIRD, partition=1), {Kind.DISORDERED: 1}),
    "undecodable": (lambda topic: [*topic, decoded_record(None, error="a tombstone")], {Kind.UNDECODABLE: 1}),
    "beyond-at-the-end": (lambda topic: [*topic, beyond(LAST_ID + 1)], {Kind.BEYOND: 1}),
    "beyond-in-disorder": (lambda topic: [*topic, beyond(FIRST_ID - 1)], {Kind.BEYOND: 1, Kind.DISORDERED: 1}),
    "foreign-record": (lambda topic: [*topic, decoded_record({"id": 1, "source_sequence": 1}, key=b"x")], {Kind.BEYOND: 1}),
    "foreign-identity": (lambda topic: [*topic, decoded_record({"message_id": [1]}, key=b"x")], {Kind.BEYOND: 1}),
}


@pytest.mark.parametrize(("manipulate", "expected"), CASES.values(), ids=list(CASES))
def test_each_fault_is_counted_for_what_it_is(manipulate: Callable[[Topic], Topic], expected: dict[Kind, int]) -> None:
    """One manipulation of a right topic, and the counts that it must lead to."""
    verdict = audited(manipulate(right_topic()))
    assert counts(verdict) == expected
    assert verdict.is_clean == (not expected.keys() - {Kind.BEYOND})


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "key": ({"key": b"BTCUSDC"}, "key"),
    "no-key": ({"key": None}, "key"),
    "kafka-timestamp": ({"timestamp_ms": 1}, "kafka_timestamp"),
    "trade_id": ({"fields": {"trade_id": "BINANCE-1"}}, "trade_id"),
    "symbol": ({"fields": {"symbol": "BTCUSDC"}}, "symbol"),
    "exchange": ({"fields": {"exchange": "binance"}}, "exchange"),
    "asset_class": ({"fields": {"asset_class": "futures"}}, "asset_class"),
    "timestamp": ({"fields": {"timestamp": EPOCH}}, "timestamp"),
    "price": ({"fields": {"price": Decimal("60100.50000001")}}, "price"),
    "quantity": ({"fields": {"quantity": Decimal("0.2")}}, "quantity"),
    "side": ({"fields": {"side": "BUY"}}, "side"),
    "trade_conditions": ({"fields": {"trade_conditions": ["x"]}}, "trade_conditions"),
    "source_sequence": ({"fields": {"source_sequence": 99}}, "source_sequence"),
    "platform_sequence": ({"fields": {"platform_sequence": 1}}, "platform_sequence"),
    "never-received": ({"fields": {"ingestion_timestamp": EPOCH}}, "ingestion_timestamp"),
    "without-vendor_data": ({"fields": {"vendor_data": None}}, "vendor_data.event_type"),
}


@pytest.mark.parametrize(("change", "field"), CHANGES.values(), ids=list(CHANGES))
def test_every_field_is_looked_at(change: dict[str, Any], field: str) -> None:
    """A record that differs anywhere is found, with what it should say and what it says."""
    verdict = audited(with_change(right_topic(), **change))
    assert counts(verdict) == {Kind.CHANGED: 1}
    (finding,) = verdict.findings[Kind.CHANGED].first
    assert (finding.message_id, finding.place) == (FIRST, (0, 0))
    assert field in {difference.field for difference in finding.differences}
    assert all(difference.expected != difference.found for difference in finding.differences)


@pytest.mark.parametrize(
    ("vendor_data", "expected"),
    [
        ({"first_trade_id": "1"}, Difference("vendor_data.first_trade_id", "200", "1")),
        ({"nq": "1"}, Difference("vendor_data.nq", ABSENT, "1")),
    ],
)
def test_every_entry_of_vendor_data_is_looked_at(vendor_data: dict[str, str], expected: Difference) -> None:
    """One that says something else, and one that should not be there."""
    topic = right_topic()
    assert topic[0].fields
    verdict = audited(with_change(topic, fields={"vendor_data": {**topic[0].fields["vendor_data"], **vendor_data}}))
    assert verdict.findings[Kind.CHANGED].first[0].differences == (expected,)


def test_a_field_that_is_missing_is_a_difference() -> None:
    """Even where the right value would be null; a field that came later is none of the recording's business."""
    topic = right_topic()
    assert topic[0].fields
    fields = {name: value for name, value in topic[0].fields.items() if name != "platform_sequence"} | {"new_field": 1}
    verdict = audited([msgspec.structs.replace(topic[0], fields=fields), *topic[1:]])
    assert verdict.findings[Kind.CHANGED].first[0].differences == (Difference("platform_sequence", None, ABSENT),)


def test_the_currency_alone_is_told_beside() -> None:
    """The recording does not know it, so it makes no fault; but whatever else differs is told together with it."""
    verdict = audited(with_change(right_topic(), fields={"currency": "USD"}))
    assert (verdict.is_clean, counts(verdict)) == (True, {Kind.CURRENCY: 1})
    assert verdict.findings[Kind.CURRENCY].first[0].differences == (Difference("currency", "USDT", "USD"),)
    verdict = audited(with_change(right_topic(), fields={"currency": "USD", "side": "BUY"}))
    assert counts(verdict) == {Kind.CHANGED: 1}
    assert {difference.field for difference in verdict.findings[Kind.CHANGED].first[0].differences} == {"currency", "side"}


def test_times_can_be_ignored() -> None:
    """For a recording that was replayed with today's times; everything else is compared as ever."""
    later = timedelta(days=800)
    topic = [
        changed(
            decoded,
            timestamp_ms=decoded.record.timestamp_ms + 69_120_000_000,
            fields={
                "timestamp": decoded.fields["timestamp"] + later,
                "vendor_data": {**decoded.fields["vendor_data"], "event_time": "1"},
            },
        )
        for decoded in right_topic()
        if decoded.fields
    ]
    assert counts(audited(topic)) == {Kind.CHANGED: len(FRAMES)}
    assert counts(audited(topic, ignore_times=True)) == {}
    assert counts(audited(with_change(topic, fields={"side": "BUY"}), ignore_times=True)) == {Kind.CHANGED: 1}


@pytest.mark.parametrize("shown", [0, 1, 3])
def test_a_few_are_shown_and_all_are_counted(shown: int) -> None:
    """However many there are, no more than asked for are kept."""
    verdict = audited(right_topic() * 2, shown=shown)
    assert (verdict.findings[Kind.DOUBLED].count, len(verdict.findings[Kind.DOUBLED].first)) == (len(FRAMES), shown)
    assert len(audited([], shown=shown).findings[Kind.LOST].first) == shown


def test_findings_say_where() -> None:
    """What is doubled names its first place, what is disordered the sequences, what is lost its id."""
    doubled = audited([*right_topic(), changed(right_topic()[0], offset=77)]).findings[Kind.DOUBLED].first[0]
    assert (doubled.message_id, doubled.place, doubled.note) == (FIRST, (0, 77), "first at 0:0")
    disordered = audited(moved_behind(right_topic(), FIRST, SECOND)).findings[Kind.DISORDERED].first[0]
    assert (disordered.message_id, disordered.note) == (FIRST, "source_sequence 100 after 101")
    lost = audited(right_topic()[1:]).findings[Kind.LOST].first[0]
    assert (lost.message_id, lost.place) == (FIRST, None)


@given(st.lists(st.integers(0, len(FRAMES) - 1), max_size=60))
def test_lost_and_doubled_are_what_counting_gives(picked: list[int]) -> None:
    """For any selection of records with repetitions: lost is what was not picked, doubled what was picked again."""
    topic = right_topic()
    verdict = audited([topic[index] for index in picked])
    times = Counter(picked)
    assert verdict.findings[Kind.LOST].count == len(FRAMES) - len(times)
    assert verdict.findings[Kind.DOUBLED].count == sum(times.values()) - len(times)
    assert verdict.findings[Kind.CHANGED].count == verdict.findings[Kind.BEYOND].count == 0


@given(st.permutations(range(len(FRAMES))))
def test_disordered_are_the_falls(order: list[int]) -> None:
    """For any order of the records: as often as the sequence of a key falls."""
    topic = right_topic()
    sequences: dict[bytes | None, list[int]] = {}
    for index in order:
        record = topic[index]
        assert record.fields
        sequences.setdefault(record.record.key, []).append(record.fields["source_sequence"])
    falls = sum(after < before for numbers in sequences.values() for before, after in pairwise(numbers))
    assert audited([topic[index] for index in order]).findings[Kind.DISORDERED].count == falls
