"""
The rules of Grafana's dashboard-linter, written anew: that program cannot be built everywhere our tests run.

Each rule takes a dashboard and yields what is wrong with it. `config/grafana/dashboards/.lint` lists the exceptions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import promql_parser as promql
import yaml

from operations.dashboards import DIRECTORY, VARIABLES, panels, substituted
from operations.promql import called, of_kind, parts, selectors

Dashboard = dict[str, Any]
SOURCES = ("$datasource", "${datasource}")
UNITS = {"none", "short", "s", "dtdurations", "bytes", "Bps", "percentunit", "ops", "reqps", "mps", "eps", "recps"}
COUNTING = {"rate", "irate", "increase"}
# Values that nobody would write, so that what the variables stood for is recognized after they were put in.
RECOGNIZABLE = {**VARIABLES, "job": "the-job", "instance": "the-instance", "__rate_interval": "671s"}
RATE_INTERVAL = timedelta(seconds=671)


class Finding(NamedTuple):
    """What a rule found, and where: the panel is empty for the dashboard as a whole."""

    panel: str
    what: str


Rule = Callable[[Dashboard], Iterator[Finding]]


def _variables(dashboard: Dashboard, kind: str) -> list[dict[str, Any]]:
    return [variable for variable in dashboard["templating"]["list"] if variable["type"] == kind]


def _targets(dashboard: Dashboard) -> Iterator[tuple[str, str]]:
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel["title"], substituted(target["expr"], RECOGNIZABLE)


def template_datasource(dashboard: Dashboard) -> Iterator[Finding]:
    """There is one variable for the data source, named and labelled as everywhere."""
    found = [(each["name"], each["label"], each["query"]) for each in _variables(dashboard, "datasource")]
    if found != [("datasource", "Data source", "prometheus")]:
        yield Finding("", f"variables for the data source: {found}")


def _template(name: str) -> Rule:
    wanted = {"label": name.title(), "multi": True, "includeAll": True, "allValue": ".+"}

    def rule(dashboard: Dashboard) -> Iterator[Finding]:
        variable = next((each for each in _variables(dashboard, "query") if each["name"] == name), None)
        if variable is None:
            yield Finding("", f"there is no variable {name}")
        elif variable["datasource"]["uid"] not in SOURCES or not wanted.items() <= variable.items():
            yield Finding("", f"the variable {name} is {variable}")

    rule.__doc__ = f"There is a variable for the {name}: of several values, where All means any."
    return rule


def template_label_promql(dashboard: Dashboard) -> Iterator[Finding]:
    """The queries of variables are `label_values` over PromQL."""
    for variable in _variables(dashboard, "query"):
        function, _, rest = variable["query"].removesuffix(")").partition("(")
        selector = rest.rpartition(",")[0]
        try:
            promql.parse(substituted(selector))
        except (ValueError, KeyError) as error:
            yield Finding("", f"{variable['query']}: {error}")
        if function != "label_values":
            yield Finding("", f"{variable['query']}: not label_values")


def template_on_time_change_reload(dashboard: Dashboard) -> Iterator[Finding]:
    """Variables are looked up anew when the time shown changes."""
    for variable in _variables(dashboard, "query"):
        if variable["refresh"] != 2:
            yield Finding("", f"the variable {variable['name']} has refresh {variable['refresh']}")


def panel_datasource(dashboard: Dashboard) -> Iterator[Finding]:
    """Every panel and every query takes its data from the variable."""
    for panel in panels(dashboard):
        for owner in (panel, *panel["targets"]):
            if owner["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
                yield Finding(panel["title"], f"takes its data from {owner['datasource']}")


def panel_title_description(dashboard: Dashboard) -> Iterator[Finding]:
    """Every panel has a title and a description."""
    for panel in panels(dashboard):
        if not panel.get("title") or not panel.get("description"):
            yield Finding(panel.get("title", ""), "has no title or no description")


def panel_units(dashboard: Dashboard) -> Iterator[Finding]:
    """Every panel has a unit that Grafana knows."""
    for panel in panels(dashboard):
        unit = panel["fieldConfig"]["defaults"].get("unit")
        if unit not in UNITS:
            yield Finding(panel["title"], f"has the unit {unit}")


def panel_no_targets(dashboard: Dashboard) -> Iterator[Finding]:
    """Every panel asks for something."""
    return (Finding(panel["title"], "has no query") for panel in panels(dashboard) if not panel["targets"])


def target_promql(dashboard: Dashboard) -> Iterator[Finding]:
    """Every query is PromQL."""
    for panel, expression in _targets(dashboard):
        try:
            list(parts(expression))
        except ValueError as error:
            yield Finding(panel, f"{expression}: {error}")


def target_rate_interval(dashboard: Dashboard) -> Iterator[Finding]:
    """Every rate is over $__rate_interval, which fits the time shown and the scrape interval."""
    for panel, expression in _targets(dashboard):
        for selector, path in of_kind(expression, promql.MatrixSelector):
            if called(path) in {"rate", "irate"} and selector.range != RATE_INTERVAL:
                yield Finding(panel, f"{expression}: a rate over {selector.range}")


def _target_matcher(name: str) -> Rule:
    wanted = f'{name}=~"{RECOGNIZABLE[name]}"'

    def rule(dashboard: Dashboard) -> Iterator[Finding]:
        for panel, expression in _targets(dashboard):
            for selector, _ in selectors(expression):
                if wanted not in map(str, selector.matchers.matchers):
                    yield Finding(panel, f"{selector.prettify()} has no {name}")

    rule.__doc__ = f"Every selector is for the {name} that was chosen."
    return rule


def target_counter_agg(dashboard: Dashboard) -> Iterator[Finding]:
    """Every counter is read as a rate or an increase."""
    for panel, expression in _targets(dashboard):
        for selector, path in selectors(expression):
            if (selector.name or "").endswith("_total") and called(path[:-1]) not in COUNTING:
                yield Finding(panel, f"{selector.prettify()} is neither a rate nor an increase")


def uneditable_dashboard(dashboard: Dashboard) -> Iterator[Finding]:
    """Nobody changes the dashboard where the change would be lost."""
    if dashboard["editable"]:
        yield Finding("", "can be edited")


RULES: dict[str, Rule] = {
    "template-datasource-rule": template_datasource,
    "template-job-rule": _template("job"),
    "template-instance-rule": _template("instance"),
    "template-label-promql-rule": template_label_promql,
    "template-on-time-change-reload-rule": template_on_time_change_reload,
    "panel-datasource-rule": panel_datasource,
    "panel-title-description-rule": panel_title_description,
    "panel-units-rule": panel_units,
    "panel-no-targets-rule": panel_no_targets,
    "target-promql-rule": target_promql,
    "target-rate-interval-rule": target_rate_interval,
    "target-job-rule": _target_matcher("job"),
    "target-instance-rule": _target_matcher("instance"),
    "target-counter-agg-rule": target_counter_agg,
    "uneditable-dashboard-rule": uneditable_dashboard,
}


class Excluded(NamedTuple):
    """A finding that is meant to be, and why."""

    rule: str
    dashboard: str
    panel: str
    reason: str


def excluded() -> list[Excluded]:
    """The exceptions, as the linter's own file lists them."""
    exclusions = yaml.safe_load((DIRECTORY / ".lint").read_text(encoding="utf-8"))["exclusions"]
    return [
        Excluded(rule, entry["dashboard"], entry["panel"], entry["reason"])
        for rule, listed in exclusions.items()
        for entry in listed["entries"]
    ]
