"""The runbooks are true: a heading for each alert, links that lead somewhere, nothing named that is not there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml

from k2.ingestion.core.outcome import Reason
from k2.ingestion.options import OPTIONS
from k2.ingestion.telemetry import CATALOGUE, exposed_name
from operations import docker_words
from operations.alert_rules import ALERTS as ALERTS_EVERYWHERE
from operations.alert_rules import RECORDING, SHARD_ALERTS
from operations.runbook_pages import (
    ALERT_PAGE,
    PAGES,
    ROOT,
    RUNBOOKS,
    Block,
    anchors,
    blocks,
    in_backticks,
    links,
    log_events,
    sections,
    text_of,
    without_fences,
)
from operations.shell import Command, commands

PARTS = ("Meaning", "Look first", "Do", "Confirm", "Escalate")
ALERTS = [*ALERTS_EVERYWHERE, *SHARD_ALERTS]
DOCUMENTS = [*PAGES, ROOT / "docs" / "architecture" / "streaming-sources.md"]
STREAMING = RUNBOOKS / f"{ALERT_PAGE}.md"
WORDS_OF_AN_ALERT = 230  # beside its commands; more is not read at three in the morning

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
PUBLISHED = {entry.split(":")[1] for spec in SERVICES.values() for entry in spec.get("ports", ())}

# Series that a client has beside its catalogue, and Prometheus beside the client.
COMMON_METRICS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"}
SUFFIXES = ("_bucket", "_count", "_sum")
METRICS = {exposed_name(row) for row in CATALOGUE} | COMMON_METRICS | {rule.name for rule in RECORDING}
METRIC_WORD = re.compile(r"\b(?:binance|kafka|k2)_[a-z0-9_]+\b")
METRIC_PATTERN = re.compile(r"\^?(?:binance|kafka|k2)_(?!client)")
VARIABLE = re.compile(r"\b(?:K2|BINANCE|KAFKA|SCHEMA_REGISTRY)_[A-Z0-9_]+\b")
# What compose, the broker and the pages themselves read beside the client's own variables.
OTHER_VARIABLES = {"K2_HOME"}
FILES = re.compile(r"(?<![\w/])(?:config|deploy|docs|scripts|src|schemas)/[\w./-]+\w")
IN_ALERTS = {section.title: section for section in sections(STREAMING) if section.level == 3}
ALERT_NAME = re.compile(r"Binance[A-Z]\w+|Watchdog")

PROGRAMS = {
    "awk", "bash", "cat", "curl", "date", "docker", "echo", "export", "grep", "head", "jq", "k2", "mv", "openssl", "printf", "ps",
    "python3", "rm", "sed", "sleep", "sort", "source", "tail", "tee", "timeout", "true", "umask", "uniq", "uv",
}  # fmt: skip


def test_every_alert_has_one_heading_and_every_heading_an_alert() -> None:
    """Whoever follows an alert's link finds its section, and no section speaks of an alert that is gone."""
    headings = [section.title for section in sections(STREAMING) if ALERT_NAME.fullmatch(section.title)]
    assert sorted(headings) == sorted(alert.name for alert in ALERTS)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_has_its_five_parts(alert: object) -> None:
    """Meaning, what to look at first, what to do, how to see that it worked, and whom to call: in this order, and short."""
    section = IN_ALERTS[alert.name]  # type: ignore[attr-defined]
    prose = without_fences(section.text)
    assert tuple(re.findall(r"(?m)^\*\*([A-Z][a-z ]+)\*\*", prose)) == PARTS
    assert len(prose.split()) < WORDS_OF_AN_ALERT


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_leads_to_its_section(alert: object) -> None:
    """The address in the alert ends in the anchor of its heading."""
    address = alert.annotations["runbook_url"]  # type: ignore[attr-defined]
    path, _, anchor = address.partition("#")
    assert path.endswith(STREAMING.relative_to(ROOT).as_posix())
    assert anchor == IN_ALERTS[alert.name].anchor  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """The file is there, and in it the heading behind the #."""
    broken = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_the_index_names_every_page_and_alert() -> None:
    """Nothing that could be looked for is missing from the index."""
    targets = {target.partition("#")[::2] for target in links(RUNBOOKS / "README.md")}
    assert {page.name for page in PAGES} - {path for path, _ in targets} == {"README.md"}
    assert {IN_ALERTS[alert.name].anchor for alert in ALERTS} - {anchor for _, anchor in targets} == set()


