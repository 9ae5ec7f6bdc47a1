"""docker-compose.yml as the tests look at it: anchors resolved, variables settled as compose settles them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from k2.ingestion.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
OVERRIDES = tuple(sorted((ROOT / "config" / "compose").glob("*.yml")))

OURS = "k2-platform:latest"
PLAIN = "binance-client"
SHARDS = ("binance-client-0", "binance-client-1", "binance-client-2")
DEMO = "demo-client"
CLIENTS = (PLAIN, *SHARDS, DEMO)
ONCE = ("topics", "schemas")
LETTERS_OF_A_FULL_QUEUE_S = 60  # what a stop takes beyond its time-out, where Kafka takes nothing

# What the file for a login asks for.
LOGIN = {
    "KAFKA_BROKERS": "broker-1.example.com:9093",
    "KAFKA_USER": "k2",
    "REGISTRY_URL": "https://registry.example.com",
    "REGISTRY_USER": "k2",
}

VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>[A-Z0-9_]+)(?:(?P<how>:?[-?])(?P<rest>[^}]*))?\})")

DEFAULTS = (":-", "-")

Service = dict[str, Any]


class Published(NamedTuple):
    """A port of the host and the port of the container behind it."""

    interface: str
    host: int
    container: int


@cache
def document(file: Path = COMPOSE) -> dict[str, Any]:
    """The file as it is written, anchors resolved."""
    loaded: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return loaded


def services(environment: Mapping[str, str] | None = None) -> dict[str, Service]:
    """All services, those of profiles included, as they are with these variables."""
    settled_services: dict[str, Service] = settled(document()["services"], environment or {})
    return settled_services


def settled(value: Any, environment: Mapping[str, str]) -> Any:
    """The value with its `${NAME:-default}` replaced and its `$$` made one."""
    if isinstance(value, dict):
        return {key: settled(inner, environment) for key, inner in value.items()}
    if isinstance(value, list):
        return [settled(inner, environment) for inner in value]
    return VARIABLE.sub(lambda found: _replaced(found, environment), value) if isinstance(value, str) else value


def _replaced(found: re.Match[str], environment: Mapping[str, str]) -> str:
    if found["escaped"]:
        return "$"
    value = environment.get(found["name"])
    unset = value is None if found["how"] == "-" else not value  # with a colon, empty counts as unset
    return (found["rest"] if found["how"] in DEFAULTS else "") if unset else str(value)


def variables(file: Path) -> dict[str, str]:
    """The variables that a file takes from its surroundings, with their defaults; "" where there is none."""
    text = "\n".join(line for line in file.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#"))
    found = [match for match in VARIABLE.finditer(text) if match["name"]]
    return {match["name"]: (match["rest"] if match["how"] in DEFAULTS else "") for match in found}


def environment_of(service: Service) -> dict[str, str]:
    """What is set in the container where nothing is passed on from outside."""
    return {name: str(value) for name, value in service.get("environment", {}).items() if value is not None}


def published(service: Service) -> list[Published]:
    """The ports of a service that the host publishes."""
    parts = [text.rsplit(":", 2) for text in service.get("ports", [])]
    return [Published(interface, int(host), int(container)) for interface, host, container in parts]


def command(service: Service) -> list[str]:
    """The words of the command."""
    given = service["command"]
    return shlex.split(given) if isinstance(given, str) else list(given)


def mounts(service: Service) -> dict[str, str]:
    """What lies where: path in the container to named volume or path of the repository."""
    return {text.split(":")[1]: text.split(":")[0] for text in service.get("volumes", [])}


def seconds(text: str) -> float:
    """A duration such as `45s`."""
    assert text.endswith("s"), text
    return float(text.removesuffix("s"))


def settings_of(name: str, **environment: str) -> Settings:
    """The settings of a client in its container. `load_settings` refuses what it does not understand."""
    return load_settings([], {"HOME": "/var/lib/k2", **environment_of(services(environment)[name])})
