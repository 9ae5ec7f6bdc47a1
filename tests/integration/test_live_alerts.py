"""
Alerts for real: a fault is made, Prometheus fires the shipped rule, Alertmanager calls the right receiver, and all ends again.

The drills go on side by side, each with a client of its own, so that they take as long as the slowest of them.
"""

from __future__ import annotations

from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import pytest
import yaml

from integration.drills import BUSY_MACHINE, DRILLS, Drill, Scene
from integration.live import PATIENCE_S, RULES, WATCHDOG, Instance, Instances, Live, Relay, Repetition, Told
from integration.support import ids_by_symbol, wait_until
from kit.disks import SmallDisk, mounting_refused
from kit.kafka import KafkaBroker
from kit.tools import needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kit.registry import SchemaRegistry

pytestmark = [needs("prometheus", "prometheus-alertmanager"), pytest.mark.timeout(300)]

RECEIVERS = {"critical": "page", "high": "page", "warning": "inform", "info": "inform", "none": "dead-mans-switch"}
RULE_GROUPS = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
ALERT_RULES = {rule["alert"]: rule for group in RULE_GROUPS for rule in group["rules"] if "alert" in rule}
QUEUE = "k2_producer_queue_messages"
PRODUCE_ERRORS = 'rate(kafka_produce_errors_total{exchange="BINANCE"}[5m])'


class Stage(NamedTuple):
    """
    What all drills share.

    Attributes:
        absent: Why a drill cannot be done on this machine.
        told: What the receivers had heard of each drill's client when its fault ended.
    """

    live: Live
    scenes: dict[str, Scene]
    absent: dict[str, str]
    repetitions: dict[str, Repetition[Scene]]
    told: dict[str, list[Told]]

    def scene(self, drill: Drill) -> Scene:
        if drill.name in self.absent:
            pytest.skip(self.absent[drill.name])
        return self.scenes[drill.name]


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[KafkaBroker]:
    """A broker to freeze and to stop."""
    with closing(KafkaBroker()) as broker:
        yield broker.launch()


@pytest.fixture(scope="module")
def absent() -> dict[str, str]:
    """The drills that this machine does not allow, with the reason."""
    refused = mounting_refused()
    return {drill.name: refused for drill in DRILLS if drill.needs == "disk" and refused}


