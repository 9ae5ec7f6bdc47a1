"""A mock cluster for every test that asks for one, the producer on it, and a client's surroundings that need no real part."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest

from faults.harness import TOPIC, Bench
from faults.peers import Servers
from integration.support import Rig, RunningExchange, generated
from kit.mock_kafka import MockKafka

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from k2.simulator.registry import EmbeddedRegistry
    from kit.kafka import KafkaBroker
    from kit.registry import SchemaRegistry


@pytest.fixture
def mock() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        cluster.create_topic(TOPIC)
        yield cluster


@pytest.fixture
def cold_bench(mock: MockKafka) -> Bench:
    return Bench(mock.bootstrap)


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers() as running:
        yield running


@pytest.fixture(scope="module")
def mock_broker() -> Iterator[MockKafka]:
    """A broker for tests that only need one to be there."""
    with MockKafka() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def embedded_registry(servers: Servers) -> EmbeddedRegistry:
    """A registry for tests that only need one to be there."""
    return servers.registry()


@pytest.fixture(scope="module")
def calm_exchange() -> Iterator[RunningExchange]:
    """An exchange that behaves."""
    with RunningExchange(generated(200)) as exchange:
        yield exchange


@contextmanager
def rig_on(broker: MockKafka, registry: EmbeddedRegistry, directory: Path) -> Iterator[Rig]:
    with Rig(cast("KafkaBroker", broker), cast("SchemaRegistry", registry), directory) as rig:
        broker.create_topic(rig.topic)
        yield rig


@pytest.fixture
def light_rig(mock_broker: MockKafka, embedded_registry: EmbeddedRegistry, tmp_path: Path) -> Iterator[Rig]:
    """Surroundings without a JVM; the topic is there."""
    with rig_on(mock_broker, embedded_registry, tmp_path) as rig:
        yield rig


@pytest.fixture(scope="module")
def shared_rig(
    mock_broker: MockKafka, embedded_registry: EmbeddedRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    """The same for many clients at once: give each a home of its own."""
    with rig_on(mock_broker, embedded_registry, tmp_path_factory.mktemp("shared")) as rig:
        yield rig
