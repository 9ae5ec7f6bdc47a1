"""What `docker` does on the runbooks' stack, command by command."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integration.runbook_container import Container
from kit import jars
from operations.docker_words import NotDockerError, parse

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from integration.runbook_stack import Stack
    from kit.server import Server

    Asked = argparse.Namespace

VENV_BIN = Path(sys.executable).parent
GRACE_S = "10"  # Docker's own
IMAGE_ID = "sha256:0123456789ab"
NOT_DOCKER = 125

# The programs of the broker's image, by their main classes.
KAFKA_TOOLS = {
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-acls": "org.apache.kafka.tools.AclCommand",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
}
JAVA_FLAGS = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")


@dataclass(frozen=True)
class Answer:
    """What a command prints and ends with, or the program that it becomes: words, environment and directory."""

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0
    become: dict[str, Any] | None = None


class Docker:
    """Carries commands out on a stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._pulled: set[str] = set()

    def __call__(self, words: Sequence[str]) -> Answer:
        try:
            asked = parse(words)
        except NotDockerError as error:
            return Answer(stderr=f"{error}\n", exit_code=NOT_DOCKER)
        return _ACTIONS[asked.action](self, asked)

    # Containers

    def logs(self, asked: Asked) -> Answer:
        container = self._container(asked.container)
        stdout = container.stdout
        if asked.tail:
            stdout = "".join(stdout.splitlines(keepends=True)[-int(asked.tail[0]) :])
        return Answer(stdout, container.stderr)

    def inspect(self, asked: Asked) -> Answer:
        container = self._container(asked.container)
        status = container.status
        facts = {
            ".State.Status": status,
            ".State.ExitCode": container.exit_code,
            ".State.OOMKilled": "false",
            ".RestartCount": 0,
            "json .Config.Env": json.dumps([f"{name}={value}" for name, value in container.real.items()]),
        }
        [text] = asked.format
        return Answer(re.sub(r"\{\{(.+?)\}\}", lambda found: str(facts[found[1]]), text) + "\n")

    def stats(self, asked: Asked) -> Answer:
        pid = self._container(asked.container).client.pid
        ps = subprocess.run(["ps", "-o", "pid,pcpu,rss,comm", "-p", str(pid)], capture_output=True, text=True, check=True)
        return Answer(f"NAME {asked.container}\n{ps.stdout}")

    def stop(self, asked: Asked) -> Answer:
        self._container(asked.container).stop(float((asked.time or [GRACE_S])[0]))
        return Answer(f"{asked.container}\n")

    def remove(self, asked: Asked) -> Answer:
        if self._container(asked.container).is_running:
            return Answer(stderr="container is running: stop it before removing it\n", exit_code=1)
        self._stack.remove(asked.container)
        return Answer(f"{asked.container}\n")

    def copy(self, asked: Asked) -> Answer:
        source, target = (self._host_path(text) for text in (asked.source, asked.target))
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
        return Answer()

    # Images: there are none here

    def image(self, _: Asked) -> Answer:
        return Answer(f"{IMAGE_ID}\n")

    def nothing(self, _: Asked) -> Answer:
        return Answer()

    def pull(self, asked: Asked) -> Answer:
        self._pulled |= set(asked.services)
        return Answer()

    # Services

    def compose_ps(self, asked: Asked) -> Answer:
        states = {service: self._state(service) for service in asked.services or self._stack.compose.services}
        shown = [name for name, state in states.items() if state == "running" or (asked.all and state)]
        return Answer("NAME SERVICE STATUS\n" + "".join(f"{name} {name} {states[name]}\n" for name in shown))

    def compose_up(self, asked: Asked) -> Answer:
        self.up(asked.services or self._stack.compose.wanted(asked.profile))
        return Answer()

    def up(self, services: Sequence[str]) -> None:
        """Start what is not running, and make anew what should be another one."""
        for service in services:
            server = self._server(service)
            if server is not None:
                self._up_server(service, server)
            elif self._stack.compose.runs_clients(service):
                self._up_client(service)

    def compose_stop(self, asked: Asked) -> Answer:
        for service in asked.services:
            self._container(service).stop(float((asked.timeout or [GRACE_S])[0]))
        return Answer()

    def compose_restart(self, asked: Asked) -> Answer:
        self.compose_stop(asked)
        for service in asked.services:
            self._container(service).start()
        return Answer()

    def compose_kill(self, asked: Asked) -> Answer:
        for service in asked.services:
            if (server := self._server(service)) is not None:
                os.kill(server.pid, signal.Signals[asked.s[0]])
        return Answer()

    def compose_exec(self, asked: Asked) -> Answer:
        if asked.service == "kafka":
            return Answer(become=self._inside_kafka(asked.words))
        container = self._container(asked.service)
        if not container.is_running:
            return Answer(stderr=f'service "{asked.service}" is not running\n', exit_code=1)
        return Answer(become=_inside(container, asked.words))

    def compose_run(self, asked: Asked) -> Answer:
        name = (asked.name or [f"{asked.service}-run"])[0]
        container = self._stack.made(name, asked.service, dict(pair.split("=", 1) for pair in asked.env))
        if asked.words:
            return Answer(become=_inside(container, asked.words))
        assert asked.detach, "this would hold the shell for ever"
        self._stack.containers[name] = container
        container.start()
        return Answer(f"{name}\n")

    def _up_server(self, service: str, server: Server) -> None:
        if service in self._pulled and server.is_running:  # another image
            server.stop()
        self._pulled.discard(service)
        if not server.is_running:
            server.start()

    def _up_client(self, service: str) -> None:
        container = self._stack.made(service, service)
        before = self._stack.containers.get(service)
        if before is not None and before.environment == container.environment:
            if not before.is_running:
                before.start()
            return
        if before is not None:
            before.stop(float(GRACE_S))
            self._stack.remove(service)
        self._stack.containers[service] = container
        container.start()

    def _state(self, service: str) -> str:
        server = self._server(service)
        if server is not None:
            return "running" if server.is_running else "exited"
        container = self._stack.containers.get(service)
        return container.status if container else ""

    def _server(self, service: str) -> Server | None:
        assert self._stack.compose[service]
        return self._stack.servers.get(service)

    def _container(self, name: str) -> Container:
        return self._stack.containers[name]

    def _inside_kafka(self, words: Sequence[str]) -> dict[str, Any]:
        program, *rest = words
        here = [word.replace("/tmp/", f"{self._stack.kafka.directory}/tmp/") for word in rest]
        if program in KAFKA_TOOLS:
            here = [str(jars.java()), *JAVA_FLAGS, "-cp", jars.kafka_tools_class_path(), KAFKA_TOOLS[program], *here]
        else:
            here = [program, *here]
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        return {"words": here, "environment": environment, "directory": str(self._stack.kafka.directory)}

    def _host_path(self, text: str) -> Path:
        name, colon, path = text.partition(":")
        return Path(self._container(name).here(path)) if colon else self._stack.work / text


def _inside(container: Container, words: Sequence[str]) -> dict[str, Any]:
    own = {"PATH": f"{VENV_BIN}:{os.environ['PATH']}", "HOME": str(container.home), "LANG": "C.UTF-8"}
    return {
        "words": [container.here(word) for word in words],
        "environment": {**container.real, **own},
        "directory": str(container.home),
    }


_ACTIONS: dict[str, Callable[[Docker, Asked], Answer]] = {
    "logs": Docker.logs,
    "inspect": Docker.inspect,
    "stats": Docker.stats,
    "stop": Docker.stop,
    "rm": Docker.remove,
    "cp": Docker.copy,
    "tag": Docker.nothing,
    "image": Docker.image,
    "compose ps": Docker.compose_ps,
    "compose up": Docker.compose_up,
    "compose stop": Docker.compose_stop,
    "compose restart": Docker.compose_restart,
    "compose kill": Docker.compose_kill,
    "compose build": Docker.nothing,
    "compose pull": Docker.pull,
    "compose exec": Docker.compose_exec,
    "compose run": Docker.compose_run,
}
