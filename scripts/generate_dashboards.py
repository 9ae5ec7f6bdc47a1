"""
Write Grafana's dashboards from `scripts/dashboards`.

    python scripts/generate_dashboards.py            write what is out of date
    python scripts/generate_dashboards.py --check    name what is out of date and end with 1
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from generated import run, stale

ROOT = Path(__file__).resolve().parents[1]
DIRECTORY = "config/grafana/dashboards"
SHOWN_SINCE = {"operator": "now-1h", "reliability": "now-6h", "capacity": "now-6h"}


def dashboards(root: Path) -> dict[Path, str]:
    """Every dashboard's file with the text that it should have."""
    dashboard_json = import_module("dashboards.board").dashboard_json
    texts = {}
    for name, since in SHOWN_SINCE.items():
        module = import_module(f"dashboards.{name}")
        texts[root / DIRECTORY / f"k2-{name}.json"] = dashboard_json(f"k2-{name}", module.DESCRIPTION, module.ROWS, since=since)
    return texts


def outdated(root: Path) -> dict[Path, str]:
    """The dashboards whose text on disk is not what it should be."""
    return stale(dashboards(root))


def main(argv: Sequence[str] | None = None) -> int:
    return run("Write Grafana's dashboards.", ROOT, outdated, argv)


if __name__ == "__main__":
    sys.exit(main())
