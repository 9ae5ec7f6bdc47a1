"""The topics that settings plan: looked at, or made where they are missing. None that exists is changed."""

from __future__ import annotations

from collections.abc import Sequence

from k2.errors import UnavailableError
from k2.ingestion.adapters.kafka_inspection import NotAuthorisedError, Topic
from k2.ingestion.adapters.logs import rdkafka_logger
from k2.ingestion.adapters.topics import TopicMaker, TopicSpec, create_command
from k2.ingestion.settings import Settings
from k2.ingestion.startup import spec_of_topic
from k2.reading.patience import Patience
from k2.reading.terminal import to_terminal
from k2.reading.topic import KAFKA
from k2.topics.comparison import Verdict, compared, missing

_CREATE = "--create"


def commands(settings: Settings) -> list[str]:
    """What makes all topics, each a command that does nothing where its topic is there. Nobody is asked."""
    made = (create_command(settings.kafka.bootstrap, spec) for spec in _specs(settings))
    return [command.replace(_CREATE, f"{_CREATE} --if-not-exists", 1) for command in made]


def check(settings: Settings) -> list[Verdict]:
    """
    Every planned topic as it is.

    Raises:
        UnavailableError: no broker answered until the start-up timeout.
        ConfigurationError: credentials or certificates, or we may not see a topic.
    """
    cluster = _Cluster(settings)
    return [cluster.verdict_on(spec) for spec in _specs(settings)]


def create(settings: Settings) -> list[Verdict]:
    """
    The same, after those that were missing were made. Raises as `check`, and where the broker makes a topic not as it is planned.
    """
    cluster = _Cluster(settings)
    return [cluster.made(spec) for spec in _specs(settings)]


def _specs(settings: Settings) -> Sequence[TopicSpec]:
    return [spec_of_topic(plan, settings.kafka.replication_factor) for plan in settings.topics]


class _Cluster:
    """The cluster of the settings, waited for while it is away."""

    def __init__(self, settings: Settings) -> None:
        self._maker = TopicMaker(settings.kafka.admin_config(), logger=rdkafka_logger())
        self._patience = Patience(settings.startup_timeout_s, to_terminal("k2 topics"))
        self._patience.wait_for(KAFKA, self._with_controller)

    def _with_controller(self) -> None:
        """Without one neither a topic nor its configuration can be asked for."""
        if self._maker.cluster().controller_id is None:
            raise UnavailableError(f"Kafka at {self._maker.bootstrap} has no controller now")

    def made(self, spec: TopicSpec) -> Verdict:
        report = self._patience.wait_for(KAFKA, lambda: self._maker.ensure(spec, create=True))
        topic = self._patience.wait_for(KAFKA, lambda: self._there(spec))
        return self._compared(spec, topic, created=report.created)

    def verdict_on(self, spec: TopicSpec) -> Verdict:
        topic = self._patience.wait_for(KAFKA, lambda: self._maker.topic(spec.name))
        return missing(spec, self._maker.bootstrap) if topic is None else self._compared(spec, topic)

    def _there(self, spec: TopicSpec) -> Topic:
        topic = self._maker.topic(spec.name)
        if topic is None:  # the broker that we asked has not heard of it yet
            raise UnavailableError(f"topic {spec.name} was made, and is not to be seen yet")
        return topic

    def _compared(self, spec: TopicSpec, topic: Topic, *, created: bool = False) -> Verdict:
        try:
            properties = self._patience.wait_for(KAFKA, lambda: self._maker.properties(spec.name))
        except NotAuthorisedError as refusal:
            return compared(spec, topic, None, self._maker.bootstrap, created=created, note=str(refusal))
        return compared(spec, topic, properties, self._maker.bootstrap, created=created)
