"""docker-compose.yml against what the code, the configuration and the documents say."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from k2.ingestion.settings import load_settings
from kit.tools import needs
from operations.compose_file import (
    COMPOSE,
    LOGIN,
    ONCE,
    OURS,
    OVERRIDES,
    PLAIN,
    ROOT,
    SHARDS,
    Published,
    document,
    environment_of,
    mounts,
    published,
    seconds,
    services,
)

LONG_LIVED = sorted(set(services()) - set(ONCE))
DOCUMENTED_PORTS = {
    "kafka": 9092,
    "schema-registry": 8081,
    "binance-client": 8001,
    "prometheus": 9090,
    "alertmanager": 9093,
    "grafana": 3000,
    "kafka-ui": 8080,
}
# Every word that a health check begins with, and why it is in the image.
TOOLS = {
    "confluentinc/cp-kafka": {"kafka-broker-api-versions"},
    "confluentinc/cp-schema-registry": {"bash"},  # its start script
    "prom/prometheus": {"promtool"},
    "prom/alertmanager": {"amtool"},
    "grafana/grafana": {"wget"},  # busybox, of Alpine
    "ghcr.io/kafbat/kafka-ui": {"wget"},  # the same
    "k2-platform": {"python"},
}


def compose_config(*files: Path, profiles: str = "", env_file: str = "", **environment: str) -> dict[str, Any]:
    """What docker-compose makes of the files."""
    words = ["docker-compose", *chain.from_iterable(("-f", str(file)) for file in (COMPOSE, *files))]
    words += ["--env-file", env_file] if env_file else []
    clean = {"PATH": os.environ["PATH"], "HOME": "/", "COMPOSE_PROFILES": profiles, **environment}
    made = subprocess.run([*words, "config"], cwd=ROOT, env=clean, capture_output=True, text=True, check=False, timeout=60)
    assert made.returncode == 0, made.stderr
    loaded: dict[str, Any] = yaml.safe_load(made.stdout)
    return loaded["services"]  # type: ignore[no-any-return]


# What compose itself says


@needs("docker-compose")
@pytest.mark.parametrize("profiles", ["", "sharded", "demo", "sharded,demo"])
@pytest.mark.parametrize(
    "files", [(), *((file,) for file in OVERRIDES), OVERRIDES], ids=lambda files: "+".join(f.stem for f in files) or "alone"
)
def test_compose_takes_the_file(profiles: str, files: tuple[Path, ...]) -> None:
    """Every profile is valid, with each of the files that may be added, for the oldest compose that is meant."""
    assert compose_config(*files, profiles=profiles, **LOGIN)


@needs("docker-compose")
def test_documented_service() -> None:
    """Image, command, variables and restart policy of the client are those that the runbook's own compose file has."""
    client = compose_config()[PLAIN]
    assert (client["image"], client["container_name"], client["restart"]) == (OURS, PLAIN, "unless-stopped")
    assert client["command"] == "uv run python src/k2/ingestion/binance_client.py"
    assert client["environment"]["BINANCE_SYMBOLS"] == "BTCUSDT,ETHUSDT,BNBUSDT"
    assert client["environment"]["KAFKA_BOOTSTRAP"] == "kafka:9092"
    assert client["environment"]["SCHEMA_REGISTRY_URL"] == "http://schema-registry:8081"


@needs("docker-compose")
def test_variables_come_from_the_env_file(tmp_path: Path) -> None:
    """What stands in .env reaches the container, whether compose has a default for it or only passes it on."""
    (tmp_path / "env").write_text("BINANCE_SYMBOLS=ADAUSDT\nBINANCE_RECONNECT_DELAY_MAX=120\n", encoding="utf-8")
    environment = compose_config(env_file=str(tmp_path / "env"))[PLAIN]["environment"]
    assert environment["BINANCE_SYMBOLS"] == "ADAUSDT"
    assert str(environment["BINANCE_RECONNECT_DELAY_MAX"]) == "120"


@needs("docker-compose")
def test_a_profile_brings_its_symbols(tmp_path: Path) -> None:
    """Compose's own symbols give way where .env leaves them empty: they would beat the profile's."""
    (tmp_path / "env").write_text("BINANCE_SYMBOLS=\nK2_PROFILE=events\n", encoding="utf-8")
    environment = compose_config(env_file=str(tmp_path / "env"))[PLAIN]["environment"]
    settings = load_settings([], {"HOME": "/var/lib/k2", **environment_of({"environment": environment})})
    assert settings.feed.symbols == ("BTCUSDT", "ETHUSDT", "BNBUSDT", "ADAUSDT", "XRPUSDT")


