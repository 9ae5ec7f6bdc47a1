"""One run of `k2 audit`: reads recording and topic, and compares them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from k2.audit.carried import carried
from k2.audit.comparison import Comparison
from k2.audit.recorded import RecordedEvents, recorded_events, stream_counts
from k2.errors import ConfigurationError
from k2.ingestion.adapters.registry import SchemaRegistry
from k2.ingestion.adapters.registry_access import access_from
from k2.ingestion.adapters.registry_decoder import RecordDecoder
from k2.ingestion.core.identity import message_identity
from k2.reading.decoded import PatientDecoder
from k2.reading.patience import Patience
from k2.reading.terminal import to_terminal
from k2.reading.topic import existing_ranges, topic_reader
from k2.simulator.recording import Recording, load

if TYPE_CHECKING:
    from k2.audit.request import Request
    from k2.audit.verdict import Verdict
    from k2.ingestion.adapters.topic_reader import TopicReader, TopicRecord
    from k2.ingestion.settings import Settings
    from k2.reading.topic import Ranges

PROGRAM = "k2 audit"
LEAST_PATIENCE_S = 5.0


def run(settings: Settings, topic: str, request: Request) -> Verdict:
    """
    Compare all that the topic holds now.

    Raises:
        UnavailableError: broker or registry was away for too long.
        ConfigurationError: no such topic, we may not read it, or the recording has nothing to compare it with.
    """
    recording = load(request.recording, option="--against")
    patience = Patience(settings.startup_timeout_s, to_terminal(PROGRAM))
    silence_s = max(settings.startup_timeout_s, LEAST_PATIENCE_S)
    with topic_reader(settings, topic) as reader, SchemaRegistry(access_from(settings.registry)) as registry:
        ranges = existing_ranges(reader, patience)
        recorded = _events_for(reader, ranges, recording, request, silence_s)
        del recording  # what it holds beside these events is most of it
        comparison = Comparison(recorded, ignore_times=request.ignore_times, shown=request.shown)
        decoder = PatientDecoder(RecordDecoder(registry), patience, patience)
        with _progress(ranges) as advance:
            for records in _content(reader, ranges, silence_s):
                for record in records:
                    comparison.see(decoder.decode(record))
                advance(len(records))
    return comparison.verdict()


def _events_for(reader: TopicReader, ranges: Ranges, recording: Recording, request: Request, silence_s: float) -> RecordedEvents:
    """The events of the recording that the topic must hold."""
    counts = stream_counts(recording)
    is_told = request.market is not None and request.stream is not None
    identity = None if is_told else _first_identity(reader, ranges, silence_s)
    market, stream = carried((request.market, request.stream), identity, recording.venue, counts)
    recorded = recorded_events(recording, market, stream, request.symbols)
    if absent := sorted(request.symbols - recorded.symbols):
        raise ConfigurationError(f"--symbols: the recording has no {stream} of {', '.join(absent)}")
    if not recorded.events:
        held = ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common())
        raise ConfigurationError(f"--against {request.recording}: no {stream} in it to compare the topic with; it holds {held}")
    return recorded


def _first_identity(reader: TopicReader, ranges: Ranges, silence_s: float) -> str | None:
    """The first message_id of the topic; None where it has none, and a refusal where it holds JSON instead."""
    holds_json = False
    for records in _content(reader, ranges, silence_s):
        for record in records:
            if (identity := message_identity(record.value)) is not None:
                return identity
            holds_json = holds_json or (record.value or b"").startswith(b"{")
    if holds_json:
        raise ConfigurationError(f"topic {reader.topic} holds JSON; an audit compares records of trades in Avro")
    return None


def _content(reader: TopicReader, ranges: Mapping[int, tuple[int, int]], silence_s: float) -> Iterator[list[TopicRecord]]:
    filled = {partition: (start, end) for partition, (start, end) in ranges.items() if start < end}
    reader.start({partition: start for partition, (start, _) in filled.items()})
    yield from reader.read_up_to({partition: end for partition, (_, end) in filled.items()}, silence_s)


@contextmanager
def _progress(ranges: Ranges) -> Iterator[Callable[[int], object]]:
    """A bar where somebody sits before standard error; the block tells how many records were compared."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    total = sum(end - start for start, end in ranges.values())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("comparing", total=total)
        yield lambda count: progress.advance(task, count)
