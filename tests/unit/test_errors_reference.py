"""The reference of errors is true: its tests exist, every test of an error is in it, and codes, texts and metrics are ours."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from faults.test_exchange_answers import HANDSHAKE, REST
from faults.test_registry_answers import CASES as REGISTRY
from faults.test_tls_faults import REFUSED as TLS
from integration.test_secure_connections import REFUSED as SECURED
from k2.errors import EXIT_CONFIGURATION, EXIT_FATAL, EXIT_OK, EXIT_UNAVAILABLE
from k2.ingestion.core.delivery import CODES, Concern, concern_of, write_outcome
from k2.ingestion.delivery_reference import OTHER, course_of
from k2.ingestion.options import BY_FLAG
from k2.ingestion.telemetry import CATALOGUE, exposed_name

REPOSITORY = Path(__file__).parents[2]
TESTS = REPOSITORY / "tests"
PAGE = (REPOSITORY / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")

# Every test of these files stands on the page.
COMPLETE = ("broker_codes", "registry_answers", "exchange_answers", "tls_faults", "full_disk")

# The exit code of every case of a test's table, each of which stands on the page.
GOES_ON = None
TABLES: dict[str, Mapping[str, int | None]] = {
    "test_an_answer_that_is_no_help_ends_the_start": {name: case.exit_code for name, case in REGISTRY.items()},
    "TestBrokerAndRegistry::test_the_start_is_refused": {"-".join(case): exit_code for case, (exit_code, _) in TLS.items()},
    "test_the_start_does_without_metadata": dict.fromkeys(REST, GOES_ON),
    "test_a_refusal_is_told_paced_and_lived_through": dict.fromkeys(HANDSHAKE, GOES_ON),
    "test_who_may_not_is_told_why": dict.fromkeys(SECURED, EXIT_CONFIGURATION),
}

# What stands in the source of a test that proves this exit code: the code by its name, or the error that ends with it.
ASSERTED_AS = {
    EXIT_OK: r"stopped\(",
    EXIT_CONFIGURATION: "CONFIGURATION|ConfigurationError",
    EXIT_UNAVAILABLE: "UNAVAILABLE|UnavailableError",
    EXIT_FATAL: "FATAL|FatalError",
}

TEST = re.compile(r"`((?:faults|integration|unit)/\w+\.py)::([\w:]+)`(?: \[([\w, -]+)\])?")
LOG_EVENT = re.compile(r"log `([^`]+)`")
METRIC = re.compile(r"`((?:binance|kafka|k2)_\w+)`")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+[a-z]")


class Named(NamedTuple):
    """A test that a row names: its file, its function with the class, and the cases of its table."""

    file: str
    name: str
    cases: tuple[str, ...]


class Row(NamedTuple):
    """One error of the page."""

    error: str
    client: str
    operator: str
    exit_code: str
    tests: tuple[Named, ...]


def _cells(columns: int) -> list[list[str]]:
    """The rows of all tables with so many columns, headers and rules left out."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in rows if len(row) == columns and row[0] not in {"Error", "Code"}]


def _named(text: str) -> tuple[Named, ...]:
    found = tuple(Named(file, name, tuple(filter(None, cases.split(", ")))) for file, name, cases in TEST.findall(text))
    assert found, f"no test is named: {text}"
    assert len(found) == text.count("::test_"), f"a test is not spelled as a file, a function and cases: {text}"
    return found


ROWS = [Row(error, client, operator, code, _named(tests)) for error, client, operator, code, tests in _cells(5)]
BY_ERROR = {f"{index}-{row.error}": row for index, row in enumerate(ROWS)}


@cache
def functions_of(file: str) -> Mapping[str, str]:
    """The source of each test of a file, by its name with its class."""
    text = (TESTS / file).read_text(encoding="utf-8")
    return dict(_functions(ast.parse(text), text))


def _functions(tree: ast.AST, text: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, text, f"{node.name}::")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield f"{prefix}{node.name}", ast.get_source_segment(text, node) or ""


@pytest.mark.parametrize("row", BY_ERROR.values(), ids=BY_ERROR)
def test_the_tests_of_a_row_exist_and_prove_its_exit_code(row: Row) -> None:
    """Each names functions that are there, with cases of their tables, and none that ends with another exit code than the row."""
    exit_code = int(row.exit_code) if row.exit_code else GOES_ON
    for named in row.tests:
        source = functions_of(named.file)[named.name]
        if named.name in TABLES and named.cases:
            table = TABLES[named.name]
            assert {table[case] for case in named.cases} == {exit_code}
        elif exit_code is not GOES_ON:
            assert re.search(ASSERTED_AS[exit_code], source)


def test_every_test_of_an_error_stands_on_the_page() -> None:
    """Nothing that these files prove is missing from the reference."""
    named = {(test.file, test.name) for row in ROWS for test in row.tests}
    files = [f"faults/test_{name}.py" for name in COMPLETE]
    assert {(file, name) for file in files for name in functions_of(file)} - named == set()


def test_every_case_of_a_table_stands_on_the_page_once() -> None:
    """Whatever a peer can answer has its row."""
    cases: defaultdict[str, list[str]] = defaultdict(list)
    for test in (test for row in ROWS for test in row.tests):
        cases[test.name] += test.cases
    assert {name: sorted(cases[name]) for name in TABLES} == {name: sorted(table) for name, table in TABLES.items()}


def test_every_code_is_judged_as_the_code_does() -> None:
    """The table of Kafka's codes gives concern, course and outcome of each; all that are known are in it."""
    table = {code.strip("`"): (concern, course, outcome) for code, concern, course, outcome in _cells(4)}
    assert table.keys() == {code for codes in CODES.values() for code in codes} | {OTHER}
    for code, told in table.items():
        assert told == (concern_of(code).value.replace("_", " "), course_of(code), f"`{write_outcome(code)}`")
    assert {concern for concern, _, _ in table.values()} == {concern.value.replace("_", " ") for concern in Concern}


def test_log_events_metrics_and_flags_are_the_codes() -> None:
    """What an operator is told to look for can be found: log events word for word, metrics and flags by name."""
    source = "\n".join(file.read_text(encoding="utf-8") for file in (REPOSITORY / "src" / "k2" / "ingestion").rglob("*.py"))
    in_variables = {"Waiting for the broker", "Waiting for the registry"}  # f"Waiting for the {what}"
    assert {event for event in LOG_EVENT.findall(PAGE) if event not in source} <= in_variables
    assert set(METRIC.findall(PAGE)) - {exposed_name(row) for row in CATALOGUE} == set()
    switched_off = {f"--no-{flag.removeprefix('--')}" for flag in BY_FLAG}
    assert set(FLAG.findall(PAGE)) - set(BY_FLAG) - switched_off == set()
