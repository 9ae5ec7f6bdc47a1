"""Log-ins and TLS towards the broker, the registry and the exchange: what gets in, what is refused, and that no secret shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from integration.secured import KEY_PASSWORD, PASSWORD, USER, WRONG_PASSWORD, Files, SecureRelay, contents_of, secrets_in
from integration.support import Rig, RunningClient, RunningExchange, assert_complete, generated
from k2.simulator.faults import Garbage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kit.kafka import KafkaBroker
    from kit.registry import SchemaRegistry

CONFIGURATION = 2
TRADES = 300


@pytest.fixture
def rig(secure_broker: KafkaBroker, registry: SchemaRegistry, tmp_path: Path) -> Iterator[Rig]:
    with Rig(secure_broker, registry, tmp_path) as rig:
        yield rig


@pytest.fixture
def exchange(rig: Rig, secure_files: Files) -> RunningExchange:
    return rig.exchange(generated(1_500), tls=secure_files.server_tls())


@dataclass(frozen=True)
class Case:
    """
    Flags and variables to add, and what a refusal must name.

    `{login}`, `{mutual}`, `{registry}` and `{rest}` stand for addresses, other names in braces for files.
    """

    flags: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    says: str = ""


class Doors:
    """Starts clients that differ in how they get in."""

    def __init__(self, rig: Rig, broker: KafkaBroker, relay: SecureRelay, files: Files) -> None:
        self._rig, self._files = rig, files
        names = ("ca", "other_ca", "client_cert", "client_key", "foreign_cert", "foreign_key", "password", "wrong_password")
        self._places = {name: str(files.path(name)) for name in names}
        self._places |= {"login": broker.address("LOGIN"), "mutual": broker.address("MUTUAL"), "registry": relay.url}

    def client(self, exchange: RunningExchange, case: Case) -> RunningClient:
        """The exchange is always on TLS, and its authority known unless the case says otherwise."""
        places = {**self._places, "rest": exchange.rest_url}
        variables = {"K2_WS_CA": "{ca}", **case.variables}
        environment = {name: value.format_map(places) for name, value in variables.items()}
        return self._rig.client(exchange.ws_url, *case.flags.format_map(places).split(), environment=environment)


@pytest.fixture
def doors(rig: Rig, secure_broker: KafkaBroker, secure_relay: SecureRelay, secure_files: Files) -> Doors:
    return Doors(rig, secure_broker, secure_relay, secure_files)


def assert_no_secret(client: RunningClient, *surfaces: bytes) -> None:
    """In nothing that a client said or left behind is there any secret that it was given."""
    assert secrets_in(client.output.encode(), *surfaces, *contents_of(client.home)) == []


PLAIN = "--kafka-bootstrap {login} --kafka-security-protocol SASL_SSL --kafka-ca {ca} --kafka-sasl-mechanism PLAIN"
SCRAM = PLAIN.replace("PLAIN", "SCRAM-SHA-512")
MUTUAL = "--kafka-bootstrap {mutual} --kafka-security-protocol SSL --kafka-ca {ca}"
CERTIFIED = f"{MUTUAL} --kafka-cert {{client_cert}} --kafka-key {{client_key}}"
REGISTRY = f"--schema-registry {{registry}} --schema-registry-ca {{ca}} --schema-registry-user {USER}"
AS_USER = f"--kafka-sasl-username {USER}"
BY_VARIABLES = {
    "K2_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "K2_KAFKA_SASL_MECHANISM": "PLAIN",
    "K2_KAFKA_SASL_USERNAME": USER,
    "K2_KAFKA_SASL_PASSWORD_FILE": "{password}",
    "K2_KAFKA_CA": "{ca}",
}
KAFKA_LOGIN = "K2_KAFKA_SASL_PASSWORD"
REGISTRY_LOGIN = "K2_SCHEMA_REGISTRY_PASSWORD"


ADMITTED = {
    "plain": Case(f"{PLAIN} {AS_USER}", {KAFKA_LOGIN: PASSWORD}),
    "plain-by-variables-and-file": Case("--kafka-bootstrap {login}", BY_VARIABLES),
    "scram": Case(f"{SCRAM} {AS_USER}", {KAFKA_LOGIN: PASSWORD}),
    "mutual-tls": Case(CERTIFIED, {"K2_KAFKA_KEY_PASSWORD": KEY_PASSWORD}),
    "registry": Case(REGISTRY, {REGISTRY_LOGIN: PASSWORD}),
    "registry-by-file": Case(REGISTRY, {f"{REGISTRY_LOGIN}_FILE": "{password}"}),
    "exchange-with-rest": Case("--rest-url {rest} --ws-ca {ca}", {"K2_WS_CA": ""}),
}
REFUSED = {
    "plain-password": Case(f"{PLAIN} {AS_USER}", {KAFKA_LOGIN: WRONG_PASSWORD}, KAFKA_LOGIN),
    "scram-password-by-file": Case(f"{SCRAM} {AS_USER}", {f"{KAFKA_LOGIN}_FILE": "{wrong_password}"}, KAFKA_LOGIN),
    "kafka-authority": Case(f"{PLAIN} {AS_USER} --kafka-ca {{other_ca}}", {KAFKA_LOGIN: PASSWORD}, "--kafka-ca"),
    "no-certificate": Case(MUTUAL, says="--kafka-cert"),
    "strangers-certificate": Case(f"{MUTUAL} --kafka-cert {{foreign_cert}} --kafka-key {{foreign_key}}", says="--kafka-cert"),
    "key-password": Case(CERTIFIED, {"K2_KAFKA_KEY_PASSWORD": WRONG_PASSWORD}, "K2_KAFKA_KEY_PASSWORD"),
    "registry-password": Case(REGISTRY, {REGISTRY_LOGIN: WRONG_PASSWORD}, REGISTRY_LOGIN),
    "registry-authority": Case(
        f"{REGISTRY} --schema-registry-ca {{other_ca}}", {REGISTRY_LOGIN: PASSWORD}, "--schema-registry-ca"
    ),
}


@pytest.mark.parametrize("case", ADMITTED.values(), ids=ADMITTED)
def test_who_may_gets_in(doors: Doors, rig: Rig, exchange: RunningExchange, case: Case) -> None:
    """Let in, the client streams to a balanced end, and shows no secret even where it logs all that the Kafka library says."""
    all_of_it = "--log-level DEBUG --kafka-property debug=security,broker"
    client = doors.client(exchange, Case(f"{all_of_it} {case.flags}", case.variables))
    client.wait_for_produced(TRADES)
    exchange.inject(Garbage())
    client.wait_for_metric("k2_dead_letters_written_total", 1)
    surfaces = [client.get(path)[1] for path in ("/metrics", "/health", "/readyz")]
    sheet = client.stopped()
    assert sheet["balanced"]
    assert_complete(rig.records(), sheet["delivered"])
    assert client.dead_letter_lines
    assert_no_secret(client, *surfaces)


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_who_may_not_is_told_why(doors: Doors, exchange: RunningExchange, case: Case) -> None:
    """A wrong secret or authority ends the start with 2 and one line that names the option, but never the secret."""
    client = doors.client(exchange, Case(f"--startup-timeout 3 {case.flags}", case.variables))
    assert client.wait(30) == CONFIGURATION, client.output
    [line] = client.stderr.splitlines()
    assert case.says in line
    assert exchange.sent == 0
    assert_no_secret(client)


@pytest.mark.parametrize("authority", ["", "{other_ca}"], ids=["system", "other"])
def test_an_exchange_that_nobody_vouches_for_is_not_listened_to(doors: Doors, exchange: RunningExchange, authority: str) -> None:
    """Without the right authority no connection to the exchange is made; the client says why and tries on."""
    case = Case(REGISTRY, {"K2_WS_CA": authority, REGISTRY_LOGIN: PASSWORD})
    client = doors.client(exchange, case)
    failure = client.wait_for_event("Connection failed", kind="tls")
    assert "--ws-ca" in failure["detail"]
    client.wait_for_metric("k2_connection_errors_by_kind_total", 1, kind="tls")
    surfaces = [client.get(path)[1] for path in ("/metrics", "/health", "/readyz")]
    sheet = client.stopped()
    assert (sheet["balanced"], sheet["received"]) == (True, 0)
    assert not exchange.connections
    assert_no_secret(client, *surfaces)
