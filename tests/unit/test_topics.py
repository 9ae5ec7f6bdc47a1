"""Whose records a topic holds, and what is said about a topic that exists, against librdkafka's broker in memory."""

from __future__ import annotations

import io
import logging
import time
from typing import Any

import fastavro
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from hypothesis import given
from hypothesis import strategies as st

from k2.errors import ConfigurationError, K2Error
from k2.ingestion.adapters.kafka_faults import BrokerUnavailableError, ClientFaults, open_client
from k2.ingestion.adapters.topic_tail import last_identities
from k2.ingestion.adapters.topics import TopicMaker, TopicSpec, create_command, ensure_topic
from k2.ingestion.core.avro import frame_prefix
from k2.ingestion.core.identity import LONGEST_IDENTITY, message_identity, record_name
from kit.mock_kafka import MockKafka

LOGGER = logging.getLogger("test.librdkafka")
LOGGER.propagate = False
OURS = "binance.spot.aggTrade.BTCUSDT.7"


def framed(identity: str, rest: bytes = b"\x06abc", schema_id: int = 1) -> bytes:
    """A record of ours as it lies in a topic: framing, message id, and what follows."""
    text = io.BytesIO()
    fastavro.schemaless_writer(text, "string", identity)
    return frame_prefix(schema_id) + text.getvalue() + rest


@pytest.mark.parametrize(
    "identity", [OURS, "binance.usdm.kline_1m.ETHUSDT.1700000000000", "binance.spot.trade.币安人生USDT.1", f"a.b.c.d.{'7' * 200}"]
)
def test_our_records_tell_their_identity(identity: str) -> None:
    """The message id is read without the schema, whatever follows it and whatever the schema's id."""
    assert message_identity(framed(identity)) == identity
    assert message_identity(framed(identity, b"", 2**32 - 1)) == identity


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="tombstone"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\x00\x00\x00\x00\x01", id="framing-only"),
        pytest.param(b'{"e":"trade"}', id="json"),
        pytest.param(b"\x01" + framed(OURS)[1:], id="another-framing"),
        pytest.param(framed(OURS)[:-10], id="cut-off"),
        pytest.param(framed("f47ac10b-58cc-4372-a567-0e02b2c3d479"), id="an-id-of-others"),
        pytest.param(framed("binance.spot..BTCUSDT.7"), id="an-empty-part"),
        pytest.param(framed("not one of our ids. a. b. c. d"), id="words"),
        pytest.param(framed("a.b.c.d.\x1b[31m"), id="control-characters"),
        pytest.param(framed("a.b.c.d." + "7" * LONGEST_IDENTITY), id="too-long"),
        pytest.param(frame_prefix(1) + b"\x08\xff.\xff.", id="no-utf-8"),
        pytest.param(frame_prefix(1) + b"\x01abc", id="negative-length"),
        pytest.param(frame_prefix(1) + b"\xff" * 20, id="endless-length"),
    ],
)
def test_other_records_have_no_identity(value: bytes | None) -> None:
    """What is not ours is skipped: JSON, tombstones, other schemas, torn bytes."""
    assert message_identity(value) is None


@given(st.one_of(st.binary(max_size=400), st.binary(max_size=400).map(lambda rest: frame_prefix(1) + rest)))
def test_any_bytes_are_survived(value: bytes) -> None:
    """Whatever lies in a topic, looking at it raises nothing, and what comes out has our form."""
    identity = message_identity(value)
    assert identity is None or len(identity.split(".")) >= 5


def test_a_record_is_named_by_its_identity_or_by_its_bytes() -> None:
    """JSON has no message id: equal bytes have one name, others another one, and none looks like an identity."""
    assert record_name(framed(OURS)) == record_name(framed(OURS, b"other", 7)) == OURS
    assert record_name(b'{"a":1}') == record_name(b'{"a":1}') != record_name(b'{"a":2}')
    assert record_name(b"").startswith("sha256:")


