"""The broker: the way there, who is in the cluster, and the questions about the topic. What the answers mean is in `topics`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable

from msgspec import structs

from k2.doctor.checks import Context, Findings
from k2.doctor.findings import Finding, Kind, Status, away, counted, finding_of, ok, skipped, warning, wrong
from k2.doctor.reaching import connect_any, shake_hands, speaks_tls
from k2.doctor.topics import (
    EVERYTHING,
    NEEDED,
    Wanted,
    judge_content,
    judge_properties,
    judge_rights,
    judge_topic,
    not_allowed,
    unread_properties,
)
from k2.doctor.troubles import Peer
from k2.errors import UnavailableError
from k2.ingestion.adapters.kafka_inspection import Cluster, Inspector, NotAuthorisedError
from k2.ingestion.adapters.topic_probe import RETENTION_MS, probe, probe_topic_of
from k2.ingestion.adapters.topic_reader import TopicNotReadableError
from k2.ingestion.adapters.topic_tail import last_identities
from k2.ingestion.adapters.topics import TopicSpec
from k2.ingestion.exchanges.binance.streams import identity_prefix
from k2.ingestion.settings import Settings

CLUSTER, TOPIC = "kafka cluster", "kafka topic"  # whose facts other checks build on

_WITHOUT_TLS = "--kafka-security-protocol PLAINTEXT or SASL_PLAINTEXT"
_HTTP_AS_LENGTH = "1213486160"  # the letters HTTP, where Kafka's protocol has the length of an answer
_AUTHORITY_PROPERTIES = ("ssl.", "enable.ssl.")


async def check_network(context: Context, _: Findings) -> Finding:
    """Whether any of the addresses to begin with takes connections."""
    return await connect_any(_bootstrap_peers(context.settings), context.timeout_s)


async def check_tls(context: Context, _: Findings) -> Finding:
    """The certificate of the first broker that answers. librdkafka says of a bad one only that it is bad."""
    kafka = context.settings.kafka
    if "SSL" not in kafka.security_protocol:
        return ok(f"{kafka.security_protocol} is not encrypted, so there is no certificate")
    if any(name.startswith(_AUTHORITY_PROPERTIES) for name in kafka.properties):
        return ok("--kafka-property says whom to trust, so the log-in tells")
    try:
        trusting = _tls_context(context.settings)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; ValueError: a password that is too long
        advice = "check --kafka-ca, --kafka-cert, --kafka-key and K2_KAFKA_KEY_PASSWORD"
        return wrong(f"a file of ours for TLS cannot be used ({error})", advice)
    for peer in _bootstrap_peers(context.settings):
        found = await shake_hands(peer, trusting, context.timeout_s)
        if found.kind is not Kind.UNAVAILABLE:
            break
    return found


async def check_cluster(context: Context, _: Findings) -> Finding:
    """The log-in, who is in the cluster, and whether its brokers can be reached where they say they are."""
    try:
        cluster = await asyncio.to_thread(lambda: _inspector(context).cluster())
    except UnavailableError as error:
        return await _about_silence(error, context)
    peers = [Peer(broker.host, broker.port, "advertised.listeners", "--kafka-ca", _WITHOUT_TLS) for broker in cluster.brokers]
    reached = await asyncio.gather(*(connect_any([peer], context.timeout_s) for peer in peers))
    return judge_cluster(cluster, reached)


def judge_cluster(cluster: Cluster, reached: Iterable[Finding]) -> Finding:
    """The finding on a cluster whose brokers were each tried at the address that it told. Pure."""
    facts = {
        "brokers": [f"{broker.host}:{broker.port}" for broker in cluster.brokers],
        "controller": cluster.controller_id, "cluster_id": cluster.cluster_id,
    }  # fmt: skip
    lost = [(broker, found) for broker, found in zip(cluster.brokers, reached, strict=True) if found.status is Status.FAILED]
    if lost:
        broker, found = lost[0]
        others = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        text = f"broker {broker.broker_id}{others} says it is at {broker.host}:{broker.port}, but {found.text}"
        advice = "set advertised.listeners of the broker to an address that leads there from this machine, or open the way"
        return Finding(Status.FAILED, text, advice, found.command, facts, found.kind)
    if not cluster.brokers:
        return away("the cluster has no broker", "start its brokers", facts=facts)
    text = f"{counted(len(cluster.brokers), 'broker')}, reached as advertised, cluster {cluster.cluster_id}"
    if cluster.controller_id is None:
        return warning(f"{text}, but no controller now", "wait for the election, else look at the controllers' logs", facts=facts)
    return ok(text, facts=facts)


async def _about_silence(error: UnavailableError, context: Context) -> Finding:
    """The failure of a listener that takes connections and does not speak with us as a broker does."""
    kafka, facts = context.settings.kafka, {"cause": str(error)}
    if _HTTP_AS_LENGTH in str(error):
        return wrong(f"{kafka.bootstrap} is a web server", "correct --kafka-bootstrap", facts=facts)
    if "SSL" not in kafka.security_protocol:
        for peer in _bootstrap_peers(context.settings):
            if await speaks_tls(peer, context.timeout_s):
                return wrong(f"{peer.address} speaks TLS", "take --kafka-security-protocol SSL or SASL_SSL", facts=facts)
    return finding_of(error, "look at the broker's log")


async def check_topic(context: Context, findings: Findings) -> Finding:
    """The topic, its partitions and their copies."""
    wanted = _wanted(context.settings)
    try:
        topic = await asyncio.to_thread(lambda: _inspector(context).topic(wanted.topic))
    except NotAuthorisedError as error:
        return not_allowed(str(error), NEEDED, wanted)
    return judge_topic(topic, len(findings[CLUSTER].facts["brokers"]), wanted)


async def check_properties(context: Context, findings: Findings) -> Finding:
    """The topic's configuration against what the contract with consumers and the settings ask for."""
    if not findings[TOPIC].facts["partitions"]:
        return skipped("there is no topic yet")
    if findings[CLUSTER].facts["controller"] is None:
        return skipped("the cluster has no controller to ask")
    wanted = _wanted(context.settings)
    try:
        properties = await asyncio.to_thread(lambda: _inspector(context).properties(context.settings.topic))
    except NotAuthorisedError as error:
        return unread_properties(str(error), wanted)
    return judge_properties(properties, int(findings[TOPIC].facts["replicas"]), wanted)


