"""Every query of every dashboard and every recording rule, asked of the real Prometheus over the real client: each finds data."""

from __future__ import annotations

import math
import subprocess
from typing import TYPE_CHECKING

import pytest

from integration.support import wait_until
from kit.tools import needs
from operations.alert_rules import ALERTS, RECORDING
from operations.dashboards import Query, queries

if TYPE_CHECKING:
    from integration.live import Live
    from kit.monitoring import Series

pytestmark = needs("prometheus", "prometheus-alertmanager")

PATIENCE_S = 5.0  # everything is there already, or comes with the next scrape
QUERIES = queries()


def found(live: Live, expression: str) -> list[Series]:
    """The series that are numbers."""
    return [series for series in live.prometheus.query(expression) if not math.isnan(series.value)]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.dashboard}-{query.panel}-{query.ref}")
def test_a_panels_query_finds_data(live: Live, query: Query) -> None:
    """At least one series is there and is a number."""
    wait_until(lambda: found(live, query.expression), query.expression, PATIENCE_S)


@pytest.mark.parametrize("name", [rule.name for rule in RECORDING])
def test_a_recording_rule_records(live: Live, name: str) -> None:
    """Under its name Prometheus finds at least one number."""
    wait_until(lambda: found(live, name), name, PATIENCE_S)


def test_prometheus_takes_every_rule(live: Live) -> None:
    """All are loaded, and looking at them is no error."""
    rules = live.prometheus.rules()
    assert [rule["name"] for rule in rules] == [rule.name for rule in RECORDING] + [rule.name for rule in ALERTS]
    assert {rule["health"]: rule.get("lastError", "") for rule in rules} == {"ok": ""}


@needs("promtool")
def test_promtool_finds_nothing_wrong_with_the_metrics(live: Live) -> None:
    """What a running client exposes keeps to Prometheus' conventions."""
    exposition = live.instances[0].client.get("/metrics")[1]
    checked = subprocess.run(["promtool", "check", "metrics"], input=exposition, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout.decode() + checked.stderr.decode()) == (0, "")
