"""
Write what of `deploy/` follows from other files: the PrometheusRule of Kubernetes, out of the one file of alert rules.

    python scripts/generate_deploy.py            write it where it is out of date
    python scripts/generate_deploy.py --check    say that it is out of date and end with 1
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from generated import run, stale

ROOT = Path(__file__).resolve().parents[1]
RULES = "config/prometheus/rules/binance_alerts.yml"
PROMETHEUS_RULE = "deploy/kubernetes/prometheus-rule.yaml"

HEAD = f"""\
# Made by scripts/generate_deploy.py from {RULES}. Change it there.
# For the Prometheus Operator, which takes the groups as they are.
"""


class _Dumper(yaml.SafeDumper):
    """Block style throughout, and no aliases: what reads the file need not know them."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the library's signature
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Expressions of several lines stay readable."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def prometheus_rule(rules: Mapping[str, Any]) -> str:
    """The manifest that holds these rule groups."""
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "binance-client", "labels": {"app.kubernetes.io/name": "binance-client"}},
        "spec": {"groups": rules["groups"]},
    }
    return HEAD + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=130, allow_unicode=True)


def files(root: Path) -> dict[Path, str]:
    """Every file that is generated, with the text that it should have."""
    rules = yaml.safe_load((root / RULES).read_text(encoding="utf-8"))
    return {root / PROMETHEUS_RULE: prometheus_rule(rules)}


def outdated(root: Path) -> dict[Path, str]:
    """The files whose text on disk is not what it should be."""
    return stale(files(root))


def main(argv: Sequence[str] | None = None) -> int:
    return run("Write what of deploy/ follows from other files.", ROOT, outdated, argv)


if __name__ == "__main__":
    sys.exit(main())
