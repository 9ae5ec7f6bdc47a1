"""
Alerts for real: a fault is made, Prometheus fires the shipped rule, Alertmanager calls the right receiver, and all ends again.

The drills go on side by side, each with a client of its own, so that they take as long as the slowest of them.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import yaml

from integration.drills import BUSY_MACHINE, DRILLS, Drill, Scene
from integration.live import (
    FACTOR,
    HISTORY,
    PATIENCE_S,
    RULES,
    SCRAPE_EVERY_S,
    WATCHDOG,
    Instance,
    Instances,
    Live,
    Repetition,
    Told,
)
from integration.support import ids_by_symbol, wait_until
from kit.disks import SmallDisk, mounting_refused
from kit.kafka import KafkaBroker
from kit.quickened import duration_s
from kit.relay import Relay
from kit.tools import needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kit.registry import SchemaRegistry

pytestmark = [needs("prometheus", "prometheus-alertmanager"), pytest.mark.timeout(300)]

RECEIVERS = {"critical": "page", "high": "page", "warning": "inform", "info": "inform", "none": "dead-mans-switch"}
RULE_GROUPS = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
ALERT_RULES = {rule["alert"]: rule for group in RULE_GROUPS for rule in group["rules"] if "alert" in rule}
LONGEST_FOR_S = max(duration_s(str(rule.get("for", "0"))) for rule in ALERT_RULES.values()) / FACTOR
QUIET_S = LONGEST_FOR_S + 5 * SCRAPE_EVERY_S  # in which each alert that something is wrong for would have come to fire
QUEUE = "k2_producer_queue_messages"
PRODUCE_ERRORS = 'rate(kafka_produce_errors_total{exchange="BINANCE"}[5m])'


@dataclass(frozen=True)
class Stage:
    """
    What all drills share.

    Attributes:
        absent: Why a drill cannot be done on this machine.
        watched_since_s: When every rule had been looked at for the first time.
        told: What the receivers had heard of each drill's client when its fault ended.
        missed: The drills whose own test has waited for their alerts in vain.
        errors: What went wrong with a drill. Its own tests raise it, and the others go on.
    """

    live: Live
    scenes: dict[str, Scene]
    absent: dict[str, str]
    watched_since_s: float = field(default_factory=time.monotonic)
    repetitions: dict[str, Repetition[Scene]] = field(default_factory=dict)
    told: dict[str, list[Told]] = field(default_factory=dict)
    missed: set[str] = field(default_factory=set)
    errors: dict[str, list[Exception]] = field(default_factory=dict)

    def played(self) -> list[tuple[Drill, Scene]]:
        """The drills that this machine allows."""
        return [(drill, self.scenes[drill.name]) for drill in DRILLS if drill.name not in self.absent]

    def scene(self, drill: Drill) -> Scene:
        """The drill's scene for a test of the drill, which ends here if the drill is absent or has broken."""
        if drill.name in self.absent:
            pytest.skip(self.absent[drill.name])
        if errors := self.errors.get(drill.name):
            raise ExceptionGroup(f"the drill {drill.name!r} broke", errors)
        return self.scenes[drill.name]

    @contextmanager
    def collecting(self, drill: Drill) -> Iterator[None]:
        """Keep an error for the drill's own tests."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised by `scene`
            self.errors.setdefault(drill.name, []).append(error)


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
        yield Stage(live, scenes, absent)


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
    with ExitStack() as stack:
        for drill, scene in stage.played():
            with stage.collecting(drill):
                drill.strike(scene)
                if drill.keep is not None:
                    stage.repetitions[drill.name] = Repetition(drill.keep, scene, drill.keep_every_s).start()
                    stack.callback(stage.repetitions[drill.name].stop)
        yield stage


@pytest.fixture(scope="module")
def cleared(struck: Stage) -> Stage:
    """
    Every fault has set off its alerts, and is over.

    All alerts that stay away are waited for together, and not at all if the drill's own test has done so.
    """
    deadline_s = time.monotonic() + PATIENCE_S
    for drill, scene in struck.played():
        has_failed = drill.name in struck.missed or drill.name in struck.errors
        with struck.collecting(drill):
            patience_s = 0.0 if has_failed else max(0.0, deadline_s - time.monotonic())
            wait_until_fired(struck.live, drill, scene.instance, patience_s)
        if repetition := struck.repetitions.get(drill.name):
            with struck.collecting(drill):
                repetition.stop()
        struck.told[drill.name] = struck.live.told(scene.instance)
        with struck.collecting(drill):
            drill.clear(scene)
    return struck


def wait_until_fired(live: Live, drill: Drill, instance: Instance, patience_s: float = PATIENCE_S) -> None:
    """Wait until Prometheus has had all alerts of the drill firing, and all but the silenced ones have reached their receiver."""
    wait_until(
        lambda: drill.fires <= live.alerts_seen(instance, "firing"),
        f"{sorted(drill.fires)}, but {sorted(live.alerts_seen(instance, 'firing'))}",
        patience_s,
    )
    for alert in drill.fires - drill.silenced:
        live.wait_until_told(Told(alert, receiver(alert), "firing"), instance, patience_s)


def receiver(alert: str) -> str:
    return RECEIVERS[ALERT_RULES[alert]["labels"]["severity"]]


def test_nothing_fires_while_all_is_well(stage: Stage) -> None:
    """
    As long as any alert would take to fire, the only one is the one that always does, and it reaches the dead man's switch.

    No fault has been made yet.
    """
    live = stage.live
    time.sleep(max(0.0, stage.watched_since_s + QUIET_S - time.monotonic()))
    firing = f'count_over_time(ALERTS{{alertstate="firing"}}[{HISTORY}])'
    fired = {series.labels["alertname"]: series.labels for series in live.prometheus.query(firing)}
    assert WATCHDOG in fired
    assert not fired.keys() - {WATCHDOG} - BUSY_MACHINE, fired
    wait_until(lambda: live.webhook.of(WATCHDOG), WATCHDOG, PATIENCE_S)
    assert {told.receiver for told in live.webhook.of(WATCHDOG)} == {RECEIVERS["none"]}


@pytest.mark.parametrize("drill", DRILLS, ids=str)
def test_a_fault_sets_off_its_alerts(struck: Stage, drill: Drill) -> None:
    """They are pending for their time, then firing, and come to the receiver of their severity; silenced ones are held back."""
    live, instance = struck.live, struck.scene(drill).instance
    struck.missed.add(drill.name)  # unless it comes
    wait_until_fired(live, drill, instance)
    struck.missed.discard(drill.name)
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
        received = f'binance_messages_received_total{{instance="{instance.address}"}}'
        wait_until(lambda: _is_over(stage.live.value(received), 0), "messages", PATIENCE_S)

    def test_the_queue_grew_while_the_broker_was_frozen_and_is_empty_again(self, stage: Stage, instance: Instance) -> None:
        """The gauge tells how much waits."""
        selector = f'{QUEUE}{{instance="{instance.address}"}}'
        assert _is_over(stage.live.value(f"max_over_time({selector}[{HISTORY}])"), 100)
        wait_until(lambda: stage.live.value(f"min_over_time({selector}[5s])") == 0, "an empty queue", PATIENCE_S)

    def test_a_stopped_broker_shows_and_costs_nothing(self, cleared: Stage, own_kafka: KafkaBroker) -> None:
        """
        While it is down messages are received, none is produced, and the query for produce errors, encoded in a URL, gives more
        than 0. Once it is back everything that was received is in the topic, once and in order.
        """
        live, instance = cleared.live, cleared.scenes["broker frozen"].instance
        own_kafka.stop()
        wait_until(lambda: _grew(live, "kafka_messages_produced_total", instance) == 0, "a flat line", PATIENCE_S)
        assert _is_over(_grew(live, "binance_messages_received_total", instance), 0)
        errors = wait_until(lambda: _values_by_url(live, PRODUCE_ERRORS, instance), "produce errors", PATIENCE_S)
        assert min(errors) > 0

        own_kafka.start()
        wait_until(lambda: _is_over(_grew(live, "kafka_messages_produced_total", instance), 0), "deliveries", PATIENCE_S)
        sheet = instance.client.stopped()
        assert sheet["balanced"]
        assert (sheet["in_flight"], sheet["dead_lettered"], sheet["dead_lettered_records"]) == (0, 0, 0)
        ids = ids_by_symbol(instance.rig.records(sheet["delivered"]))
        assert sum(map(len, ids.values())) == sheet["received"]
        assert all(found == sorted(set(found)) for found in ids.values())


def _is_over(value: float | None, least: float) -> bool:
    return value is not None and value > least


def _grew(live: Live, counter: str, instance: Instance) -> float | None:
    """By how much a counter has grown in the last seconds; None while too few scrapes tell."""
    return live.value(f'increase({counter}{{instance="{instance.address}"}}[6s])')


def _values_by_url(live: Live, expression: str, instance: Instance) -> list[float]:
    """What an encoded query gives for one instance."""
    result = live.prometheus.request("GET", f"/api/v1/query?query={quote(expression)}")["data"]["result"]
    return [float(found["value"][1]) for found in result if found["metric"]["instance"] == instance.address]
