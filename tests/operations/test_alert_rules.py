"""Claims about the rule file: it is good, complete, tested case by case, and speaks of what the client really exports."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families

from faults.assembly import Assembly
from k2.ingestion.telemetry import CATALOGUE, Exposition, exposed_name
from kit.ports import free_port
from kit.tools import needs
from operations import promtool_cases
from operations.alert_rules import (
    ALERT_GROUP,
    ALERTS,
    GROUPS,
    PROMETHEUS,
    RECORDING,
    RECORDING_GROUP,
    ROOT,
    RULE_FILE,
    AlertRule,
    alert,
    documentation_base,
    metrics_in,
    read_yaml,
)
from operations.promql import selectors
from operations.runbook_pages import RUNBOOKS, anchors

RUNBOOK = "docs/runbooks/binance-streaming.md"
GRAFANA = "http://localhost:3000/d/"
DASHBOARDS = {"k2-operator", "k2-reliability", "k2-capacity"}
SEVERITIES = {"critical", "high", "warning", "info"}
WATCHDOG = "Watchdog"  # never silent, and the only one without a severity of the four
JUST_BEFORE_S = 60
OF_PROMETHEUS = {"up", "process_start_time_seconds"}  # what Prometheus itself and every process have
OF_THE_SCRAPE = {"job", "instance"}

# The alerts of the runbook that this product grew from: severity, and how long it must last.
PROMISED = {
    "BinanceDisconnected": ("critical", "5m"),
    "BinanceNoMessages": ("high", "2m"),
    "BinanceHighErrorRate": ("warning", "5m"),
}

# Every metric is watched by an alert, or stands here with the reason why not. A new one fails the test until that is decided.
NOT_ALERTED = {
    "kafka_messages_produced_total": "good news; k2_records_delivered_total is the same, and watched",
    "kafka_produce_errors_total": "what comes of an error is watched: refused records, a renewed producer, no broker",
    "k2_disconnections_total": "reconnections are watched, and every disconnection is followed by one or by failed attempts",
    "k2_streams": "a fact, not a trouble",
    "k2_frames_received_total": "events are watched: frames without events are no use",
    "k2_frame_bytes_received_total": "traffic; nothing to do about it",
    "k2_control_frames_total": "the exchange's protocol; a refusal is k2_subscriptions_refused_total",
    "k2_events_published_total": "a part of the ledger, whose difference is watched",
    "k2_events_ignored_total": "a part of the ledger; to ignore is right",
    "k2_dead_letters_written_total": "what became of dead letters; not writable is watched",
    "k2_dead_letters_pending": "goes up where they cannot be written, which is watched",
    "k2_dead_letter_write_failures_total": "a failure that the next attempt makes good is none; not writable is watched",
    "k2_records_made_total": "a part of the ledger, whose difference is watched",
    "k2_records_spooled": "always 0 in this version",
    "k2_records_retried_alone_total": "the remedy; what fails alone is refused, and watched",
    "k2_overflow_records": "reading pauses with the first of them, and that is watched",
    "k2_producer_errors_by_code_total": "the diagnosis; what comes of an error is watched",
    "k2_producer_requests_total": "a measure of batching",
    "k2_producer_batch_records": "a measure of batching",
    "k2_producer_batch_bytes": "a measure of batching",
    "k2_reading_pauses_total": "short pauses are how it works; a long one is watched as k2_reading_state",
    "k2_reading_holds_total": "a hold is a long pause, which is watched as k2_reading_state",
    "k2_stage_latency_seconds": "the diagnosis; the objective is on the way as a whole",
    "k2_gaps_total": "the ids in the holes are watched",
    "k2_gap_ids_filled_total": "good news",
    "k2_gaps_open": "stays up for as long as a hole is open, which may be for ever; new ids skipped are watched",
    "k2_ids_missing": "the same, in ids",
    "k2_stream_events_published_total": "k2_streams_silent watches all streams, those past the hundredth too",
    "k2_stream_last_event_timestamp_seconds": "the same",
    "k2_schema_info": "a fact, not a trouble",
    "k2_build_info": "a fact, not a trouble",
}

each_alert = pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.name)
each_silent_alert = pytest.mark.parametrize("rule", [r for r in ALERTS if r.name != WATCHDOG], ids=lambda rule: rule.name)
EXPRESSIONS = {**{rule.name: rule.expr for rule in RECORDING}, **{rule.name: rule.expr for rule in ALERTS}}


def promtool(*arguments: object) -> None:
    """Run it, and fail with what it says."""
    ended = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def catalogue_name(metric: str) -> str:
    """The name in the catalogue of what a histogram is made of."""
    histograms = {row.name for row in CATALOGUE if row.kind == "histogram"}
    family = re.sub(r"_(bucket|sum|count)$", "", metric)
    return family if family in histograms else metric


@needs("promtool")
def test_promtool_finds_no_fault_in_the_rules() -> None:
    """The rule file loads, and no rule stands there twice."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULE_FILE)


