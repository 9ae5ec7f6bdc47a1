"""
The format of a profile: what a file may hold, as types. The reader, the checks and the JSON Schema for editors follow from them.

A scalar is taken as it is written, so `off`, `7` and `0.005` need no quotes. Where a list is due, one scalar is a list of one.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

VERSION = 1
AVRO, RAW = "avro", "raw"
FOREVER = "forever"

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,12})(ms|[smhd])")

Duration = Annotated[
    str,
    Meta(
        pattern=f"^({FOREVER}|[0-9]{{1,12}}(ms|[smhd]))$",
        description="A number with ms, s, m, h or d behind it, such as 7d; or forever.",
    ),
]
TopicName = Annotated[
    str, Meta(pattern="^[A-Za-z0-9._-]+$", max_length=249, description="The name of a Kafka topic: letters, digits, . _ and -")
]
TopicId = Annotated[str, Meta(min_length=1, description="What the topic is called inside this file.")]


class Variable(Struct, frozen=True, forbid_unknown_fields=True):
    """
    What an environment variable means. One of `option`, `topic` and `ignored`.

    Attributes:
        option: The option that it sets, by its flag without dashes.
        topic: The id of the topic that it renames.
        ignored: Why it has no effect. It is accepted, and the log says so once.
        unit: Of its value, where the option counts in another: ms for an option in seconds.
        values: Words that the option calls by another name: `text: console`.
        sets: What other options are where this variable is set.
    """

    option: str = ""
    topic: str = ""
    ignored: str = ""
    unit: Literal["ms"] | UnsetType = UNSET
    values: dict[str, str] = {}
    sets: dict[str, list[str]] = {}


class Topic(Struct, frozen=True, forbid_unknown_fields=True):
    """
    A topic, and which streams go into it.

    Attributes:
        streams: Patterns of kinds of streams or of whole names: `kline_*`, `btcusdt@trade`, `*`.
        layout: avro, raw (frames as they came), or the name of a JSON layout.
        key: The record's key: the symbol, so that each symbol keeps its order, or none.
        partitions: Of the topic where the client makes it; as --partitions says if left out.
        retention: How long it keeps records; as --retention-ms says if left out.
        compression: The topic's compression.type; the broker's own where left out.
    """

    id: TopicId
    name: TopicName
    streams: Annotated[list[str], Meta(min_length=1)]
    layout: str = AVRO
    key: Literal["symbol", "none"] = "symbol"
    partitions: Annotated[int, Meta(ge=1, le=10_000)] | UnsetType = UNSET
    retention: Duration | UnsetType = UNSET
    compression: Literal["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"] | UnsetType = UNSET


class ProfileFile(Struct, frozen=True, forbid_unknown_fields=True):
    """
    The shape of a deployment.

    Attributes:
        version: Of this format.
        description: What the profile is for, in a sentence or two.
        options: Other defaults for options of the client, by flags without dashes.
        environment: What environment variables mean, beside the client's own.
        topics: Where records go. Without any, each sort of record has its own topic in Avro, named after --topic-prefix.
    """

    version: Literal[1]
    description: Annotated[str, Meta(min_length=1)]
    options: dict[str, list[str]] = {}
    environment: dict[str, Variable] = {}
    topics: list[Topic] = []


def milliseconds(duration: str) -> int:
    """A duration of the format; -1 for ever."""
    if duration == FOREVER:
        return -1
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise ValueError(f"{duration!r} is no duration")
    return int(match[1]) * _UNITS_MS[match[2]]
