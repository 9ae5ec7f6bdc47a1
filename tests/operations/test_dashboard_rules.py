"""The dashboards keep the rules of Grafana's dashboard-linter, and the rules find what they are for."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest

from operations.dashboards import dashboards, panels
from operations.linting import RULES, Dashboard, excluded

DASHBOARDS = dashboards()


@pytest.mark.parametrize("rule", RULES)
def test_rule_of_the_linter(rule: str) -> None:
    """The dashboards keep the rule, apart from what `.lint` excepts."""
    meant = {(entry.dashboard, entry.panel) for entry in excluded() if entry.rule == rule}
    found = [(board["title"], *finding) for board in DASHBOARDS.values() for finding in RULES[rule](board)]
    assert [finding for finding in found if finding[:2] not in meant] == []


def test_exceptions_are_needed_and_have_reasons() -> None:
    """Every exception in `.lint` is one that a rule would find, and says why."""
    boards = {board["title"]: board for board in DASHBOARDS.values()}
    for entry in excluded():
        assert entry.panel in {finding.panel for finding in RULES[entry.rule](boards[entry.dashboard])}, entry
        assert entry.reason.endswith("."), entry


def _in_list(kind: str, **change: object) -> Callable[[Dashboard], None]:
    """Change the first variable of a kind."""

    def spoil(dashboard: Dashboard) -> None:
        next(each for each in dashboard["templating"]["list"] if each["type"] == kind).update(change)

    return spoil


def _in_panel(**change: object) -> Callable[[Dashboard], None]:
    return lambda dashboard: panels(dashboard)[0].update(change)


def _in_query(expression: str) -> Callable[[Dashboard], None]:
    return lambda dashboard: panels(dashboard)[0]["targets"][0].update(expr=expression)


def _without_variable(name: str) -> Callable[[Dashboard], None]:
    def spoil(dashboard: Dashboard) -> None:
        templating = dashboard["templating"]
        templating["list"] = [each for each in templating["list"] if each["name"] != name]

    return spoil


CHOSEN = 'job=~"$job", instance=~"$instance"'
SPOILT: dict[str, Callable[[Dashboard], None]] = {
    "template-datasource-rule": _in_list("datasource", name="source"),
    "template-job-rule": _in_list("query", allValue=".*"),
    "template-instance-rule": _without_variable("instance"),
    "template-label-promql-rule": _in_list("query", query="label_values(up{, job)"),
    "template-on-time-change-reload-rule": _in_list("query", refresh=1),
    "panel-datasource-rule": _in_panel(datasource={"type": "prometheus", "uid": "prometheus"}),
    "panel-title-description-rule": _in_panel(description=""),
    "panel-units-rule": _in_panel(fieldConfig={"defaults": {"unit": "furlong"}}),
    "panel-no-targets-rule": _in_panel(targets=[]),
    "target-promql-rule": _in_query("sum(up"),
    "target-rate-interval-rule": _in_query(f"rate(up{{{CHOSEN}}}[1m])"),
    "target-job-rule": _in_query('up{instance=~"$instance"}'),
    "target-instance-rule": _in_query('up{job=~"$job"}'),
    "target-counter-agg-rule": _in_query(f"sum(k2_gaps_total{{{CHOSEN}}})"),
    "uneditable-dashboard-rule": lambda dashboard: dashboard.update(editable=True),
}


@pytest.mark.parametrize("rule", RULES)
def test_rules_find_what_they_are_for(rule: str) -> None:
    """A dashboard that is spoilt in one place has one finding more, of the rule that is for it."""
    sound = DASHBOARDS["k2-capacity"]
    spoilt = deepcopy(sound)
    SPOILT[rule](spoilt)
    assert len(list(RULES[rule](spoilt))) == len(list(RULES[rule](sound))) + 1