@needs("promtool")
def test_promtool_accepts_the_configuration() -> None:
    """Prometheus can start with it, with its rules and its lists of targets."""
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


@needs("promtool")
@pytest.mark.parametrize("file", promtool_cases.FILES, ids=lambda file: file.stem)
def test_rules_do_what_their_unit_tests_say(file: Path) -> None:
    """Each alert is silent, fires and ends at its time, with its labels and texts; each recording rule has its value."""
    promtool("test", "rules", file)


def test_there_are_two_groups_and_no_name_twice() -> None:
    """Recording rules first, alerts second, each under a name of its own."""
    assert GROUPS == [RECORDING_GROUP, ALERT_GROUP]
    assert len(EXPRESSIONS) == len(RECORDING) + len(ALERTS)


@each_silent_alert
def test_every_alert_is_tested_silent_then_firing_then_resolved(rule: AlertRule) -> None:
    """Some unit test sees it silent at most a minute before it fires, and silent again after."""
    cases = [case for case in promtool_cases.CASES if case.alert == rule.name]
    assert any(min(case.changes(to=True), default=999) <= JUST_BEFORE_S and case.changes(to=False) for case in cases), cases


@each_silent_alert
def test_every_alert_is_tested_with_traffic_that_does_not_fire_it(rule: AlertRule) -> None:
    """Some unit test of it begins silent: the sheer existence of its series is no alert."""
    begins = [case.expectations[0] for case in promtool_cases.CASES if case.alert == rule.name]
    assert any(not first.fires for first in begins)


def test_the_watchdog_is_never_silent() -> None:
    """Whatever the series, it fires from the first second on."""
    [case] = [case for case in promtool_cases.CASES if case.alert == WATCHDOG]
    assert case.expectations[0].at_s == 0
    assert all(expectation.fires for expectation in case.expectations)


@pytest.mark.parametrize("rule", RECORDING, ids=lambda rule: rule.name)
def test_every_recording_rule_is_evaluated_in_a_unit_test(rule: AlertRule) -> None:
    """Its value stands in a unit test, and its name is level:metric:operation."""
    assert re.fullmatch(r"instance(_\w+)?:(binance|k2|kafka)_\w+:[a-z]\w*", rule.name)
    assert re.search(rf"{rule.name}\b", promtool_cases.EVALUATED)


@each_alert
def test_annotations_are_complete_and_absolute(rule: AlertRule) -> None:
    """A sentence, a description with value and instance, the runbook's path, and two addresses that can be clicked."""
    texts = rule.annotations
    assert texts.keys() == {"summary", "description", "runbook", "runbook_url", "dashboard_url"}
    assert re.fullmatch(r"[A-Z][^{}]*\.", texts["summary"])
    assert rule.name == WATCHDOG or re.search(r"{{ (with )?\$labels\.instance }}", texts["description"])
    assert texts["runbook"] == RUNBOOK
    assert texts["runbook_url"] == f"{documentation_base()}{RUNBOOK}#{rule.name.lower()}"
    assert texts["dashboard_url"] in {f"{GRAFANA}{uid}" for uid in DASHBOARDS}


# Descriptions without the value, for there is no number to tell.
WITHOUT_A_VALUE = {
    "BinanceClientAbsent": "0 where it does not answer, 1 where there is none",
    "BinanceKafkaUnreachable": "0 where it is lost, 1 where it never came: the words differ instead",
    "BinanceSchemaRegistryUnreachable": "always 1",
}


def test_descriptions_say_the_value() -> None:
    """Each names the number that made it fire, but for those that have none."""
    assert {rule.name for rule in ALERTS if "{{ $value" not in rule.annotations["description"]} == WITHOUT_A_VALUE.keys()


