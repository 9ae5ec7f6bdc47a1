"""The broker: the way there, who is in the cluster, and the questions about the topics. What the answers mean is in `topics`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from msgspec import structs

from k2.doctor.checks import Context, Findings
from k2.doctor.findings import (
    Facts,
    Finding,
    Kind,
    Status,
    away,
    counted,
    finding_of,
    ok,
    skipped,
    some,
    together,
    warning,
    wrong,
)
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
from k2.ingestion.exchanges.binance.kinds import RAW_TOPIC
from k2.ingestion.exchanges.binance.streams import identity_prefix
from k2.ingestion.routing import foreseen_streams
from k2.ingestion.settings import Settings
from k2.ingestion.topic_plan import RAW, TopicPlan, foreign_among, planned_specs

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
    """The topics, their partitions and their copies."""
    inspector, brokers = _inspector(context), len(findings[CLUSTER].facts["brokers"])

    async def judged(plan: TopicPlan) -> Finding:
        wanted = _wanted(context.settings, plan)
        try:
            topic = await asyncio.to_thread(inspector.topic, plan.name)
        except NotAuthorisedError as error:
            return not_allowed(str(error), NEEDED, wanted)
        return judge_topic(topic, brokers, wanted)

    return await _of_every_topic(context.settings.topics, judged)


async def check_properties(context: Context, findings: Findings) -> Finding:
    """The topics' configuration against what the contract with consumers and the settings ask for."""
    inspector, has_controller = _inspector(context), findings[CLUSTER].facts["controller"] is not None

    async def judged(plan: TopicPlan, seen: Facts) -> Finding:
        if not has_controller:
            return skipped("the cluster has no controller to ask")
        wanted = _wanted(context.settings, plan)
        try:
            properties = await asyncio.to_thread(inspector.properties, plan.name)
        except NotAuthorisedError as error:
            return unread_properties(str(error), wanted)
        return judge_properties(properties, int(seen["replicas"]), wanted)

    return await _of_every_topic_seen(context.settings.topics, findings[TOPIC], judged)


async def check_rights(context: Context, findings: Findings) -> Finding:
    """What our Kafka user may do with the topics, as the brokers told with them."""

    async def judged(plan: TopicPlan, seen: Facts) -> Finding:
        return judge_rights(seen["operations"], _wanted(context.settings, plan))

    return await _of_every_topic_seen(context.settings.topics, findings[TOPIC], judged)


async def check_content(context: Context, findings: Findings) -> Finding:
    """Whose records the topics hold at their ends."""
    settings = context.settings
    foreseen = foreseen_streams(settings)
    market, read = settings.feed.market, partial(last_identities, logger=context.rdkafka, timeout_s=context.timeout_s)

    async def judged(plan: TopicPlan, _: Facts) -> Finding:
        if not plan.needs_schema:
            return skipped("JSON does not tell which stream it is of")
        tail = await asyncio.to_thread(read, settings.kafka.admin_config(), plan.name)
        specs = planned_specs(foreseen, plan)
        foreign = foreign_among(tail.identities, market, plan, specs)
        begins = [identity_prefix(market, spec).rstrip(".") for spec in ([RAW_TOPIC] if plan.layout == RAW else specs)]
        return judge_content(tail, foreign, some(begins), _wanted(settings, plan))

    return await _of_every_topic_seen(settings.topics, findings[TOPIC], judged)


async def _of_every_topic(plans: Sequence[TopicPlan], judged: Callable[[TopicPlan], Awaitable[Finding]]) -> Finding:
    found = await asyncio.gather(*(judged(plan) for plan in plans))
    return together({plan.name: finding for plan, finding in zip(plans, found, strict=True)}, "topic")


async def _of_every_topic_seen(
    plans: Sequence[TopicPlan], seen: Finding, judged: Callable[[TopicPlan, Facts], Awaitable[Finding]]
) -> Finding:
    """The same for what can be asked only of those topics that were found well enough. Of `seen` are their facts."""

    async def judged_if_there(plan: TopicPlan) -> Finding:
        status, facts = _seen_of(seen, plan.name)
        if status is Status.FAILED:
            return skipped(f"needs {TOPIC}")
        return await judged(plan, facts) if facts["partitions"] else skipped("there is no topic yet")

    return await _of_every_topic(plans, judged_if_there)


def _seen_of(seen: Finding, name: str) -> tuple[Status, Facts]:
    """How one topic was found, from the finding on all of them."""
    facts = seen.facts.get("topics", {}).get(name)
    return (seen.status, seen.facts) if facts is None else (Status(facts["status"]), facts)


async def check_probe(context: Context, _: Findings) -> Finding:
    """A record there and back, through a topic of its own."""
    kafka, plan = context.settings.kafka, context.settings.topics[0]
    if not context.probe:
        return skipped("only with --probe, which makes a topic for it")
    spec = TopicSpec(probe_topic_of(plan.name), 1, kafka.replication_factor, RETENTION_MS)
    try:
        report = await asyncio.to_thread(
            probe, kafka.producer_config(), kafka.admin_config(), spec, logger=context.rdkafka, timeout_s=context.timeout_s
        )
    except (NotAuthorisedError, TopicNotReadableError) as error:
        return not_allowed(str(error), EVERYTHING, structs.replace(_wanted(context.settings, plan), topic=spec.name))
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


def _wanted(settings: Settings, plan: TopicPlan) -> Wanted:
    kafka = settings.kafka
    config = kafka.producer_config()
    largest = min(int(config["batch.size"]), int(config.get("message.max.bytes", config["batch.size"])))
    return Wanted(
        topic=plan.name, bootstrap=kafka.bootstrap, user=kafka.sasl_username or "$PRINCIPAL", create=kafka.create_topic,
        partitions=plan.partitions, replication_factor=kafka.replication_factor, retention_ms=plan.retention_ms,
        largest_batch_bytes=largest, properties=plan.properties,
    )  # fmt: skip
