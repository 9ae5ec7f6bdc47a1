"""A broker and a registry that let in only who may, with certificates of their own, and secrets that can be searched for."""

from __future__ import annotations

import http.client
import ssl
import threading
from base64 import b64encode
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trustme
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, and exported without saying so
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from cryptography.hazmat.primitives import serialization as pem

from kit.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

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


LISTENERS = {"LOGIN": "SASL_SSL", "MUTUAL": "SSL", "LOST": "PLAINTEXT"}
NO_HOST = "broker.invalid:9092"


class GuardedBroker(SecureBroker):
    """A broker that allows nobody anything but those on its plain listener; and one listener leads on to nowhere."""

    def __init__(self, files: Files) -> None:
        guard = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
        super().__init__(listeners=LISTENERS, extra_properties={**broker_properties(files), **guard})

    def properties(self) -> dict[str, str]:
        found = super().properties()
        advertised = found["advertised.listeners"].replace(f"LOST://{self.address('LOST')}", f"LOST://{NO_HOST}")
        return {**found, "advertised.listeners": advertised}

    def allow(self, words: Sequence[str]) -> None:
        """What `kafka-acls` does with these words."""
        given = list(pairwise(words))
        [topic] = [value for word, value in given if word == "--topic"]
        [user] = [value for word, value in given if word == "--allow-principal"]
        names = {"Write": "WRITE", "Describe": "DESCRIBE", "Read": "READ", "DescribeConfigs": "DESCRIBE_CONFIGS", "All": "ALL"}
        operations = [AclOperation[names[value]] for word, value in given if word == "--operation"]
        literal, allow = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
        rules = [AclBinding(ResourceType.TOPIC, topic, literal, user, "*", operation, allow) for operation in operations]
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        for done in admin.create_acls(rules).values():
            done.result(30)

    def forbid(self, topic: str) -> None:
        """Take all rights on a topic away again."""
        anybody: Any = None  # declared as a text
        literal, operation, permission = ResourcePatternType.LITERAL, AclOperation.ANY, AclPermissionType.ANY
        rule = AclBindingFilter(ResourceType.TOPIC, topic, literal, anybody, anybody, operation, permission)
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        for done in admin.delete_acls([rule]).values():
            done.result(30)


def secrets_in(*surfaces: bytes) -> list[str]:
    """Which secrets, plain or as they travel, can be found in what somebody else may see."""
    everything = b"\n".join(surfaces).decode("utf-8", "replace")
    return [word for word in (CANARY, *IN_BASIC_AUTH) if word in everything]


def contents_of(directory: Path) -> list[bytes]:
    """All that lies in a directory and below."""
    return [path.read_bytes() for path in directory.rglob("*") if path.is_file()]
