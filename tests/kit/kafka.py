"""A real Kafka broker of our own: one node, KRaft, on loopback."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, ClassVar, Self

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, and exported without saying so
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)
from confluent_kafka.cimpl import NewPartitions, NewTopic

from kit import jars
from kit.ports import free_port
from kit.server import JVM_FLAGS, POLL_INTERVAL_S, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

ADMIN_TIMEOUT_S = 15.0
CLUSTER_ID = "azItdGVzdC1jbHVzdGVyMQ"  # any 16 bytes as base64

LOG4J = """
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""

# What a single node needs, and what keeps it small. Retention goes by the records' own times: with a limit, recordings of
# the past would be deleted within minutes. A broker that was killed is not let in again before its old session has ended.
PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "log.retention.ms": "-1",
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
}


class KafkaBroker(Server):
    """
    Apache Kafka on 127.0.0.1, with ports that outlive restarts and data that outlive crashes.

    Args:
        listeners: Listeners beside the plain one, as name and security protocol, for example `{"TLS": "SSL"}`. Each gets a
            port; `address(name)` tells it.
        extra_properties: Broker properties that add to ours or replace them.
        auto_create_topics: Off unless asked for, so that a topic nobody created shows as the error it is.
    """

    title: ClassVar[str] = f"Apache Kafka {jars.KAFKA_VERSION}"

    def __init__(
        self,
        *,
        listeners: Mapping[str, str] | None = None,
        extra_properties: Mapping[str, str] | None = None,
        auto_create_topics: bool = False,
    ) -> None:
        super().__init__()
        self._protocols = {"CONTROLLER": "PLAINTEXT", "PLAINTEXT": "PLAINTEXT", **(listeners or {})}
        self._ports = {name: free_port() for name in self._protocols}
        self._extra_properties = {"auto.create.topics.enable": str(auto_create_topics).lower(), **(extra_properties or {})}

    def launch(self) -> Self:
        self._prepare()
        return super().launch()

    @property
    def bootstrap(self) -> str:
        """Host and port of the plain listener, as `bootstrap.servers` takes it."""
        return self.address("PLAINTEXT")

    @property
    def port(self) -> int:
        return self._ports["PLAINTEXT"]

    def address(self, listener: str) -> str:
        """Host and port of a listener."""
        return f"127.0.0.1:{self._ports[listener]}"

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Create a topic and return once every partition has a leader."""
        new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
        admin = self._admin()  # held until the answer is there: its end would end the request
        admin.create_topics([new])[name].result(ADMIN_TIMEOUT_S)
        self._wait_for_partitions(name, partitions)

    def set_topic(self, name: str, property_name: str, value: str) -> None:
        """Change one property of a topic."""
        entry = ConfigEntry(property_name, value, incremental_operation=AlterConfigOpType.SET)
        changed = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        admin = self._admin()
        admin.incremental_alter_configs([changed])[changed].result(ADMIN_TIMEOUT_S)

    def delete_topic(self, name: str) -> None:
        admin = self._admin()
        admin.delete_topics([name])[name].result(ADMIN_TIMEOUT_S)

    def add_partitions(self, name: str, total: int) -> None:
        """Give a topic more partitions, `total` in all."""
        admin = self._admin()
        admin.create_partitions([NewPartitions(name, total)])[name].result(ADMIN_TIMEOUT_S)
        self._wait_for_partitions(name, total)

    def partitions(self, name: str) -> int:
        """How many partitions a topic has that can be written to; 0 if there is no such topic."""
        topic = self._admin().list_topics(topic=name, timeout=ADMIN_TIMEOUT_S).topics[name]
        return 0 if topic.error else sum(partition.leader >= 0 for partition in topic.partitions.values())

    def count(self, name: str) -> int:
        """How many records were written to a topic, aborted ones and markers of transactions among them."""
        admin = self._admin()
        metadata = admin.list_topics(topic=name, timeout=ADMIN_TIMEOUT_S).topics[name]
        asked = {TopicPartition(name, partition): OffsetSpec.latest() for partition in metadata.partitions}  # type: ignore[no-untyped-call]
        return sum(future.result(ADMIN_TIMEOUT_S).offset for future in admin.list_offsets(asked).values())

    def topics(self) -> set[str]:
        """The names of all topics, Kafka's own aside."""
        names = self._admin().list_topics(timeout=ADMIN_TIMEOUT_S).topics
        return {name for name in names if not name.startswith("__")}

    def properties(self) -> dict[str, str]:
        """The broker's whole configuration."""
        addresses = {name: f"{name}://{self.address(name)}" for name in self._protocols}
        return {
            **PROPERTIES,
            "controller.quorum.voters": f"1@{self.address('CONTROLLER')}",
            "listeners": ",".join(addresses.values()),
            "advertised.listeners": ",".join(value for name, value in addresses.items() if name != "CONTROLLER"),
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in self._protocols.items()),
            "log.dirs": str(self.directory / "data"),
            **self._extra_properties,
        }

    def _prepare(self) -> None:
        """Write the configuration; on the first start, format the log directory too, which takes a second."""
        lines = [f"{key}={value}\n" for key, value in self.properties().items()]
        (self.directory / "server.properties").write_text("".join(lines), encoding="utf-8")
        (self.directory / "log4j2.properties").write_text(LOG4J, encoding="utf-8")
        if not (self.directory / "data").exists():
            self._run(self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", "server.properties"))

    def _command(self) -> list[str]:
        return self._java("kafka.Kafka", "server.properties")

    def _java(self, main_class: str, *arguments: str) -> list[str]:
        options = ["-Xmx512m", *JVM_FLAGS, "-Djava.io.tmpdir=tmp", "-Dlog4j2.configurationFile=log4j2.properties"]
        return [str(jars.java()), *options, "-cp", jars.kafka_class_path(), main_class, *arguments]

    def _answers(self) -> bool:
        """Whether it takes connections, knows itself, and leads every partition that it has from before."""
        if not _accepts(self.port):
            return False
        try:
            cluster = self._admin().list_topics(timeout=2)
        except KafkaException:
            return False
        partitions = [partition for topic in cluster.topics.values() for partition in topic.partitions.values()]
        return bool(cluster.brokers) and all(partition.leader >= 0 for partition in partitions)

    def _wait_for_partitions(self, name: str, wanted: int) -> None:
        deadline = time.monotonic() + ADMIN_TIMEOUT_S
        while self.partitions(name) < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"topic {name} has not {wanted} partitions after {ADMIN_TIMEOUT_S:.0f} s")
            time.sleep(POLL_INTERVAL_S)

    def _admin(self) -> AdminClient:
        """A new client every time: an old one would wait out its reconnect delay after a restart."""
        settings: dict[str, Any] = {"bootstrap.servers": self.bootstrap, "log_level": 0}
        return AdminClient(settings)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
