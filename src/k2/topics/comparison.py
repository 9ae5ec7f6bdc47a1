"""A topic as it is beside the topic as it is planned, and the command that would change each difference. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

from msgspec import Struct

from k2.ingestion.adapters.kafka_inspection import Topic
from k2.ingestion.adapters.topics import TopicSpec, alter_command, create_command

RETENTION, COMPRESSION = "retention.ms", "compression.type"
PARTITIONS, COPIES = "partitions", "replication factor"


class State(StrEnum):
    """How a planned topic was found."""

    WELL = "well"
    CREATED = "created"
    DIFFERS = "differs"
    UNREAD = "unread"  # it is there, and we may not read how it is set up
    MISSING = "missing"


class Difference(Struct, frozen=True):
    """
    Where a topic is not as it is planned.

    Attributes:
        advice: What to know before anything is done about it.
        command: What would change it; empty where nothing can.
    """

    setting: str
    wanted: str
    actual: str
    advice: str = ""
    command: str = ""


class Verdict(Struct, frozen=True):
    """
    A planned topic as it was found. What is not known of it is None.

    Attributes:
        note: What kept us from comparing all of it, or how to make it where it is missing.
    """

    name: str
    state: State
    partitions: int | None = None
    replicas: int | None = None
    retention_ms: int | None = None
    compression: str | None = None
    differences: tuple[Difference, ...] = ()
    note: str = ""
    command: str = ""

    @property
    def is_well(self) -> bool:
        return self.state in {State.WELL, State.CREATED}


def missing(spec: TopicSpec, bootstrap: str) -> Verdict:
    """The verdict on a topic that is not there."""
    return Verdict(spec.name, State.MISSING, note="create it", command=create_command(bootstrap, spec))


def compared(
    spec: TopicSpec, topic: Topic, properties: Mapping[str, str] | None, bootstrap: str, *, created: bool = False, note: str = ""
) -> Verdict:
    """
    The verdict on a topic that is there.

    Args:
        properties: All of its own and its defaults; None where we may not read them, and then `note` says why.
        created: Whether we have just made it.
    """
    differences = tuple(_differences(spec, topic, properties or {}, bootstrap))
    retention = (properties or {}).get(RETENTION)
    return Verdict(
        name=spec.name,
        state=_state(differences, unread=properties is None, created=created),
        partitions=len(topic.partitions),
        replicas=_replicas(topic),
        retention_ms=None if retention is None else int(retention),
        compression=(properties or {}).get(COMPRESSION),
        differences=differences,
        note=note,
    )


def _state(differences: tuple[Difference, ...], *, unread: bool, created: bool) -> State:
    if differences:
        return State.DIFFERS
    if created:
        return State.CREATED
    return State.UNREAD if unread else State.WELL


def _replicas(topic: Topic) -> int:
    return min((part.replicas for part in topic.partitions), default=0)


def _differences(spec: TopicSpec, topic: Topic, properties: Mapping[str, str], bootstrap: str) -> Iterator[Difference]:
    partitions, replicas = len(topic.partitions), _replicas(topic)
    if partitions < spec.partitions:
        command = f"kafka-topics --bootstrap-server {bootstrap} --alter --topic {spec.name} --partitions {spec.partitions}"
        yield Difference(PARTITIONS, str(spec.partitions), str(partitions), "symbols move to other partitions", command)
    elif partitions > spec.partitions:
        yield Difference(PARTITIONS, str(spec.partitions), str(partitions), "they cannot be taken away: plan with as many")
    if 0 < spec.replication_factor != replicas:
        command = f"kafka-reassign-partitions --bootstrap-server {bootstrap} --reassignment-json-file FILE --execute"
        advice = "FILE names the brokers that each partition is to have"
        yield Difference(COPIES, str(spec.replication_factor), str(replicas), advice, command)
    for name, wanted in spec.properties.items():
        if properties.get(name, wanted) != wanted:
            yield Difference(name, wanted, properties[name], command=alter_command(bootstrap, spec.name, {name: wanted}))
