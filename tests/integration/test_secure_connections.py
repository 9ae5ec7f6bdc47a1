"""Log-ins and TLS towards the broker, the registry and the exchange: what gets in, what is refused, and that no secret shows."""

from __future__ import annotations

import http.client
import ssl
import threading
from base64 import b64encode
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trustme
from cryptography.hazmat.primitives import serialization as pem

from integration.support import Rig, RunningClient, RunningExchange, assert_complete, generated
from k2.simulator.faults import Garbage
from kit.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kit.registry import SchemaRegistry

CONFIGURATION = 2
TRADES = 300

# Every secret holds the same word, so that one search finds any of them.
CANARY = "canary"
USER, PASSWORD, WRONG_PASSWORD, KEY_PASSWORD = "alice", f"{CANARY}-Login7", f"{CANARY}-Wrong8", f"{CANARY}-Key9"
IN_BASIC_AUTH = [b64encode(f"{USER}:{word}".encode()).decode() for word in (PASSWORD, WRONG_PASSWORD)]


@dataclass(frozen=True)
class Files:
    """What certificates and secrets there are on disk. `stranger` is an authority that nobody was told to trust."""

    directory: Path
    authority: trustme.CA = field(default_factory=trustme.CA)
    stranger: trustme.CA = field(default_factory=trustme.CA)

    def write(self) -> None:
        self.authority.cert_pem.write_to_path(self.path("ca"))
        self.stranger.cert_pem.write_to_path(self.path("other_ca"))
        self._write_identity("server", self.authority.issue_cert("127.0.0.1"))
        self._write_identity("client", self.authority.issue_cert("client.example"), KEY_PASSWORD)
        self._write_identity("foreign", self.stranger.issue_cert("client.example"))
        keystore = self.path("server_key").read_text(encoding="ascii") + self.path("server_cert").read_text(encoding="ascii")
        self.path("keystore").write_text(keystore, encoding="ascii")
        for name, secret in {"password": PASSWORD, "wrong_password": WRONG_PASSWORD}.items():
            self.path(name).write_text(f"{secret}\n", encoding="ascii")  # with the line feed that editors put there

    def path(self, name: str) -> Path:
        return self.directory / name

    def server_tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path("server_cert"), self.path("server_key"))
        return context

    def _write_identity(self, name: str, leaf: trustme.LeafCert, password: str = "") -> None:
        key = pem.load_pem_private_key(leaf.private_key_pem.bytes(), None)
        # Kafka reads keys in PKCS#8 only.
        encryption = pem.BestAvailableEncryption(password.encode()) if password else pem.NoEncryption()
        self.path(f"{name}_key").write_bytes(key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, encryption))
        self.path(f"{name}_cert").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))


class SecureRelay(ThreadingHTTPServer):
    """What stands before many a registry: TLS, a log-in, and everything else passed on."""

    def __init__(self, target: str, tls: ssl.SSLContext) -> None:
        self.target = urlsplit(target)
        super().__init__(("127.0.0.1", 0), _Relayed)
        self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}{self.target.path}"


class _Relayed(BaseHTTPRequestHandler):
    server: SecureRelay

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers["Authorization"] != f"Basic {IN_BASIC_AUTH[0]}":
            return self._answer(401, b'{"error_code": 40101, "message": "Unauthorized"}')
        target = self.server.target
        with closing(http.client.HTTPConnection(target.netloc, timeout=10)) as connection:
            connection.request(
                self.command, self.path, body, {"Content-Type": self.headers.get("Content-Type", "application/json")}
            )
            response = connection.getresponse()
            return self._answer(response.status, response.read())

    do_GET = do_POST = do_PUT = _pass_on  # noqa: N815 - the names that the library looks for

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing to stderr."""


@contextmanager
def served(relay: SecureRelay) -> Iterator[SecureRelay]:
    with relay:
        thread = threading.Thread(target=relay.serve_forever)
        thread.start()
        yield relay
        relay.shutdown()
        thread.join()


def broker_properties(files: Files) -> dict[str, str]:
    """One listener asks for a log-in, the other one for a certificate; both speak TLS."""
    jaas, login = "org.apache.kafka.common.security", "listener.name.login"
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(files.path("keystore")),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(files.path("ca")),
        "listener.name.mutual.ssl.client.auth": "required",
        f"{login}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        f"{login}.plain.sasl.jaas.config": f'{jaas}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
        f"{login}.scram-sha-512.sasl.jaas.config": f"{jaas}.scram.ScramLoginModule required;",
    }


class SecureBroker(KafkaBroker):
    """A broker whose metadata hold the SCRAM user from the first moment on."""

    def _java(self, main_class: str, *arguments: str) -> list[str]:
        user = ("--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]")
        return super()._java(main_class, *arguments, *(user if "format" in arguments else ()))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    files = Files(tmp_path_factory.mktemp("secure"))
    files.write()
    return files


@pytest.fixture(scope="module")
def broker(files: Files) -> Iterator[KafkaBroker]:
    listeners = {"LOGIN": "SASL_SSL", "MUTUAL": "SSL"}
    with SecureBroker(listeners=listeners, extra_properties=broker_properties(files)) as broker:
        yield broker


@pytest.fixture(scope="module")
def relay(files: Files, registry: SchemaRegistry) -> Iterator[SecureRelay]:
    with served(SecureRelay(registry.url, files.server_tls())) as relay:
        yield relay


@pytest.fixture
def rig(broker: KafkaBroker, registry: SchemaRegistry, tmp_path: Path) -> Iterator[Rig]:
    with Rig(broker, registry, tmp_path) as rig:
        yield rig


@pytest.fixture
def exchange(rig: Rig, files: Files) -> RunningExchange:
    return rig.exchange(generated(1_500), tls=files.server_tls())


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
def doors(rig: Rig, broker: KafkaBroker, relay: SecureRelay, files: Files) -> Doors:
    return Doors(rig, broker, relay, files)


def assert_no_secret(client: RunningClient, *surfaces: bytes) -> None:
    """In nothing that a client said or left behind is there any secret that it was given."""
    left_behind = [path.read_bytes() for path in client.home.rglob("*") if path.is_file()]
    everything = b"\n".join([client.output.encode(), *surfaces, *left_behind]).decode("utf-8", "replace")
    assert not [word for word in (CANARY, *IN_BASIC_AUTH) if word in everything]


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
