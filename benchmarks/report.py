"""What the measurement came to: a table for people, one JSON object for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import confluent_kafka
from msgspec import Struct

from benchmarks.latency import Latency
from benchmarks.runs import Cost


class Round(Struct, frozen=True):
    """One run of each, one right after the other."""

    floor: Cost
    client: Cost
    textbook: Cost


def table(rounds: Sequence[Round], latency: Latency) -> str:
    """Medians over the rounds, with the smallest and the largest."""
    first = rounds[0]
    lines = [
        f"{len(rounds)} rounds of floor, client ({first.client.messages:,} messages) and textbook ({first.textbook.messages:,})",
        "",
        f"{'':34}{'median':>10}{'least':>10}{'most':>10}",
        *(_line(title, list(map(read, rounds)), decimals) for title, decimals, read in _ROWS),
        "",
        f"{'p99 at 10,000 msg/s, ms':34}{latency.acknowledged_p99_ms:>10.1f}   frame read to acknowledgement",
        f"{'':34}{latency.appended_p99_ms:>10.1f}   frame written to record in the broker's log",
    ]
    return "\n".join(lines)


def summary(rounds: Sequence[Round], latency: Latency) -> str:
    """One line of JSON."""
    values = {
        "cpu_us_per_message": median(r.client.us_per_message for r in rounds),
        "floor_us_per_message": median(r.floor.us_per_message for r in rounds),
        "textbook_us_per_message": median(r.textbook.us_per_message for r in rounds),
        "client_over_floor": median(map(_over_floor, rounds)),
        "textbook_over_client": median(map(_under_textbook, rounds)),
        "messages_per_second": median(r.client.messages_per_s for r in rounds),
        "p99_ms_at_10k": latency.acknowledged_p99_ms,
        "p99_ms_at_10k_in_log": latency.appended_p99_ms,
        "rss_mb": max(r.client.peak_rss_mib for r in rounds),
        "startup_cpu_s": median(r.client.startup_cpu_s for r in rounds),
        "messages": rounds[0].client.messages,
        "rounds": len(rounds),
    }
    return json.dumps({name: round(value, 3) for name, value in values.items()})


def machine() -> str:
    """What the numbers are measured on, and how busy it is with other things before we begin."""
    librdkafka = confluent_kafka.libversion()[0]
    system, python = (
        f"{platform.system()} {platform.release()}",
        f"{platform.python_implementation()} {platform.python_version()}",
    )
    return f"{_processor()}, {os.cpu_count()} cores, {system}, {python}, librdkafka {librdkafka}, load {os.getloadavg()[0]:.1f}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _over_floor(r: Round) -> float:
    return r.client.us_per_message / r.floor.us_per_message


def _under_textbook(r: Round) -> float:
    return r.textbook.us_per_message / r.client.us_per_message


_ROWS: tuple[tuple[str, int, Callable[[Round], float]], ...] = (
    ("floor, us CPU per message", 2, lambda r: r.floor.us_per_message),
    ("client, us CPU per message", 2, lambda r: r.client.us_per_message),
    ("textbook, us CPU per message", 2, lambda r: r.textbook.us_per_message),
    ("client / floor", 2, _over_floor),
    ("textbook / client", 2, _under_textbook),
    ("client, messages per second", 0, lambda r: r.client.messages_per_s),
    ("textbook, messages per second", 0, lambda r: r.textbook.messages_per_s),
    ("client, peak memory in MiB", 0, lambda r: r.client.peak_rss_mib),
    ("client, CPU seconds to start", 2, lambda r: r.client.startup_cpu_s),
)


def _line(title: str, values: list[float], decimals: int) -> str:
    return f"{title:34}" + "".join(f"{value:>10,.{decimals}f}" for value in (median(values), min(values), max(values)))
