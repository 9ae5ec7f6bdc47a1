"""The clients of docker-compose.yml, the shards and the demo among them, against the options of the code."""

from __future__ import annotations

import contextlib
import io
from itertools import chain, pairwise

import pytest

from k2.cli import schemas as schemas_command
from k2.cli.main import main as toolbox
from k2.ingestion.exchanges.binance.urls import rest_url_of
from k2.ingestion.options import BY_KEY, OPTIONS
from kit.ports import free_port
from operations.compose_file import (
    CLIENTS,
    DEMO,
    LETTERS_OF_A_FULL_QUEUE_S,
    PLAIN,
    SHARDS,
    command,
    environment_of,
    mounts,
    published,
    seconds,
    services,
    settings_of,
)

THIRTY_SYMBOLS = ",".join(f"S{number}USDT" for number in range(30))
# Set by compose for each container, or for another file of compose to set: files and credentials must be mounted first.
NOT_PASSED_ON = {
    "K2_SHARD": "the services of the profile have it",
    "K2_WS_CA": "a file",
    "K2_KAFKA_CA": "a file",
    "K2_KAFKA_CERT": "a file",
    "K2_KAFKA_KEY": "a file",
    "K2_KAFKA_KEY_PASSWORD": "a secret",
    "K2_KAFKA_SECURITY_PROTOCOL": "config/compose/kafka-login.yml",
    "K2_KAFKA_SASL_MECHANISM": "config/compose/kafka-login.yml",
    "K2_KAFKA_SASL_USERNAME": "config/compose/kafka-login.yml",
    "K2_KAFKA_SASL_PASSWORD": "a secret",
    "K2_SCHEMA_REGISTRY_USER": "config/compose/kafka-login.yml",
    "K2_SCHEMA_REGISTRY_PASSWORD": "a secret",
    "K2_SCHEMA_REGISTRY_CA": "a file",
    "K2_SCHEMA_REGISTRY_CERT": "a file",
    "K2_SCHEMA_REGISTRY_KEY": "a file",
    "K2_PARTITIONS": "the set-up service makes the topic",
    "K2_REPLICATION_FACTOR": "the set-up service makes the topic",
    "K2_RETENTION_MS": "the set-up service makes the topic",
}


@pytest.mark.parametrize("name", CLIENTS)
def test_client_understands_its_environment(name: str) -> None:
    """Every client starts with the variables that it gets, and serves where its port is published."""
    settings = settings_of(name)
    assert settings.http.host == "0.0.0.0", "Prometheus could not reach it from its own container"  # noqa: S104
    assert [port.container for port in published(services()[name])] == [settings.http.port]


@pytest.mark.parametrize("name", CLIENTS)
def test_client_keeps_what_must_outlive_it(name: str) -> None:
    """State and letters are on volumes of its own, the letters under the documented path, and nothing else can be written."""
    service, settings = services()[name], settings_of(name)
    assert set(mounts(service)) == {str(settings.state_dir), str(settings.dead_letter_dir)}
    assert str(settings.dead_letter_dir) == BY_KEY["dead_letter_dir"].default
    assert service["read_only"] is True
    assert [text.partition(":")[0] for text in service["tmpfs"]] == ["/tmp"]


@pytest.mark.parametrize("name", CLIENTS)
def test_client_does_not_log_into_the_container(name: str) -> None:
    """Docker has the log and rotates it: a file beside it would fill a file system that nobody looks at."""
    assert settings_of(name).logs.file is None


@pytest.mark.parametrize("name", CLIENTS)
def test_client_has_time_to_stop(name: str) -> None:
    """Docker kills later than the client gives up by itself and has turned a full queue into dead letters."""
    assert seconds(services()[name]["stop_grace_period"]) >= settings_of(name).shutdown_timeout_s + LETTERS_OF_A_FULL_QUEUE_S


@pytest.mark.parametrize("name", [*CLIENTS, "schemas", "exchange"])
def test_ours_is_no_root(name: str) -> None:
    """Whatever runs in our image runs as a numbered user, under an init that reaps and passes signals on."""
    user, _, group = services()[name]["user"].partition(":")
    assert int(user) >= 10_000
    assert int(group) >= 10_000
    assert services()[name]["init"] is True
    assert services()[name]["read_only"] is True


def test_every_option_has_its_place() -> None:
    """Each option of the client is set by compose, passed on, or left out for a reason that stands here."""
    given = set(services()[PLAIN]["environment"])
    every = {option.variable for option in OPTIONS}
    former = {option.former_variable for option in OPTIONS}
    assert given - every - former == set(), "a variable that the client does not know"
    assert every - given == set(NOT_PASSED_ON)


