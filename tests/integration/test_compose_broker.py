"""The listeners of docker-compose.yml on a real Kafka: who begins where, and which address each is told to go on at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from kit.kafka import KafkaBroker
from kit.ports import free_port
from kit.relay import Relay
from operations.compose_file import environment_of, published, services

ENVIRONMENT = environment_of(services()["kafka"])
# What the image reads itself, and what it makes of its own paths.
NOT_PROPERTIES = {"CLUSTER_ID", "KAFKA_HEAP_OPTS", "KAFKA_LOG_DIRS"}

(HOST,) = published(services()["kafka"])


class ComposeBroker(KafkaBroker):
    """
    The broker with the properties of the compose file, on ports that are free, and bound to loopback alone.

    The host's port and the inner listener have the same number in compose, where each has an address of its own; here
    they are two.
    """

    def __init__(self) -> None:
        super().__init__()
        self.moved = {number: free_port() for number in (9092, 9093, 19092)}
        self.published = Relay(f"tcp://127.0.0.1:{self.moved[HOST.container]}")  # what Docker makes of a published port
        self._ports["PLAINTEXT"] = self.moved[9092]  # where the kit asks whether it answers

    def properties(self) -> dict[str, str]:
        named = {name: value for name, value in ENVIRONMENT.items() if name not in NOT_PROPERTIES}
        made = {name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in named.items()}
        made["listeners"] = self._bound(made["listeners"])
        made["controller.quorum.voters"] = self._bound(made["controller.quorum.voters"])
        at_the_host = made["advertised.listeners"].replace(f"localhost:{HOST.host}", f"localhost:{self.published.port}")
        made["advertised.listeners"] = self._bound(at_the_host, hosts=False)
        return {**made, "log.dirs": str(self.directory / "data"), "offsets.topic.num.partitions": "1"}

    def _bound(self, text: str, *, hosts: bool = True) -> str:
        """The text with our ports, and with loopback for every host where it says what to bind to."""
        for number, port in sorted(self.moved.items(), reverse=True):
            text = text.replace(f":{number}", f":{port}")
        return text.replace("0.0.0.0", "127.0.0.1").replace("kafka:", "127.0.0.1:") if hosts else text  # noqa: S104


@pytest.fixture(scope="module")
def broker() -> Iterator[ComposeBroker]:
    with ComposeBroker() as broker:
        yield broker


def told(port: int) -> str:
    """The address that whoever begins at this port is told to go on at."""
    cluster = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0}).list_topics(timeout=15)
    (only,) = cluster.brokers.values()
    return f"{only.host}:{only.port}"


def test_containers_go_on_at_the_name_of_the_broker(broker: ComposeBroker) -> None:
    """The inner listener, at which containers begin, and commands inside the broker's own, tells `kafka` and its own port."""
    assert told(broker.moved[9092]) == f"kafka:{broker.moved[9092]}"


def test_the_host_goes_on_at_its_own_port(broker: ComposeBroker) -> None:
    """The listener behind the published port tells `localhost` and the port of the host, at which a topic can be made."""
    with broker.published as host:
        assert told(host.port) == f"localhost:{host.port}"
        admin = AdminClient({"bootstrap.servers": f"localhost:{host.port}", "log_level": 0})
        admin.create_topics([NewTopic("of.the.host", 1)])["of.the.host"].result(timeout=15)


def test_a_misspelt_topic_is_an_error(broker: ComposeBroker) -> None:
    """Looking at a topic does not make it."""
    asked = AdminClient({"bootstrap.servers": f"127.0.0.1:{broker.moved[HOST.container]}", "log_level": 0})
    assert asked.list_topics(topic="no.such.topic", timeout=15).topics["no.such.topic"].error is not None
    assert "no.such.topic" not in asked.list_topics(timeout=15).topics
