"""Claims about Alertmanager's configuration: who hears of which alert, and, watched on a real one, which alert silences which."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from itertools import permutations
from typing import NamedTuple

import pytest

from integration.support import wait_until
from kit.monitoring import Alertmanager
from kit.ports import free_port
from kit.quickened import redirected
from kit.tools import needs
from operations.alert_rules import ALERTS, PROMETHEUS, AlertRule, alert, read_yaml

CONFIG = PROMETHEUS / "alertmanager.yml"
PAGES, INFORMS = {"critical", "high"}, {"warning", "info"}
RECEIVERS = {**dict.fromkeys(PAGES, "page"), **dict.fromkeys(INFORMS, "inform"), "none": "dead-mans-switch"}
NAMES = [rule.name for rule in ALERTS]

RECORDS_WAIT = ("BinanceReadingPaused", "BinanceQueueNearlyFull", "BinanceQueueFullSoon")
SLOW = ("BinanceLatencyFastBurn", "BinanceLatencySlowBurn")
# Which alert silences which, on the same instance.
SILENCED: dict[str, tuple[str, ...]] = {
    "BinanceClientAbsent": tuple(name for name in NAMES if name not in {"BinanceClientAbsent", "Watchdog"}),
    "BinanceDeliveryFailing": ("BinanceDisconnected", "BinanceNoMessages", *RECORDS_WAIT, *SLOW),
    "BinanceKafkaUnreachable": (*RECORDS_WAIT, "BinanceRestartLoop"),
    "BinanceDisconnected": ("BinanceNoMessages", "BinanceStreamSilent", "BinanceReconnectStorm"),
    "BinanceAccessRefused": ("BinanceDisconnected", "BinanceReconnectStorm"),
    "BinanceSchemaRegistryUnreachable": ("BinanceRestartLoop", "BinanceDisconnected"),
    "BinanceLatencyFastBurn": ("BinanceLatencySlowBurn",),
    "BinanceQueueNearlyFull": ("BinanceQueueFullSoon",),
    "BinanceDirectoryAlmostFull": ("BinanceDirectoryFullSoon",),
}
# A source that pages nobody may silence a page only where another page is certain to come.
INFORMS_YET_SILENCES_PAGES = {
    "BinanceKafkaUnreachable": "its targets mean that records wait, so BinanceDeliveryFailing pages within minutes",
}


class Posted(NamedTuple):
    """One alert as Prometheus would hand it over. An empty label is none."""

    name: str
    instance: str
    directory: str = "logs"

    @property
    def labels(self) -> dict[str, str]:
        given = {"instance": self.instance, "directory": self.directory}
        return {"alertname": self.name, **alert(self.name).labels, **{name: value for name, value in given.items() if value}}


class Pair(NamedTuple):
    """Two alerts that fire at the same time. Each pair has instances of its own, so that no other pair has to do with it."""

    source: Posted
    target: Posted


def on_one_instance(source: str, target: str) -> Pair:
    instance = f"{source}-{target}:8001"
    return Pair(Posted(source, instance), Posted(target, instance))


def on_two_instances(source: str, target: str) -> Pair:
    return Pair(Posted(source, f"{source}-{target}-0:8001"), Posted(target, f"{source}-{target}-1:8001"))


TWO_DIRECTORIES = Pair(
    Posted("BinanceDirectoryAlmostFull", "both:8001"), Posted("BinanceDirectoryFullSoon", "both:8001", "state")
)
WITHOUT_AN_INSTANCE = Pair(Posted("BinanceClientAbsent", "", ""), Posted("Watchdog", "", ""))
LAST = Pair(Posted("BinanceDisconnected", "last:8001"), Posted("BinanceNoMessages", "last:8001"))


@pytest.fixture(scope="module")
def silenced() -> Iterator[set[Pair]]:
    """Of all pairs, posted to a real Alertmanager, those whose target it suppresses."""
    two_of_all = list(permutations(NAMES, 2))
    pairs = [on_one_instance(*names) for names in two_of_all] + [on_two_instances(*names) for names in two_of_all]
    pairs += [TWO_DIRECTORIES, WITHOUT_AN_INSTANCE]
    nobody = f"http://127.0.0.1:{free_port()}"
    with Alertmanager(redirected(CONFIG.read_text(encoding="utf-8"), nobody)) as server:
        server.post_alerts(*({"labels": one.labels} for pair in pairs for one in pair))
        # It takes note of alerts in the order in which they came: once it has of these, it has of all.
        server.post_alerts(*({"labels": one.labels} for one in LAST))
        wait_until(lambda: LAST.target.labels in suppressed(server), "the last pair to be looked at")
        labels = suppressed(server)
        yield {pair for pair in pairs if pair.target.labels in labels}


def suppressed(server: Alertmanager) -> list[dict[str, str]]:
    """The labels of the alerts that it keeps to itself."""
    return [held["labels"] for held in server.alerts() if held["status"]["state"] == "suppressed"]


def receivers_of(*labels: str) -> list[str]:
    """Where an alert with these labels goes, as amtool says."""
    command = ["amtool", "config", "routes", "test", f"--config.file={CONFIG}", *labels]
    return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).split()


@needs("amtool")
def test_amtool_accepts_the_configuration() -> None:
    """Alertmanager can start with it."""
    ended = subprocess.run(["amtool", "check-config", CONFIG], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@needs("amtool")
@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.name)
def test_every_alert_goes_to_the_receiver_of_its_severity(rule: AlertRule) -> None:
    """Critical and high page, warning and info inform, the watchdog keeps the dead man's switch quiet."""
    labels = [f"{name}={value}" for name, value in Posted(rule.name, "binance-client:8001").labels.items()]
    assert receivers_of(*labels) == [RECEIVERS[rule.severity]]


