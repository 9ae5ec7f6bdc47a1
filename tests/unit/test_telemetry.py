"""The catalogue of metrics as Prometheus reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from faults.assembly import QUEUE_MESSAGES, Assembly, frame_of, trade_event
from k2.ingestion.adapters.feed.policy import Cause
from k2.ingestion.adapters.feed.port import ConnectFailure, LinkClosed
from k2.ingestion.core.outcome import EVENT_FAILURES, ControlKind, IgnoreReason
from k2.ingestion.dead_letter_desk import RECORD_REASONS
from k2.ingestion.telemetry import CATALOGUE, MAX_STREAM_SERIES, Exposition, MetricRow, exposed_name, metrics_table
from kit.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prometheus_client.metrics_core import Metric

# What the runbook that this product grew from names: kind and labels. None carries a symbol or a connection.
RUNBOOK = {
    "binance_connection_state": ("gauge", ()),
    "binance_connection_errors_total": ("counter", ()),
    "binance_reconnections_total": ("counter", ()),
    "binance_messages_received_total": ("counter", ()),
    "binance_message_errors_total": ("counter", ()),
    "binance_message_latency_seconds": ("histogram", ()),
    "kafka_messages_produced_total": ("counter", ("exchange",)),
    "kafka_produce_errors_total": ("counter", ("exchange",)),
}
CLOSED_SETS: dict[tuple[str, str], set[str]] = {
    ("k2_connection_errors_by_kind_total", "kind"): {
        *(kind.value for kind in ConnectFailure), "http_418", "http_429", "http_451", "http_other",
    },
    ("k2_disconnections_total", "cause"): {cause.value for cause in Cause},
    ("k2_control_frames_total", "kind"): {kind.value for kind in ControlKind},
    ("k2_events_ignored_total", "reason"): {reason.value for reason in IgnoreReason},
    ("k2_dead_letters_total", "stage"): {stage.value for stage, _ in EVENT_FAILURES},
    ("k2_dead_letters_total", "reason"): {reason.value for _, reason in EVENT_FAILURES},
    ("k2_dead_letter_records_total", "reason"): {reason.value for reason in RECORD_REASONS},
    ("k2_reading_state", "state"): {"flowing", "paused", "held"},
    ("kafka_messages_produced_total", "exchange"): {"BINANCE"},
    ("kafka_produce_errors_total", "exchange"): {"BINANCE"},
    ("k2_records_made_total", "origin"): {"stream"},
    ("k2_stage_latency_seconds", "stage"): {"exchange", "process", "acknowledge"},
    ("k2_start_waiting_for", "part"): {"broker", "registry", "exchange"},
    ("k2_directory_free_bytes", "directory"): {"dead_letters"},
}  # fmt: skip
SYMBOLS = ("BTCUSDT", "ETHUSDT")
rows = pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.name)


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Assembly]:
    """A client to which a little of everything has happened; its broker is not there."""
    assembly = Assembly(f"127.0.0.1:{free_port()}", tmp_path_factory.mktemp("dlq"), symbols=SYMBOLS)
    assembly.happenings.connected("ws://x")
    assembly.happenings.disconnected(Cause.RESET, LinkClosed(1006, "", by_us=False))
    assembly.happenings.connect_failed(ConnectFailure.DNS, "?", 1.0)
    assembly.happenings.refused(503, "?", 1.0)
    assembly.happenings.connected("ws://x")
    numbers = (1, 2, 5, 4, 4)  # a gap of two, one of which is filled late and then seen again
    assembly.read(*(frame_of(trade_event(number)) for number in numbers))
    assembly.read(frame_of(trade_event(1, symbol="ETHUSDT", zz=1)), b"{")
    assembly.sink.error_codes["INVALID_RECORD"] = 2
    assembly.sink.latency.observe(3_000_000)
    assembly.readings.set_connected(True)
    yield assembly
    assembly.close()


@pytest.fixture(scope="module")
def text(assembly: Assembly) -> str:
    exposition, content_type = Exposition(assembly.readings).render()
    assert content_type.startswith("text/plain; version=")
    return exposition.decode()


@pytest.fixture(scope="module")
def families(text: str) -> dict[str, Metric]:
    """By name, as prometheus_client's own parser reads the exposition back: counters without `_total`."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    found = [s.value for family in families.values() for s in family.samples if s.name == name and s.labels == labels]
    assert len(found) == 1, (name, labels, found)
    return float(found[0])


class TestExposition:
    @rows
    def test_every_row_is_rendered(self, families: dict[str, Metric], row: MetricRow) -> None:
        """Under its name, with its kind and its meaning as help."""
        family = families[row.name]
        assert (family.type, family.documentation) == (row.kind, row.meaning)
        assert all(set(sample.labels) - {"le"} == set(row.labels) for sample in family.samples)

    @rows
    def test_names_follow_the_conventions(self, row: MetricRow) -> None:
        """Counters end in _total and nothing else does; base units; help that is a sentence; no label that is reserved."""
        name = exposed_name(row)
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert name.endswith("_total") == (row.kind == "counter")
        assert not re.search(r"_(ms|us|ns|milliseconds|minutes|kib|mib|kb|mb|count|sum|bucket|total_total)(_|$)", name)
        assert row.meaning.endswith(".")
        assert not set(row.labels) & {"le", "quantile", "job", "instance"}
        assert all(re.fullmatch(r"[a-z_]+", label) for label in row.labels)

    def test_names_are_unique(self, text: str) -> None:
        """No name is claimed twice, by ours or by those of the process."""
        typed = re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)
        assert len(typed) == len(set(typed))
        assert len({row.name for row in CATALOGUE}) == len(CATALOGUE)

    def test_no_series_appears_twice(self, families: dict[str, Metric]) -> None:
        """Name and labels together identify a series, or Prometheus rejects the whole scrape."""
        series = [(s.name, tuple(sorted(s.labels.items()))) for family in families.values() for s in family.samples]
        assert len(series) == len(set(series))

    def test_the_runbooks_metrics(self) -> None:
        """Every name of the runbook is there, in its kind, and with the labels that its queries use and no others."""
        found = {exposed_name(row): (row.kind, row.labels) for row in CATALOGUE}
        assert {name: found.get(name) for name in RUNBOOK} == RUNBOOK

    @pytest.mark.parametrize(("name", "label"), CLOSED_SETS)
    def test_label_values_are_closed_sets(self, families: dict[str, Metric], name: str, label: str) -> None:
        """All values are there from the start, and none can be added from outside."""
        family = families[name.removesuffix("_total")]
        names = {name, f"{name}_count"}
        assert {sample.labels[label] for sample in family.samples if sample.name in names} == CLOSED_SETS[name, label]

    def test_the_process_is_told_too(self, families: dict[str, Metric]) -> None:
        """Memory, descriptors and Python's own numbers come with it."""
        assert value(families, "process_resident_memory_bytes") > 1e6
        assert "python_info" in families


