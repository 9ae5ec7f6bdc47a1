"""Claims about the dashboards: they are current, hold the runbook's panels, and show what the client really exports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from k2.ingestion.telemetry import CATALOGUE, exposed_name
from operations.alert_rules import ALERTS, documentation_base
from operations.dashboards import Target, dashboards, panels, queries, substituted, targets
from operations.linting import Dashboard
from operations.promql import labels, metrics

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "config" / "grafana"
PICTURES = ROOT / "docs" / "pictures"
DASHBOARDS = dashboards()
UIDS = ("k2-operator", "k2-reliability", "k2-capacity")
COLUMNS = 24
PICTURE_BYTES = 300_000

each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)

# What Prometheus makes by itself.
OF_PROMETHEUS = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity", "service"}}
# Labels that a scrape gives to everything.
OF_THE_SCRAPE = {"job", "instance"}

# Metrics that no panel shows, with the reason.
NOT_SHOWN: dict[str, str] = {}

# Alerts that no panel leads to, with the reason.
WITHOUT_A_PANEL = {"Watchdog": "it always fires; what matters is whether it arrives"}


def exported() -> dict[str, set[str]]:
    """Every name that the client's /metrics knows, with its labels."""
    names = {exposed_name(row): set(row.labels) for row in CATALOGUE}
    for row in CATALOGUE:
        if row.kind == "histogram":
            names |= {f"{row.name}_{part}": set(row.labels) for part in ("count", "sum")}
            names[f"{row.name}_bucket"] = {*row.labels, "le"}
    registry = CollectorRegistry()
    for collector in (ProcessCollector, GCCollector, PlatformCollector):
        collector(registry=registry)
    of_python = [sample for family in registry.collect() for sample in family.samples]
    return {**names, **{sample.name: set(sample.labels) for sample in of_python}, **OF_PROMETHEUS}


EXPORTED = exported()


def panel_named(uid: str, title: str) -> dict[str, Any]:
    [panel] = [panel for panel in panels(DASHBOARDS[uid]) if panel["title"] == title]
    return panel


def without_matchers(expression: str) -> str:
    """The expression as it would stand without the variables."""
    return expression.replace('{job=~"$job", instance=~"$instance"}', "")


