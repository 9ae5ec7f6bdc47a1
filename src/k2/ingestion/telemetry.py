"""
The catalogue of metrics: every name, its kind, its meaning and where it is read, once.

Nothing is counted here. The parts of the client count in plain integers, and this collector reads them when Prometheus asks, so
that a scrape costs the scrape and not the hot path. The names without the prefix `k2_` are those of the runbook and carry no
symbol and no connection; break-downs have names of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from k2.ingestion.core.outcome import Origin
from k2.ingestion.core.tally import NS_PER_SECOND, DurationTally
from k2.ingestion.health_details import STREAMS_LISTED
from k2.ingestion.readings import Readings

MAX_STREAM_SERIES = STREAMS_LISTED  # the rest is one series called `other`

Value = float | DurationTally
Samples = dict[tuple[str, ...], Value]
Reading = Value | Samples


class MetricRow(Struct, frozen=True):
    """One metric. `read` returns a number, or a tally for a histogram; by label values where there are labels."""

    name: str
    kind: str
    meaning: str
    read: Callable[[Readings], Reading]
    labels: tuple[str, ...] = ()


def _by(counts: Mapping[str, float]) -> Samples:
    """Counts under one label."""
    return {(key,): float(value) for key, value in counts.items()}


_BINANCE = ("BINANCE",)
_STREAM = (Origin.STREAM.value,)

CATALOGUE: tuple[MetricRow, ...] = (
    MetricRow("binance_connection_state", "gauge", "1 while every wanted stream has a live connection, else 0.",
              lambda r: r.connected),
    MetricRow("binance_connection_errors", "counter", "Attempts to connect that failed: DNS, TCP, TLS, time-outs, HTTP refusals.",
              lambda r: r.happenings.connection_errors.total()),
    MetricRow("binance_reconnections", "counter", "Connections established after the first one.",
              lambda r: r.happenings.reconnections),
    MetricRow("binance_messages_received", "counter", "Market-data events received. Equals published + dead-lettered + ignored.",
              lambda r: r.engine.received),
    MetricRow("binance_message_errors", "counter", "Events that became dead letters because they could not be understood.",
              lambda r: r.engine.dead_lettered),
    MetricRow("binance_message_latency_seconds", "histogram",
              "From the frame's receipt to Kafka's acknowledgement, on the monotonic clock.",
              lambda r: r.sink.latency),
    MetricRow("kafka_messages_produced", "counter", "Records that Kafka acknowledged.",
              lambda r: {_BINANCE: r.sink.delivered}, ("exchange",)),
    MetricRow("kafka_produce_errors", "counter", "Failed deliveries, events not serialized, errors of the Kafka client.",
              lambda r: {_BINANCE: r.produce_errors}, ("exchange",)),
    MetricRow("k2_connection_errors_by_kind", "counter", "Failed attempts to connect, by kind.",
              lambda r: _by(r.happenings.connection_errors), ("kind",)),
    MetricRow("k2_disconnections", "counter", "Connections that ended, by cause.",
              lambda r: _by(r.happenings.disconnections), ("cause",)),
    MetricRow("k2_subscriptions_refused", "counter", "Subscription requests that the exchange answered with an error.",
              lambda r: r.happenings.subscriptions_refused),
    MetricRow("k2_streams", "gauge", "Streams that are to be received.", lambda r: len(r.rows)),
    MetricRow("k2_streams_silent", "gauge", "Subscribed streams that brought no event for longer than the silence timeout.",
              lambda r: len(r.silent_streams)),
    MetricRow("k2_frames_received", "counter", "WebSocket messages received, protocol frames included.",
              lambda r: r.engine.frames),
    MetricRow("k2_frame_bytes_received", "counter", "Bytes of those messages.", lambda r: r.engine.frame_bytes),
    MetricRow("k2_control_frames", "counter", "Frames of the exchange's protocol, by kind. They carry no event.",
              lambda r: _by(r.engine.controls), ("kind",)),
    MetricRow("k2_events_published", "counter", "Events that were handed on for delivery.", lambda r: r.engine.published),
    MetricRow("k2_events_ignored", "counter", "Well-formed events that are not published, by reason.",
              lambda r: _by(r.engine.ignored), ("reason",)),
    MetricRow("k2_events_unaccounted", "gauge", "received - published - dead-lettered - ignored. Not 0: a defect.",
              lambda r: r.engine.ledger.unaccounted),
    MetricRow("k2_dead_letters", "counter", "Dead letters of events, by stage and reason.",
              lambda r: {key: float(count) for key, count in r.engine.letters.items()}, ("stage", "reason")),
    MetricRow("k2_dead_letter_records", "counter", "Dead letters of records that could not be delivered, by reason.",
              lambda r: _by(r.letters.records), ("reason",)),
    MetricRow("k2_dead_letters_written", "counter", "Dead letters that are on the disk.", lambda r: r.letters.box.written),
    MetricRow("k2_dead_letters_pending", "gauge", "Dead letters accepted and not on the disk yet.",
              lambda r: r.letters.box.pending),
    MetricRow("k2_dead_letters_writable", "gauge", "1 while dead letters can be written.", lambda r: r.letters.box.writable),
    MetricRow("k2_dead_letter_write_failures", "counter", "Attempts to write dead letters that failed.",
              lambda r: r.letters.box.write_failures),
    MetricRow("k2_records_made", "counter", "Records made, by origin. Equals delivered + dead-lettered + spooled + in flight.",
              lambda r: {_STREAM: r.engine.made}, ("origin",)),
    MetricRow("k2_records_delivered", "counter", "Records that Kafka acknowledged, by origin.",
              lambda r: {_STREAM: r.sink.delivered}, ("origin",)),
    MetricRow("k2_records_dead_lettered", "counter", "Records that became dead letters, by origin.",
              lambda r: {_STREAM: r.sink.dead}, ("origin",)),
    MetricRow("k2_records_spooled", "gauge", "Records that wait on the disk.", lambda _: 0),
    MetricRow("k2_records_in_flight", "gauge", "Records on their way: in librdkafka's queue, or waiting for room in it.",
              lambda r: r.sink.in_flight),
    MetricRow("k2_records_unaccounted", "gauge", "made - delivered - dead-lettered - spooled - in flight. Not 0: a defect.",
              lambda r: r.records_unaccounted),
    MetricRow("k2_records_retried_alone", "counter", "Records produced once more alone because the broker refused their batch.",
              lambda r: r.sink.retried_alone),
    MetricRow("k2_producer_renewals", "counter", "Times that the producer was made anew after a fatal error.",
              lambda r: r.sink.renewals.count),
    MetricRow("k2_overflow_records", "gauge", "Records that wait because librdkafka's queue is full or the topic refuses them.",
              lambda r: r.sink.overflow),
    MetricRow("k2_producer_queue_messages", "gauge", "Messages in librdkafka's queue, as of its last statistics.",
              lambda r: r.sink.statistics.msg_cnt),
    MetricRow("k2_producer_queue_bytes", "gauge", "Bytes in librdkafka's queue, as of its last statistics.",
              lambda r: r.sink.statistics.msg_size),
    MetricRow("k2_producer_queue_capacity_messages", "gauge", "How many messages librdkafka's queue takes.",
              lambda r: r.queue_messages),
    MetricRow("k2_producer_queue_capacity_bytes", "gauge", "How many bytes librdkafka's queue takes.",
              lambda r: r.queue_bytes),
    MetricRow("k2_producer_errors_by_code", "counter", "Failed deliveries and client errors, by librdkafka's code.",
              lambda r: _by(r.sink.error_codes), ("code",)),
    MetricRow("k2_producer_requests", "counter", "Requests sent to Kafka. Far fewer than records: they are batched.",
              lambda r: r.sink.statistics.tx),
    MetricRow("k2_producer_batch_records", "gauge", "Average records in a batch over librdkafka's last window.",
              lambda r: r.batch_records),
    MetricRow("k2_producer_batch_bytes", "gauge", "Average bytes of a batch over librdkafka's last window.",
              lambda r: r.batch_bytes),
    MetricRow("k2_kafka_up", "gauge", "1 while a broker is connected and answers.", lambda r: not r.sink.broker_lost_for_s),
    MetricRow("k2_reading_state", "gauge", "1 for the state that reading is in: flowing, paused or held.",
              lambda r: {(state,): float(active) for state, active in r.flow.items()}, ("state",)),
    MetricRow("k2_reading_pauses", "counter", "Times that reading was paused because Kafka was slower.",
              lambda r: r.happenings.pauses),
    MetricRow("k2_reading_holds", "counter", "Times that the connection was closed on purpose because a pause lasted too long.",
              lambda r: r.happenings.holds),
    MetricRow("k2_stage_latency_seconds", "histogram",
              "Latency by stage, sampled: exchange (its event time to receipt, 0 where clocks disagree), process (to the last "
              "record's hand-over to the producer), acknowledge (to Kafka's answer, waiting for room included).",
              lambda r: {(stage,): tally for stage, tally in r.stages.items()}, ("stage",)),
    MetricRow("k2_exchange_lag_last_seconds", "gauge",
              "The exchange's event time to receipt, as last measured. Negative: our clock is behind the exchange's.",
              lambda r: r.engine.exchange_lag_ms / 1_000),
    MetricRow("k2_gaps", "counter", "Holes seen in the exchange's contiguous ids.", lambda r: r.happenings.gaps_opened),
    MetricRow("k2_gap_ids_skipped", "counter", "Ids in those holes.", lambda r: r.happenings.ids_skipped),
    MetricRow("k2_gap_ids_filled", "counter", "Ids of holes that arrived late.", lambda r: r.happenings.ids_filled),
    MetricRow("k2_gaps_open", "gauge", "Holes that are still open.", lambda r: sum(len(row.sequence.gaps) for row in r.rows)),
    MetricRow("k2_ids_missing", "gauge", "Ids that are still missing.",
              lambda r: sum(row.sequence.ids_missing for row in r.rows)),
    MetricRow("k2_gaps_forgotten", "counter", "Holes no longer waited for because too many were open.",
              lambda r: r.happenings.gaps_forgotten),
    MetricRow("k2_sequence_resets", "counter", "Times that the exchange's ids began anew.",
              lambda r: r.happenings.sequence_resets),
    MetricRow("k2_unknown_fields", "counter", "Fields that the exchange sent and we do not know, each counted once.",
              lambda r: r.happenings.unknown_fields),
    MetricRow("k2_unknown_symbols", "gauge", "Configured symbols that the exchange does not know.",
              lambda r: len(r.unknown_symbols)),
    MetricRow("k2_stream_events_published", "counter", "Events published, by stream; streams past the first hundred as `other`.",
              lambda r: _streams(r, lambda row: row.published, sum), ("stream",)),
    MetricRow("k2_stream_last_event_timestamp_seconds", "gauge", "The exchange's time of a stream's latest event.",
              lambda r: _streams(r, lambda row: row.last_event_ms / 1_000, max), ("stream",)),
    MetricRow("k2_start_waiting_for", "gauge", "1 for each part that the start still waits for.",
              lambda r: _by(r.start_waits_for), ("part",)),
    MetricRow("k2_directory_free_bytes", "gauge", "Room left on the file system of each directory that we write to.",
              lambda r: _by({name: space.free_bytes for name, space in r.directories.spaces.items()}), ("directory",)),
    MetricRow("k2_directory_capacity_bytes", "gauge", "Size of that file system.",
              lambda r: _by({name: space.capacity_bytes for name, space in r.directories.spaces.items()}), ("directory",)),
    MetricRow("k2_event_loop_lag_seconds", "gauge", "How late the event loop's timer came, the worst of the last interval.",
              lambda r: r.loop_lag_s),
    MetricRow("k2_schema_pinned", "gauge",
              "1 where the schema id came from the copy on disk because the registry did not answer.",
              lambda r: r.schema_pinned),
    MetricRow("k2_schema_info", "gauge", "The schemas in use.",
              lambda r: dict.fromkeys(r.schemas, 1.0), ("subject", "schema_id", "fingerprint")),
    MetricRow("k2_build_info", "gauge", "The program in use.",
              lambda r: {r.build: 1.0}, ("version", "python", "librdkafka", "transport")),
)  # fmt: skip


def _streams(readings: Readings, read: Callable[[Any], float], combine: Callable[[Iterable[float]], float]) -> Samples:
    rows = readings.rows
    samples: Samples = {(row.stream,): read(row) for row in rows[:MAX_STREAM_SERIES]}
    if len(rows) > MAX_STREAM_SERIES:
        samples["other",] = combine(read(row) for row in rows[MAX_STREAM_SERIES:])
    return samples


class CatalogueCollector(Collector):
    """Reads the catalogue's values at scrape."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        return (_FAMILIES[row.kind](row, row.read(self._readings)) for row in CATALOGUE)

    def describe(self) -> Iterator[Metric]:
        """No values: the registry only wants the names."""
        return (Metric(row.name, row.meaning, row.kind) for row in CATALOGUE)


