"""
The topics that a replay writes to: whether it may, where they end, and what lies behind an offset.

Every call blocks. A topic is looked at once, when the first record for it comes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from k2.errors import ConfigurationError
from k2.ingestion.adapters.kafka_inspection import Inspector, NotAuthorisedError
from k2.ingestion.adapters.topic_reader import TopicNotReadableError, TopicReader
from k2.ingestion.adapters.topic_tail import last_identities
from k2.ingestion.core.identity import message_identity, record_name
from k2.ingestion.core.outcome import Record
from k2.ingestion.exchanges.binance.kinds import RAW_TOPIC
from k2.ingestion.topic_plan import AVRO, RAW, TopicPlan, belongs
from k2.reading.patience import Patience
from k2.reading.topic import KAFKA, Ranges

READ_PATIENCE_S = 30.0
LONGEST_DELAY_MS = 600_000  # between a record and whatever else was written before it: the client waits 45 s in a broker outage


class ReplayTopics:
    """
    Readers of the topics, one each. `warnings` collects sentences for the operator; take them with `take_warnings`.

    Args:
        config: librdkafka configuration, brokers and security only.
        patience: How long a broker that does not answer is waited for.
    """

    def __init__(self, config: Mapping[str, Any], logger: logging.Logger, patience: Patience) -> None:
        self._config, self._logger, self._patience = dict(config), logger, patience
        self._readers: dict[str, TopicReader] = {}
        self._unreadable: set[str] = set()
        self._warnings: list[str] = []
        self._retentions_ms: dict[str, int] = {}
        self._checked_for_age: set[str] = set()
        self._carried: dict[str, str] = {}  # by topic one of its message_ids: of its last record, or of the first for it

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def take_warnings(self) -> list[str]:
        warnings, self._warnings = self._warnings, []
        return warnings

    def cluster_id(self) -> str:
        """
        What the cluster calls itself.

        Raises:
            UnavailableError: nobody answers.
            ConfigurationError: credentials or certificates are wrong.
        """
        inspector = Inspector(self._config, logger=self._logger)
        return self._patience.wait_for(KAFKA, inspector.cluster).cluster_id

    def ends(self, topic: str) -> dict[int, int]:
        """
        For each partition the offset that its next record gets; empty where we may not read.

        Raises:
            BrokerUnavailableError: nobody answers.
            ConfigurationError: there is no such topic, or credentials or certificates are wrong.
        """
        return {partition: end for partition, (_, end) in self._existing(topic).items()}

    def check(self, topic: str, records: Sequence[Record]) -> None:
        """
        See whether these records belong into the topic, and whether they will stay there.

        Raises:
            ConfigurationError: it carries another market or stream.
        """
        identities = [identity for record in records if (identity := message_identity(record.value))]
        if identities and topic not in self._carried:
            known = last_identities(self._config, topic, logger=self._logger).identities
            self._carried[topic] = next(iter(known), identities[0])
        foreign = next((identity for identity in identities if not _alike(identity, self._carried[topic])), None)
        if foreign is not None:
            carries = f"topic {topic} carries {_origin(self._carried[topic])}"
            raise ConfigurationError(f"{carries}, and {foreign} does not belong there; filter it out, or check --topic-prefix")
        self._check_age(topic, min(record.timestamp_ms for record in records))

    def _check_age(self, topic: str, oldest_ms: int) -> None:
        """Warn, once a topic, where Kafka deletes a record of this time (milliseconds since the Unix epoch) again at once."""
        if topic in self._checked_for_age:
            return
        retention_ms = self._retention_ms(topic)
        if 0 <= retention_ms < time.time() * 1_000 - oldest_ms:
            self._checked_for_age.add(topic)
            self._warnings.append(_too_old(topic, retention_ms, oldest_ms))

    def find(self, topic: str, since: Mapping[int, int], wanted: set[str]) -> set[str]:
        """Those of the wanted records that lie in the topic, which may be gone, from these offsets on; see `record_name`."""
        ranges = self._ranges(topic)
        return self._between(
            topic, {part: (max(since.get(part, 0), first), end) for part, (first, end) in ranges.items()}, wanted
        )

    def find_near(self, topic: str, first_ms: int, last_ms: int, wanted: set[str]) -> set[str]:
        """
        Those of the wanted records, which are from `first_ms` to `last_ms`, that were written when these were young.

        Raises as `ends` does.
        """
        parts = self._existing(topic)
        if not parts:
            return set()
        reader = self._readers[topic]
        starts, ends = reader.offsets_at(first_ms, parts), reader.offsets_at(last_ms + LONGEST_DELAY_MS, parts)
        return self._between(topic, {part: (starts[part], ends[part]) for part in parts}, wanted)

    def _between(self, topic: str, places: Mapping[int, tuple[int, int]], wanted: set[str]) -> set[str]:
        ends = {part: end for part, (start, end) in places.items() if end > start}
        found: set[str] = set()
        if not ends:
            return found
        reader = self._readers[topic]
        reader.start({part: places[part][0] for part in ends})
        for records in reader.read_up_to(ends, READ_PATIENCE_S):
            found |= wanted & {record_name(record.value) for record in records if record.value is not None}
        reader.start({})
        return found

    def _retention_ms(self, topic: str) -> int:
        """How long the topic keeps records, -1 for ever or where we may not know."""
        if topic not in self._retentions_ms:
            try:
                properties = Inspector(self._config, logger=self._logger).properties(topic)
            except NotAuthorisedError:
                properties = {}
            self._retentions_ms[topic] = int(properties.get("retention.ms", -1))
        return self._retentions_ms[topic]

    def _ranges(self, topic: str) -> Ranges:
        if topic in self._unreadable:
            return {}
        if topic not in self._readers:
            self._readers[topic] = TopicReader(self._config, topic, logger=self._logger)
        try:
            return self._patience.wait_for(KAFKA, self._readers[topic].ranges)
        except TopicNotReadableError as refusal:
            self._unreadable.add(topic)
            self._warnings.append(f"{refusal}: records of unknown outcome, and those of a run that is killed, may come twice")
            return {}

    def _existing(self, topic: str) -> Ranges:
        ranges = self._ranges(topic)
        if not ranges and topic not in self._unreadable:
            absent = f"topic {topic}, which dead letters belong to, does not exist"
            raise ConfigurationError(f"{absent}; create it, or filter them out")
        return ranges


def _too_old(topic: str, retention_ms: int, oldest_ms: int) -> str:
    oldest = datetime.fromtimestamp(oldest_ms / 1_000, UTC).isoformat(timespec="seconds")
    kept = f"{timedelta(milliseconds=retention_ms)}, counted from their own time"
    advice = (
        f"set retention.ms=-1 on it for as long as the replayed records are needed: kafka-configs --alter --topic {topic} ..."
    )
    return f"topic {topic} keeps records for {kept}, and some replayed ones are of {oldest}: {advice}"


def _alike(identity: str, carried: str) -> bool:
    """Whether two records may lie in one topic, as far as nobody planned it: see `topic_plan.belongs`."""
    _, market, spec, *_ = carried.split(".")
    plan = TopicPlan(name="", streams=(spec,), layout=RAW if spec == RAW_TOPIC else AVRO)
    return belongs(identity, market, plan, [spec])


def _origin(identity: str) -> str:
    """Exchange, market and stream of a `message_id`."""
    return ".".join(identity.split(".")[:3])
