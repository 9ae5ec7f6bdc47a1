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

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, and exported without saying so
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from msgspec import Struct

from k2.errors import ConfigurationError, K2Error
from k2.ingestion.adapters.kafka_faults import AUTHORISATION, BrokerUnavailableError, ClientFaults, open_client

REQUEST_TIMEOUT_S = 5.0

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
    """
    See to it that the topic exists.

    Raises:
        BrokerUnavailableError: nobody answers; try again later.
        ConfigurationError: it is missing and `create` is False, or we may not, or the broker refuses what was asked for.
    """
    cluster = _Cluster(config, logger, timeout_s)
    partitions = cluster.partitions(spec.name)
    if partitions == 0 and not create:
        absent = f"topic {spec.name} does not exist, or we may not see it, and creating it is off"
        raise ConfigurationError(f"{absent}; create it with: {create_command(cluster.bootstrap, spec)}")
    if partitions == 0 and cluster.create(spec):
        return TopicReport(created=True, partitions=spec.partitions)
    if partitions == 0:  # another instance was faster
        partitions = cluster.partitions(spec.name) or spec.partitions
    return TopicReport(created=False, partitions=partitions, warnings=tuple(cluster.deviations(spec, partitions)))


def create_command(bootstrap: str, spec: TopicSpec) -> str:
    """The command with which an operator creates the topic."""
    words = f"kafka-topics --bootstrap-server {bootstrap} --create --topic {spec.name} --partitions {spec.partitions}".split()
    words += ["--replication-factor", str(spec.replication_factor)] if spec.replication_factor > 0 else []
    for name, value in spec.properties.items():
        words += ["--config", f"{name}={value}"]
    return shlex.join(words)


class _Cluster:
    """Administrative requests to one cluster, their failures made readable."""

    def __init__(self, config: Mapping[str, Any], logger: logging.Logger, timeout_s: float) -> None:
        self.bootstrap = str(config.get("bootstrap.servers", ""))
        self._timeout_s = timeout_s
        self._faults = ClientFaults(config)
        self._client = open_client(AdminClient, {**config, "error_cb": self._faults.append}, logger)
        self._has_controller = False

    def partitions(self, topic: str) -> int:
        """Partitions of the topic, 0 where there is none."""
        cluster = self._metadata()
        self._has_controller = cluster.controller_id in cluster.brokers
        found = cluster.topics.get(topic)
        return 0 if found is None else len(found.partitions)

    def _metadata(self) -> ClusterMetadata:
        # Of all topics: asking for one by name makes brokers create it, with their own number of partitions.
        try:
            return self._client.list_topics(timeout=self._timeout_s)
        except KafkaException as failure:
            self._client.poll(0)
            raise self._faults.explain(failure) from failure

    def create(self, spec: TopicSpec) -> bool:
        """Create the topic. False where it was there already."""
        if not self._has_controller:
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

    def deviations(self, spec: TopicSpec, partitions: int) -> list[str]:
        """Where a topic that exists differs from what was asked for."""
        found = []
        if partitions != spec.partitions:
            found.append(f"topic {spec.name} has {partitions} partitions, not {spec.partitions}; it is used as it is")
        return found + self._config_deviations(spec)

    def _config_deviations(self, spec: TopicSpec) -> list[str]:
        if not self._has_controller:  # the request would wait for one (librdkafka's mock cluster never has)
            return []
        try:
            actual = self._config_of(spec.name)
        except KafkaException as failure:
            return [_unread_config(spec.name, failure.args[0])]
        different = {name: wanted for name, wanted in spec.properties.items() if actual.get(name, wanted) != wanted}
        return [
            f"topic {spec.name} has {name}={actual[name]}, not {wanted}; it is used as it is"
            for name, wanted in different.items()
        ]

    def _config_of(self, topic: str) -> dict[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        futures = self._client.describe_configs([resource], request_timeout=self._timeout_s)
        entries = futures[resource].result()
        return {name: str(entry.value) for name, entry in entries.items()}


def _unread_config(topic: str, error: KafkaError) -> str:
    hint = f"the ACL DescribeConfigs on topic {topic} is missing" if error.name() in AUTHORISATION else error.str()
    return f"retention of topic {topic} could not be checked: {hint}"
