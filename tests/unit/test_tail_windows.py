"""Both ways through a topic, by rounds, against the naive way of reading all of it at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.adapters.topic_reader import TopicRecord
from k2.tail.backwards import BackwardSearch
from k2.tail.forwards import ForwardMerge, by_time
from k2.tail.windows import GROWTH, RECORD_BYTES, ROUND_BYTES, Spans, WindowSize, age
from unit.topic_records import topic_record

Topic = dict[int, list[TopicRecord]]

WANTED = b"A"
SIZES = st.integers(1, 7)


@st.composite
def topics(draw: st.DrawFn, *, in_time_order: bool) -> Topic:
    """Some partitions with holes between their offsets, as compaction and transactions leave them."""
    topic: Topic = {}
    for partition in range(draw(st.integers(0, 4))):
        offsets = sorted(draw(st.sets(st.integers(0, 30), max_size=12)))
        times = draw(st.lists(st.integers(-1, 20), min_size=len(offsets), max_size=len(offsets)))
        placed = zip(offsets, sorted(times) if in_time_order else times, strict=True)
        keys = st.sampled_from([WANTED, b"B", None])
        topic[partition] = [topic_record(offset, partition=partition, at_ms=at_ms, key=draw(keys)) for offset, at_ms in placed]
    return topic


def spans_of(topic: Topic) -> Spans:
    """From some way before the first to some way behind the last."""
    return {partition: (0, records[-1].offset + 3 if records else 0) for partition, records in topic.items()}


def read(topic: Topic, windows: Spans) -> list[TopicRecord]:
    return [record for partition, (start, end) in windows.items() for record in topic[partition] if start <= record.offset < end]


def wanted(record: TopicRecord) -> bool:
    return record.key == WANTED


def all_wanted(topic: Topic) -> list[TopicRecord]:
    return [record for records in topic.values() for record in records if wanted(record)]


def merged(topic: Topic, offsets: int) -> list[TopicRecord]:
    merge = ForwardMerge(spans_of(topic))
    handed_out: list[TopicRecord] = []
    while windows := merge.next_windows(offsets):
        merge.add(read(topic, windows), wanted)
        handed_out += merge.ready()
    return handed_out


def last_found(topic: Topic, count: int, offsets: int) -> list[TopicRecord]:
    search = BackwardSearch(spans_of(topic), count)
    while windows := search.next_windows(offsets):
        search.add(read(topic, windows), wanted)
    return search.found()


@given(topics(in_time_order=True), SIZES)
def test_forwards_all_come_by_time(topic: Topic, offsets: int) -> None:
    """However small the windows are, every wanted record comes, in the order of the times."""
    times = [record.timestamp_ms for record in merged(topic, offsets)]
    assert times == sorted(record.timestamp_ms for record in all_wanted(topic))


@given(topics(in_time_order=False), SIZES)
def test_forwards_the_order_of_a_partition_is_never_touched(topic: Topic, offsets: int) -> None:
    """Late records have older times than those before them, and stay behind them. None is lost or doubled."""
    handed_out = merged(topic, offsets)
    for partition, records in topic.items():
        assert [record for record in handed_out if record.partition == partition] == [
            record for record in records if wanted(record)
        ]
    assert len(handed_out) == len(all_wanted(topic))


@given(topics(in_time_order=False), SIZES)
def test_forwards_little_is_held(topic: Topic, offsets: int) -> None:
    """No more than one and a half windows of a partition wait at any time."""
    merge = ForwardMerge(spans_of(topic))
    taken = handed_out = 0
    while windows := merge.next_windows(offsets):
        assert all(end - start <= offsets for start, end in windows.values())
        records = read(topic, windows)
        merge.add(records, wanted)
        taken += sum(map(wanted, records))
        handed_out += len(list(merge.ready()))
        assert taken - handed_out <= len(topic) * (offsets + offsets // 2)


@given(topics(in_time_order=False), SIZES)
def test_forwards_every_offset_is_read_once(topic: Topic, offsets: int) -> None:
    """The windows of all rounds together are the spans."""
    merge = ForwardMerge(spans_of(topic))
    asked: dict[int, list[int]] = {}
    while windows := merge.next_windows(offsets):
        merge.add(read(topic, windows), wanted)
        list(merge.ready())
        for partition, (start, end) in windows.items():
            asked.setdefault(partition, []).extend(range(start, end))
    assert asked == {partition: list(range(start, end)) for partition, (start, end) in spans_of(topic).items() if start < end}


@given(topics(in_time_order=True), st.integers(1, 5), SIZES)
def test_backwards_the_last_ones_are_found(topic: Topic, count: int, offsets: int) -> None:
    """They are those that sorting the whole topic would give, by time, then partition and offset."""
    assert [age(record)[0] for record in last_found(topic, count, offsets)] == [
        age(record)[0] for record in sorted(all_wanted(topic), key=age)[-count:]
    ]


@given(topics(in_time_order=False), st.integers(1, 5), SIZES)
def test_backwards_never_more_and_in_order(topic: Topic, count: int, offsets: int) -> None:
    """Whatever the times are: as many wanted records as there are, up to `count`, each once and by time."""
    found = last_found(topic, count, offsets)
    assert len(found) == min(count, len(all_wanted(topic)))
    assert all(map(wanted, found))
    ages = [age(record) for record in found]
    assert ages == sorted(set(ages))


def test_backwards_what_is_older_anyway_is_not_read() -> None:
    """With the last ones of a key found, other partitions are read back to their time and not to their start."""
    thousand = range(1_000)
    topic = {
        0: [topic_record(offset, at_ms=offset, key=WANTED) for offset in thousand],
        1: [topic_record(offset, partition=1, at_ms=offset, key=b"B") for offset in thousand],
    }
    search, taken = BackwardSearch({0: (0, 1_000), 1: (0, 1_000)}, 3), 0
    while windows := search.next_windows(10):
        records = read(topic, windows)
        taken += len(records)
        search.add(records, wanted)
    assert [record.offset for record in search.found()] == [997, 998, 999]
    assert taken == 30  # one window of the first, two of the second: the latter's newest is older than all that were found


@pytest.mark.parametrize(
    ("brought", "expected"),
    [
        pytest.param([b""] * 8, 8 * GROWTH, id="small-ones-let-it-grow"),
        pytest.param([], 8 * GROWTH, id="nothing-lets-it-grow"),
        pytest.param([b"x" * (ROUND_BYTES // 8 - RECORD_BYTES)] * 8, 8, id="as-much-as-it-may"),
        pytest.param([b"x" * ROUND_BYTES] * 4, 1, id="large-ones-shrink-it"),
        pytest.param([b"x" * ROUND_BYTES] * 100, 1, id="never-below-one"),
    ],
)
def test_a_round_stays_small(brought: list[bytes], expected: int) -> None:
    """Windows grow as long as what they bring is small in memory, and shrink where it is not."""
    size = WindowSize(8)
    size.adapt([topic_record(value=value) for value in brought])
    assert size.offsets == expected


def test_a_batch_by_time() -> None:
    """What comes together is sorted by time, and equal times by partition; the order of a partition stays."""
    first, late, other = topic_record(0, at_ms=5), topic_record(1, at_ms=1), topic_record(0, partition=1, at_ms=5)
    assert by_time([other, first, late]) == [first, late, other]
