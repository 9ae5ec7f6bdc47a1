"""Claims about what librdkafka is asked for, and about the properties a user may pass through."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer

from k2.errors import ConfigurationError
from k2.ingestion.described import describe
from k2.ingestion.kafka_settings import OWNED, SAFE_ONLY, KafkaSettings
from k2.ingestion.options import BY_KEY
from k2.ingestion.settings import load_settings

LOGIN = ("--kafka-security-protocol", "SASL_SSL", "--kafka-sasl-mechanism", "SCRAM-SHA-512", "--kafka-sasl-username", "u")
PASSWORD = {"K2_KAFKA_SASL_PASSWORD": "c4n4ry"}


def kafka(*argv: str, **environ: str) -> KafkaSettings:
    return load_settings(argv, environ).kafka


def faults_of(*argv: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(argv, environ)
    return caught.value.faults


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enable.idempotence", True),
        ("acks", "all"),
        ("message.timeout.ms", 0),
        ("partitioner", "murmur2_random"),
        ("allow.auto.create.topics", False),
        ("linger.ms", 5.0),
        ("batch.num.messages", 10_000),
        ("queue.buffering.max.messages", 200_000),
        ("queue.buffering.max.kbytes", 262_144),
        ("compression.type", "lz4"),
    ],
)
def test_the_producer_keeps_the_promise_by_default(name: str, value: object) -> None:
    """Without any option records are delivered in order, once, acknowledged by all replicas, and never expire."""
    assert kafka().producer_config()[name] == value


SMALLEST = "--batch-size 1 --batch-timeout 0 --queue-messages 1 --queue-mib 1"
LARGEST = "--batch-size 1000000 --batch-timeout 900 --queue-messages 2147483647 --queue-mib 2097151"
TUNED = "--kafka-property batch.size=65536 linger.ms=100 compression.type=zstd max.in.flight=3"


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param((), id="default"),
        pytest.param(tuple(SMALLEST.split()), id="smallest"),
        pytest.param(tuple(LARGEST.split()), id="largest"),
        pytest.param(tuple(TUNED.split()), id="tuned"),
        pytest.param(LOGIN, id="login"),
        pytest.param(("--acks", "1"), id="leader-only"),
        pytest.param(("--acks", "0"), id="nobody"),
    ],
)
def test_librdkafka_accepts_what_the_options_allow(argv: tuple[str, ...]) -> None:
    """The bounds of the options are those of librdkafka, and every property is spelt as it spells it."""
    config = kafka(*argv, **(PASSWORD if argv == LOGIN else {})).producer_config()
    Producer({**config, "bootstrap.servers": "127.0.0.1:1", "log_level": 0})  # raises KafkaException for what it does not take


def test_the_runbooks_tuning_is_settable() -> None:
    """Batch size in bytes, linger and compression take the values that the runbook advises under high latency."""
    config = kafka("--kafka-property", "batch.size=65536", "linger.ms=100", "compression.type=zstd").producer_config()
    assert (config["batch.size"], config["linger.ms"], config["compression.type"]) == ("65536", 100.0, "zstd")


def test_batch_options_become_their_properties() -> None:
    """The runbook's batch variables reach librdkafka, seconds as milliseconds."""
    config = kafka(BINANCE_BATCH_SIZE="100", BINANCE_BATCH_TIMEOUT="1.0").producer_config()
    assert (config["batch.num.messages"], config["linger.ms"]) == (100, 1000.0)


def test_other_clients_get_connection_and_security_only(tmp_path: Path) -> None:
    """Admin client and consumers log in as the producer does and are spared what only a producer knows."""
    ca = tmp_path / "ca.pem"
    ca.write_text("-----BEGIN CERTIFICATE-----\n")
    given = ("--kafka-ca", str(ca), "--kafka-property", "socket.timeout.ms=9000", "batch.size=65536")
    assert kafka(*LOGIN, *given, **PASSWORD).admin_config() == {
        "bootstrap.servers": "localhost:9092",
        "client.id": "k2-binance-client",
        "socket.keepalive.enable": True,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "u",
        "sasl.password": "c4n4ry",
        "ssl.ca.location": str(ca),
        "socket.timeout.ms": "9000",
    }


@pytest.mark.parametrize("name", SAFE_ONLY)
def test_properties_that_break_the_promise_are_refused(name: str) -> None:
    """What would lose, double or reorder records, or trust anybody, is refused, with the way to insist."""
    (fault,) = faults_of("--kafka-property", f"{name}=other")
    assert fault.startswith(f"--kafka-property: {name}=other ")
    assert "--allow-unsafe-kafka-properties" in fault
    assert kafka("--kafka-property", f"{name}=other", "--allow-unsafe-kafka-properties").producer_config()[name] == "other"


