"""Rules and routes made quick for live tests: every time is divided, and nothing else is touched."""

from __future__ import annotations

import promql_parser
import pytest
import yaml

from kit.quickened import duration_s, quickened, quickened_duration, quickened_expression, quickened_routing, redirected


@pytest.mark.parametrize(
    ("expression", "quick"),
    [
        ("up == 0", "up == 0"),
        ("rate(x_total[5m]) > 0.05", "rate(x_total[5000ms]) > 0.05"),
        ("x offset 1h30m", "x offset 90000ms"),
        ("x offset -1m", "x offset -1000ms"),
        ("max_over_time(x[1h:30s])", "max_over_time(x[60000ms:500ms])"),
        ("max_over_time(x[1h:])", "max_over_time(x[60000ms:])"),
        ("x @ 1609746000 > 14.4 * 0.01", "x @ 1609746000 > 14.4 * 0.01"),
        ("k2:ratio:rate5m > 0.05", "k2:ratio:rate5m > 0.05"),
        ("x{stage=\"5m\", other=~'1h|2h'} > 1e3", "x{stage=\"5m\", other=~'1h|2h'} > 1e3"),
        ("x > 1 # not [5m]\nand y[1m:]", "x > 1 # not [5m]\nand y[1000ms:]"),
        ("predict_linear(x[1h], 4 * 3600) < 0", "predict_linear(x[60000ms], ( 4 * 3600) / 60) < 0"),
        ('predict_linear(x{a="b", c=")"}[1h],600)', 'predict_linear(x{a="b", c=")"}[60000ms], (600) / 60)'),
        (
            "predict_linear(sum by (a, b) (x)[1h:1m], 60) or x",
            "predict_linear(sum by (a, b) (x)[60000ms:1000ms], ( 60) / 60) or x",
        ),
    ],
)
def test_an_expressions_times_are_divided(expression: str, quick: str) -> None:
    """Ranges, steps, offsets and horizons shrink; numbers, names, strings and comments stay as they are."""
    assert quickened_expression(expression, 60) == quick


@pytest.mark.parametrize(
    "expression",
    ["rate(x_total[5m]) > 0.05", "x offset 1h30m", "max_over_time(x[1h:30s])", "predict_linear(x[1h], 4 * 3600) < 0"],
)
def test_what_comes_out_is_promql(expression: str) -> None:
    """A parser of PromQL takes the quick form."""
    promql_parser.parse(quickened_expression(expression, 60))


def test_a_horizon_that_is_not_there_is_an_error() -> None:
    """A call that cannot be understood is refused, not passed on slow."""
    with pytest.raises(ValueError, match="no call with two arguments"):
        quickened_expression("predict_linear(x[1h])", 60)


@pytest.mark.parametrize(
    ("text", "factor", "quick"),
    [("90s", 60, "1500ms"), ("2m", 60, "2000ms"), ("1d", 1, "86400000ms"), ("0s", 60, "0s"), ("0", 60, "0")],
)
def test_a_duration_is_divided(text: str, factor: float, quick: str) -> None:
    """Milliseconds are what is left, and zero stays zero."""
    assert quickened_duration(text, factor) == quick


@pytest.mark.parametrize("text", ["", "5", "m", "5x", "five minutes", "-5m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """No number without a unit and no other word passes for a time."""
    with pytest.raises(ValueError, match="not a duration"):
        duration_s(text)


def test_a_time_that_vanishes_is_refused() -> None:
    """Less than a millisecond cannot be written."""
    with pytest.raises(ValueError, match="less than a millisecond"):
        quickened_duration("1s", 10_000)


RULES = """
groups:
  - name: recording
    interval: 30s
    rules:
      - record: k2:errors:ratio_rate5m
        expr: sum(rate(a_total[5m])) / sum(rate(b_total[5m]))
  - name: alerts
    rules:
      - alert: TooMany
        expr: |
          k2:errors:ratio_rate5m > 0.05
        for: 5m
        keep_firing_for: 1m
        labels: {severity: warning}
        annotations: {summary: "For 5m."}
      - alert: Always
        expr: vector(1)
"""


def test_a_rule_files_times_are_divided() -> None:
    """Of each rule the times change, and the rest of the file is what it was."""
    recording, alerts = yaml.safe_load(quickened(RULES, 60))["groups"]
    assert recording["interval"] == "500ms"
    assert recording["rules"][0]["expr"] == "sum(rate(a_total[5000ms])) / sum(rate(b_total[5000ms]))"
    too_many, always = alerts["rules"]
    assert (too_many["for"], too_many["keep_firing_for"]) == ("5000ms", "1000ms")
    assert too_many["expr"].strip() == "k2:errors:ratio_rate5m > 0.05"
    assert (too_many["labels"], too_many["annotations"]) == ({"severity": "warning"}, {"summary": "For 5m."})
    assert always == {"alert": "Always", "expr": "vector(1)"}


ROUTING = """
global: {resolve_timeout: 5m}
route:
  receiver: inform
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
  routes:
    - receiver: page
      matchers: [severity="critical"]
      group_wait: 0s
      routes:
        - {receiver: night, group_interval: 1m}
receivers:
  - {name: inform, email_configs: [{to: someone@example.org}]}
  - {name: page, webhook_configs: [{url: "http://example.org", send_resolved: false}]}
  - {name: night}
inhibit_rules: [{source_matchers: [a="b"], target_matchers: [c="d"], equal: [instance]}]
"""


def test_the_times_of_routes_are_divided() -> None:
    """At every depth; matchers and inhibitions stay."""
    quick, slow = yaml.safe_load(quickened_routing(ROUTING, 60)), yaml.safe_load(ROUTING)
    route = quick["route"]
    assert quick["global"] == {"resolve_timeout": "5000ms"}
    assert (route["group_wait"], route["group_interval"], route["repeat_interval"]) == ("500ms", "5000ms", "240000ms")
    assert route["routes"][0]["group_wait"] == "0s"
    assert route["routes"][0]["routes"] == [{"receiver": "night", "group_interval": "1000ms"}]
    assert route["routes"][0]["matchers"] == ['severity="critical"']
    assert (quick["receivers"], quick["inhibit_rules"]) == (slow["receivers"], slow["inhibit_rules"])


def test_receivers_are_redirected() -> None:
    """Every receiver keeps its name and whether it hears of the end, and has nothing but the one address."""
    receivers = yaml.safe_load(redirected(ROUTING, "http://127.0.0.1:1"))["receivers"]
    hears_of_the_end = {"inform": True, "page": False, "night": True}
    assert receivers == [
        {"name": name, "webhook_configs": [{"url": "http://127.0.0.1:1", "send_resolved": hears}]}
        for name, hears in hears_of_the_end.items()
    ]
