"""A real broker refuses a batch for the sake of a few records in it: they alone become dead letters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from faults.assembly import Assembly, frame_of, make_record, trade_event
from kit.verify import read_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kit.kafka import KafkaBroker

COUNT = 200
HOUR_MS = 3_600_000
BATCH_OVERHEAD_BYTES = 120  # the batch's head, key, header and lengths take some 100


@pytest.fixture
def assemble(kafka: KafkaBroker, topic: str, tmp_path: Path) -> Iterator[Callable[..., Assembly]]:
    """A client without a connection, on a topic with these properties. A generous linger makes it one batch."""
    made: list[Assembly] = []

    def make(config: dict[str, str], **properties: Any) -> Assembly:
        kafka.create_topic(topic, config=config)
        made.append(Assembly(kafka.bootstrap, tmp_path / "dlq", topic=topic, linger_ms=100, **properties))
        return made[-1]

    yield make
    for assembly in made:
        assembly.close()


async def test_too_old_records_die_and_the_others_arrive(
    assemble: Callable[..., Assembly], kafka: KafkaBroker, topic: str
) -> None:
    """
    The topic takes no record older than an hour, and in one batch a few are.

    The others are in the topic with their own times; each of the few is a dead letter that shows the exchange's message; the
    books balance.
    """
    assembly = assemble({"message.timestamp.before.max.ms": str(HOUR_MS)})
    now_ms, old = time.time_ns() // 1_000_000, {7, 50, 51, COUNT}
    times_ms = {number: now_ms - COUNT + number - (2 * HOUR_MS if number in old else 0) for number in range(1, COUNT + 1)}
    events = {number: trade_event(number, T=at_ms, E=at_ms) for number, at_ms in times_ms.items()}
    assembly.read(*map(frame_of, events.values()))
    assembly.drain()

    letters = await assembly.letters()
    shown = {letter["original_message"]["a"]: letter["original_message"] for letter in letters}
    assert shown == {number: shown_by_a_record(events[number]) for number in old}
    assert {(letter["stage"], letter["reason"], letter["outcome"]) for letter in letters} == {
        ("produce", "delivery_rejected", "not_written")
    }
    assert {letter["attempts"] for letter in letters} == {2}, "once in the batch, once alone"
    assert [letter["timestamp"] for letter in letters] == [letter["original_message"]["T"] for letter in letters]
    stored = read_topic(kafka.bootstrap, "", topic, raw=True)
    assert sorted(record.timestamp_ms for record in stored) == sorted(times_ms[n] for n in times_ms if n not in old)
    sheet = assembly.readings.balance()
    assert (sheet.records, sheet.delivered, sheet.dead_lettered_records, sheet.balanced) == (
        COUNT,
        COUNT - len(old),
        len(old),
        True,
    )


async def test_a_record_too_large_for_the_topic_dies_alone(
    assemble: Callable[..., Assembly], kafka: KafkaBroker, topic: str
) -> None:
    """The topic takes single records only: batches are taken apart, and only a record that is too large by itself dies."""
    numbers, huge = range(1, 31), 10**18
    events = [trade_event(number) for number in numbers] + [trade_event(31, a=huge, f=huge, l=huge)]
    size = len(make_record().value)
    assembly = assemble({"max.message.bytes": str(size + BATCH_OVERHEAD_BYTES)}, compression_type="none")
    assembly.read(*map(frame_of, events))
    assembly.drain()
    [letter] = await assembly.letters()
    assert (letter["reason"], letter["outcome"], letter["original_message"]["a"]) == ("too_large", "not_written", huge)
    stored = read_topic(kafka.bootstrap, "", topic, raw=True)
    assert [record.timestamp_ms for record in stored] == [events[number - 1]["T"] for number in numbers]
    assert assembly.readings.balance().balanced


def shown_by_a_record(event: dict[str, Any]) -> dict[str, Any]:
    """The event without the `M` that means nothing: the record does not keep it."""
    return {key: value for key, value in event.items() if key != "M"}
