"""Topics on a real broker: created as asked, never changed, and told apart by what they hold."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, and exported without saying so
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

from integration.support import Rig, RunningClient, generated
from k2.errors import ConfigurationError
from k2.ingestion.adapters.topic_tail import last_identities
from k2.ingestion.adapters.topics import TopicReport, TopicSpec, ensure_topic
from k2.ingestion.core.avro import frame_prefix
from kit.kafka import KafkaBroker
from kit.registry import SchemaRegistry

README = Path(__file__).parents[2] / "README.md"
LOGGER = logging.getLogger("test.librdkafka")
LOGGER.propagate = False
OURS = b"binance.spot.aggTrade.BTCUSDT.7"


def ensure(bootstrap: str, spec: TopicSpec, *, create: bool = True) -> TopicReport:
    return ensure_topic({"bootstrap.servers": bootstrap}, spec, create=create, logger=LOGGER)


def config_of(broker: KafkaBroker, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap}, logger=LOGGER)
    entries = admin.describe_configs([resource])[resource].result(10)
    return {name: entry.value for name, entry in entries.items()}


def framed(identity: bytes) -> bytes:
    return frame_prefix(1) + bytes([2 * len(identity)]) + identity


def put(bootstrap: str, topic: str, *values: bytes, **config: Any) -> Producer:
    producer = Producer({"bootstrap.servers": bootstrap, **config}, logger=LOGGER)
    if "transactional.id" in config:
        producer.init_transactions(20)
        producer.begin_transaction()
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(20) == 0
    return producer


def test_a_missing_topic_is_created_as_asked(kafka: KafkaBroker, topic: str) -> None:
    """Partitions, retention and further properties arrive; the second start finds the topic and has nothing to say."""
    spec = TopicSpec(topic, 12, retention_ms=604_800_000, config={"compression.type": "lz4"})
    assert ensure(kafka.bootstrap, spec) == TopicReport(created=True, partitions=12)
    assert ensure(kafka.bootstrap, spec) == TopicReport(created=False, partitions=12)
    found = config_of(kafka, topic)
    assert (found["retention.ms"], found["compression.type"]) == ("604800000", "lz4")


def test_a_topic_that_differs_is_not_changed(kafka: KafkaBroker, topic: str) -> None:
    """Other partitions and another retention are warnings that name both values."""
    kafka.create_topic(topic, 3, {"retention.ms": "1000"})
    report = ensure(kafka.bootstrap, TopicSpec(topic, 12, retention_ms=2_000))
    assert report == TopicReport(
        created=False,
        partitions=3,
        warnings=(
            f"topic {topic} has 3 partitions, not 12; it is used as it is",
            f"topic {topic} has retention.ms=1000, not 2000; it is used as it is",
        ),
    )
    assert (kafka.partitions(topic), config_of(kafka, topic)["retention.ms"]) == (3, "1000")


def test_racing_creators_are_one_creation(kafka: KafkaBroker, topic: str) -> None:
    """Replicas that start together all succeed, and the topic is made once."""
    start = threading.Barrier(4)

    def race(_: int) -> TopicReport:
        start.wait(10)
        return ensure(kafka.bootstrap, TopicSpec(topic, 2))

    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(race, range(4)))
    assert sum(report.created for report in reports) == 1
    assert {report.partitions for report in reports} == {2}


@pytest.mark.parametrize(
    "spec",
    [TopicSpec("x", 1, 3), TopicSpec("not/a/name", 1), TopicSpec("x", 1, config={"no.such.property": "1"})],
    ids=["more-copies-than-brokers", "name", "property"],
)
def test_what_the_broker_refuses_to_create(kafka: KafkaBroker, spec: TopicSpec) -> None:
    """A request that no waiting makes right ends with the broker's reason."""
    with pytest.raises(ConfigurationError, match=f"does not create topic {spec.name}: "):
        ensure(kafka.bootstrap, spec)


def test_looking_creates_nothing(topic: str) -> None:
    """Not even a broker that creates topics on its own makes one because we looked."""
    with KafkaBroker(auto_create_topics=True) as broker:
        with pytest.raises(ConfigurationError, match="kafka-topics"):
            ensure(broker.bootstrap, TopicSpec(topic, 12), create=False)
        assert last_identities({"bootstrap.servers": broker.bootstrap}, topic, logger=LOGGER).identities == ()
        assert topic not in broker.topics()


