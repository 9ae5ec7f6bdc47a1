"""How the containers of docker-compose.yml reach each other, their configuration, their credentials and their variables."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from k2.ingestion.options import OPTIONS
from k2.ingestion.settings import load_settings
from operations.compose_file import (
    CLIENTS,
    COMPOSE,
    LOGIN,
    OVERRIDES,
    PLAIN,
    ROOT,
    SHARDS,
    command,
    document,
    environment_of,
    mounts,
    published,
    services,
    settled,
    variables,
)

# The listeners of Kafka


def listeners(text: str) -> dict[str, tuple[str, int]]:
    """Name of the listener to host and port."""
    found = re.findall(r"([A-Z]+)://([^:,]+):([0-9]+)", text)
    return {name: (host, int(port)) for name, host, port in found}


def test_all_three_callers_reach_the_broker() -> None:
    """A container, a command in the broker's own and a program on the host begin, and go on, at addresses that they reach."""
    kafka = services()["kafka"]
    environment = environment_of(kafka)
    bound = listeners(environment["KAFKA_LISTENERS"])
    told = listeners(environment["KAFKA_ADVERTISED_LISTENERS"])
    behind = {port.host: port.container for port in published(kafka)}
    # a container: kafka:9092, and it is told kafka:9092
    assert told["INTERNAL"] == ("kafka", 9092)
    assert bound["INTERNAL"] == ("0.0.0.0", 9092)  # noqa: S104
    # inside the container: localhost:9092 is the same listener, which is bound to every interface; `kafka` is its own name
    assert kafka["hostname"] == kafka["container_name"] == told["INTERNAL"][0]
    # the host: localhost:9092 leads to the other listener, which tells localhost:9092
    assert told["HOST"] == ("localhost", 9092)
    assert bound["HOST"] == ("0.0.0.0", behind[told["HOST"][1]])  # noqa: S104
    assert len({port for _, port in bound.values()}) == len(bound) == 3
    assert set(told) == set(bound) - {environment["KAFKA_CONTROLLER_LISTENER_NAMES"]}
    assert environment["KAFKA_CONTROLLER_QUORUM_VOTERS"].partition("@")[2] == "{}:{}".format(*bound["CONTROLLER"])


def test_everyone_in_the_network_takes_the_inner_listener() -> None:
    """Whoever names a broker in the compose file, the broker aside, names the one that containers reach."""
    others = [service for name, service in services().items() if name != "kafka"]
    texts = [value for service in others for value in environment_of(service).values()]
    texts += [word for service in others if "command" in service for word in command(service)]
    named = [text.removeprefix("PLAINTEXT://") for text in texts if re.search(r"\bkafka:[0-9]+$", text)]
    assert len(named) > len(CLIENTS)
    assert set(named) == {"kafka:9092"}


def test_cluster_id_is_one() -> None:
    """Kafka takes 16 bytes in the base64 of addresses, without padding."""
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", environment_of(services()["kafka"])["CLUSTER_ID"])


# The monitoring


def in_container(name: str, path: str) -> Path:
    """The file of the repository that a container sees under a path; the deepest mount counts."""
    at, source = max(
        ((at, source) for at, source in mounts(services()[name]).items() if Path(path).is_relative_to(at)),
        key=lambda pair: len(pair[0]),
    )
    return ROOT / source / Path(path).relative_to(at)


def option(name: str, flag: str) -> str:
    """The value of a `--flag=value` in a service's command."""
    (value,) = (word.partition("=")[2] for word in command(services()[name]) if word.partition("=")[0] == flag)
    return value


def reachable() -> dict[str, set[int]]:
    """Names in the network and the ports that answer there."""
    return {name: {port.container for port in published(service)} for name, service in services().items()}


def assert_reachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    assert int(port) in reachable()[host], address


def test_prometheus_finds_its_configuration() -> None:
    """The configuration, the rules and the list of clients lie where the command and the configuration look for them."""
    file = in_container("prometheus", option("prometheus", "--config.file"))
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert [name for pattern in config["rule_files"] for name in file.parent.glob(pattern)]
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    (lists,) = (discovery["files"] for discovery in jobs["binance-client"]["file_sd_configs"])
    assert jobs["binance-client"].get("metrics_path", "/metrics") == "/metrics"
    at = Path(option("prometheus", "--config.file")).parent
    assert [in_container("prometheus", str(at / name)).exists() for name in lists] == [True]


@pytest.mark.parametrize("chosen", ["binance-client", "sharded"])
def test_prometheus_looks_at_the_clients_that_run(chosen: str) -> None:
    """The list that the example of variables names has exactly the clients that then run, each on its port."""
    file = ROOT / mounts(services({"PROMETHEUS_TARGETS": chosen})["prometheus"])["/etc/prometheus/targets/binance-client.yml"]
    targets = [target for group in yaml.safe_load(file.read_text(encoding="utf-8")) for target in group["targets"]]
    assert [target.partition(":")[0] for target in targets] == ([PLAIN] if chosen == PLAIN else list(SHARDS))
    for target in targets:
        assert_reachable(target)


