"""The committed dashboards, read as Grafana reads them: their panels, and their queries with the variables put in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

DIRECTORY = Path(__file__).parents[2] / "config" / "grafana" / "dashboards"

# What Grafana puts in for "All", for a range of a quarter of an hour, and for a scrape interval of 15 s (four of them).
VARIABLES = {"job": ".+", "instance": ".+", "__rate_interval": "1m", "__range": "15m", "__interval": "15s"}
VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)\}|(?P<plain>\w+))")


class Query(NamedTuple):
    """One query of one panel, as Prometheus gets it."""

    dashboard: str
    panel: str
    ref: str
    expression: str


class Target(NamedTuple):
    """One query of one panel, as it stands in the file."""

    dashboard: str
    panel: str
    ref: str
    expression: str
    legend: str


def dashboards() -> dict[str, dict[str, Any]]:
    """Every committed dashboard by its uid."""
    read = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(DIRECTORY.glob("*.json"))]
    return {dashboard["uid"]: dashboard for dashboard in read}


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Its panels without the headings of rows; what a collapsed row holds is among them."""
    listed = [inner for panel in dashboard["panels"] for inner in (panel, *panel.get("panels", ()))]
    return [panel for panel in listed if panel["type"] != "row"]


def targets() -> Iterator[Target]:
    """Every query of every panel of every dashboard, variables left as they are."""
    for uid, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Target(uid, panel["title"], target["refId"], target["expr"], target.get("legendFormat", ""))


def substituted(expression: str, variables: Mapping[str, str] = VARIABLES) -> str:
    """The expression with its variables put in. KeyError for a variable that Grafana would not know either."""
    return VARIABLE.sub(lambda match: variables[match["braced"] or match["plain"]], expression)


def queries(**variables: str) -> list[Query]:
    """
    Every query of every panel, ready for Prometheus.

    Args:
        variables: Values other than those in `VARIABLES`: `queries(__rate_interval="8s", instance="127.0.0.1:8001")`.
    """
    values = {**VARIABLES, **variables}
    return [Query(uid, panel, ref, substituted(expression, values)) for uid, panel, ref, expression, _ in targets()]
