"""The one rule file, read once: its alerts, its recording rules, and which metrics an expression looks at."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "config" / "prometheus"
RULE_FILE = PROMETHEUS / "rules" / "binance_alerts.yml"
SHARDS_RULE = ROOT / "deploy" / "kubernetes" / "shards-rule.yaml"  # beside the one rule file, under Kubernetes only
RECORDING_GROUP, ALERT_GROUP = "binance_recording", "binance_streaming"


class AlertRule(NamedTuple):
    """One alert as the file has it. `wait` is its `for`, as written ("5m"), or "0s" where it has none."""

    name: str
    expr: str
    wait: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def severity(self) -> str:
        return self.labels["severity"]


class RecordingRule(NamedTuple):
    """One recording rule."""

    name: str
    expr: str
    labels: Mapping[str, str]


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _rules(group: str) -> list[dict[str, Any]]:
    return [rule for entry in read_yaml(RULE_FILE)["groups"] if entry["name"] == group for rule in entry["rules"]]


def _alert(rule: Mapping[str, Any]) -> AlertRule:
    return AlertRule(rule["alert"], rule["expr"], rule.get("for", "0s"), rule.get("labels", {}), rule.get("annotations", {}))


GROUPS: list[str] = [group["name"] for group in read_yaml(RULE_FILE)["groups"]]
ALERTS: list[AlertRule] = [_alert(rule) for rule in _rules(ALERT_GROUP)]
SHARD_ALERTS = [_alert(rule) for group in read_yaml(SHARDS_RULE)["spec"]["groups"] for rule in group["rules"]]
RECORDING: list[RecordingRule] = [
    RecordingRule(rule["record"], rule["expr"], rule.get("labels", {})) for rule in _rules(RECORDING_GROUP)
]
_EXPRESSIONS = {rule.name: rule.expr for rule in RECORDING}


def alert(name: str) -> AlertRule:
    """The alert of that name."""
    return next(rule for rule in ALERTS if rule.name == name)


def names_in(expression: str) -> set[str]:
    """Every name that the expression selects by, recording rules left as they are. ValueError where it selects without a name."""
    names: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            if node.name is None:
                raise ValueError(f"a selector without a name in {expression}")
            names.add(node.name)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return names


def metrics_in(expression: str) -> set[str]:
    """Every metric that the expression looks at in the end: recording rules are followed to what they are made of."""
    metrics: set[str] = set()
    for name in names_in(expression):
        metrics |= metrics_in(_EXPRESSIONS[name]) if name in _EXPRESSIONS else {name}
    return metrics


def documentation_base() -> str:
    """The address under which the repository's documents are read, as the project's metadata say."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base: str = project["urls"]["Documentation"]
    return base