@pytest.mark.parametrize("text", [f"{name}={value}" for name, rule in SAFE_ONLY.items() for value in rule.values])
def test_safe_values_of_these_properties_are_accepted(text: str) -> None:
    """Saying what holds anyway is no fault."""
    assert kafka("--kafka-property", text).properties == dict([text.split("=")])


@pytest.mark.parametrize("text", ["delivery.timeout.ms=1000", "retries=0", "max.in.flight=6"])
def test_other_names_of_a_property_do_not_evade_the_refusal(text: str) -> None:
    """librdkafka's second names for a property are known."""
    (fault,) = faults_of("--kafka-property", text)
    assert "--allow-unsafe-kafka-properties" in fault


@pytest.mark.parametrize(
    ("argv", "environ", "called", "acks"),
    [
        pytest.param(["--acks", "1"], {}, "--acks", "1", id="flag"),
        pytest.param([], {"K2_ACKS": "0"}, "K2_ACKS (--acks)", "0", id="variable"),
        pytest.param(["--kafka-property", "request.required.acks=1"], {}, "--kafka-property acks", "1", id="property"),
    ],
)
def test_a_promise_that_is_given_up_is_told(argv: list[str], environ: dict[str, str], called: str, acks: str) -> None:
    """Fewer acknowledgements are taken where they are asked for, in order all the same, and the log says what that costs."""
    settings = load_settings(argv, environ)
    config = settings.kafka.producer_config()
    assert (config["acks"], config["enable.idempotence"], config["max.in.flight.requests.per.connection"]) == (acks, False, 1)
    (note,) = settings.notes
    assert note.startswith(f"{called} is {acks}: ")
    assert "may be written twice" in note


@pytest.mark.parametrize("argv", [[], ["--acks", "ALL"], ["--kafka-property", "acks=-1"]])
def test_by_default_there_is_nothing_to_tell(argv: list[str]) -> None:
    """All replicas acknowledge, however that is said."""
    settings = load_settings(argv, {})
    assert (settings.kafka.acks, settings.notes) == ("all", ())


def test_every_owned_property_names_an_option() -> None:
    """The table of properties that belong to options knows no option that does not exist."""
    assert {key for key, _ in OWNED.values()} <= set(BY_KEY)


def test_a_property_of_an_option_sets_that_option() -> None:
    """There is one value and one place that shows it; the property wins over the flag."""
    argv = ("--batch-timeout", "1", "--kafka-property", "queue.buffering.max.ms=20", "bootstrap.servers=a:1")
    settings = load_settings(argv, {})
    assert (settings.kafka.batch_timeout_s, settings.kafka.bootstrap, settings.kafka.properties) == (0.02, "a:1", {})
    assert str(settings.sources["kafka.batch_timeout_s"]) == "property --kafka-property linger.ms"


def test_a_fault_of_such_a_property_names_it() -> None:
    """The option's own check applies, and the fault tells where the value came from."""
    (fault,) = faults_of(K2_KAFKA_PROPERTIES="compression.codec=brotli")
    assert fault.startswith("K2_KAFKA_PROPERTIES compression.type: 'brotli' is not one of")


@pytest.mark.parametrize(
    ("text", "properties"),
    [
        pytest.param("debug=broker, client.rack = r1", {"debug": "broker", "client.rack": "r1"}, id="commas"),
        pytest.param("debug=broker,topic\nclient.rack=a=b\n", {"debug": "broker,topic", "client.rack": "a=b"}, id="lines"),
        pytest.param("client.rack=a,client.rack=b", {"client.rack": "b"}, id="the-last-counts"),
    ],
)
def test_properties_of_the_variable_are_separated_by_commas_or_lines(text: str, properties: dict[str, str]) -> None:
    """Where there are several lines a value may hold commas."""
    assert kafka(K2_KAFKA_PROPERTIES=text).properties == properties


def test_a_value_of_the_flag_may_hold_commas() -> None:
    """On the command line each word is one property."""
    assert kafka("--kafka-property", "debug=broker,topic").properties == {"debug": "broker,topic"}


@pytest.mark.parametrize("name", ["ssl.key.pem", "ssl.keystore.password", "sasl.oauthbearer.client.secret"])
def test_properties_that_are_secrets_are_masked(name: str) -> None:
    """A password passed through as a property reaches librdkafka and nobody else."""
    settings = load_settings(["--kafka-property", f"{name}=c4n4ry"], {})
    assert "c4n4ry" not in describe(settings) + repr(settings)
    assert settings.kafka.producer_config()[name] == "c4n4ry"