class TestValues:
    @pytest.mark.parametrize(
        ("name", "labels", "expected"),
        [
            ("binance_connection_state", {}, 1),
            ("binance_connection_errors_total", {}, 2),
            ("k2_connection_errors_by_kind_total", {"kind": "dns"}, 1),
            ("k2_connection_errors_by_kind_total", {"kind": "tls"}, 0),
            ("binance_reconnections_total", {}, 1),
            ("k2_disconnections_total", {"cause": "reset"}, 1),
            ("binance_messages_received_total", {}, 7),
            ("binance_message_errors_total", {}, 1),
            ("k2_events_published_total", {}, 5),
            ("k2_events_ignored_total", {"reason": "duplicate"}, 1),
            ("k2_events_unaccounted", {}, 0),
            ("k2_dead_letters_total", {"stage": "decode", "reason": "not_json"}, 1),
            ("k2_records_made_total", {"origin": "stream"}, 5),
            ("k2_records_in_flight", {}, 5),
            ("k2_records_unaccounted", {}, 0),
            ("kafka_messages_produced_total", {"exchange": "BINANCE"}, 0),
            ("k2_producer_errors_by_code_total", {"code": "INVALID_RECORD"}, 2),
            ("k2_gaps_total", {}, 1),
            ("k2_gap_ids_skipped_total", {}, 2),
            ("k2_gap_ids_filled_total", {}, 1),
            ("k2_gaps_open", {}, 1),
            ("k2_ids_missing", {}, 1),
            ("k2_unknown_fields_total", {}, 1),
            ("k2_streams", {}, 2),
            ("k2_start_waiting_for", {"part": "registry"}, 1),
            ("k2_producer_queue_capacity_bytes", {}, QUEUE_MESSAGES * 1_000),
            ("k2_stage_latency_seconds_count", {"stage": "process"}, 2),
            ("k2_stage_latency_seconds_count", {"stage": "exchange"}, 2),
            ("k2_stage_latency_seconds_count", {"stage": "acknowledge"}, 0),
            ("k2_dead_letters_writable", {}, 1),
            ("k2_reading_state", {"state": "flowing"}, 1),
            ("k2_stream_events_published_total", {"stream": "btcusdt@aggTrade"}, 4),
            ("binance_message_latency_seconds_count", {}, 1),
            ("binance_message_latency_seconds_sum", {}, 0.003),
            ("binance_message_latency_seconds_bucket", {"le": "0.0025"}, 0),
            ("binance_message_latency_seconds_bucket", {"le": "0.005"}, 1),
            ("binance_message_latency_seconds_bucket", {"le": "+Inf"}, 1),
        ],
    )
    def test_what_was_counted_is_shown(
        self, families: dict[str, Metric], name: str, labels: dict[str, str], expected: float
    ) -> None:
        """A little of everything has happened; every number is that of what happened."""
        assert value(families, name, **labels) == expected

    def test_streams_past_the_first_hundred_are_one(self, tmp_path: Path) -> None:
        """However many symbols there are, a scrape stays small; the sum over all series stays right."""
        symbols = tuple(f"COIN{number}USDT" for number in range(MAX_STREAM_SERIES + 20))
        assembly = Assembly(f"127.0.0.1:{free_port()}", tmp_path / "dlq", symbols=symbols)
        assembly.read(*(frame_of(trade_event(1, symbol=symbol)) for symbol in symbols))
        exposition, _ = Exposition(assembly.readings).render()
        assembly.close()
        families = {family.name: family for family in text_string_to_metric_families(exposition.decode())}
        by_stream = families["k2_stream_events_published"].samples
        assert len(by_stream) == MAX_STREAM_SERIES + 1
        assert sum(sample.value for sample in by_stream) == len(symbols)
        assert value(families, "k2_stream_events_published_total", stream="other") == 20


class TestTable:
    def test_it_lists_every_metric(self) -> None:
        """One line a metric, with its exposed name, kind and labels."""
        lines = metrics_table().splitlines()[2:]
        assert len(lines) == len(CATALOGUE)
        for row, line in zip(CATALOGUE, lines, strict=True):
            assert line.startswith(f"| `{exposed_name(row)}` | {row.kind} |")
            assert all(f"`{label}`" in line for label in row.labels)
            assert row.meaning in line

    @rows
    def test_no_cell_breaks_it(self, row: MetricRow) -> None:
        """A bar or a line feed in a meaning would break the table."""
        assert not set(row.meaning) & set("|\n")