@needs("amtool")
@pytest.mark.parametrize("label", ["severity=urgent", "alertname=Foreign"])
def test_what_has_no_severity_of_ours_pages(label: str) -> None:
    """An alert that nobody thought of is heard rather than lost."""
    assert receivers_of(label) == ["page"]


@needs("prometheus-alertmanager")
@pytest.mark.parametrize("source", NAMES)
def test_an_alert_silences_what_it_is_the_cause_of_and_nothing_else(source: str, silenced: set[Pair]) -> None:
    """Beside each alert every other one fires on the same instance: exactly those of the table are silenced."""
    expected = {on_one_instance(source, target) for target in SILENCED.get(source, ())}
    assert {pair for pair in silenced if pair.source.name == source} == expected


@needs("prometheus-alertmanager")
def test_nothing_is_silenced_by_another_instance(silenced: set[Pair]) -> None:
    """What is wrong with one instance says nothing of the next one."""
    assert not [pair for pair in silenced if pair.source.instance != pair.target.instance]


@needs("prometheus-alertmanager")
def test_another_directory_is_another_matter(silenced: set[Pair]) -> None:
    """A full disk of logs does not hide that the one of the state is filling up."""
    assert TWO_DIRECTORIES not in silenced


@needs("prometheus-alertmanager")
def test_no_client_at_all_does_not_silence_the_watchdog(silenced: set[Pair]) -> None:
    """Neither has an instance, which Alertmanager takes for the same one."""
    assert WITHOUT_AN_INSTANCE not in silenced


@pytest.mark.parametrize("source", SILENCED)
def test_a_page_is_silenced_by_a_page_only(source: str) -> None:
    """Where a page is silenced, another one wakes whoever is to be woken."""
    silences_pages = any(alert(name).severity in PAGES for name in SILENCED[source])
    pages = alert(source).severity in PAGES
    assert (silences_pages and not pages) == (source in INFORMS_YET_SILENCES_PAGES)


def test_the_file_holds_no_secret_and_calls_nobody() -> None:
    """Every address in it is the container itself, until someone names their own."""
    receivers = read_yaml(CONFIG)["receivers"]
    assert {receiver["name"] for receiver in receivers} == set(RECEIVERS.values())
    for receiver in receivers:
        [webhook] = receiver["webhook_configs"]
        assert webhook.keys() <= {"url", "send_resolved"}
        assert webhook["url"] == f"http://127.0.0.1:9094/{receiver['name']}"