@needs("docker-compose")
def test_shards_replace_the_plain_client() -> None:
    """With the three lines of the example there are three shards, no plain client, and Prometheus looks at those three."""
    made = compose_config(profiles="sharded", PLAIN_CLIENTS="0", PROMETHEUS_TARGETS="sharded")
    assert made[PLAIN]["deploy"]["replicas"] == 0
    assert set(SHARDS) <= set(made)
    (targets,) = (volume for volume in made["prometheus"]["volumes"] if "targets" in volume)
    assert str(ROOT / "config/prometheus/targets/sharded.yml") in targets
    assert compose_config()[PLAIN]["deploy"]["replicas"] == 1


# What holds for every service


@pytest.mark.parametrize("name", sorted(services()))
def test_image_is_pinned(name: str) -> None:
    """No image is whatever happens to be newest; ours has the name that the runbook gives it, and is built here."""
    service = services()[name]
    _, _, tag = service["image"].rpartition(":")
    if service["image"] == OURS:
        assert service["build"] == "."
    else:
        assert re.fullmatch(r"v?[0-9]+\.[0-9]+\.[0-9]+", tag)


@pytest.mark.parametrize("name", sorted(services()))
def test_published_on_loopback_only(name: str) -> None:
    """Nobody on the network can reach a port of the host."""
    assert {port.interface for port in published(services()[name])} <= {"127.0.0.1"}


@pytest.mark.parametrize("name", sorted(services()))
def test_confined(name: str) -> None:
    """Every container has no privilege, an end to its memory, its CPU and its processes, and a log that is rotated."""
    service = services()[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"][-1] in "mg"
    assert float(service["cpus"]) > 0
    assert int(service["pids_limit"]) > 0
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


@pytest.mark.parametrize("name", sorted(services()))
def test_restarted(name: str) -> None:
    """What is to run comes back after a crash; what has done its work stays ended."""
    assert services()[name]["restart"] == ("on-failure:5" if name in ONCE else "unless-stopped")


@pytest.mark.parametrize("name", LONG_LIVED)
def test_health_is_asked_with_what_the_image_has(name: str) -> None:
    """Every service that runs has a health check, and its command is in the image."""
    service = services()[name]
    how, *words = service["healthcheck"]["test"]
    assert how == "CMD"
    assert words[0] in TOOLS[service["image"].rpartition(":")[0]]
    assert seconds(service["healthcheck"]["timeout"]) <= seconds(service["healthcheck"]["interval"])


@pytest.mark.parametrize("name", sorted(services()))
def test_waits_for_what_it_needs(name: str) -> None:
    """What is waited for can be seen to be there: a set-up has ended well, and anything else is healthy."""
    for needed, how in services()[name].get("depends_on", {}).items():
        assert how == {"condition": "service_completed_successfully" if needed in ONCE else "service_healthy"}


def test_no_port_is_published_twice() -> None:
    """All profiles can run side by side."""
    ports = [port.host for service in services().values() for port in published(service)]
    assert len(ports) == len(set(ports))


@pytest.mark.parametrize(("name", "port"), DOCUMENTED_PORTS.items())
def test_documented_ports(name: str, port: int) -> None:
    """Every part is on the port that the runbooks name."""
    assert [published_port.host for published_port in published(services()[name])] == [port]


def test_volumes_are_declared_and_used() -> None:
    """No volume is without a name, and none is declared for nothing."""
    used = [source for service in services().values() for source in mounts(service).values() if not source.startswith("./")]
    assert set(used) == set(document()["volumes"])
    assert len(used) == len(set(used)), "two services write into one volume"


def test_mounted_files_exist() -> None:
    """Docker would make a directory of a path that does not exist, and the service would start without its configuration."""
    sources = [source for service in services().values() for source in mounts(service).values() if source.startswith("./")]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_published_is_read_as_it_is_written() -> None:
    """The reading of ports, which so many tests stand on, takes the three parts apart."""
    assert published({"ports": ["127.0.0.1:9092:19092"]}) == [Published("127.0.0.1", 9092, 19092)]
