"""What is well with a topic and what is not: verdicts on what the brokers said about it, one topic at a time. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from k2.doctor.findings import Finding, away, counted, ok, some, warning, wrong
from k2.ingestion.adapters.kafka_inspection import Topic
from k2.ingestion.adapters.topic_tail import TopicTail
from k2.ingestion.adapters.topics import TopicSpec, alter_command, create_command

FOREVER = "-1"
FUTURE_TOLERANCE_MS = 600_000  # what the pipeline takes from clocks that run ahead
_DAY_MS = 86_400_000

NEEDED = ("DESCRIBE", "WRITE")
USEFUL = {  # beyond those, and what goes without
    "READ": "the look whether the topic carries another market or stream",
    "DESCRIBE_CONFIGS": "the look at the topic's configuration",
}
EVERYTHING = ("ALL",)
_ACL_NAMES = {"DESCRIBE": "Describe", "WRITE": "Write", "READ": "Read", "DESCRIBE_CONFIGS": "DescribeConfigs", "ALL": "All"}


class Wanted(Struct, frozen=True):
    """
    A topic as the settings want it.

    Attributes:
        user: Our Kafka user.
        create: Whether the client makes it where it is missing.
        properties: What it is to have beyond its retention.
    """

    topic: str
    bootstrap: str
    user: str
    create: bool
    partitions: int
    replication_factor: int
    retention_ms: int
    largest_batch_bytes: int
    properties: Mapping[str, str] = {}

    @property
    def create_command(self) -> str:
        spec = TopicSpec(self.topic, self.partitions, self.replication_factor, self.retention_ms, self.properties)
        return create_command(self.bootstrap, spec)


def judge_topic(topic: Topic | None, brokers: int, wanted: Wanted) -> Finding:
    """The finding on a topic's existence, partitions and copies, in a cluster of so many brokers."""
    if topic is None:
        return _missing(wanted)
    partitions = topic.partitions
    leaderless = [part.partition for part in partitions if part.leader is None]
    behind = [part.partition for part in partitions if part.in_sync < part.replicas]
    replicas = min(part.replicas for part in partitions)
    facts = {
        "exists": True, "partitions": len(partitions), "replicas": replicas, "leaderless": leaderless, "under_replicated": behind,
        "operations": None if topic.operations is None else sorted(topic.operations),
    }  # fmt: skip
    if leaderless:
        text = f"partitions {some(leaderless)} of {wanted.topic} have no leader, so their symbols wait"
        return away(text, "start the brokers that hold them", _describe(wanted), facts=facts)
    if behind:
        text = f"partitions {some(behind)} of {wanted.topic} have copies that are behind"
        return warning(text, "look for a broker that is down or slow", _describe(wanted), facts=facts)
    if len(partitions) != wanted.partitions:
        text = f"{wanted.topic} has {counted(len(partitions), 'partition')}, not {wanted.partitions}; it is used as it is"
        advice = f"say --partitions {len(partitions)}; more cannot be added without moving symbols to other partitions"
        return warning(text, advice, facts=facts)
    if 0 < wanted.replication_factor != replicas:
        text = f"{wanted.topic} has {counted(replicas, 'copy')}, not {wanted.replication_factor}; it is used as it is"
        return warning(text, "change it with kafka-reassign-partitions, or say so with --replication-factor", facts=facts)
    if replicas == 1 and brokers > 1:
        text = f"{wanted.topic} has one copy only, so that a broker that goes takes it along"
        return warning(text, "give it more with kafka-reassign-partitions, and say --replication-factor", facts=facts)
    size = f"{counted(len(partitions), 'partition')}, {counted(replicas, 'copy')} each, all in sync"
    return ok(f"{wanted.topic}, {size}", facts=facts)


def _missing(wanted: Wanted) -> Finding:
    facts = {"exists": False, "partitions": 0}
    if wanted.create:
        advice = "nothing, where its Kafka user has the ACL Create; otherwise"
        return warning(f"{wanted.topic} does not exist yet: the client makes it", advice, wanted.create_command, facts=facts)
    return wrong(f"{wanted.topic} does not exist, and --no-create-topic is set", "create it", wanted.create_command, facts=facts)


class Rule(Struct, frozen=True):
    """
    What a topic's property must be, or its cost.

    Attributes:
        holds: Judges the property's value; gets the number of copies too.
        needed: Whether a breach is a failure, or worth a warning only.
        remedy: The value to set.
    """

    name: str
    holds: Callable[[str, Wanted, int], bool]
    needed: bool
    cost: str
    remedy: Callable[[Wanted], str]


def _number_at_least(text: str, least: int) -> bool:
    return text == FOREVER or int(text) >= least


RULES = (
    Rule("cleanup.policy", lambda value, *_: "compact" not in value, True,
         "deletes all but the last record of a symbol", lambda _: "delete"),
    Rule("message.timestamp.type", lambda value, *_: value == "CreateTime", True,
         "puts the broker's time in the place of the exchange's", lambda _: "CreateTime"),
    Rule("max.message.bytes", lambda value, wanted, _: int(value) >= wanted.largest_batch_bytes, True,
         "refuses our larger batches", lambda wanted: str(wanted.largest_batch_bytes)),
    Rule("min.insync.replicas", lambda value, _, replicas: int(value) <= replicas, True,
         "is more than there are copies, so every record is refused", lambda _: "1"),
    Rule("retention.ms", lambda value, wanted, _: value == str(wanted.retention_ms), False,
         "is not what --retention-ms says", lambda wanted: str(wanted.retention_ms)),
    Rule("retention.bytes", lambda value, *_: value == FOREVER, False,
         "deletes records by size, before their time", lambda _: FOREVER),
    Rule("message.timestamp.before.max.ms", lambda value, wanted, _: _number_at_least(value, _retained_ms(wanted)), False,
         "refuses older records, so replay and backfill of them fail", lambda wanted: str(_retained_ms(wanted))),
    Rule("message.timestamp.after.max.ms", lambda value, *_: _number_at_least(value, FUTURE_TOLERANCE_MS), False,
         "refuses records while our clock is behind", lambda _: str(FUTURE_TOLERANCE_MS)),
)  # fmt: skip


