"""What a topic holds at its end: it carries one market and one sort of record, and a look at its last records tells which."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from k2.ingestion.adapters.topic_reader import TopicNotReadableError, TopicReader
from k2.ingestion.core.identity import message_identity

READ_TIMEOUT_S = 5.0
TAIL_RECORDS = 5  # the marker of a transaction takes an offset too, so the last record may lie a little further up


class TopicTail(Struct, frozen=True):
    """The last `message_id` of each partition, as far as its records are ours, and what kept us from reading others."""

    identities: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def last_identities(
    config: Mapping[str, Any], topic: str, *, logger: logging.Logger, timeout_s: float = READ_TIMEOUT_S
) -> TopicTail:
    """
    Read the end of all partitions together, without joining a group or committing anything: no ACL on a group is needed.

    The call blocks: run it with `asyncio.to_thread`. A topic that does not exist has an empty tail. One that we may not read
    has one too, with a warning, because producing needs no permission to read.

    Args:
        config: librdkafka configuration, brokers and security only.

    Raises:
        BrokerUnavailableError: nobody answers; try again later.
        ConfigurationError: credentials or certificates.
    """
    with TopicReader(config, topic, logger=logger, timeout_s=timeout_s) as reader:
        try:
            return _tail_of(reader, timeout_s)
        except TopicNotReadableError as refusal:
            return TopicTail(warnings=(f"topic {topic} could not be read, so what it holds is not checked: {refusal}",))


def _tail_of(reader: TopicReader, timeout_s: float) -> TopicTail:
    ranges = reader.ranges()
    filled = {partition: (start, end) for partition, (start, end) in ranges.items() if end > start}
    reader.start({partition: max(start, end - TAIL_RECORDS) for partition, (start, end) in filled.items()})
    unread = {partition: end for partition, (_, end) in filled.items()}
    last: dict[int, str] = {}
    deadline_s = time.monotonic() + timeout_s
    while unread and time.monotonic() < deadline_s:
        for record in reader.read():
            identity = message_identity(record.value)
            if identity is not None and record.partition in unread:
                last[record.partition] = identity
            if record.offset + 1 >= unread.get(record.partition, 0):
                unread.pop(record.partition, None)
        for partition in reader.at_end:
            unread.pop(partition, None)
    warning = f"the end of {len(unread)} of {len(ranges)} partitions of topic {reader.topic} could not be read in time"
    return TopicTail(tuple(last.values()), (warning,) if unread else ())
