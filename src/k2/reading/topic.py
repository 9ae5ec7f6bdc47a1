"""Opening a topic that somebody has named: the name checked, the broker waited for, a topic that is not there explained."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

from k2.errors import ConfigurationError
from k2.ingestion.adapters.logs import rdkafka_logger
from k2.ingestion.adapters.topic_reader import TopicReader
from k2.ingestion.kafka_settings import RECONNECT_MAX_MS
from k2.ingestion.option_values import LONGEST_TOPIC, quoted
from k2.ingestion.settings import Settings
from k2.reading.patience import Patience

KAFKA = "Kafka"
REQUEST_TIMEOUT_S = 2.0  # short, as Ctrl-C is heard between two requests only

# Answers of a size that leaves little to be thrown away when one reads elsewhere, and little in memory if it is well compressed.
_FETCHING = {
    "fetch.message.max.bytes": 256 * 1024,
    "fetch.max.bytes": 4 * 1024 * 1024,
    "queued.max.messages.kbytes": 8 * 1024,
    "reconnect.backoff.max.ms": RECONNECT_MAX_MS,
}

Ranges = dict[int, tuple[int, int]]  # by partition its first offset, and the one that its next record will get


def topic_reader(settings: Settings, topic: str) -> TopicReader:
    """
    A reader of the topic at the broker that the settings name. Nothing is asked of the broker yet.

    Raises:
        ConfigurationError: no topic can have this name; or librdkafka does not take the configuration.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]+", topic) or len(topic) > LONGEST_TOPIC or topic in {".", ".."}:
        raise ConfigurationError(f"{quoted(topic)} is no name of a Kafka topic: letters, digits, '.', '_' and '-' only")
    config = {**_FETCHING, **settings.kafka.admin_config()}
    return TopicReader(config, topic, logger=rdkafka_logger(), timeout_s=REQUEST_TIMEOUT_S)


def existing_ranges(reader: TopicReader, patience: Patience, partitions: Collection[int] = ()) -> Ranges:
    """
    What there is to read in the topic's partitions, or in these partitions only.

    Raises:
        UnavailableError: the broker was away for too long.
        ConfigurationError: there is no such topic or partition; or as `TopicReader.partitions`.
    """
    ranges = patience.wait_for(KAFKA, reader.ranges)
    if not ranges:
        raise ConfigurationError(absent_topic(reader.topic, patience.wait_for(KAFKA, reader.topic_names)))
    if unknown := sorted(set(partitions) - ranges.keys()):
        raise ConfigurationError(absent_partitions(reader.topic, unknown, ranges))
    return {partition: span for partition, span in ranges.items() if not partitions or partition in partitions}


def absent_topic(topic: str, names: Iterable[str]) -> str:
    """That there is no such topic, and which of those that there are may be meant."""
    near = get_close_matches(topic, [name for name in names if not name.startswith("__")])
    hint = f"; there is {', '.join(near)}" if near else ""
    return f"topic {topic} does not exist, or we may not see it{hint}"


def absent_partitions(topic: str, unknown: Collection[int], ranges: Mapping[int, object]) -> str:
    """That the topic has no such partitions, and which ones it has."""
    return f"--partition: topic {topic} has no partition {', '.join(map(str, unknown))}; it has 0 to {max(ranges)}"