@each_alert
def test_every_alert_has_its_heading_in_the_runbook(rule: AlertRule) -> None:
    """The link leads to a heading that is there."""
    assert (ROOT / rule.annotations["runbook"]).is_file()
    assert rule.annotations["runbook_url"].partition("#")[2] in anchors(RUNBOOKS / "binance-streaming.md")


@each_alert
def test_labels_are_of_the_closed_set(rule: AlertRule) -> None:
    """Severity and service, no more, so that a route can count on them."""
    assert rule.labels.keys() == {"severity", "service"}
    assert rule.labels["service"] == "binance-client"
    assert rule.severity in SEVERITIES or (rule.name, rule.severity) == (WATCHDOG, "none")


@pytest.mark.parametrize("name", PROMISED)
def test_the_promised_alerts_are_there(name: str) -> None:
    """The three alerts of the runbook that this product grew from have their severities and their times."""
    rule = alert(name)
    assert (rule.severity, rule.wait) == PROMISED[name]


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_rules_speak_of_metrics_that_exist(name: str) -> None:
    """Every name in an expression is in the catalogue, recorded, or every process's."""
    known = {exposed_name(row) for row in CATALOGUE} | OF_PROMETHEUS
    assert {catalogue_name(metric) for metric in metrics_in(EXPRESSIONS[name])} <= known


def test_every_metric_is_watched_or_said_not_to_be() -> None:
    """Whoever adds a metric decides whether it means trouble: then it gets an alert, else a line in NOT_ALERTED."""
    watched = {catalogue_name(metric) for rule in ALERTS for metric in metrics_in(rule.expr)} - OF_PROMETHEUS
    assert watched & NOT_ALERTED.keys() == set()
    assert {exposed_name(row) for row in CATALOGUE} == watched | NOT_ALERTED.keys()


class Exposed:
    """What a client exposes before anything has happened to it: each series with its labels."""

    def __init__(self, text: str) -> None:
        families = text_string_to_metric_families(text)
        self._series = [(sample.name, sample.labels) for family in families for sample in family.samples]

    def values(self, metric: str, label: str) -> set[str]:
        return {labels[label] for name, labels in self._series if name == metric and label in labels}


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exposed]:
    assembly = Assembly(f"127.0.0.1:{free_port()}", tmp_path_factory.mktemp("dlq"))
    yield Exposed(Exposition(assembly.readings).render()[0].decode())
    assembly.close()


def wanted(matcher: promql_parser.Matcher) -> set[str]:
    """The values that a matcher names. Not a pattern beyond alternatives: the rules need none."""
    return set(matcher.value.split("|")) if matcher.op == promql_parser.MatchOp.Re else {matcher.value}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_rules_ask_for_label_values_that_exist(name: str, exposed: Exposed) -> None:
    """Every label value in a selector is one that the client exposes from its first scrape on, so a first rise is seen."""
    for selector, _ in selectors(EXPRESSIONS[name]):
        for matcher in selector.matchers.matchers:
            if matcher.name not in OF_THE_SCRAPE:
                assert wanted(matcher) <= exposed.values(selector.name or "", matcher.name), selector


def test_rules_count_on_the_job_of_the_scrape() -> None:
    """Where a rule names a job, it is the one under which prometheus.yml scrapes the client."""
    selected = [selector for text in EXPRESSIONS.values() for selector, _ in selectors(text)]
    named = {matcher.value for selector in selected for matcher in selector.matchers.matchers if matcher.name == "job"}
    scraped = [config["job_name"] for config in read_yaml(PROMETHEUS / "prometheus.yml")["scrape_configs"]]
    assert named == {"binance-client"} <= set(scraped)


def test_the_lists_of_targets_are_files() -> None:
    """One client, three shards, or the demo's; a client that crashed stays on its list, and the usual one is scraped."""
    config = read_yaml(PROMETHEUS / "prometheus.yml")["scrape_configs"][0]
    assert config["file_sd_configs"] == [{"files": ["targets/binance-client.yml"]}]
    lists = {file.stem: read_yaml(file)[0]["targets"] for file in (PROMETHEUS / "targets").iterdir()}
    assert lists == {
        "binance-client": ["binance-client:8001"],
        "demo": ["demo-client:8001"],
        "sharded": [f"binance-client-{shard}:8001" for shard in range(3)],
    }
