"""
The topic before the first record: that it exists, and how it differs from what was asked for.

The calls block for a few seconds at most: run them with `asyncio.to_thread`. They take a librdkafka configuration with brokers
and security only. A topic that exists is never changed.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # public, and exported without saying so
from msgspec import Struct

from k2.errors import ConfigurationError, K2Error
from k2.ingestion.adapters.kafka_faults import AUTHORISATION, BrokerUnavailableError
from k2.ingestion.adapters.kafka_inspection import REQUEST_TIMEOUT_S as INSPECTION_TIMEOUT_S
from k2.ingestion.adapters.kafka_inspection import Inspector, controller_of

REQUEST_TIMEOUT_S = INSPECTION_TIMEOUT_S

_WRONG_REQUEST = frozenset(
    {
        "TOPIC_EXCEPTION",
        "INVALID_PARTITIONS",
        "INVALID_REPLICATION_FACTOR",
        "INVALID_CONFIG",
        "INVALID_REQUEST",
        "POLICY_VIOLATION",
    }
)


class TopicSpec(Struct, frozen=True):
    """
    A topic as we would create it.

    Attributes:
        replication_factor: -1 leaves it to the broker.
        retention_ms: Counted from the records' own time; -1 keeps them for ever.
        config: Further topic properties.
    """

    name: str
    partitions: int
    replication_factor: int = -1
    retention_ms: int = -1
    config: Mapping[str, str] = {}

    @property
    def properties(self) -> dict[str, str]:
        return {"retention.ms": str(self.retention_ms), **self.config}


class TopicReport(Struct, frozen=True):
    """What became of a topic: whether we made it, how many partitions it has, and where it differs from what was asked for."""

    created: bool
    partitions: int
    warnings: tuple[str, ...] = ()


def ensure_topic(
    config: Mapping[str, Any],
    spec: TopicSpec,
    *,
    create: bool,
    logger: logging.Logger,
    timeout_s: float = REQUEST_TIMEOUT_S,
) -> TopicReport:
    """`TopicMaker.ensure`, for whoever asks the cluster nothing else."""
    return TopicMaker(config, logger=logger, timeout_s=timeout_s).ensure(spec, create=create)


def create_command(bootstrap: str, spec: TopicSpec) -> str:
    """The command with which an operator creates the topic."""
    words = f"kafka-topics --bootstrap-server {bootstrap} --create --topic {spec.name} --partitions {spec.partitions}".split()
    words += ["--replication-factor", str(spec.replication_factor)] if spec.replication_factor > 0 else []
    for name, value in spec.properties.items():
        words += ["--config", f"{name}={value}"]
    return shlex.join(words)


def alter_command(bootstrap: str, topic: str, changes: Mapping[str, str]) -> str:
    """The command with which an operator changes a topic's configuration."""
    words = ["kafka-configs", "--bootstrap-server", bootstrap, "--alter", "--entity-type", "topics", "--entity-name", topic]
    return shlex.join([*words, "--add-config", ",".join(f"{name}={value}" for name, value in changes.items())])


class TopicMaker(Inspector):
    """An inspector that may also create topics. None that exists is changed."""

    def ensure(self, spec: TopicSpec, *, create: bool) -> TopicReport:
        """
        See to it that the topic exists.

        Raises:
            BrokerUnavailableError: nobody answers; try again later.
            ConfigurationError: it is missing and `create` is False, or we may not, or the broker refuses what was asked for.
        """
        partitions, has_controller = self._seen(spec.name)
        if partitions == 0 and not create:
            absent = f"topic {spec.name} does not exist, or we may not see it, and creating it is off"
            raise ConfigurationError(f"{absent}; create it with: {create_command(self.bootstrap, spec)}")
        if partitions == 0 and self._create(spec, has_controller=has_controller):
            return TopicReport(created=True, partitions=spec.partitions)
        if partitions == 0:  # another instance was faster
            partitions, has_controller = self._seen(spec.name)
        warnings = _other_partitions(spec, partitions or spec.partitions)
        if has_controller:  # the request would wait for one (librdkafka's mock cluster never has)
            warnings += self._other_properties(spec)
        return TopicReport(created=False, partitions=partitions or spec.partitions, warnings=tuple(warnings))

    def _seen(self, name: str) -> tuple[int, bool]:
        """Partitions of the topic, 0 where there is none, and whether there is a controller to ask further."""
        cluster = self._metadata()
        found = cluster.topics.get(name)
        return 0 if found is None else len(found.partitions), controller_of(cluster) is not None

    def _create(self, spec: TopicSpec, *, has_controller: bool) -> bool:
        """Create the topic. False where it was there already."""
        if not has_controller:
            raise BrokerUnavailableError(
                f"Kafka at {self.bootstrap} has no controller now, so topic {spec.name} cannot be created"
            )
        new = NewTopic(spec.name, spec.partitions, spec.replication_factor, config=spec.properties)
        try:
            futures = self._client.create_topics([new], operation_timeout=self._timeout_s, request_timeout=self._timeout_s)
            futures[spec.name].result()
        except KafkaException as failure:
            if failure.args[0].name() == "TOPIC_ALREADY_EXISTS":
                return False
            raise self._creation_fault(spec, failure) from failure
        return True

    def _creation_fault(self, spec: TopicSpec, failure: KafkaException) -> K2Error:
        error = failure.args[0]
        command = create_command(self.bootstrap, spec)
        if error.name() in AUTHORISATION:
            needed = f"give our Kafka user the ACL Create on topic {spec.name}, or create it with: {command}"
            return ConfigurationError(f"topic {spec.name} does not exist and we may not create it; {needed}")
        if error.name() in _WRONG_REQUEST:
            return ConfigurationError(
                f"the broker does not create topic {spec.name}: {error.str()}; what it was asked: {command}"
            )
        return self._faults.explain(failure)

    def _other_properties(self, spec: TopicSpec) -> list[str]:
        try:
            actual = self.properties(spec.name)
        except K2Error as refusal:
            return [f"retention of topic {spec.name} could not be checked: {refusal}"]
        return [
            f"topic {spec.name} has {name}={actual[name]}, not {wanted}; it is used as it is"
            for name, wanted in spec.properties.items()
            if actual.get(name, wanted) != wanted
        ]


def _other_partitions(spec: TopicSpec, partitions: int) -> list[str]:
    if partitions == spec.partitions:
        return []
    return [f"topic {spec.name} has {partitions} partitions, not {spec.partitions}; it is used as it is"]
