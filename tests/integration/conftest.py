"""Everything here runs against the real Kafka and the real registry, and is marked so."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from integration.drills import eventful
from integration.examining import Doctor, doctor_for
from integration.secured import Files, GuardedBroker, SecureBroker, SecureRelay, broker_properties, served
from integration.support import Rig, RunningExchange, generated
from kit.kafka import KafkaBroker
from kit.registry import SchemaRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.live import Live


def pytest_itemcollected(item: pytest.Item) -> None:
    """Called for the tests of this directory only."""
    item.add_marker("real")


@pytest.fixture(scope="session")
def secure_files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    files = Files(tmp_path_factory.mktemp("secure"))
    files.write()
    return files


@pytest.fixture(scope="session")
def secure_broker(secure_files: Files) -> Iterator[KafkaBroker]:
    """A broker with a listener that asks for a log-in (`LOGIN`) and one that asks for a certificate (`MUTUAL`)."""
    listeners = {"LOGIN": "SASL_SSL", "MUTUAL": "SSL"}
    with SecureBroker(listeners=listeners, extra_properties=broker_properties(secure_files)) as broker:
        yield broker


@pytest.fixture(scope="session")
def secure_relay(secure_files: Files, registry: SchemaRegistry) -> Iterator[SecureRelay]:
    """The registry behind TLS and a log-in."""
    with served(SecureRelay(registry.url, secure_files.server_tls())) as relay:
        yield relay


@pytest.fixture(scope="session")
def guarded_broker(secure_files: Files) -> Iterator[GuardedBroker]:
    """A broker that allows those on its log-in listeners nothing but what `allow` has given them."""
    with closing(GuardedBroker(secure_files)) as broker:
        yield broker.start()


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[KafkaBroker]:
    """A broker that the tests of a module may mistreat; a module that needs a special one overrides it."""
    with KafkaBroker() as broker:
        yield broker


@pytest.fixture(scope="module")
def own_registry() -> Iterator[SchemaRegistry]:
    """A registry that the tests of a module may mistreat."""
    with SchemaRegistry() as server:
        yield server


@pytest.fixture
def rig(kafka: KafkaBroker, registry: SchemaRegistry, tmp_path: Path) -> Iterator[Rig]:
    """The client with its surroundings, at the open broker; a module that needs another one overrides it."""
    with Rig(kafka, registry, tmp_path) as rig:
        yield rig


@pytest.fixture
def exchange(rig: Rig) -> RunningExchange:
    """An exchange with 300 messages."""
    return rig.exchange(generated(300))


@pytest.fixture
def doctor(rig: Rig) -> Iterator[Doctor]:
    with doctor_for(rig) as doctor:
        yield doctor


@pytest.fixture(scope="module")
def live(kafka: KafkaBroker, registry: SchemaRegistry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The real Prometheus with the shipped rules, over clients for which every panel and every query has something to show."""
    with eventful(kafka, registry, tmp_path_factory.mktemp("live")) as live:
        yield live
