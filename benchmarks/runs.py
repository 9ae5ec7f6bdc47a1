"""
One run each of the floor, the client and the textbook client, measured in the same way.

A process is started and made ready. Then its CPU clock is read, the work begins, and the clock is read again when the broker has
acknowledged every record. So starting up is not in the cost of a message, and all of the process's threads are.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks.frames import SYMBOLS
from benchmarks.processes import BenchmarkError, Worker, cpu_s, peak_rss_mib
from k2.ingestion.adapters.topics import TopicSpec, ensure_topic
from k2.ingestion.settings import load_settings
from kit.client import ClientProcess

PARTITIONS = 12  # as the client creates its topic
SETTLE_S = 0.3  # connections to the broker are up and threads asleep before a clock is read
POLL_S = 0.05
RUN_TIMEOUT_S = 120.0
SCRAPE_TIMEOUT_S = 10.0

_silent = logging.getLogger("benchmarks.rdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class Place(Struct, frozen=True):
    """Where runs take place: the addresses of the real parts, the feeder and its address, and a directory for files."""

    bootstrap: str
    registry_url: str
    feeder: Worker
    feeder_port: int
    directory: Path

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.feeder_port}/ws"


class Cost(Struct, frozen=True):
    """CPU time, wall time and memory of one run, and the CPU time used before its first message."""

    messages: int
    cpu_s: float
    elapsed_s: float
    startup_cpu_s: float
    peak_rss_mib: float

    @property
    def us_per_message(self) -> float:
        return self.cpu_s / self.messages * 1e6

    @property
    def messages_per_s(self) -> float:
        return self.messages / self.elapsed_s


def run_floor(place: Place, topic: str, records: Path, count: int) -> Cost:
    """Produce the ready records."""
    create_topic(place, topic)
    with Worker("floor", place.bootstrap, topic, records) as worker:
        worker.expect("ready")

        def work() -> None:
            worker.tell("go")
            _check_done(worker, count)

        return _measured(worker.pid, count, work)


def run_textbook(place: Place, topic: str, wire: Path, count: int) -> Cost:
    """Receive `count` frames of the file `wire` and publish them in the textbook's way."""
    create_topic(place, topic)
    with Worker("textbook", place.bootstrap, place.registry_url, topic, place.ws_url, count) as worker:
        worker.expect("ready")

        def work() -> None:
            send(place, wire)
            _check_done(worker, count)

        return _measured(worker.pid, count, work)


def run_client(place: Place, name: str, wire: Path, count: int) -> Cost:
    """Send the `count` frames of the file `wire` to the real client."""
    with client(place, name) as running:

        def work() -> None:
            # Nothing is asked of the client while frames flow: answering costs CPU time as well.
            send(place, wire)
            running.wait_until_delivered(count)

        return _measured(running.process.pid, count, work)


class RunningClient:
    """The client, subscribed, and the address of its health and metrics."""

    def __init__(self, process: ClientProcess) -> None:
        self.process = process
        self._address = process.wait_for_event("Serving health and metrics")["address"]
        process.wait_for_event("Subscribed")

    def fetch(self, path: str) -> str:
        with urllib.request.urlopen(self._address + path, timeout=SCRAPE_TIMEOUT_S) as response:  # noqa: S310 - http
            text: str = response.read().decode()
            return text

    def wait_until_delivered(self, count: int) -> None:
        """Wait for the broker's acknowledgement of `count` records since the client's start."""
        deadline = time.monotonic() + RUN_TIMEOUT_S
        while (balance := self._balance())["delivered"] < count:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"the client did not deliver {count} records: {balance}\n{self.process.output[-2000:]}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End it in good order; BenchmarkError unless its books balance and nothing was left out."""
        self.process.terminate()
        exit_code = self.process.wait()
        sheets = self.process.events_named("Shutdown complete")
        if exit_code or not sheets or not sheets[0]["balanced"] or sheets[0]["received"] != sheets[0]["delivered"]:
            raise BenchmarkError(f"the client ended with {exit_code} and {sheets}")

    def _balance(self) -> dict[str, Any]:
        balance: dict[str, Any] = json.loads(self.fetch("/health"))["balance"]
        return balance


@contextmanager
def client(place: Place, name: str) -> Iterator[RunningClient]:
    """The real client with its default settings, but for addresses and directories. It is ended in good order."""
    directory = place.directory / name
    directory.mkdir()
    arguments = (
        "--symbols", *SYMBOLS, "--ws-url", place.ws_url, "--kafka-bootstrap", place.bootstrap,
        "--schema-registry", place.registry_url, "--topic-prefix", name, "--http-port", 0,
        "--state-dir", directory / "state", "--dead-letter-dir", directory / "dlq", "--log-file", directory / "client.log",
    )  # fmt: skip
    with ClientProcess(*arguments, cwd=directory) as process:
        running = RunningClient(process)
        yield running
        running.stop()


def send(place: Place, wire: Path) -> None:
    """Have the feeder write a file of frames; returns when the socket has taken all of them."""
    place.feeder.tell(f"send {wire}")
    place.feeder.expect("sent", RUN_TIMEOUT_S)


def create_topic(place: Place, topic: str, **properties: str) -> None:
    config = load_settings(["--kafka-bootstrap", place.bootstrap], {}).kafka.admin_config()
    spec = TopicSpec(topic, PARTITIONS, config={key.replace("_", "."): value for key, value in properties.items()})
    ensure_topic(config, spec, create=True, logger=_silent)


def _measured(pid: int, count: int, work: Callable[[], None]) -> Cost:
    time.sleep(SETTLE_S)
    cpu_before_s, began_s = cpu_s(pid), time.monotonic()
    work()
    elapsed_s, used_s = time.monotonic() - began_s, cpu_s(pid) - cpu_before_s
    return Cost(count, used_s, elapsed_s, cpu_before_s, peak_rss_mib(pid))


def _check_done(worker: Worker, count: int) -> None:
    delivered = int(worker.expect("done", RUN_TIMEOUT_S))
    if delivered != count:
        raise BenchmarkError(f"{delivered} of {count} records were acknowledged")
