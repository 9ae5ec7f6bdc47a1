"""The unit tests for promtool, read as data: which alert is expected silent and which firing, at which second."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from operations.alert_rules import PROMETHEUS, read_yaml

FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))
_UNITS_S = {"h": 3600, "m": 60, "s": 1}


class Expectation(NamedTuple):
    """What one group of series is to do to one alert at one second."""

    at_s: int
    fires: bool


class Case(NamedTuple):
    """All that one group of series is to do to one alert, in the order of time."""

    file: str
    test: str
    alert: str
    expectations: Sequence[Expectation]

    def changes(self, *, to: bool) -> list[int]:
        """After how many seconds each change from silent to firing, or back, was seen."""
        pairs = zip(self.expectations, self.expectations[1:], strict=False)
        return [after.at_s - before.at_s for before, after in pairs if before.fires is not to and after.fires is to]


def seconds(text: str) -> int:
    """`1h30m` as seconds."""
    return sum(int(number) * _UNITS_S[unit] for number, unit in re.findall(r"(\d+)([hms])", text))


def _cases_of(file: str, test: dict[str, Any]) -> list[Case]:
    expected: dict[str, list[Expectation]] = defaultdict(list)
    for row in test.get("alert_rule_test", ()):
        expected[row["alertname"]].append(Expectation(seconds(row["eval_time"]), bool(row["exp_alerts"])))
    return [Case(file, test["name"], alert, sorted(rows)) for alert, rows in expected.items()]


CASES = [case for file in FILES for test in read_yaml(file)["tests"] for case in _cases_of(file.name, test)]
# Every name in an expression that some test evaluates as such.
EVALUATED = "\n".join(
    row["expr"] for file in FILES for test in read_yaml(file)["tests"] for row in test.get("promql_expr_test", ())
)