def test_the_tail_of_a_topic(kafka: KafkaBroker, topic: str) -> None:
    """The last record is found on a real broker too, in a topic of many partitions."""
    kafka.create_topic(topic, 12)
    put(kafka.bootstrap, topic, *[framed(OURS)] * 50)
    tail = last_identities({"bootstrap.servers": kafka.bootstrap}, topic, logger=LOGGER)
    assert set(tail.identities) == {OURS.decode()}
    assert tail.warnings == ()


def test_transaction_markers_do_not_hide_the_last_record(kafka: KafkaBroker, topic: str) -> None:
    """The marker that ends a transaction has the last offset, and an open transaction does not stop the reading."""
    kafka.create_topic(topic)
    put(kafka.bootstrap, topic, framed(OURS), **{"transactional.id": f"{topic}-a"}).commit_transaction(20)
    assert last_identities({"bootstrap.servers": kafka.bootstrap}, topic, logger=LOGGER).identities == (OURS.decode(),)
    later = OURS + b"7"
    opened = put(kafka.bootstrap, topic, framed(later), **{"transactional.id": f"{topic}-b"})
    assert last_identities({"bootstrap.servers": kafka.bootstrap}, topic, logger=LOGGER).identities == (later.decode(),)
    opened.abort_transaction(20)


def test_a_topic_that_does_not_exist_has_no_tail(kafka: KafkaBroker, topic: str) -> None:
    """There is nothing foreign in a topic that is still to be created."""
    tail = last_identities({"bootstrap.servers": kafka.bootstrap}, topic, logger=LOGGER)
    assert (tail.identities, tail.warnings) == ((), ())


PASSWORD = "right"
USERS = "org.apache.kafka.common.security.plain.PlainLoginModule required user_k2='right';".replace("'", '"')


@pytest.fixture(scope="module")
def guarded() -> Iterator[KafkaBroker]:
    """A broker with passwords and ACLs: everybody inside may do everything, user k2 only what it is given."""
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "listener.name.guarded.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.guarded.plain.sasl.jaas.config": USERS,
    }
    with KafkaBroker(listeners={"GUARDED": "SASL_PLAINTEXT"}, extra_properties=properties) as broker:
        yield broker


def as_k2(broker: KafkaBroker, password: str = PASSWORD) -> dict[str, str]:
    return {
        "bootstrap.servers": broker.address("GUARDED"),
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "k2",
        "sasl.password": password,
    }


