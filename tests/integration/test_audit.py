"""`k2 audit` on a real Kafka and a real registry: zeros after the real client, and every fault that is put into the topic."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from integration.filled import FIRST_MS, FilledTopic, Put, Tool
from integration.support import Rig
from integration.test_recordings import SPOT_2021, SPOT_2024, USDM_2021, USDM_2024, Case, recording_path
from k2.simulator.recorded import RecordedMarket
from k2.simulator.recording import load
from kit.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from k2.ingestion.core.outcome import Headers
    from kit.kafka import KafkaBroker
    from kit.registry import SchemaRegistry

FOUND, CONFIGURATION, UNAVAILABLE = 1, 2, 69
EVENTS = 40
FAULTS = ("lost", "doubled", "disordered", "changed", "undecodable")

Verdict = dict[str, Any]


@pytest.fixture
def filled(kafka: KafkaBroker, registry: SchemaRegistry, topic: str) -> FilledTopic:
    return FilledTopic(kafka, registry, topic, partitions=2)


@pytest.fixture
def recording(filled: FilledTopic, tmp_path: Path) -> Path:
    """A recording of forty trades whose right records `filled.trade` makes, among frames of other streams."""
    frames = [{"stream": "btcusdt@bookTicker", "data": {"u": 1, "s": "BTCUSDT"}}]
    frames += [{"stream": "btcusdt@trade", "data": filled.event(number)} for number in range(EVENTS)]
    lines = (f"{FIRST_MS + number}000000 {json.dumps(frame)}\n" for number, frame in enumerate(frames))
    path = tmp_path / "recording.gz"
    path.write_bytes(gzip.compress("".join(lines).encode()))
    return path


def audited(tool: Tool, exit_code: int) -> Verdict:
    """The verdict that a tool prints as JSON."""
    assert tool.wait(60) == exit_code, tool.output
    assert tool.stderr == ""
    verdict: Verdict = json.loads(tool.stdout)
    assert verdict["clean"] == (exit_code == 0)
    return verdict


@pytest.fixture
def audit(filled: FilledTopic, recording: Path, tmp_path: Path) -> Iterator[Callable[..., Tool]]:
    """Starts the tool on the topic and the recording."""
    started: list[Tool] = []

    def start(*arguments: object, **options: Any) -> Tool:
        started.append(Tool("audit", filled, "--against", recording, *arguments, cwd=tmp_path, **options))
        return started[-1]

    yield start
    for process in started:
        process.close()


@pytest.mark.parametrize(
    ("case", "times"),
    [
        pytest.param(SPOT_2024, "original", id="spot-2024"),
        pytest.param(SPOT_2024, "now", id="spot-2024-with-times-of-now"),
        pytest.param(USDM_2024, "original", id="usdm-2024"),
        pytest.param(SPOT_2021, "original", id="spot-2021"),
        pytest.param(USDM_2021, "original", id="usdm-2021"),
    ],
)
def test_what_the_client_made_of_a_recording_is_clean(rig: Rig, tmp_path: Path, case: Case, times: Any) -> None:
    """After a replay through the real client the audit finds zeros; the market and the stream it reads off the topic."""
    path = recording_path(case)
    exchange = rig.exchange(RecordedMarket(load(path), speed=None, times=times))
    asked = ("--market", case.market, "--stream", case.stream, "--retention-ms", -1)
    client = rig.client(exchange.ws_url, *asked, symbols=case.symbols)
    client.wait_for_produced(case.trades, timeout_s=40)
    client.stopped()
    flags = ["--ignore-times"] if times == "now" else []
    with Tool("audit", rig, "--against", path, "--json", *flags, cwd=tmp_path) as tool:
        verdict = audited(tool, 0)
    assert [verdict[kind] for kind in (*FAULTS, "beyond", "currency_differs", "unpublishable")] == [0] * 8
    assert (verdict["market"], verdict["stream"], verdict["events"], verdict["records"]) == (
        case.market, case.stream, case.trades, case.trades,
    )  # fmt: skip


def test_every_fault_is_counted(filled: FilledTopic, audit: Callable[..., Tool]) -> None:
    """A record left out, one that comes again, one changed, one out of order, one late and marked so, one that none can read."""
    right = [filled.trade(number) for number in range(EVENTS)]
    lost, changed, disordered, late = 3, 10, 20, 30
    topic = [*right[:lost], *right[lost + 1 :]]
    topic[topic.index(right[changed])] = right[changed]._replace(at_ms=FIRST_MS, key="ETHUSDT")
    moved: dict[int, Headers | None] = {disordered: None, late: [("k2-source", b"late")]}
    for number, headers in moved.items():
        topic.remove(right[number])
        topic.insert(topic.index(right[number + 2]) + 1, right[number]._replace(headers=headers))
    filled.put([*topic, right[0], Put("BTCUSDT", b"hello", FIRST_MS), filled.trade(EVENTS)])
    verdict = audited(audit("--json"), FOUND)
    assert {kind: verdict[kind] for kind in (*FAULTS, "beyond")} == {
        "lost": 1, "doubled": 1, "disordered": 1, "changed": 1, "undecodable": 1, "beyond": 1,
    }  # fmt: skip
    examples = verdict["examples"]
    assert [examples[kind][0]["message_id"].rpartition(".")[2] for kind in ("lost", "doubled", "disordered", "changed")] == [
        str(number) for number in (lost, 0, disordered, changed)
    ]  # fmt: skip
    assert examples["changed"][0]["differences"] == [
        {"field": "key", "expected": "BTCUSDT", "found": "ETHUSDT"},
        {"field": "kafka_timestamp", "expected": FIRST_MS + 1_000 * changed, "found": FIRST_MS},
    ]
    assert examples["disordered"][0]["note"] == f"source_sequence {disordered} after {disordered + 2}"


def test_the_verdict_for_people(filled: FilledTopic, audit: Callable[..., Tool]) -> None:
    """Numbers with what they mean, the first few findings, and a last line that says it all."""
    filled.put(filled.trade(number) for number in range(EVENTS - 7))
    tool = audit("--show", 2)
    assert tool.wait() == FOUND
    lines = tool.stdout.splitlines()
    assert lines[1].split() == [str(EVENTS), "events", "recorded"]
    assert "           7  lost: recorded, and not in the topic" in lines
    assert lines[lines.index("lost, the first 2:") + 1].strip() == f"binance.spot.trade.BTCUSDT.{EVENTS - 7}"
    assert lines[-1] == "The topic does not hold what was recorded."


def test_an_empty_topic_has_lost_everything(audit: Callable[..., Tool]) -> None:
    """The recording tells what it should carry, and all of that is lost."""
    verdict = audited(audit("--json"), FOUND)
    assert (verdict["lost"], verdict["events"], verdict["records"]) == (EVENTS, EVENTS, 0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(
            ["--stream", "aggTrade"], "no aggTrade in it to compare the topic with; it holds 40 trade, 1 bookTicker", id="stream"
        ),
        pytest.param(["--symbols", "ETHUSDT"], "--symbols: the recording has no trade of ETHUSDT", id="symbol"),
        pytest.param(["--market", "coinm"], "--market: 'coinm' is not one of spot, usdm", id="market"),
        pytest.param(["--against", "/nowhere.gz"], "--against /nowhere.gz: cannot be read", id="recording"),
    ],
)
def test_what_cannot_be_compared_is_one_line(audit: Callable[..., Tool], arguments: list[str], told: str) -> None:
    """Nothing is a verdict where there is nothing to compare."""
    tool = audit(*arguments)
    assert tool.wait() == CONFIGURATION
    [line] = tool.stderr.splitlines()
    assert told in line


def test_a_broker_that_is_away(audit: Callable[..., Tool]) -> None:
    """It is waited for and given up as by the other tools."""
    address = f"127.0.0.1:{free_port()}"
    tool = audit("--startup-timeout", 1, environment={"KAFKA_BOOTSTRAP": address})
    assert tool.wait() == UNAVAILABLE
    [line] = tool.stderr.splitlines()
    assert address in line