class Cluster:
    """librdkafka's broker in memory: four partitions a topic, no controller."""

    def __init__(self) -> None:
        self.producer = Producer({"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 1}, logger=LOGGER)
        (broker,) = self.producer.list_topics(timeout=10).brokers.values()
        self.config: dict[str, Any] = {"bootstrap.servers": f"{broker.host}:{broker.port}"}

    def create(self, topic: str) -> None:
        self.producer.list_topics(topic, timeout=10)  # asking for it makes it

    def put(self, topic: str, *values: bytes | None, partition: int = 0) -> None:
        for value in values:
            self.producer.produce(topic, value, partition=partition)
        assert self.producer.flush(10) == 0


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster()


def test_the_last_record_of_each_partition_tells(cluster: Cluster, topic: str) -> None:
    """All partitions are looked at; of each the last record counts."""
    cluster.create(topic)
    cluster.put(topic, framed("binance.spot.aggTrade.AUSDT.1"), framed("binance.spot.aggTrade.AUSDT.2"), partition=0)
    cluster.put(topic, framed("binance.spot.aggTrade.BUSDT.9"), partition=3)
    tail = last_identities(cluster.config, topic, logger=LOGGER)
    assert sorted(tail.identities) == ["binance.spot.aggTrade.AUSDT.2", "binance.spot.aggTrade.BUSDT.9"]
    assert tail.warnings == ()


def test_foreign_records_in_the_tail_are_skipped(cluster: Cluster, topic: str) -> None:
    """A tombstone or a line of JSON behind our record does not hide it."""
    cluster.create(topic)
    cluster.put(topic, framed(OURS), None, b"{}")
    assert last_identities(cluster.config, topic, logger=LOGGER).identities == (OURS,)


def test_an_empty_topic_has_no_identity(cluster: Cluster, topic: str) -> None:
    """A new topic takes any stream, and looking costs no time-out."""
    cluster.create(topic)
    began = time.monotonic()
    tail = last_identities(cluster.config, topic, logger=LOGGER, timeout_s=30)
    assert (tail.identities, tail.warnings) == ((), ())
    assert time.monotonic() - began < 15


def test_nobody_to_read_from(free_port: int) -> None:
    """A broker that is not there may still come."""
    with pytest.raises(BrokerUnavailableError, match=str(free_port)) as away:
        last_identities({"bootstrap.servers": f"127.0.0.1:{free_port}"}, "t", logger=LOGGER, timeout_s=0.5)
    assert away.value.exit_code == 69


def test_nobody_to_ask(free_port: int) -> None:
    """The same holds for the question whether the topic exists; the reason is told."""
    with pytest.raises(BrokerUnavailableError, match="refused") as away:
        ensure({"bootstrap.servers": f"127.0.0.1:{free_port}"}, TopicSpec("t", 1), create=True)
    assert str(free_port) in str(away.value)


def ensure(config: dict[str, Any], spec: TopicSpec, *, create: bool) -> Any:
    return ensure_topic(config, spec, create=create, logger=LOGGER, timeout_s=1)


def test_a_topic_that_fits_is_taken_as_it_is(cluster: Cluster, topic: str) -> None:
    """An existing topic with the wanted partitions leaves nothing to say."""
    cluster.create(topic)
    report = ensure(cluster.config, TopicSpec(topic, 4), create=True)
    assert (report.created, report.partitions, report.warnings) == (False, 4, ())


def test_another_partition_count_is_only_told(cluster: Cluster, topic: str) -> None:
    """The topic of another size is used, with a warning that names both numbers."""
    cluster.create(topic)
    report = ensure(cluster.config, TopicSpec(topic, 12), create=True)
    assert (report.created, report.partitions) == (False, 4)
    assert report.warnings == (f"topic {topic} has 4 partitions, not 12; it is used as it is",)


def test_one_connection_asks_and_makes(cluster: Cluster, topic: str) -> None:
    """A start asks the same maker whether a topic is there and what it looks like."""
    cluster.create(topic)
    maker = TopicMaker(cluster.config, logger=LOGGER)
    assert maker.ensure(TopicSpec(topic, 4), create=True).created is False
    described = maker.topic(topic)
    assert described is not None
    assert len(described.partitions) == 4
    assert maker.topic("absent") is None


def test_a_broker_that_answers_slowly_is_not_away() -> None:
    """An answer may take longer than the first look for one, as long as it comes within the time."""
    with MockKafka() as slow:
        slow.create_topic("t", 1)
        slow.set_delay(700)
        assert ensure_topic({"bootstrap.servers": slow.bootstrap}, TopicSpec("t", 1), create=True, logger=LOGGER).partitions == 1


def test_a_missing_topic_that_is_not_to_be_created(cluster: Cluster, topic: str) -> None:
    """The command that creates it is part of the error, and asking did not create it."""
    spec = TopicSpec(topic, 12, retention_ms=604_800_000)
    with pytest.raises(ConfigurationError) as missing:
        ensure(cluster.config, spec, create=False)
    assert create_command(cluster.config["bootstrap.servers"], spec) in str(missing.value)
    assert topic not in cluster.producer.list_topics(timeout=10).topics


def test_a_cluster_without_a_controller_may_get_one(cluster: Cluster, topic: str) -> None:
    """During an election nothing can be created: that passes."""
    with pytest.raises(BrokerUnavailableError, match="no controller"):
        ensure(cluster.config, TopicSpec(topic, 1), create=True)


def test_the_command_is_complete() -> None:
    """It can be pasted into a shell, and leaves to the broker what is the broker's."""
    spec = TopicSpec("a.b", 12, 3, 1_000, {"compression.type": "lz4; x"})
    assert create_command("h:9092", spec) == (
        "kafka-topics --bootstrap-server h:9092 --create --topic a.b --partitions 12 --replication-factor 3 "
        "--config retention.ms=1000 --config 'compression.type=lz4; x'"
    )
    assert "--replication-factor" not in create_command("h:9092", TopicSpec("a", 1))


@pytest.mark.parametrize(
    "config",
    [
        {"security.protocol": "nope"},
        {"no.such.property": "1"},
        {"ssl.ca.location": "/does/not/exist", "security.protocol": "ssl"},
    ],
)
def test_a_configuration_librdkafka_refuses(config: dict[str, str]) -> None:
    """A wrong property or a file that is not there is a configuration fault, and no traceback."""
    with pytest.raises(ConfigurationError, match="cannot be set up"):
        open_client(Producer, {"bootstrap.servers": "127.0.0.1:1", **config}, LOGGER)


@pytest.mark.parametrize(
    ("reported", "kind", "said"),
    [
        pytest.param([], BrokerUnavailableError, "gives no answer", id="nothing-known"),
        pytest.param([(KafkaError._TRANSPORT, "Connection refused")], BrokerUnavailableError, "Connection refused", id="refused"),
        pytest.param([(KafkaError._RESOLVE, "Name not known")], BrokerUnavailableError, "Name not known", id="name"),
        pytest.param([(KafkaError._AUTHENTICATION, "bad password")], ConfigurationError, "K2_KAFKA_SASL_PASSWORD", id="password"),
        pytest.param([(KafkaError.SASL_AUTHENTICATION_FAILED, "no")], ConfigurationError, "--kafka-sasl-username", id="sasl"),
        pytest.param([(KafkaError._SSL, "certificate verify failed")], ConfigurationError, "--kafka-ca", id="certificate"),
        pytest.param([(KafkaError._SSL, "connection reset")], BrokerUnavailableError, "connection reset", id="tls-broken-off"),
    ],
)
def test_what_is_behind_a_bare_timeout(reported: list[tuple[int, str]], kind: type[K2Error], said: str) -> None:
    """What the client reported on the side decides whether waiting may help."""
    faults = ClientFaults({"bootstrap.servers": "h:9092"})
    for code, text in reported:
        faults.append(KafkaError(code, text))
    found = faults.explain(KafkaException(KafkaError(KafkaError._TIMED_OUT, "timed out")))
    assert type(found) is kind
    assert said in str(found)
    assert "h:9092" in str(found)