@pytest.mark.parametrize("prefix", ["", "test.trades"])
def test_set_up_makes_what_the_client_uses(prefix: str) -> None:
    """The topic and the subject that are made first are those of the client, with the client's own partitions and retention."""
    settings = settings_of(PLAIN, KAFKA_TOPIC_PREFIX=prefix)
    words = command(services({"KAFKA_TOPIC_PREFIX": prefix})["topics"])
    options = dict(pairwise(words))
    assert words[0] == "kafka-topics"
    assert {"--create", "--if-not-exists"} <= set(words)
    assert options["--bootstrap-server"] == settings.kafka.bootstrap
    assert options["--topic"] == settings.topics[0].name
    assert options["--partitions"] == str(settings.kafka.partitions)
    assert options["--config"] == f"retention.ms={settings.kafka.retention_ms}"
    registration = command(services({"KAFKA_TOPIC_PREFIX": prefix})["schemas"])
    assert registration[:3] == ["k2", "schemas", "register"]
    assert registration[registration.index("--topic") + 1] == settings.topics[0].name
    assert registration[registration.index("--schema") + 1] == schemas_command.DEFAULT_SCHEMA
    assert environment_of(services()["schemas"])["SCHEMA_REGISTRY_URL"] == settings.registry.url


def test_shards_are_the_whole() -> None:
    """The three shards have each of thirty symbols exactly once, and each works, and is seen, apart from the others."""
    parts = [settings_of(name, BINANCE_SYMBOLS=THIRTY_SYMBOLS).feed.symbols for name in SHARDS]
    assert sorted(chain(*parts)) == sorted(settings_of(PLAIN, BINANCE_SYMBOLS=THIRTY_SYMBOLS).feed.symbols)
    assert all(parts)
    assert [environment_of(services()[name])["K2_SHARD"] for name in SHARDS] == ["0/3", "1/3", "2/3"]


def test_shards_are_alike() -> None:
    """A shard differs from the plain client by its part, its volumes, its port, its name and its profile, and by nothing else."""
    own = {"container_name", "ports", "volumes", "profiles", "deploy"}
    plain = {key: value for key, value in services()[PLAIN].items() if key not in own}
    for name in SHARDS:
        shard = {key: value for key, value in services()[name].items() if key not in own}
        shard["environment"] = {key: value for key, value in shard["environment"].items() if key != "K2_SHARD"}
        assert shard == plain


def test_profiles() -> None:
    """Shards and the demo are asked for by name; everything else starts by itself."""
    profiles = {name: service["profiles"] for name, service in services().items() if "profiles" in service}
    assert profiles == {**{name: ["sharded"] for name in SHARDS}, "exchange": ["demo"], DEMO: ["demo"]}


def test_broker_and_registry_may_be_elsewhere() -> None:
    """The addresses of `.env` are those of every client but the demo's, and a shell's own for a `k2` on the host are not."""
    elsewhere = {"KAFKA_BROKERS": "broker.example.com:9092", "REGISTRY_URL": "http://registry.example.com"}
    exported = {"KAFKA_BOOTSTRAP": "localhost:9092", "SCHEMA_REGISTRY_URL": "http://localhost:8081"}
    for name in CLIENTS:
        settings, usual = settings_of(name, **elsewhere, **exported), settings_of(name)
        moved = name != DEMO
        assert (settings.kafka.bootstrap == elsewhere["KAFKA_BROKERS"], settings.registry.url == elsewhere["REGISTRY_URL"]) == (
            moved,
            moved,
        )
        assert (usual.kafka.bootstrap, usual.registry.url) == ("kafka:9092", "http://schema-registry:8081")


# The demo


def test_demo_needs_no_internet_and_spoils_nothing() -> None:
    """The demo's client talks to the simulated exchange alone, and its invented trades have a topic of their own."""
    demo = settings_of(DEMO)
    words = command(services()["exchange"])
    port = words[words.index("--port") + 1]
    assert demo.feed.ws_url == f"ws://exchange:{port}"
    assert demo.feed.rest_url == f"http://exchange:{port}"
    assert demo.topics[0].name != settings_of(PLAIN).topics[0].name
    assert "binance.com" not in str(rest_url_of(demo.feed.ws_url))


def test_demo_exchange_starts() -> None:
    """The command of the simulated exchange is one that the toolbox takes: it serves until its duration is over."""
    words = [*command(services()["exchange"])[1:], "--duration", "0.1"]
    words[words.index("--port") + 1] = str(free_port())
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert toolbox(words) == 0
    assert "Simulated Binance (spot), 3 symbols" in said.getvalue()
