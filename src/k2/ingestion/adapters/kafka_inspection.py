"""
What a cluster says about itself and about a topic, for those who look before anything is produced. Nothing is changed.

Whoever may also create topics takes `topics.TopicMaker`, which asks the same questions over the same connection.

The calls block, each for as long as the time limit at most: run them with `asyncio.to_thread`. They take a librdkafka
configuration with brokers and security only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, and exported without saying so
    AdminClient,
    ConfigResource,
    ResourceType,
)
from msgspec import Struct

from k2.errors import ConfigurationError, K2Error
from k2.ingestion.adapters.kafka_faults import AUTHORISATION, ClientFaults, open_client

Metadata = Any  # the library's classes declare their attributes as what they are before they are filled in: None

REQUEST_TIMEOUT_S = 5.0
_FIRST_SLICE_S = 0.5  # librdkafka repeats a refused log-in until the time is up; we look in between, ever less often
_GRACE_S = 1.0
_ABSENT = "UNKNOWN_TOPIC_OR_PART"


class NotAuthorisedError(ConfigurationError):
    """Our Kafka user lacks a permission. `operation` is its name in Kafka's ACLs."""

    def __init__(self, operation: str, topic: str) -> None:
        super().__init__(f"the ACL {operation} on topic {topic} is missing")
        self.operation = operation


class BrokerAddress(Struct, frozen=True):
    """Where a broker says that it is reached, which need not be where we reached it."""

    broker_id: int
    host: str
    port: int


class Cluster(Struct, frozen=True):
    """A cluster. `controller_id` is None where it has none now."""

    brokers: tuple[BrokerAddress, ...]
    controller_id: int | None
    cluster_id: str


class Partition(Struct, frozen=True):
    """A partition: its leader's broker (None while it has none), and how many copies there are and are in sync."""

    partition: int
    leader: int | None
    replicas: int
    in_sync: int


class Topic(Struct, frozen=True):
    """A topic. `operations` are the ACL operations that our user has on it, None where the brokers do not tell."""

    partitions: tuple[Partition, ...]
    operations: frozenset[str] | None


class Inspector:
    """
    Questions to one cluster, over one connection.

    Attributes:
        bootstrap: The addresses that we began with.

    Raises:
        ConfigurationError: librdkafka does not take the configuration.
    """

    def __init__(self, config: Mapping[str, Any], *, logger: logging.Logger, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        self.bootstrap = str(config.get("bootstrap.servers", ""))
        self._timeout_s = timeout_s
        self._faults = ClientFaults(config)
        self._client = open_client(AdminClient, {**config, "error_cb": self._faults.append}, logger)

    def cluster(self) -> Cluster:
        """
        Who is in the cluster.

        Raises:
            BrokerUnavailableError: nobody answers; try again later.
            ConfigurationError: credentials or certificates.
        """
        found = self._metadata()
        brokers = tuple(BrokerAddress(broker.id, broker.host, broker.port) for broker in found.brokers.values())
        return Cluster(brokers, controller_of(found), found.cluster_id or "")

    def topic(self, name: str) -> Topic | None:
        """
        The topic; None where there is none. A cluster without a controller does not tell our operations.

        Raises:
            NotAuthorisedError: we may not see whether there is one.
            K2Error: as `cluster`.
        """
        found = self._metadata()
        if controller_of(found) is None:  # the request would wait for one
            return _topic_in(found, name)
        try:
            described = self._result(lambda: self._describe(name))
        except KafkaException as failure:
            if failure.args[0].name() == _ABSENT:
                return None
            raise self._explained(failure, "Describe", name) from failure
        return _topic_from(described)

    def properties(self, name: str) -> dict[str, str]:
        """
        The topic's configuration, defaults included. Only for a cluster that has a controller.

        Raises:
            NotAuthorisedError: we may not read it.
            K2Error: as `cluster`.
        """
        resource = ConfigResource(ResourceType.TOPIC, name)
        try:
            entries = self._result(lambda: self._client.describe_configs([resource], request_timeout=self._timeout_s)[resource])
        except KafkaException as failure:
            raise self._explained(failure, "DescribeConfigs", name) from failure
        return {key: str(entry.value) for key, entry in entries.items() if entry.value is not None}

    def _describe(self, name: str) -> Any:
        asked = TopicCollection([name])
        options = {"include_authorized_operations": True, "request_timeout": self._timeout_s}
        return self._client.describe_topics(asked, **options)[name]

    def _metadata(self) -> Metadata:
        # Of all topics: asking for one by name makes brokers create it.
        deadline_s, slice_s = time.monotonic() + self._timeout_s, min(_FIRST_SLICE_S, self._timeout_s)
        while True:
            try:
                return self._client.list_topics(timeout=slice_s)
            except KafkaException as failure:
                self._client.poll(0)
                found, left_s = self._faults.explain(failure), deadline_s - time.monotonic()
                if isinstance(found, ConfigurationError) or left_s <= 0:
                    raise found from failure
                slice_s = min(2 * slice_s, left_s)  # an answer may take longer than a slice: the next one waits longer for it

    def _result(self, request: Callable[[], Any]) -> Any:
        return request().result(self._timeout_s + _GRACE_S)

    def _explained(self, failure: KafkaException, operation: str, topic: str) -> K2Error:
        if failure.args[0].name() in AUTHORISATION:
            return NotAuthorisedError(operation, topic)
        self._client.poll(0)
        return self._faults.explain(failure)


def controller_of(cluster: Metadata) -> int | None:
    """The broker that is the controller now; None where the cluster has none."""
    return cluster.controller_id if cluster.controller_id in cluster.brokers else None


def _topic_in(cluster: Metadata, name: str) -> Topic | None:
    found = cluster.topics.get(name)
    if found is None:
        return None
    parts = sorted(found.partitions.items())
    return Topic(tuple(Partition(n, _leader(part.leader), len(part.replicas), len(part.isrs)) for n, part in parts), None)


def _leader(broker_id: int) -> int | None:
    return broker_id if broker_id >= 0 else None


def _topic_from(described: Metadata) -> Topic:
    partitions = tuple(
        Partition(part.id, _leader(-1 if part.leader is None else part.leader.id), len(part.replicas), len(part.isr))
        for part in described.partitions
    )
    operations = described.authorized_operations
    return Topic(partitions, None if operations is None else frozenset(operation.name for operation in operations))
