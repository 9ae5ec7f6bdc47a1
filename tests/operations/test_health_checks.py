"""The health checks of docker-compose.yml, run against servers that are well, ill and absent."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from kit.client import ClientProcess
from kit.monitoring import Alertmanager, Prometheus
from kit.ports import free_port
from kit.tools import needs
from operations.compose_file import (
    CLIENTS,
    PLAIN,
    ROOT,
    environment_of,
    published,
    services,
)


@contextlib.contextmanager
def answering(status: int) -> Iterator[int]:
    """A server on loopback that answers every request with this status; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def health(name: str, port: int) -> int:
    """The exit code of a service's health check, with its port replaced by another one."""
    _, *words = services()[name]["healthcheck"]["test"]
    (own,) = [port.container for port in published(services()[name])]
    words = [sys.executable if word == "python" else re.sub(rf"\b{own}\b", str(port), word) for word in words]
    return subprocess.run(words, capture_output=True, check=False, timeout=30).returncode


CHECKED_OVER_HTTP = [
    pytest.param(PLAIN),
    pytest.param("exchange"),
    pytest.param("schema-registry", marks=needs("bash")),
    pytest.param("grafana", marks=needs("wget")),
    pytest.param("kafka-ui", marks=needs("wget")),
]


@pytest.mark.parametrize("name", CHECKED_OVER_HTTP)
def test_health_check_tells_well_from_ill(name: str) -> None:
    """The command of a health check succeeds with a server that is well, and fails with one that is not and with none."""
    with answering(200) as port:
        assert health(name, port) == 0
    with answering(503) as port:
        assert health(name, port) != 0
    assert health(name, free_port()) != 0


@needs("prometheus", "promtool")
def test_health_check_of_prometheus() -> None:
    """The command succeeds with a Prometheus that answers queries, and fails where there is none."""
    with Prometheus() as prometheus:
        assert health("prometheus", prometheus.port) == 0
    assert health("prometheus", prometheus.port) != 0


@needs("prometheus-alertmanager", "amtool")
def test_health_check_of_alertmanager() -> None:
    """The command succeeds with an Alertmanager, without a cluster as in the container, and fails where there is none."""
    with Alertmanager((ROOT / "config/prometheus/alertmanager.yml").read_text(encoding="utf-8")) as alertmanager:
        assert health("alertmanager", alertmanager.port) == 0
    assert health("alertmanager", alertmanager.port) != 0


@pytest.mark.parametrize("name", CLIENTS)
def test_clients_are_checked_alike(name: str) -> None:
    """What is tried with one of the clients holds for all."""
    assert services()[name]["healthcheck"] == services()[PLAIN]["healthcheck"]


def test_health_check_asks_a_running_client(tmp_path: Path) -> None:
    """The client answers the health check of its container: well while it waits for a broker, and not at all when it is gone."""
    port = free_port()
    environment = {**environment_of(services()[PLAIN]), "KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}", "K2_HTTP_PORT": str(port)}
    environment |= {"K2_STATE_DIR": str(tmp_path / "state"), "K2_DEAD_LETTER_DIR": str(tmp_path / "letters")}
    with ClientProcess(cwd=tmp_path, environment=environment) as client:
        client.wait_for_event("Starting")
        wait_until_open(port)
        assert health(PLAIN, port) == 0
        client.terminate()
        client.wait()
    assert health(PLAIN, port) != 0


def wait_until_open(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"nobody listens on {port}")
