"""
The compose stack of the runbooks without Docker.

Broker, registry, exchange, client and Prometheus are real. `docker` on the PATH of a runbook's command is a small program that
asks the stack, which knows services, environments and volumes from docker-compose.yml.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Self

from integration.runbook_compose import COMPOSE_FILE, REPOSITORY, ComposeFile
from integration.runbook_container import Container
from integration.runbook_docker import Answer, Docker
from kit.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from integration.support import RunningClient, RunningExchange
    from kit.kafka import KafkaBroker
    from kit.monitoring import Prometheus
    from kit.registry import SchemaRegistry
    from kit.server import Server

SHIMS = Path(__file__).parent / "runbook_shims"
VENV_BIN = Path(sys.executable).parent
NOT_LINKED = frozenset({".git", ".env", "logs", COMPOSE_FILE})
CLIENT = "binance-client"
TOPIC = "market.crypto.trades.binance"
STATE, LETTERS = "/var/lib/k2", "/tmp/dlq"
PUBLISHED = {"8001": CLIENT, **{f"801{shard}": f"{CLIENT}-{shard}" for shard in range(3)}}
COMMAND_LIMIT_S = 150


class Stack:
    """
    Everything that a runbook's commands reach.

    Attributes:
        work: What the commands are pasted in: the repository, with `.env`, `logs` and new files of its own.
        extra: Variables of the client's containers beside those of compose, from the next one on.
        by_hand: Variables of the shell.
    """

    def __init__(
        self,
        kafka: KafkaBroker,
        registry: SchemaRegistry,
        exchange: RunningExchange,
        directory: Path,
        *,
        prefix: str,
        prometheus: Prometheus | None = None,
    ) -> None:
        self.kafka, self.registry, self.exchange, self.prometheus = kafka, registry, exchange, prometheus
        self.prefix = prefix
        self.extra: dict[str, str] = {}
        self.by_hand: dict[str, str] = {}
        self.containers: dict[str, Container] = {}
        self._directory, self.work = directory, directory / "work"
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        self.work.mkdir()
        for path in REPOSITORY.iterdir():
            if path.name not in NOT_LINKED:
                (self.work / path.name).symlink_to(path)
        self.compose = ComposeFile(self.work)
        self.docker = Docker(self)
        self._serving = _served(self.docker)
        self._url = self._serving.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.containers):
            self.remove(name)
        self._serving.__exit__(None, None, None)

    @property
    def topic(self) -> str:
        return f"{self.prefix}.binance"

    @property
    def servers(self) -> Mapping[str, Server]:
        """The real parts by the names of their services."""
        watching = {"prometheus": self.prometheus} if self.prometheus else {}
        return {"kafka": self.kafka, "schema-registry": self.registry, **watching}

    @property
    def container(self) -> Container:
        return self.containers[CLIENT]

    @property
    def client(self) -> RunningClient:
        return self.container.client

    def host_port(self, service: str) -> int:
        """The port under which the host reaches a service's port 8001."""
        return self._ports.setdefault(service, free_port())

    def fresh(self, extra: Mapping[str, str] | None = None, *, keep_state: bool = False) -> RunningClient:
        """A new container of the client, with these variables beside compose's own."""
        self.extra = dict(extra or {})
        if CLIENT in self.containers:
            state = self.container.volumes[STATE]
            self.remove(CLIENT)
            if not keep_state:
                shutil.rmtree(state, ignore_errors=True)
        self.docker.up([CLIENT])
        return self.client

    def streaming(self, **extra: str) -> RunningClient:
        """The same, and Kafka has taken records of it."""
        client = self.fresh(extra)
        client.wait_for_produced(20, 60)
        return client

    def made(self, name: str, service: str, more: Mapping[str, str] | None = None) -> Container:
        """A container of this service as the compose file wants it now, with `more` variables. Nothing is started."""
        spec = self.compose[service]
        home = self._directory / "containers" / name
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        volumes = {}
        for source, inside, *_ in (volume.split(":") for volume in spec["volumes"]):
            volumes[inside] = self._directory / "volumes" / source
            volumes[inside].parent.mkdir(exist_ok=True)
        volumes["/tmp/k2-"] = home / "tmp" / "k2-"  # what runbooks put into a container's own /tmp
        port = self.host_port(service) if name == service else free_port()
        environment = {key: str(value or "") for key, value in spec["environment"].items()} | dict(more or {})
        container = Container(name, environment, volumes, port, home)
        container.real = self._real(container)
        return container

    def remove(self, name: str) -> None:
        self.containers.pop(name).close()

    def run(self, script: str, **replaced: str) -> subprocess.CompletedProcess[str]:
        """Run a script as somebody would paste it into a shell in the repository, with what is elsewhere here replaced."""
        return subprocess.run(
            ["bash", "-eu", "-c", self.here(script, **replaced)],
            cwd=self.work,
            env=self.environment(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # the console consumer shows Avro
            timeout=COMMAND_LIMIT_S,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        """A bare shell, whose `docker` is ours and whose `uv` leaves the environment of the tests as it is."""
        return {
            "PATH": f"{SHIMS}:{VENV_BIN}:{os.environ['PATH']}",
            "HOME": str(self._directory),
            "LANG": "C.UTF-8",
            "RUNBOOK_STACK": self._url,
            "UV_NO_SYNC": "1",
            "KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "SCHEMA_REGISTRY_URL": self.registry.url,
            **self.by_hand,
        }

    def here(self, script: str, **replaced: str) -> str:
        """The script with addresses, ports and the topic of this stack, and with what is given."""
        places = {
            "http://localhost:8081": self.registry.url,
            "localhost:9092": self.kafka.bootstrap,
            "https://api.binance.com": self.exchange.rest_url,
            TOPIC: self.topic,
            **({"localhost:9090": self.prometheus.address} if self.prometheus else {}),
        }
        for place, here in {**places, **replaced}.items():
            script = script.replace(place, here)
        return re.sub(rf"\b({'|'.join(PUBLISHED)})\b", lambda port: str(self.host_port(PUBLISHED[port[1]])), script)

    def _real(self, container: Container) -> dict[str, str]:
        """A container's environment with what is elsewhere here: addresses, topic, directories, the port."""
        given = {name: container.here(value) for name, value in container.environment.items()}
        return {
            **given,
            "KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "SCHEMA_REGISTRY_URL": self.registry.url,
            "KAFKA_TOPIC_PREFIX": self.prefix,
            "BINANCE_WS_URL": given.get("BINANCE_WS_URL") or self.exchange.ws_url,
            "K2_REST_URL": given.get("K2_REST_URL") or self.exchange.rest_url,
            "K2_HTTP_HOST": "127.0.0.1",
            "K2_HTTP_PORT": str(container.port),
            **self.extra,
        }


@contextmanager
def _served(docker: Callable[[Sequence[str]], Answer]) -> Iterator[str]:
    """An HTTP server on loopback that hands the words of each `docker` on, one after the other. Yields its address."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            words = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                answer = docker(words)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(vars(answer)).encode())

        def log_message(self, *_: object) -> None:
            """Nothing: its output would be the test's."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