def _planned(wanted: Wanted) -> list[Rule]:
    """What the profile asks for by itself, as far as no rule is about it."""
    named = {rule.name for rule in RULES}
    return [_rule_of(name, value) for name, value in wanted.properties.items() if name not in named]


def _rule_of(name: str, value: str) -> Rule:
    return Rule(name, lambda actual, *_: actual == value, False, f"is not {value}, as the profile says", lambda _: value)


def _retained_ms(wanted: Wanted) -> int:
    return 2**63 - 1 if wanted.retention_ms < 0 else wanted.retention_ms


def judge_properties(properties: Mapping[str, str], replicas: int, wanted: Wanted) -> Finding:
    """The finding on the topic's configuration. A property that an older broker does not have counts as well."""
    rules = [rule for rule in (*RULES, *_planned(wanted)) if rule.name in properties]
    broken = [rule for rule in rules if not rule.holds(properties[rule.name], wanted, replicas)]
    facts = {rule.name: properties[rule.name] for rule in rules}
    if not broken:
        return ok(_keeps(properties.get("retention.ms", "")), facts=facts)
    text = "; ".join(f"{rule.name}={properties[rule.name]} {rule.cost}" for rule in broken)
    judged = wrong if any(rule.needed for rule in broken) else warning
    command = alter_command(wanted.bootstrap, wanted.topic, {rule.name: rule.remedy(wanted) for rule in broken})
    return judged(text, "change it, or the option that asks for it", command, facts=facts)


def _keeps(retention_ms: str) -> str:
    if retention_ms == FOREVER:
        return "keeps records for ever, as replay and backfill of old ones need it"
    span = f"{int(retention_ms) / _DAY_MS:g} days" if retention_ms else "some time"
    return f"keeps {span} by the exchange's time: older records of a replay or backfill vanish (retention.ms=-1 keeps them)"


def not_allowed(why: str, operations: Sequence[str], wanted: Wanted) -> Finding:
    """The failure where a permission is missing without which nothing goes."""
    return wrong(why, "allow it", acl_command(operations, wanted))


def unread_properties(why: str, wanted: Wanted) -> Finding:
    """The finding where the configuration may not be read."""
    return warning(f"not read: {why}", "allow it", acl_command(["DESCRIBE_CONFIGS"], wanted))


def judge_rights(operations: Sequence[str] | None, wanted: Wanted) -> Finding:
    """The finding on what our user may do."""
    if operations is None:
        return warning("the brokers do not tell what we may do", "try it with --probe")
    missing = [name for name in NEEDED if name not in operations]
    if missing:
        return not_allowed(f"{_acls(missing)} on {wanted.topic} is missing", missing, wanted)
    lacking = [name for name in USEFUL if name not in operations]
    if lacking:
        without = " and ".join(USEFUL[name] for name in lacking)
        return warning(f"{_acls(lacking)} is missing, so {without} is left out", "allow it", acl_command(lacking, wanted))
    return ok(f"may {', '.join(_ACL_NAMES[name] for name in (*NEEDED, *USEFUL))}")


def acl_command(operations: Sequence[str], wanted: Wanted) -> str:
    """The command with which an operator allows our user these operations on the topic."""
    words = ["kafka-acls", "--bootstrap-server", wanted.bootstrap, "--add", "--allow-principal", f"User:{wanted.user}"]
    for name in operations:
        words += ["--operation", _ACL_NAMES[name]]
    # A variable of the operator's own stays one: shlex would put it in single quotes.
    return " ".join(f'"{word}"' if "$" in word else shlex.quote(word) for word in [*words, "--topic", wanted.topic])


def judge_content(tail: TopicTail, foreign: str | None, expected: str, wanted: Wanted) -> Finding:
    """
    The finding on whose records lie at the topic's end.

    Args:
        foreign: One that does not belong there; None where all do.
        expected: How the `message_id`s of those that belong there begin.
    """
    if foreign is not None:
        text = f"{wanted.topic} carries {foreign}, and one topic carries one market and one stream"
        return wrong(text, f"name another --topic-prefix for {expected}, or set --market and --streams as in the topic")
    if tail.warnings and "ACL" in tail.warnings[0]:
        return warning(tail.warnings[0], "allow it", acl_command(["READ"], wanted))
    if tail.warnings:
        return warning(tail.warnings[0], "try a longer --timeout, and look for partitions without a leader", _describe(wanted))
    if not tail.identities:
        return ok("holds no record of ours yet")
    return ok(f"carries {expected}, as it should")


def _describe(wanted: Wanted) -> str:
    return f"kafka-topics --bootstrap-server {wanted.bootstrap} --describe --topic {shlex.quote(wanted.topic)}"


def _acls(operations: Sequence[str]) -> str:
    return f"the ACL {' and '.join(_ACL_NAMES[name] for name in operations)}"