def _by_labels(reading: Any) -> Iterable[tuple[tuple[str, ...], Any]]:
    return reading.items() if isinstance(reading, dict) else [((), reading)]


def _counter(row: MetricRow, reading: Reading) -> Metric:
    family = CounterMetricFamily(row.name, row.meaning, labels=row.labels)
    for labels, value in _by_labels(reading):
        family.add_metric(labels, float(value))
    return family


def _gauge(row: MetricRow, reading: Reading) -> Metric:
    family = GaugeMetricFamily(row.name, row.meaning, labels=row.labels)
    for labels, value in _by_labels(reading):
        family.add_metric(labels, float(value))
    return family


def _histogram(row: MetricRow, reading: Reading) -> Metric:
    family = HistogramMetricFamily(row.name, row.meaning, labels=row.labels)
    for labels, tally in _by_labels(reading):
        family.add_metric(labels, tally.cumulative(), tally.sum_ns / NS_PER_SECOND)
    return family


_FAMILIES: dict[str, Callable[[MetricRow, Reading], Metric]] = {"counter": _counter, "gauge": _gauge, "histogram": _histogram}


class Exposition:
    """Renders what `/metrics` answers: our catalogue, the process, Python's garbage collector and version."""

    def __init__(self, readings: Readings) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(CatalogueCollector(readings))
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def render(self) -> tuple[bytes, str]:
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


def exposed_name(row: MetricRow) -> str:
    """The name as Prometheus shows it: counters end in `_total`."""
    return f"{row.name}_total" if row.kind == "counter" else row.name


def metrics_table() -> str:
    """The catalogue as a Markdown table."""
    head = ["| Metric | Kind | Labels | Meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *map(_table_line, CATALOGUE)]) + "\n"


def _table_line(row: MetricRow) -> str:
    labels = ", ".join(f"`{label}`" for label in row.labels)
    return f"| `{exposed_name(row)}` | {row.kind} | {labels} | {row.meaning} |"
