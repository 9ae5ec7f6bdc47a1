"""The benchmark runs, against the real parts, and says what it promises to say. How fast anything is, no test asks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kit.kafka import KafkaBroker
    from kit.registry import SchemaRegistry

ROOT = Path(__file__).parents[2]
SMALL = ("--messages", "2000", "--textbook-messages", "300", "--rounds", "1", "--paced-seconds", "1")
PROMISED = (
    "cpu_us_per_message", "floor_us_per_message", "textbook_us_per_message", "messages_per_second", "p99_ms_at_10k", "rss_mb",
)  # fmt: skip


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.client", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def outcome(kafka: KafkaBroker, registry: SchemaRegistry) -> dict[str, Any]:
    """The last line of one small measurement."""
    done = run(*SMALL, "--quick", "--kafka-bootstrap", kafka.bootstrap, "--schema-registry", registry.url)
    assert done.returncode == 0, done.stdout + done.stderr
    parsed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return parsed


@pytest.mark.parametrize("key", PROMISED)
def test_the_last_line_holds_every_promised_number(outcome: dict[str, Any], key: str) -> None:
    """The last line is one JSON object, and each of its numbers is more than nothing."""
    assert outcome[key] > 0


def test_the_counts_asked_for_are_the_counts_measured(outcome: dict[str, Any]) -> None:
    """What is given beside --quick wins over it."""
    assert (outcome["messages"], outcome["rounds"]) == (2000, 1)


def test_a_measurement_of_nothing_is_refused() -> None:
    """A count below 1 ends with 2 and names the option."""
    refused = run("--messages", "0")
    assert (refused.returncode, "--messages" in refused.stderr) == (2, True)