@pytest.fixture(scope="module")
def stage(
    own_kafka: KafkaBroker,
    kafka: KafkaBroker,
    registry: SchemaRegistry,
    absent: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    """A client for each drill, all of them well and watched."""
    directory = tmp_path_factory.mktemp("drills")
    with ExitStack() as stack:
        instances = stack.enter_context(Instances(kafka, registry, directory))
        relays = {drill.name: stack.enter_context(Relay(registry.url)) for drill in DRILLS if drill.name not in absent}
        scenes = {}
        for drill in DRILLS:
            if drill.name not in absent:
                broker = own_kafka if drill.needs == "broker" else kafka
                scenes[drill.name] = scene_of(drill, instances, broker, relays[drill.name], directory)
        for scene in scenes.values():
            scene.instance.client.wait_for_produced(10, PATIENCE_S)
        live = stack.enter_context(Live(*(scene.instance for scene in scenes.values())))
        live.wait_until_scraped()
        yield Stage(live, scenes, absent, {}, {})


def scene_of(drill: Drill, instances: Instances, broker: KafkaBroker, relay: Relay, directory: Path) -> Scene:
    """The drill's client, started on the part that the drill will break."""
    name = drill.name.replace(" ", "-")
    disk = SmallDisk(directory / f"disk-of-{name}")
    started_on: dict[str, dict[str, Any]] = {
        "": {"flags": drill.flags},
        "broker": {"flags": drill.flags, "kafka": broker},
        "relay": {"flags": [*drill.flags, "--schema-registry", relay.url]},
        "disk": {"flags": [*drill.flags, "--dead-letter-dir", disk.path / "dlq"], "command": disk.command()},
    }
    return Scene(instances.add(name, **started_on[drill.needs]), broker, relay, disk)


@pytest.fixture(scope="module")
def struck(stage: Stage) -> Iterator[Stage]:
    """Every fault has been made, and those that are made again and again go on."""
    for drill in DRILLS:
        if drill.name not in stage.absent:
            scene = stage.scene(drill)
            drill.strike(scene)
            if drill.keep is not None:
                stage.repetitions[drill.name] = Repetition(drill.keep, scene, drill.keep_every_s).start()
    yield stage
    for repetition in stage.repetitions.values():
        repetition.stop()


@pytest.fixture(scope="module")
def cleared(struck: Stage) -> Stage:
    """Every fault has set off its alerts, and is over."""
    for drill in DRILLS:
        if drill.name not in struck.absent:
            scene = struck.scene(drill)
            with suppress(AssertionError):  # one that stays away fails the test before
                wait_until_fired(struck.live, drill, scene.instance)
            if repetition := struck.repetitions.get(drill.name):
                repetition.stop()
            struck.told[drill.name] = struck.live.told(scene.instance)
            drill.clear(scene)
    return struck


def wait_until_fired(live: Live, drill: Drill, instance: Instance) -> None:
    """Wait until Prometheus has had all alerts of the drill firing, and all but the silenced ones have reached their receiver."""
    wait_until(
        lambda: drill.fires <= live.alerts_seen(instance, "firing"),
        f"{sorted(drill.fires)}, but {sorted(live.alerts_seen(instance, 'firing'))}",
        PATIENCE_S,
    )
    for alert in drill.fires - drill.silenced:
        live.wait_until_told(Told(alert, receiver(alert), "firing"), instance)


def receiver(alert: str) -> str:
    return RECEIVERS[ALERT_RULES[alert]["labels"]["severity"]]


def test_nothing_fires_while_all_is_well(stage: Stage) -> None:
    """Before the first fault the only alert is the one that always fires, and it reaches the dead man's switch."""
    live = stage.live
    firing = {alert["labels"]["alertname"] for alert in live.prometheus.alerts() if alert["state"] == "firing"}
    assert WATCHDOG in firing
    assert firing <= {WATCHDOG} | BUSY_MACHINE
    wait_until(lambda: live.webhook.of(WATCHDOG), WATCHDOG, PATIENCE_S)
    assert {told.receiver for told in live.webhook.of(WATCHDOG)} == {RECEIVERS["none"]}


@pytest.mark.parametrize("drill", DRILLS, ids=str)
def test_a_fault_sets_off_its_alerts(struck: Stage, drill: Drill) -> None:
    """They are pending for their time, then firing, and come to the receiver of their severity; silenced ones are held back."""
    live, instance = struck.live, struck.scene(drill).instance
    wait_until_fired(live, drill, instance)
    waiting = {alert for alert in drill.fires if "for" in ALERT_RULES[alert]}
    assert waiting <= live.alerts_seen(instance, "pending")
    for alert in drill.fires & drill.silenced:
        wait_until(lambda alert=alert: _suppressed(live, alert, instance), f"{alert} held back", PATIENCE_S)  # type: ignore[misc]


def _suppressed(live: Live, alert: str, instance: Instance) -> bool:
    held = live.alertmanager.alerts(alertname=alert, instance=instance.address)
    return any(one["status"]["state"] == "suppressed" and one["status"]["inhibitedBy"] for one in held)


@pytest.mark.parametrize("drill", DRILLS, ids=str)
def test_alerts_end_with_their_fault(cleared: Stage, drill: Drill) -> None:
    """
    Each is gone from Prometheus, its receiver hears of the end, and over the whole drill no other alert fired.

    While the fault lasted nobody heard of the silenced ones.
    """
    live, instance = cleared.live, cleared.scene(drill).instance
    expected = drill.fires | drill.leaves
    wait_until(lambda: expected <= live.alerts_seen(instance, "firing"), f"{sorted(expected)}", PATIENCE_S)
    for alert in expected:
        live.wait_for(alert, instance, "")
    for alert in expected - drill.silenced:
        live.wait_until_told(Told(alert, receiver(alert), "resolved"), instance)
    fired = live.alerts_seen(instance, "firing")
    assert expected <= fired <= expected | drill.may_fire | BUSY_MACHINE
    assert not {told.alert for told in cleared.told[drill.name]} & drill.silenced


def test_a_frozen_broker_is_one_page(cleared: Stage) -> None:
    """As long as it is frozen nobody is woken a second time, whatever else fires; the cause comes as information."""
    told = {one.alert: one.receiver for one in cleared.told["broker frozen"]}
    assert [alert for alert, where in told.items() if where == "page"] == ["BinanceDeliveryFailing"]
    assert told["BinanceKafkaUnreachable"] == "inform"


class TestBroker:
    """What the runbook says about messages that do not reach Kafka, seen through Prometheus."""

    @pytest.fixture
    def instance(self, cleared: Stage) -> Instance:
        return cleared.scenes["broker frozen"].instance

    def test_received_messages_can_be_queried(self, stage: Stage, instance: Instance) -> None:
        """The runbook's first query gives more than 0."""
        assert stage.live.value(f'binance_messages_received_total{{instance="{instance.address}"}}') > 0

    def test_the_queue_grew_while_the_broker_was_frozen_and_is_empty_again(self, stage: Stage, instance: Instance) -> None:
        """The gauge tells how much waits."""
        selector = f'{QUEUE}{{instance="{instance.address}"}}'
        assert stage.live.value(f"max_over_time({selector}[10m])") > 100
        wait_until(lambda: stage.live.value(f"min_over_time({selector}[5s])") == 0, "an empty queue", PATIENCE_S)

    def test_a_stopped_broker_shows_and_costs_nothing(self, cleared: Stage, own_kafka: KafkaBroker) -> None:
        """
        While it is down messages are received, none is produced, and the query for produce errors, encoded in a URL, gives more
        than 0. Once it is back everything that was received is in the topic, once and in order.
        """
        live, instance = cleared.live, cleared.scenes["broker frozen"].instance
        own_kafka.stop()
        wait_until(lambda: _grew(live, "binance_messages_received_total", instance) > 0, "messages", PATIENCE_S)
        wait_until(lambda: _grew(live, "kafka_messages_produced_total", instance) == 0, "a flat line", PATIENCE_S)
        assert _grew(live, "binance_messages_received_total", instance) > 0
        errors = wait_until(lambda: _values_by_url(live, PRODUCE_ERRORS, instance), "produce errors", PATIENCE_S)
        assert min(errors) > 0

        own_kafka.start()
        wait_until(lambda: _grew(live, "kafka_messages_produced_total", instance) > 0, "deliveries", PATIENCE_S)
        sheet = instance.client.stopped()
        assert sheet["balanced"]
        assert (sheet["in_flight"], sheet["dead_lettered"], sheet["dead_lettered_records"]) == (0, 0, 0)
        ids = ids_by_symbol(instance.rig.records(sheet["delivered"]))
        assert sum(map(len, ids.values())) == sheet["received"]
        assert all(found == sorted(set(found)) for found in ids.values())


def _grew(live: Live, counter: str, instance: Instance) -> float:
    """By how much a counter has grown in the last seconds."""
    return live.value(f'increase({counter}{{instance="{instance.address}"}}[3s])')


def _values_by_url(live: Live, expression: str, instance: Instance) -> list[float]:
    """What an encoded query gives for one instance."""
    result = live.prometheus.request("GET", f"/api/v1/query?query={quote(expression)}")["data"]["result"]
    return [float(found["value"][1]) for found in result if found["metric"]["instance"] == instance.address]
