"""What the three dashboards share beyond their panels: variables, annotations, links, and how one becomes a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from .panels import BLUE, FIRING, MATCHERS, RED, RUNBOOK, SOURCE, Row

TITLES = {"k2-operator": "k2 / Operator", "k2-reliability": "k2 / Reliability", "k2-capacity": "k2 / Capacity"}


def dashboard_json(uid: str, description: str, rows: Sequence[Row], *, since: str) -> str:
    """The text of a dashboard's file."""
    board = dashboard.Dashboard(TITLES[uid]).uid(uid).description(description).tags(["k2", "binance"]).readonly()
    board.time(since, "now").refresh("30s").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
    board.timepicker(dashboard.TimePicker().refresh_intervals(["10s", "30s", "1m", "5m", "15m"]))
    board.variables(_variables()).annotations(_annotations()).links(_links(uid))
    for row in rows:
        board.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            board.with_panel(panel)
    plain = json.loads(json.dumps(board.build(), cls=JSONEncoder))
    return json.dumps(_finished(plain), indent=2, ensure_ascii=False) + "\n"


def _finished(board: dict[str, Any]) -> dict[str, Any]:
    """What the kit leaves out, the panels' numbers, and without what it puts in: links and annotations hidden in a menu."""
    for number, panel in enumerate(board["panels"], 1):
        panel["id"] = number
    linked = [board, *board["panels"]]
    placed = [item for owner in linked for item in owner.get("links", ())] + board["annotations"]["list"]
    for item in placed:
        item.pop("placement", None)
    return board


def _variables() -> list[Builder[models.VariableModel]]:
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    job = _label_variable("job", "Job", "label_values(binance_connection_state, job)")
    instance = _label_variable("instance", "Instance", 'label_values(binance_connection_state{job=~"$job"}, instance)')
    return [source, job, instance]


def _label_variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(query).definition(query)
    variable.multi(True).include_all(True).all_value(".+").current(models.VariableOption(text=["All"], value=["$__all"]))
    return variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)


def _annotations() -> list[Builder[models.AnnotationQuery]]:
    restarts = f"changes(process_start_time_seconds{{{MATCHERS}}}[$__rate_interval]) > 0"
    return [
        _annotation("Restarts", BLUE, restarts, "Restarted", "{{instance}}", "instance"),
        _annotation("Firing alerts", RED, FIRING, "{{alertname}}", "{{severity}} {{instance}}", "severity"),
    ]


def _annotation(name: str, colour: str, query: str, title: str, text: str, tags: str) -> dashboard.AnnotationQuery:
    annotation = dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).hide(False).icon_color(colour)
    return annotation.expr(query).title_format(title).text_format(text).tag_keys(tags)


def _links(uid: str) -> list[Builder[models.DashboardLink]]:
    """To the other dashboards, with the time and the variables kept, and to the runbook."""
    others = [
        dashboard.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .icon("dashboard")
        .url(f"/d/{other}")
        .keep_time(True)
        .include_vars(True)
        for other, title in TITLES.items()
        if other != uid
    ]
    runbook = dashboard.DashboardLink("Runbook").type(models.DashboardLinkType.LINK).icon("doc").url(RUNBOOK).target_blank(True)
    return [*others, runbook]
