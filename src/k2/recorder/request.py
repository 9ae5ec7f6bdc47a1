"""What `k2 record` is asked for, checked as a whole: every fault is reported at once, under the name of its option."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from k2.ingestion.option_values import path, seconds, whole
from k2.ingestion.stream_values import streams
from k2.reading.options import Check
from k2.recorder.pressure import MIB

LONGEST_S = 366 * 86_400.0
MOST_MIB = 2**31
STDOUT = "-"


class Request(Struct, frozen=True):
    """
    What to record, and where.

    Attributes:
        output: None is standard output.
        wishes: Specs or names of streams; empty where the client's own options tell.
        duration_s: None is until stopped.
        most_bytes: The largest size of the output; None for any.
    """

    output: Path | None
    wishes: tuple[str, ...] = ()
    append: bool = False
    duration_s: float | None = None
    most_bytes: int | None = None


def make_request(values: Mapping[str, Any]) -> Request:
    """
    What the options ask for.

    Args:
        values: Option texts by name; None or absent where not given.

    Raises:
        ConfigurationError: with every fault found.
    """
    check = Check()
    to_stdout = values["output"] == STDOUT
    output = None if to_stdout else check.parsed("--output", values["output"], path, Path())
    given = " ".join(values["streams"]) if values.get("streams") else None
    wishes: tuple[str, ...] = check.parsed("--streams", given, streams, ())
    duration_s = check.parsed("--duration", values.get("duration"), seconds(0.1, LONGEST_S), None)
    most_mib = check.parsed("--max-size", values.get("max_size"), whole(1, MOST_MIB), None)
    append = bool(values.get("append"))
    if append and to_stdout:
        check.faults.append("--append is for a file: `--output -` is standard output")
    check.raise_faults()
    return Request(output, wishes, append, duration_s, None if most_mib is None else most_mib * MIB)