async def check_rights(context: Context, findings: Findings) -> Finding:
    """What our Kafka user may do with the topic, as the brokers told with it."""
    if not findings[TOPIC].facts["partitions"]:
        return skipped("there is no topic yet")
    return judge_rights(findings[TOPIC].facts["operations"], _wanted(context.settings))


async def check_content(context: Context, findings: Findings) -> Finding:
    """Whose records the topic holds at its end."""
    if not findings[TOPIC].facts["partitions"]:
        return skipped("there is no topic yet")
    settings = context.settings
    tail = await asyncio.to_thread(
        last_identities, settings.kafka.admin_config(), settings.topic, logger=context.rdkafka, timeout_s=context.timeout_s
    )
    return judge_content(tail, identity_prefix(settings.feed.market, settings.feed.stream), _wanted(settings))


async def check_probe(context: Context, _: Findings) -> Finding:
    """A record there and back, through a topic of its own."""
    kafka = context.settings.kafka
    if not context.probe:
        return skipped("only with --probe, which makes a topic for it")
    spec = TopicSpec(probe_topic_of(kafka.topic), 1, kafka.replication_factor, RETENTION_MS)
    try:
        report = await asyncio.to_thread(
            probe, kafka.producer_config(), kafka.admin_config(), spec, logger=context.rdkafka, timeout_s=context.timeout_s
        )
    except (NotAuthorisedError, TopicNotReadableError) as error:
        return not_allowed(str(error), EVERYTHING, structs.replace(_wanted(context.settings), topic=spec.name))
    text = f"a record was acknowledged after {report.produced_ms} ms and read back after {report.read_ms} ms more"
    facts = {name: getattr(report, name) for name in report.__struct_fields__}
    if report.left_behind:
        return ok(f"{text}; the topic {report.topic} stays", facts=facts)
    return ok(f"{text}; its topic is gone again", facts=facts)


def _inspector(context: Context) -> Inspector:
    return Inspector(context.settings.kafka.admin_config(), logger=context.rdkafka, timeout_s=context.timeout_s)


def _bootstrap_peers(settings: Settings) -> list[Peer]:
    addresses = (address.rpartition(":") for address in settings.kafka.bootstrap.split(","))
    return [Peer(host.strip("[]"), int(port), "--kafka-bootstrap", "--kafka-ca", _WITHOUT_TLS) for host, _, port in addresses]


def _tls_context(settings: Settings) -> ssl.SSLContext:
    kafka = settings.kafka
    context = ssl.create_default_context(cafile=kafka.ca_file)
    if kafka.cert_file is not None:
        # Never None: OpenSSL would ask for the password on the terminal.
        password = kafka.key_password.reveal() if kafka.key_password else ""
        context.load_cert_chain(kafka.cert_file, kafka.key_file, password)
    return context


def _wanted(settings: Settings) -> Wanted:
    kafka = settings.kafka
    config = kafka.producer_config()
    largest = min(int(config["batch.size"]), int(config.get("message.max.bytes", config["batch.size"])))
    return Wanted(
        topic=kafka.topic, bootstrap=kafka.bootstrap, user=kafka.sasl_username or "$PRINCIPAL", create=kafka.create_topic,
        partitions=kafka.partitions, replication_factor=kafka.replication_factor, retention_ms=kafka.retention_ms,
        largest_batch_bytes=largest,
    )  # fmt: skip
