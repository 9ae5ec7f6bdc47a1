"""
Latency at a steady 10,000 messages a second, measured twice.

By the client: its histogram `binance_message_latency_seconds`, from reading a frame off the socket to the broker's
acknowledgement; read before and after, and linear inside the bucket that holds the percentile. By others: from the feeder's
event time, stamped when the frame is written, to the time at which the broker appended the record; both in milliseconds of the
same machine's clock. The second leaves out the acknowledgement's way back and takes in what the first leaves out: the frame's
wait in the socket.
"""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from typing import Any

import fastavro
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.processes import BenchmarkError
from benchmarks.runs import Place, RunningClient, client, create_topic
from k2.ingestion.adapters.schema_files import load_schema
from kit.verify import ReadRecord, read_topic

RATE = 10_000
WARM_UP_MESSAGES = 2_000  # the first records wait for the topic's metadata and for connections
HISTOGRAM = "binance_message_latency_seconds"
FRAMING_BYTES = 5
SAMPLE_EVERY = 10  # decoding each record would take longer than the run

Buckets = list[tuple[float, float]]  # upper bound in seconds, and how many were at most that; ascending


class Latency(Struct, frozen=True):
    """The 99th percentile as the client saw it, and up to the broker's log as broker and feeder saw it."""

    acknowledged_p99_ms: float
    appended_p99_ms: float


def run_paced(place: Place, name: str, seconds: float) -> Latency:
    """Run the real client at 10,000 messages a second."""
    create_topic(place, f"{name}.binance", message_timestamp_type="LogAppendTime")
    with client(place, name) as running:
        _pace(place, running, WARM_UP_MESSAGES, WARM_UP_MESSAGES)
        before = _buckets(running.fetch("/metrics"))
        count = int(seconds * RATE)
        _pace(place, running, count, WARM_UP_MESSAGES + count)
        after = _buckets(running.fetch("/metrics"))
    during = [(bound, total - earlier) for (bound, total), (_, earlier) in zip(after, before, strict=True)]
    records = read_topic(place.bootstrap, "", f"{name}.binance", count=WARM_UP_MESSAGES + count, raw=True)
    return Latency(quantile(during, 0.99) * 1e3, _appended_ms(records, 0.99))


def quantile(buckets: Buckets, share: float) -> float:
    """The value below which `share` of the observations lie, linear inside its bucket; the last finite bound at most."""
    wanted = share * buckets[-1][1]
    for (lower, below), (upper, total) in pairwise([(0.0, 0.0), *buckets]):
        if total >= wanted and total > below:
            return lower if upper == float("inf") else lower + (upper - lower) * (wanted - below) / (total - below)
    raise BenchmarkError("the latency histogram is empty")


def _pace(place: Place, running: RunningClient, count: int, delivered_by_then: int) -> None:
    place.feeder.tell(f"pace {count} {RATE}")
    place.feeder.expect("sent", 60 + count / RATE)
    running.wait_until_delivered(delivered_by_then)


def _buckets(exposition: str) -> Buckets:
    samples = (sample for family in text_string_to_metric_families(exposition) for sample in family.samples)
    return sorted((float(sample.labels["le"]), sample.value) for sample in samples if sample.name == f"{HISTOGRAM}_bucket")


def _appended_ms(records: list[ReadRecord], share: float) -> float:
    """Frame written to record in the log. The first ones, of the warm-up, are left out by their time."""
    schema = fastavro.parse_schema(load_schema("trade_v2").parsed)
    times = sorted((_event_time_ms(record, schema), record.timestamp_ms) for record in records[::SAMPLE_EVERY])
    delays = sorted(appended - written for written, appended in times[WARM_UP_MESSAGES // SAMPLE_EVERY :])
    return float(delays[int(share * (len(delays) - 1))])


def _event_time_ms(record: ReadRecord, schema: Any) -> int:
    trade: Any = fastavro.schemaless_reader(BytesIO((record.payload or b"")[FRAMING_BYTES:]), schema)
    return int(trade["vendor_data"]["event_time"])