def test_committed_files_are_current() -> None:
    """The JSON is what scripts/dashboards makes; `python scripts/generate_dashboards.py` brings it there."""
    command = [sys.executable, "-W", "error", "scripts/generate_dashboards.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_there_are_three() -> None:
    """One dashboard for each question, under a uid that links can rely on."""
    assert sorted(DASHBOARDS) == sorted(UIDS)


def test_panel_of_the_connection_state() -> None:
    """The runbook's first panel: a number that says CONNECTED in green or DISCONNECTED in red."""
    panel = panel_named("k2-operator", "Binance Connection State")
    [mapping] = panel["fieldConfig"]["defaults"]["mappings"]
    assert panel["type"] == "stat"
    assert [without_matchers(target["expr"]) for target in panel["targets"]] == ["binance_connection_state"]
    assert {value: (shown["text"], shown["color"]) for value, shown in mapping["options"].items()} == {
        "1": ("CONNECTED", "green"),
        "0": ("DISCONNECTED", "red"),
    }


def test_panel_of_the_message_rate() -> None:
    """The runbook's second panel: the rate over five minutes, under its title and legend."""
    panel = panel_named("k2-operator", "Messages Received (msg/sec)")
    shown = [(without_matchers(target["expr"]), target["legendFormat"]) for target in panel["targets"]]
    assert shown == [("rate(binance_messages_received_total[5m])", "Messages/sec")]


def test_panel_of_the_latency() -> None:
    """The runbook's third panel: three quantiles in three queries."""
    panel = panel_named("k2-operator", "Message Processing Latency")
    shown = {target["legendFormat"]: without_matchers(target["expr"]) for target in panel["targets"]}
    bucket = "rate(binance_message_latency_seconds_bucket[5m])"
    assert shown == {
        "p50": f"histogram_quantile(0.50, {bucket})",
        "p95": f"histogram_quantile(0.95, {bucket})",
        "p99": f"histogram_quantile(0.99, {bucket})",
    }


@each_dashboard
def test_panels_lie_side_by_side(dashboard: Dashboard) -> None:
    """No two panels share a cell of the grid, and none reaches beyond its edge."""
    cells: Counter[tuple[int, int]] = Counter()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS, panel["title"]
        cells.update(
            (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
        )
    assert [cell for cell, count in cells.items() if count > 1] == []


@each_dashboard
def test_rows_are_filled(dashboard: Dashboard) -> None:
    """Every line of the grid is filled from edge to edge, so nothing looks forgotten."""
    cells: Counter[int] = Counter()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells.update(dict.fromkeys(range(place["y"], place["y"] + place["h"]), place["w"]))
    assert {line: width for line, width in cells.items() if width != COLUMNS} == {}


@each_dashboard
def test_panels_can_be_told_apart(dashboard: Dashboard) -> None:
    """Ids and titles are unique within a dashboard: links name the one, people the other."""
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(set(titles)) == len(titles)


@each_dashboard
def test_settings(dashboard: Dashboard) -> None:
    """The crosshair is shared, the view renews itself, and the model is the one that Grafana 10 to 13 read."""
    settings = (dashboard["graphTooltip"], dashboard["refresh"], dashboard["schemaVersion"], dashboard["timezone"])
    assert settings == (1, "30s", 42, "browser")
    assert dashboard["tags"] == ["k2", "binance"]


@each_dashboard
def test_descriptions_say_what_to_do(dashboard: Dashboard) -> None:
    """Every panel says what it means, what is normal, and where to look next."""
    for panel in panels(dashboard):
        means, normal, look = panel["description"].split("\n\n")
        assert means
        assert normal.startswith("**Normal:** ")
        assert look.startswith("**Look next:** ")


@pytest.mark.parametrize("target", list(targets()), ids=lambda target: f"{target.dashboard}-{target.panel}-{target.ref}")
def test_query_asks_for_what_is_exported(target: Target) -> None:
    """Every metric of the query is one that the client exports, with every label that the query or its legend names."""
    expression = substituted(target.expression)
    named = metrics(expression)
    assert named - EXPORTED.keys() == set()
    known = OF_THE_SCRAPE.union(*(EXPORTED[name] for name in named))
    in_the_legend = set(re.findall(r"\{\{(\w+)\}\}", target.legend))
    assert (labels(expression) | in_the_legend) - known == set()


def test_every_metric_is_shown() -> None:
    """Every metric of the catalogue is on a panel, or excepted with a reason."""
    shown = {name for query in queries() for name in metrics(query.expression)}
    missing = {
        exposed_name(row) for row in CATALOGUE if not shown & {exposed_name(row), f"{row.name}_bucket", f"{row.name}_count"}
    }
    assert missing == NOT_SHOWN.keys()


def test_unknown_variables_are_noticed() -> None:
    """A query with a variable that does not exist is not passed on to Prometheus with a hole in it."""
    with pytest.raises(KeyError, match="symbol"):
        substituted('up{symbol="$symbol"}')


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    return {line.lstrip("#").strip().lower() for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("#")}


def test_links_of_panels_lead_to_headings() -> None:
    """Every link of a panel is to the heading of an alert that exists, in the runbook."""
    page = f"{documentation_base()}docs/runbooks/binance-streaming.md"
    known, written = {alert.name for alert in ALERTS}, headings(ROOT / "docs/runbooks/binance-streaming.md")
    for board in DASHBOARDS.values():
        for panel in panels(board):
            for link in panel.get("links", ()):
                name = link["title"].removeprefix("Runbook: ")
                assert name in known, panel["title"]
                assert link["url"] == f"{page}#{name.lower()}"
                assert name.lower() in written


def test_every_alert_has_a_panel() -> None:
    """Whoever an alert wakes finds a panel that belongs to it, and from there the runbook."""
    linked = {
        link["title"].removeprefix("Runbook: ")
        for board in DASHBOARDS.values()
        for panel in panels(board)
        for link in panel.get("links", ())
    }
    assert {alert.name for alert in ALERTS} - linked == WITHOUT_A_PANEL.keys()


def test_alerts_lead_to_a_dashboard_with_their_panel() -> None:
    """The dashboard that an alert names has a panel that belongs to the alert."""
    for alert in ALERTS:
        uid = re.fullmatch(r"http://localhost:3000/d/([\w-]+)(?:\?.*)?", alert.annotations["dashboard_url"])
        assert uid, alert.name
        links = {link["title"] for panel in panels(DASHBOARDS[uid[1]]) for link in panel.get("links", ())}
        assert f"Runbook: {alert.name}" in links or alert.name in WITHOUT_A_PANEL, alert.name


@each_dashboard
def test_dashboards_lead_to_each_other(dashboard: Dashboard) -> None:
    """From each dashboard the two others are one click away, with time and variables kept, and so is the runbook."""
    links = {link["url"]: (link.get("keepTime"), link.get("includeVars")) for link in dashboard["links"]}
    others = {f"/d/{uid}": (True, True) for uid in UIDS if uid != dashboard["uid"]}
    assert links == {**others, f"{documentation_base()}docs/runbooks/binance-streaming.md": (False, False)}


@each_dashboard
def test_annotations(dashboard: Dashboard) -> None:
    """Restarts and firing alerts are drawn over every line, and their queries ask for what there is."""
    annotations = {each["name"]: metrics(substituted(each["expr"])) for each in dashboard["annotations"]["list"]}
    assert annotations == {"Restarts": {"process_start_time_seconds"}, "Firing alerts": {"ALERTS"}}


def provisioned(kind: str) -> Any:
    [file] = (GRAFANA / "provisioning" / kind).glob("*.yml")
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def test_provisioned_data_sources() -> None:
    """Grafana begins with Prometheus as its default source, under a fixed uid, and with Alertmanager behind it."""
    sources = {source["uid"]: source for source in provisioned("datasources")["datasources"]}
    prometheus, alertmanager = sources["prometheus"], sources["alertmanager"]
    assert (prometheus["type"], prometheus["url"], prometheus["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    assert (alertmanager["type"], alertmanager["url"]) == ("alertmanager", "http://alertmanager:9093")
    assert prometheus["jsonData"]["alertmanagerUid"] == "alertmanager"


def test_scrape_interval_is_told_to_grafana() -> None:
    """Grafana makes $__rate_interval from the interval at which Prometheus really scrapes."""
    config = yaml.safe_load((ROOT / "config/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    [prometheus] = [source for source in provisioned("datasources")["datasources"] if source["uid"] == "prometheus"]
    assert prometheus["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_provisioned_dashboards() -> None:
    """Grafana takes the dashboards from a directory and lets nobody change them in the browser."""
    [provider] = provisioned("dashboards")["providers"]
    assert (provider["folder"], provider["allowUiUpdates"]) == ("k2", False)
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


@pytest.mark.parametrize("uid", UIDS)
def test_there_is_a_picture(uid: str) -> None:
    """The page about the dashboards shows each one, in a picture that does not burden the repository."""
    picture = PICTURES / f"{uid}.png"
    assert f"pictures/{picture.name}" in (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < PICTURE_BYTES


def test_packages_of_the_pictures_are_exact() -> None:
    """Pictures are drawn with the same packages everywhere: exact versions, and no lock file, for it names registries."""
    directory = ROOT / "scripts" / "pictures"
    packages = json.loads((directory / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert {name: version for name, version in packages.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)} == {}
    assert not (directory / "package-lock.json").exists()
