"""One run of `k2 tail`: opens the topic, and shows what was asked for until there is no more or somebody ends it."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console

from k2.ingestion.adapters.registry import SchemaRegistry
from k2.ingestion.adapters.registry_access import access_from
from k2.ingestion.adapters.registry_decoder import RecordDecoder
from k2.ingestion.adapters.topic_reader import TopicRecord
from k2.ingestion.settings import Settings
from k2.reading.decoded import Decoded, PatientDecoder
from k2.reading.patience import Patience
from k2.reading.terminal import to_stderr, to_terminal
from k2.reading.topic import existing_ranges, topic_reader
from k2.tail.lines import json_lines
from k2.tail.reading import batches
from k2.tail.request import Request
from k2.tail.table import Table

PROGRAM = "k2 tail"
AT_ONCE = 500  # records that are decoded before they are shown

Render = Callable[[Sequence[Decoded]], str]


def run(settings: Settings, topic: str, request: Request) -> None:
    """
    Show the records. Returns when all were shown; a request to follow without a number of records never is.

    Raises:
        UnavailableError: broker or registry was away for too long.
        ConfigurationError: no such topic, or we may not read it; or the registry refuses us.
        BrokenPipeError: nobody reads any more.
    """
    at_start = Patience(settings.startup_timeout_s, to_terminal(PROGRAM))
    later = Patience(math.inf, to_stderr(PROGRAM)) if request.follow else at_start
    with topic_reader(settings, topic) as reader, SchemaRegistry(access_from(settings.registry)) as registry:
        decoder = PatientDecoder(RecordDecoder(registry), at_start, later, takes_json=True)
        ranges = existing_ranges(reader, at_start, request.partitions)
        if request.follow and request.place == "end":
            to_terminal(PROGRAM)(f"waiting for new records of {topic}; Ctrl-C ends it")
        shown = _show(batches(reader, ranges, request, later), decoder, _renderer(request, topic))
    if not shown:
        to_stderr(PROGRAM)(f"topic {topic} holds no such record" if request.is_choosy else f"topic {topic} is empty")


def _show(source: Iterator[list[TopicRecord]], decoder: PatientDecoder, render: Render) -> int:
    shown = 0
    for records in source:
        for first in range(0, len(records), AT_ONCE):
            sys.stdout.write(render([decoder.decode(record) for record in records[first : first + AT_ONCE]]))
            sys.stdout.flush()  # the next program of a pipe has it now
        shown += len(records)
    return shown


def _renderer(request: Request, topic: str) -> Render:
    return _table() if request.format == "table" else lambda batch: json_lines(topic, batch)


def _table() -> Render:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # symbols are of any script, terminals are not
    console = Console(highlight=False)
    table = Table(console.width if console.is_terminal else None)

    def render(batch: Sequence[Decoded]) -> str:
        # Rendered apart from being printed: rich answers a closed pipe by ending the program itself, with exit code 1.
        with console.capture() as captured:
            for line in table.lines(batch):
                console.print(line, soft_wrap=True)
        return captured.get()

    return render