def allow(broker: KafkaBroker, topic: str, *operations: AclOperation) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap}, logger=LOGGER)
    bindings = [
        AclBinding(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:k2", "*", operation, AclPermissionType.ALLOW)
        for operation in operations
    ]
    for future in admin.create_acls(bindings).values():
        future.result(10)


def test_without_the_acl_to_create(guarded: KafkaBroker, topic: str) -> None:
    """The error names the ACL that is missing, and the command for somebody who has it."""
    with pytest.raises(ConfigurationError, match=rf"ACL Create on topic {topic}.*kafka-topics"):
        ensure_topic(as_k2(guarded), TopicSpec(topic, 1), create=True, logger=LOGGER)


def test_without_the_acl_to_read(guarded: KafkaBroker, topic: str) -> None:
    """A client that may write and not read starts all the same, with warnings that say what was not checked."""
    guarded.create_topic(topic)
    put(guarded.bootstrap, topic, framed(OURS))
    allow(guarded, topic, AclOperation.WRITE, AclOperation.DESCRIBE)
    report = ensure_topic(as_k2(guarded), TopicSpec(topic, 1), create=True, logger=LOGGER)
    assert report.warnings == (
        f"retention of topic {topic} could not be checked: the ACL DescribeConfigs on topic {topic} is missing",
    )
    tail = last_identities(as_k2(guarded), topic, logger=LOGGER)
    assert tail.identities == ()
    assert tail.warnings == (
        f"topic {topic} could not be read, so what it holds is not checked: the ACL Read on topic {topic} is missing",
    )


def documented_acls() -> list[list[AclOperation]]:
    """The operations of each command of the README's section on permissions: to write, to create, to check."""
    section = README.read_text(encoding="utf-8").split("## Permissions in Kafka")[1].split("\n## ")[0]
    commands = section.split("```bash")[1].split("```")[0].replace("\\\n", " ").splitlines()
    granting = [command for command in commands if command.startswith("kafka-acls ")]
    assert all(re.search(r" --topic \S+$", command) and "--group" not in command for command in granting)
    return [[AclOperation[_constant(name)] for name in re.findall(r"--operation (\w+)", command)] for command in granting]


def _constant(operation: str) -> str:
    """`DescribeConfigs`, as the tool spells it, under the library's name."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()


TO_WRITE, TO_CREATE, TO_CHECK = documented_acls()
FOREIGN = b"binance.spot.trade.BTCUSDT.7"


@pytest.fixture
def rig(guarded: KafkaBroker, registry: SchemaRegistry, tmp_path: Path) -> Iterator[Rig]:
    with Rig(guarded, registry, tmp_path) as rig:
        yield rig


def client_k2(rig: Rig, broker: KafkaBroker, *arguments: object) -> RunningClient:
    """The client as user k2."""
    security = ["--kafka-security-protocol", "SASL_PLAINTEXT", "--kafka-sasl-mechanism", "PLAIN", "--kafka-sasl-username", "k2"]
    flags = ["--kafka-bootstrap", broker.address("GUARDED"), *security, *arguments]
    ws_url = rig.exchange(generated(200)).ws_url
    return rig.client(ws_url, *flags, environment={"K2_KAFKA_SASL_PASSWORD": PASSWORD})


def test_the_documented_acls_are_enough(guarded: KafkaBroker, topic: str) -> None:
    """With what the README lists and no ACL on any group a topic is created, and its end is read."""
    allow(guarded, topic, *TO_WRITE, *TO_CREATE, *TO_CHECK)
    spec = TopicSpec(topic, 3, retention_ms=604_800_000)
    assert ensure_topic(as_k2(guarded), spec, create=True, logger=LOGGER) == TopicReport(created=True, partitions=3)
    assert ensure_topic(as_k2(guarded), spec, create=True, logger=LOGGER).warnings == ()
    put(guarded.bootstrap, topic, framed(OURS))
    tail = last_identities(as_k2(guarded), topic, logger=LOGGER)
    assert (tail.identities, tail.warnings) == ((OURS.decode(),), ())


def test_a_foreign_topic_is_refused_with_the_documented_acls(guarded: KafkaBroker, rig: Rig) -> None:
    """The client that has what the README lists does not write into the topic of another stream."""
    allow(guarded, rig.topic, *TO_WRITE, *TO_CREATE, *TO_CHECK)
    guarded.create_topic(rig.topic, 3)
    put(guarded.bootstrap, rig.topic, framed(FOREIGN))
    client = client_k2(rig, guarded)
    assert client.wait() == ConfigurationError.exit_code
    assert f"topic {rig.topic} carries {FOREIGN.decode()}" in client.stderr


def test_the_acls_to_write_are_enough_to_stream(guarded: KafkaBroker, rig: Rig) -> None:
    """With the first of the README's commands alone the client streams into a topic that is there, and says what it skipped."""
    allow(guarded, rig.topic, *TO_WRITE)
    guarded.create_topic(rig.topic, 3)
    put(guarded.bootstrap, rig.topic, framed(FOREIGN))
    client = client_k2(rig, guarded, "--no-create-topic")
    client.wait_for_produced(20)
    [skipped] = client.events_named("The topic's last records could not be looked at")
    assert skipped["detail"].endswith(f"is not checked: the ACL Read on topic {rig.topic} is missing")
    client.stopped()


def test_the_wrong_password(guarded: KafkaBroker, topic: str) -> None:
    """Credentials that the broker refuses are a configuration fault, and the password is not in the error."""
    with pytest.raises(ConfigurationError, match="K2_KAFKA_SASL_PASSWORD") as refused:
        ensure_topic(as_k2(guarded, "s3cret"), TopicSpec(topic, 1), create=True, logger=LOGGER, timeout_s=2)
    assert "s3cret" not in str(refused.value)
    with pytest.raises(ConfigurationError, match="K2_KAFKA_SASL_PASSWORD"):
        last_identities(as_k2(guarded, "s3cret"), topic, logger=LOGGER, timeout_s=2)
