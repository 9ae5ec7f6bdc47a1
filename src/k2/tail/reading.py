"""The records that a request asks for, batch by batch: first what lies in the topic when we come, then what comes."""

from __future__ import annotations

from collections.abc import Iterator

from k2.ingestion.adapters.topic_reader import TopicReader, TopicRecord
from k2.reading.patience import Patience
from k2.reading.topic import KAFKA, Ranges
from k2.tail.backwards import BackwardSearch
from k2.tail.forwards import ForwardMerge, by_time
from k2.tail.request import Request
from k2.tail.steady import SteadyReader
from k2.tail.windows import Spans, WindowSize

FIRST_WINDOW = 2_000  # offsets of a partition, where one does not know how many will do
SILENCE_S = 5.0  # a broker that brings nothing for this long is away

Batches = Iterator[list[TopicRecord]]


def batches(reader: TopicReader, ranges: Ranges, request: Request, patience: Patience) -> Batches:
    """
    All batches that the request asks for. A batch may be empty.

    Args:
        ranges: What the topic holds now, of the partitions that are asked for.
        patience: With a broker that goes away meanwhile.

    Raises:
        K2Error: the topic cannot be read any more, or the broker was away for too long.
    """
    return _limited(_batches(reader, ranges, request, patience), request.count)


def _batches(reader: TopicReader, ranges: Ranges, request: Request, patience: Patience) -> Batches:
    if request.place == "end" and not request.follow:
        yield _last_records(reader, ranges, request, patience)
        return
    yield from _content(reader, _spans(reader, ranges, request, patience), request, patience)
    if request.follow:
        ends = {partition: end for partition, (_, end) in ranges.items()}
        steady = SteadyReader(reader, ends, patience, all_partitions=not request.partitions)
        while True:
            yield by_time(record for record in steady.read() if request.wants(record))


def _limited(source: Batches, count: int | None) -> Batches:
    left = count
    for records in source:
        yield records if left is None else records[:left]
        if left is not None and (left := left - len(records)) <= 0:
            return


def _spans(reader: TopicReader, ranges: Ranges, request: Request, patience: Patience) -> Spans:
    """From the place that is asked for to the end."""
    place = request.place
    if place == "start":
        return ranges
    ends = {partition: end for partition, (_, end) in ranges.items()}
    starts = ends if place == "end" else patience.wait_for(KAFKA, lambda: reader.offsets_at(place, ranges))
    return {partition: (starts[partition], end) for partition, end in ends.items()}


def _last_records(reader: TopicReader, ranges: Ranges, request: Request, patience: Patience) -> list[TopicRecord]:
    count = request.count or 0
    search, size = BackwardSearch(ranges, count), _window_size(request)
    while windows := search.next_windows(size.offsets):
        records = _read(reader, windows, patience)
        search.add(records, request.wants)
        size.adapt(records)
    return search.found()


def _content(reader: TopicReader, spans: Spans, request: Request, patience: Patience) -> Batches:
    merge, size = ForwardMerge(spans), _window_size(request)
    while windows := merge.next_windows(size.offsets):
        records = _read(reader, windows, patience)
        merge.add(records, request.wants)
        size.adapt(records)
        yield list(merge.ready())


def _window_size(request: Request) -> WindowSize:
    return WindowSize(FIRST_WINDOW if request.keys or request.count is None else min(request.count, FIRST_WINDOW))


def _read(reader: TopicReader, windows: Spans, patience: Patience) -> list[TopicRecord]:
    """All records of these windows, however often it takes."""
    starts = {partition: start for partition, (start, _) in windows.items()}
    ends = {partition: end for partition, (_, end) in windows.items()}

    def attempt() -> list[TopicRecord]:
        reader.start(starts)
        return [record for records in reader.read_up_to(ends, SILENCE_S) for record in records]

    return patience.wait_for(KAFKA, attempt)
