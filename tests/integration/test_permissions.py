"""What the client may do in Kafka, and what it says where it may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.secured import PASSWORD, USER, Files, GuardedBroker
from integration.support import Rig, RunningClient, generated, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kit.registry import SchemaRegistry

CONFIGURATION = 2


@pytest.fixture
def rig(guarded_broker: GuardedBroker, registry: SchemaRegistry, tmp_path: Path) -> Iterator[Rig]:
    with Rig(guarded_broker, registry, tmp_path) as rig:
        yield rig


def start(rig: Rig, guarded_broker: GuardedBroker, files: Files) -> RunningClient:
    """A client that logs in as our user."""
    environment = {
        "K2_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "K2_KAFKA_SASL_MECHANISM": "PLAIN",
        "K2_KAFKA_SASL_USERNAME": USER,
        "K2_KAFKA_SASL_PASSWORD": PASSWORD,
        "K2_KAFKA_CA": str(files.path("ca")),
    }
    exchange = rig.exchange(generated(500))
    return rig.client(exchange.ws_url, "--kafka-bootstrap", guarded_broker.address("LOGIN"), environment=environment)


def acl(topic: str, *operations: str) -> list[str]:
    words = ["--topic", topic, "--allow-principal", f"User:{USER}"]
    return words + [word for operation in operations for word in ("--operation", operation)]


def test_a_topic_that_we_may_only_see_is_refused(rig: Rig, guarded_broker: GuardedBroker, secure_files: Files) -> None:
    """Without the right to write, the start ends with 2 and names the ACL, before a frame is read."""
    guarded_broker.create_topic(rig.topic, 3)
    guarded_broker.allow(acl(rig.topic, "Describe"))
    client = start(rig, guarded_broker, secure_files)
    assert client.wait() == CONFIGURATION
    [line] = client.stderr.splitlines()
    assert f"user {USER} may not write to topic {rig.topic}: give it the ACL Write" in line


def test_a_right_that_is_taken_away_is_waited_for(rig: Rig, guarded_broker: GuardedBroker, secure_files: Files) -> None:
    """While the client runs, it waits for the right to come back: health names the reason, and nothing is lost."""
    guarded_broker.create_topic(rig.topic, 3)
    guarded_broker.allow(acl(rig.topic, "Write", "Describe"))
    client = start(rig, guarded_broker, secure_files)
    client.wait_for_produced(200)
    guarded_broker.forbid(rig.topic)
    wait_until(lambda: "TOPIC_AUTHORIZATION_FAILED" in str(client.get_json("/health")[1]["reasons"]), "the reason in health", 40)
    guarded_broker.allow(acl(rig.topic, "Write", "Describe"))
    before = client.metrics.produced
    client.wait_for_produced(before + 200, timeout_s=60)
    sheet = client.stopped()
    assert (sheet["balanced"], sheet["dead_lettered_records"], sheet["delivered"]) == (True, 0, sheet["received"])
