"""Verdicts on clusters and topics, and questions to librdkafka's broker in memory."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator, Sequence

import pytest
from msgspec.structs import replace

from k2.doctor.findings import Finding, Kind, Status, away, ok, wrong
from k2.doctor.kafka import check_cluster, check_topic, judge_cluster
from k2.doctor.topics import (
    RULES,
    Rule,
    Wanted,
    acl_command,
    judge_content,
    judge_properties,
    judge_rights,
    judge_topic,
    unread_properties,
)
from k2.ingestion.adapters.kafka_inspection import BrokerAddress, Cluster, Inspector, Partition, Topic
from k2.ingestion.adapters.topic_tail import TopicTail
from kit.mock_kafka import MockKafka
from unit.doctor.contexts import LOGGER, context
from unit.feed.servers import Peer, listening

WEEK_MS = 604_800_000
WANTED = Wanted("t.binance", "b:9092", "alice", True, 12, -1, WEEK_MS, 1_000_000)
HEALTHY = {
    "cleanup.policy": "delete",
    "message.timestamp.type": "CreateTime",
    "max.message.bytes": "1048588",
    "min.insync.replicas": "1",
    "retention.ms": str(WEEK_MS),
    "retention.bytes": "-1",
    "message.timestamp.before.max.ms": "9223372036854775807",
    "message.timestamp.after.max.ms": "3600000",
    "compression.type": "producer",
}
ALL = ("READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER")


def topic(partitions: int = 12, replicas: int = 3, **of_the_first: int | None) -> Topic:
    well = Partition(0, leader=1, replicas=replicas, in_sync=replicas)
    parts = [replace(well, partition=number) for number in range(partitions)]
    return Topic((replace(parts[0], **of_the_first), *parts[1:]), frozenset(ALL))


@pytest.mark.parametrize(
    ("seen", "wanted", "status", "said"),
    [
        pytest.param(topic(), WANTED, Status.OK, "t.binance, 12 partitions, 3 copies each, all in sync", id="well"),
        pytest.param(topic(leader=None), WANTED, Status.FAILED, "partitions 0 of t.binance have no leader", id="leaderless"),
        pytest.param(topic(in_sync=2), WANTED, Status.WARNING, "copies that are behind", id="under-replicated"),
        pytest.param(topic(3), WANTED, Status.WARNING, "has 3 partitions, not 12", id="other-partitions"),
        pytest.param(topic(), replace(WANTED, replication_factor=2), Status.WARNING, "3 copies, not 2", id="other-copies"),
        pytest.param(topic(), replace(WANTED, replication_factor=3), Status.OK, "3 copies", id="as-many-copies"),
        pytest.param(topic(replicas=1), WANTED, Status.WARNING, "one copy only", id="one-copy-of-many-brokers"),
        pytest.param(None, WANTED, Status.WARNING, "does not exist yet: the client makes it", id="missing"),
        pytest.param(None, replace(WANTED, create=False), Status.FAILED, "does not exist, and --no-create-topic", id="not-made"),
    ],
)
def test_a_topic_is_judged_by_its_partitions(seen: Topic | None, wanted: Wanted, status: Status, said: str) -> None:
    """Leaders first, then copies, then what the settings ask for; a deviation is no failure, as the client uses it."""
    found = judge_topic(seen, 3, wanted)
    assert found.status is status
    assert said in found.text
    assert bool(found.remedy) is (status is not Status.OK)


def test_one_copy_is_all_that_one_broker_can_have() -> None:
    """On a single broker there is nothing to warn of."""
    assert judge_topic(topic(replicas=1), 1, WANTED).text == "t.binance, 12 partitions, 1 copy each, all in sync"


def test_a_missing_topic_comes_with_the_command_that_makes_it() -> None:
    """The command holds what the settings ask for."""
    words = shlex.split(judge_topic(None, 1, replace(WANTED, create=False, replication_factor=3)).command)
    assert words[0] == "kafka-topics"
    for pair in (["--topic", "t.binance"], ["--partitions", "12"], ["--replication-factor", "3"]):
        assert pair == words[words.index(pair[0]) :][:2]


PROPERTIES = [
    pytest.param("cleanup.policy", "compact", Kind.CONFIGURATION, "delete", id="compacted"),
    pytest.param("cleanup.policy", "compact,delete", Kind.CONFIGURATION, "delete", id="compacted-too"),
    pytest.param("message.timestamp.type", "LogAppendTime", Kind.CONFIGURATION, "CreateTime", id="the-brokers-time"),
    pytest.param("max.message.bytes", "65536", Kind.CONFIGURATION, "1000000", id="small-batches"),
    pytest.param("min.insync.replicas", "4", Kind.CONFIGURATION, "1", id="more-in-sync-than-there-are"),
    pytest.param("retention.ms", "3600000", None, str(WEEK_MS), id="shorter"),
    pytest.param("retention.bytes", "1073741824", None, "-1", id="limited-size"),
    pytest.param("message.timestamp.before.max.ms", "86400000", None, str(WEEK_MS), id="no-old-records"),
    pytest.param("message.timestamp.after.max.ms", "1000", None, "600000", id="no-records-of-the-future"),
]


@pytest.mark.parametrize(("name", "value", "kind", "remedy"), PROPERTIES)
def test_a_property_that_breaks_the_contract_is_told_with_its_remedy(
    name: str, value: str, kind: Kind | None, remedy: str
) -> None:
    """What loses or falsifies trades is a failure, what merely deviates a warning; the command sets it right."""
    found = judge_properties({**HEALTHY, name: value}, 3, WANTED)
    assert (found.status, found.kind) == (Status.FAILED if kind else Status.WARNING, kind)
    assert found.text.startswith(f"{name}={value} ")
    assert shlex.split(found.command)[-2:] == ["--add-config", f"{name}={remedy}"]


@pytest.mark.parametrize("retention_ms", [WEEK_MS, -1])
@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_every_remedy_keeps_its_rule(rule: Rule, retention_ms: int) -> None:
    """What the advice sets is what the rule asks for, or following it would change nothing."""
    wanted = replace(WANTED, retention_ms=retention_ms)
    assert rule.holds(rule.remedy(wanted), wanted, 1)


def test_one_command_sets_all_right() -> None:
    """Several faults make one line with one command, and a failure among warnings counts."""
    found = judge_properties({**HEALTHY, "retention.ms": "1", "cleanup.policy": "compact"}, 3, WANTED)
    assert found.kind is Kind.CONFIGURATION
    assert found.command.endswith(f"cleanup.policy=delete,retention.ms={WEEK_MS}")


@pytest.mark.parametrize(
    ("retention_ms", "said"),
    [pytest.param(WEEK_MS, "keeps 7 days by the exchange's time", id="a-week"), pytest.param(-1, "for ever", id="for-ever")],
)
def test_a_healthy_topic_tells_what_its_retention_means(retention_ms: int, said: str) -> None:
    """That replay and backfill of older trades vanish is said while all is well."""
    found = judge_properties({**HEALTHY, "retention.ms": str(retention_ms)}, 1, replace(WANTED, retention_ms=retention_ms))
    assert found.status is Status.OK
    assert said in found.text
    assert "replay" in found.text


def test_properties_that_a_broker_does_not_have_are_no_fault() -> None:
    """Older brokers lack some of them."""
    assert judge_properties({}, 1, WANTED).status is Status.OK


@pytest.mark.parametrize(
    ("operations", "status", "said", "asked"),
    [
        pytest.param(ALL, Status.OK, "Write", [], id="all"),
        pytest.param(["DESCRIBE"], Status.FAILED, "the ACL Write on", ["Write"], id="no-write"),
        pytest.param([], Status.FAILED, "Describe and Write", ["Describe", "Write"], id="none"),
        pytest.param(["DESCRIBE", "WRITE"], Status.WARNING, "is left out", ["Read", "DescribeConfigs"], id="no-looks"),
        pytest.param(None, Status.WARNING, "do not tell", [], id="an-old-broker"),
    ],
)
def test_rights_are_judged_by_what_the_client_needs(
    operations: Sequence[str] | None, status: Status, said: str, asked: list[str]
) -> None:
    """Without Write nothing goes, without Read and DescribeConfigs looks are left out; the command gives what is missing."""
    found = judge_rights(operations, WANTED)
    assert found.status is status
    assert said in found.text
    words = shlex.split(found.command)
    assert [words[at + 1] for at, word in enumerate(words) if word == "--operation"] == asked


def test_a_user_without_a_name_is_left_to_the_operator() -> None:
    """With certificates the principal is unknown here: the command holds a variable, as the documentation does."""
    command = acl_command(["READ"], replace(WANTED, user="$PRINCIPAL"))
    assert '--allow-principal "User:$PRINCIPAL"' in command
    assert unread_properties("x", WANTED).command.endswith("--operation DescribeConfigs --topic t.binance")


OURS, OTHER = "binance.spot.aggTrade.BTCUSDT.7", "binance.spot.trade.BTCUSDT.7"


@pytest.mark.parametrize(
    ("tail", "status", "said"),
    [
        pytest.param(TopicTail(), Status.OK, "no record", id="empty"),
        pytest.param(TopicTail((OURS,)), Status.OK, "carries binance.spot.aggTrade", id="ours"),
        pytest.param(TopicTail((OURS, OTHER)), Status.FAILED, f"carries {OTHER}", id="another-stream"),
        pytest.param(TopicTail((OTHER,), ("slow",)), Status.FAILED, OTHER, id="another-stream-counts-before-warnings"),
        pytest.param(TopicTail((), ("the ACL Read is missing",)), Status.WARNING, "ACL", id="not-readable"),
        pytest.param(TopicTail((OURS,), ("not read in time",)), Status.WARNING, "in time", id="not-read"),
    ],
)
def test_the_content_is_judged_by_its_identities(tail: TopicTail, status: Status, said: str) -> None:
    """One topic carries one market and one stream."""
    foreign = next((identity for identity in tail.identities if identity == OTHER), None)
    found = judge_content(tail, foreign, "binance.spot.aggTrade", WANTED)
    assert found.status is status
    assert said in found.text


CLUSTER = Cluster((BrokerAddress(1, "kafka", 29_092), BrokerAddress(2, "kafka-2", 29_092)), 1, "id")
WELL, LOST = ok("well"), wrong("there is no host kafka", "", "getent hosts kafka")


@pytest.mark.parametrize(
    ("cluster", "reached", "status", "said"),
    [
        pytest.param(CLUSTER, [WELL, WELL], Status.OK, "2 brokers, reached", id="well"),
        pytest.param(CLUSTER, [LOST, WELL], Status.FAILED, "broker 1 says it is at kafka:29092, but there is no host", id="lost"),
        pytest.param(CLUSTER, [LOST, LOST], Status.FAILED, "broker 1 (and 1 more)", id="all-lost"),
        pytest.param(replace(CLUSTER, controller_id=None), [WELL, WELL], Status.WARNING, "no controller", id="no-controller"),
        pytest.param(Cluster((), None, ""), [], Status.FAILED, "no broker", id="empty"),
    ],
)
def test_a_cluster_is_reached_where_its_brokers_say_they_are(
    cluster: Cluster, reached: list[Finding], status: Status, said: str
) -> None:
    """The address that we began with proves nothing: records go to those that the brokers advertise."""
    found = judge_cluster(cluster, reached)
    assert found.status is status
    assert said in found.text


def test_brokers_that_are_down_may_come_back() -> None:
    """An advertised address that nobody listens at is away; one that does not exist is to be changed."""
    assert judge_cluster(CLUSTER, [WELL, away("nobody listens", "")]).kind is Kind.UNAVAILABLE
    assert judge_cluster(CLUSTER, [WELL, LOST]).kind is Kind.CONFIGURATION


@pytest.fixture
def mock() -> Iterator[MockKafka]:
    with MockKafka() as kafka:
        yield kafka


async def test_a_cluster_without_a_controller_still_tells_its_topics(mock: MockKafka) -> None:
    """Without a controller neither creating nor describing is possible, and nothing waits for one."""
    mock.create_topic("t.binance", 2)
    inspector = Inspector({"bootstrap.servers": mock.bootstrap}, logger=LOGGER)
    cluster = await asyncio.to_thread(inspector.cluster)
    assert ([f"{broker.host}:{broker.port}" for broker in cluster.brokers], cluster.controller_id) == ([mock.bootstrap], None)
    described = await asyncio.to_thread(inspector.topic, "t.binance")
    assert described is not None
    assert ([part.leader for part in described.partitions], described.operations) == ([1, 1], None)
    assert await asyncio.to_thread(inspector.topic, "absent") is None


async def test_looking_for_a_topic_does_not_make_it(mock: MockKafka) -> None:
    """librdkafka's broker makes topics when asked for them by name: it is never asked so."""
    seen = context("--kafka-bootstrap", mock.bootstrap, "--topic-prefix", "absent")
    facts = {"kafka cluster": ok("", facts={"brokers": ["x"]})}
    for _ in range(2):
        assert (await check_topic(seen, facts)).facts["exists"] is False


async def test_a_listener_that_never_answers_is_bounded() -> None:
    """Somebody who accepts and is silent is away, within the time, and the advice names the protocol too."""

    async def be_silent(peer: Peer) -> None:
        await peer.until_gone()

    async with listening(be_silent) as port, asyncio.timeout(30):
        found = await check_cluster(context("--kafka-bootstrap", f"127.0.0.1:{port}", timeout_s=0.5), {})
    assert found.kind is Kind.UNAVAILABLE
    assert f"Kafka at 127.0.0.1:{port} gives no answer" in found.text
    assert "--kafka-security-protocol" in found.advice


async def test_a_web_server_is_no_broker() -> None:
    """HTTP where Kafka is expected is named: librdkafka speaks of a size of 1.2 GB."""

    async def answer(peer: Peer) -> None:
        await peer.reader.read(1)
        peer.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with listening(answer) as port:
        found = await check_cluster(context("--kafka-bootstrap", f"127.0.0.1:{port}", timeout_s=1), {})
    assert (found.kind, found.text) == (Kind.CONFIGURATION, f"127.0.0.1:{port} is a web server")