def test_the_index_sorts_alerts_by_their_severity() -> None:
    """Each alert stands in the row of the severity that it has."""
    rows = re.findall(r"(?m)^\| (critical|high|warning|info|none): [^|]*\| (.*) \|$", text_of(RUNBOOKS / "README.md"))
    listed = {name: severity for severity, cell in rows for name in re.findall(r"\[(\w+)\]", cell)}
    assert listed == {alert.name: alert.severity for alert in ALERTS}


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.stem)
def test_metrics_exist(page: Path) -> None:
    """Every metric that a page names is exported."""
    text = re.sub(r"grep (-\w+ )*'[^']*'|\bsecrets/\S+", "", text_of(page))  # patterns: see below; paths
    named = {word for word in METRIC_WORD.findall(text) if word not in _words_that_are_no_metric()}
    assert {word for word in named if not _is_metric(word)} == set()


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.stem)
def test_variables_exist(page: Path) -> None:
    """Every variable that a page names is read by the client, or by the compose file."""
    known = {option.variable for option in OPTIONS} | {option.file_variable for option in OPTIONS if option.secret}
    known |= set(VARIABLE.findall((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))) | OTHER_VARIABLES
    assert set(VARIABLE.findall(text_of(page))) - known == set()


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.stem)
def test_log_texts_are_the_codes(page: Path) -> None:
    """What a reader is told to look for in the log is written by the client in these words."""
    source = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "src" / "k2" / "ingestion").rglob("*.py"))
    assert [event for event in log_events(page) if event not in source] == []


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.stem)
def test_files_exist(page: Path) -> None:
    """Every file of the repository that a page names is there."""
    named = FILES.findall(re.sub(r"https?://\S+|\]\([^)]*\)", "", text_of(page)))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_reason_of_a_dead_letter_is_told() -> None:
    """The table by reason leaves none out and invents none."""
    [by_reason] = [section for section in sections(RUNBOOKS / "dead-letter-queue.md") if section.title == "By reason"]
    rows = [line.split("|")[2] for line in by_reason.text.splitlines() if line.startswith("| ") and "`" in line.split("|")[2]]
    assert {word for row in rows for word in re.findall(r"`(\w+)`", row)} == set(Reason)


@pytest.mark.parametrize("block", blocks("promql"), ids=lambda block: block.place)
def test_a_query_parses(block: Block) -> None:
    """Prometheus' own grammar takes it."""
    promql_parser.parse(block.text)


@pytest.mark.parametrize("block", blocks("bash"), ids=lambda block: block.place)
class TestCommands:
    def test_bash_takes_it(self, block: Block) -> None:
        """No quote is left open."""
        checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")

    def test_its_programs_are_known(self, block: Block) -> None:
        """Nothing is called that nobody has tried."""
        assert {command.program for command in commands(block.text)} - PROGRAMS == set()

    def test_docker_is_spoken_to_in_its_words(self, block: Block) -> None:
        """Subcommands, options and services of docker are there."""
        for command in _of("docker", block):
            asked = docker_words.parse(command.words)
            services = [*getattr(asked, "services", []), *([asked.service] if hasattr(asked, "service") else [])]
            assert set(services) <= set(SERVICES)
            if (container := getattr(asked, "container", None)) is not None:
                assert container in _containers()

    def test_queries_in_it_parse(self, block: Block) -> None:
        """What is sent to Prometheus is a query, and encoded."""
        for command in _of("curl", block):
            for word in command.words:
                if word.startswith("query="):
                    promql_parser.parse(word.removeprefix("query="))
                    assert "--data-urlencode" in command.words
            assert not any("query=" in word for word in command.words if word.startswith("http"))

    def test_metrics_grepped_for_exist(self, block: Block) -> None:
        """Each alternative of a pattern that is laid over `/metrics` finds a metric."""
        patterns = [word for command in _of("grep", block) for word in command.words if METRIC_PATTERN.match(word)]
        alternatives = [one for pattern in patterns for one in _alternatives(pattern)]
        assert [one for one in alternatives if not any(re.search(one, f"{metric} 1.0") for metric in METRICS)] == []

    def test_ports_are_published(self, block: Block) -> None:
        """Every port of localhost is one that compose publishes; `9092` inside the broker's container is its own."""
        assert set(re.findall(r"localhost:(\d+)", block.text)) <= PUBLISHED


def _of(program: str, block: Block) -> list[Command]:
    return [command for command in commands(block.text) if command.program == program]


def _containers() -> set[str]:
    """The names that compose gives, and those that the pages give themselves."""
    given = {spec["container_name"] for spec in SERVICES.values() if "container_name" in spec}
    named = {
        name
        for block in blocks("bash")
        for command in _of("docker", block)
        for name in getattr(docker_words.parse(command.words), "name", None) or ()
        if isinstance(name, str)
    }
    return given | named


def _alternatives(pattern: str) -> list[str]:
    """A pattern taken apart at its bars, so that each part can be seen to find something."""
    group = re.search(r"\(([^()]*)\)", pattern)
    if group is None:
        return pattern.split("|")
    return [
        one for choice in group[1].split("|") for one in _alternatives(pattern[: group.start()] + choice + pattern[group.end() :])
    ]


def _words_that_are_no_metric() -> set[str]:
    """Words that look like metrics: modules, files, and the groups of rules."""
    return {"binance_client", "binance_alerts", "binance_streaming", "binance_recording"}


def _is_metric(word: str) -> bool:
    base = next((word.removesuffix(suffix) for suffix in SUFFIXES if word.endswith(suffix)), word)
    return base in METRICS or word in METRICS or any(name.startswith(word) for name in METRICS if word.endswith("_"))


def test_backticks_name_alerts_that_exist() -> None:
    """No page speaks of an alert that there is not."""
    known = {alert.name for alert in ALERTS}
    named = {name for page in DOCUMENTS for name in re.findall(r"\bBinance[A-Z][A-Za-z]+\b", text_of(page))}
    named |= {word for page in DOCUMENTS for word in in_backticks(page) if re.fullmatch(r"Binance[A-Z]\w+", word)}
    assert named - known == set()