def test_parts_of_the_monitoring_find_each_other() -> None:
    """Prometheus finds Alertmanager, and Grafana its data sources, under names and ports of this file."""
    prometheus = yaml.safe_load((ROOT / "config/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    alertmanagers = prometheus["alerting"]["alertmanagers"]
    addresses = [target for group in alertmanagers for each in group["static_configs"] for target in each["targets"]]
    sources = (ROOT / "config/grafana/provisioning/datasources").glob("*.yml")
    urls = [source["url"] for file in sources for source in yaml.safe_load(file.read_text(encoding="utf-8"))["datasources"]]
    assert addresses
    assert urls
    for address in (*addresses, *(url.removeprefix("http://") for url in urls)):
        assert_reachable(address)


def test_alertmanager_finds_its_configuration() -> None:
    """The file that the command names is mounted."""
    assert in_container("alertmanager", option("alertmanager", "--config.file")).is_file()


def test_grafana_finds_its_dashboards() -> None:
    """The provider looks where the dashboards are mounted, and the page that opens first is one of them."""
    (provider,) = (
        provider
        for file in (ROOT / "config/grafana/provisioning/dashboards").glob("*.yml")
        for provider in yaml.safe_load(file.read_text(encoding="utf-8"))["providers"]
    )
    assert list(in_container("grafana", provider["options"]["path"]).glob("*.json"))
    home = environment_of(services()["grafana"])["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert json.loads(in_container("grafana", home).read_text(encoding="utf-8"))["uid"] == "k2-operator"


def test_grafana_has_no_known_password() -> None:
    """Without a file with a password there is no administrator, so that nobody logs in with the one that everybody knows."""
    environment = environment_of(services()["grafana"])
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    added = document(ROOT / "config/compose/grafana-login.yml")["services"]["grafana"]
    assert "GF_SECURITY_ADMIN_PASSWORD__FILE" in added["environment"]
    assert "GF_SECURITY_ADMIN_PASSWORD" not in added["environment"]


# Credentials, and the example of variables


@pytest.mark.parametrize("name", [PLAIN, *SHARDS])
def test_login_comes_from_files(name: str, tmp_path: Path) -> None:
    """With the file for a login the client understands its settings, and no password stands in an environment."""
    added = settled(document(ROOT / "config/compose/kafka-login.yml"), LOGIN)
    environment = {**environment_of(services()[name]), **environment_of(added["services"][name])}
    for secret in added["services"][name]["secrets"]:
        (tmp_path / secret).write_text("hidden", encoding="utf-8")
    moved = {key: value.replace("/run/secrets", str(tmp_path)) for key, value in environment.items()}
    settings = load_settings([], {"HOME": "/", **moved})
    assert set(settings.secrets()) == {"hidden"}
    assert set(added["secrets"]) == set(added["services"][name]["secrets"])
    assert not {option.variable for option in OPTIONS if option.secret} & set(environment)


def example_variables() -> Mapping[str, str]:
    """The commented assignments of .env.example."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    return dict(re.findall(r"^# ([A-Z0-9_]+)=(.*)$", text, re.MULTILINE))


def test_example_has_every_variable() -> None:
    """The example names each variable that the compose files take, with the default that they have."""
    taken: dict[str, str] = {"COMPOSE_PROFILES": "", "COMPOSE_FILE": COMPOSE.name}
    for file in (COMPOSE, *OVERRIDES):
        taken |= variables(file)
    example = example_variables()
    assert set(example) == set(taken)
    taken |= variables(COMPOSE)  # where a file for a login asks for what has a default without it
    assert {name: example[name] for name, default in taken.items() if default} == {
        name: text for name, text in taken.items() if text
    }


def test_example_changes_nothing() -> None:
    """Copied as it is, the example sets nothing."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []


def documented_commands() -> list[list[str]]:
    """The compose commands of the page on deployment, word by word."""
    blocks = re.findall(
        r"^```bash\n(.*?)^```", (ROOT / "docs/deployment.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.startswith("docker compose ")]


@pytest.mark.parametrize("words", documented_commands(), ids=" ".join)
def test_documented_command_names_what_there_is(words: list[str]) -> None:
    """Files, profiles and services of a documented command exist."""
    pairs = list(pairwise(words))
    assert {name for flag, name in pairs if flag == "--profile"} <= {"demo", "sharded"}
    after = words[words.index("up") + 1 :] if "up" in words else words[words.index("exec") + 1 :][:2] if "exec" in words else []
    assert {word for word in after if not word.startswith("-")} <= set(services())


def test_documented_files_exist() -> None:
    """The files that the page and the files themselves add to COMPOSE_FILE are there, the usual one first."""
    heads = [file.read_text(encoding="utf-8") for file in OVERRIDES]
    texts = [(ROOT / "docs/deployment.md").read_text(encoding="utf-8"), *heads]
    lists = [re.findall(r"^(?:#   )?COMPOSE_FILE=(\S+)", text, re.MULTILINE)[0].split(":") for text in texts]
    assert {names[0] for names in lists} == {COMPOSE.name}
    assert set(lists[0][1:]) == {str(file.relative_to(ROOT)) for file in OVERRIDES}
    assert [names[1:] for names in lists[1:]] == [[str(file.relative_to(ROOT))] for file in OVERRIDES]


def test_documented_lines_for_shards() -> None:
    """The three lines that the page gives for shards are variables of the compose file, with values other than the defaults."""
    text = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    lines = dict(re.findall(r"^([A-Z_]+)=(\w+)$", text, re.MULTILINE))
    assert lines == {"COMPOSE_PROFILES": "sharded", "PLAIN_CLIENTS": "0", "PROMETHEUS_TARGETS": "sharded"}
    assert all(example_variables()[name] != value for name, value in lines.items())
