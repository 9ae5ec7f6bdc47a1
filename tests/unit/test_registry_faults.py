"""A registry that does not behave: every fault is one readable error, soon, and waiting is advised only where it may help."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import trustme

from k2.errors import ConfigurationError, K2Error
from k2.ingestion.adapters.registry import SchemaRegistry
from k2.ingestion.adapters.registry_access import IncompatibleSchemaError, RegistryAccess, RegistryUnavailableError
from k2.ingestion.adapters.registry_faults import LONGEST_MESSAGE, one_line
from k2.ingestion.adapters.schema_files import load_schema

TRADE = load_schema("trade_v2")
HTML = b"<html><body>\r\nPlease log in\x1b[31m</body></html>"


def error(code: int, message: str = "no") -> bytes:
    return json.dumps({"error_code": code, "message": message}).encode()


class Stub(BaseHTTPRequestHandler):
    """Answers every request alike, apart from what `special` says by method and start of the path."""

    answer: ClassVar[tuple[int, bytes]]
    special: ClassVar[dict[tuple[str, str], tuple[int, bytes]]]

    def handle_any(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = [
            answer for (method, path), answer in self.special.items() if method == self.command and self.path.startswith(path)
        ]
        status, body = found[0] if found else self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = handle_any  # noqa: N815  # names that http.server looks for

    def log_message(self, *_: object) -> None:
        """The test run's output is for the tests."""


@contextmanager
def stub(
    status: int, body: bytes, special: dict[tuple[str, str], tuple[int, bytes]] | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    handler = type("Handler", (Stub,), {"answer": (status, body), "special": special or {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up is what some tests are about
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def fault(access: RegistryAccess, timeout_s: float = 5) -> K2Error:
    """The error that resolving ends with."""
    with pytest.raises(K2Error) as caught:
        resolve(access, timeout_s)
    assert "\n" not in str(caught.value)
    return caught.value


def resolve(access: RegistryAccess, timeout_s: float = 5) -> None:
    with SchemaRegistry(access, timeout_s) as client:
        client.resolve("t-value", TRADE, register=True)


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        pytest.param(401, b"", ConfigurationError, "K2_SCHEMA_REGISTRY_PASSWORD", id="401-empty"),
        pytest.param(401, error(40101, "Unauthorized"), ConfigurationError, "asks for other credentials", id="401"),
        pytest.param(403, error(40301, "Forbidden"), ConfigurationError, "does not allow this to user k2", id="403"),
        pytest.param(
            500, error(50001, "Error in the backend data store"), RegistryUnavailableError, "backend data store", id="500"
        ),
        pytest.param(502, HTML, RegistryUnavailableError, "HTTP 502", id="502-html"),
        pytest.param(503, b"", RegistryUnavailableError, "HTTP 503", id="503"),
        pytest.param(429, error(42900, "Too many"), RegistryUnavailableError, "Too many", id="429"),
        pytest.param(200, HTML, ConfigurationError, "does not answer as a schema registry", id="200-html"),
        pytest.param(200, b"", ConfigurationError, "does not answer as a schema registry", id="200-empty"),
        pytest.param(200, b"[1]", ConfigurationError, "does not answer as a schema registry", id="200-list"),
        pytest.param(200, b'"hello"', ConfigurationError, "does not answer as a schema registry", id="200-text"),
        pytest.param(200, b'{"id": "seven"}', ConfigurationError, "schema id 'seven'", id="200-id-as-text"),
        pytest.param(200, b"{}", ConfigurationError, "schema id None", id="200-no-id"),
        pytest.param(200, b'{"id": -1, "version": 1}', ConfigurationError, "schema id -1", id="200-id-negative"),
        pytest.param(200, b'{"id": true, "version": 1}', ConfigurationError, "schema id True", id="200-id-as-boolean"),
        pytest.param(200, b"[" * 100_000, ConfigurationError, "does not answer as a schema registry", id="200-bottomless"),
        pytest.param(302, b"", ConfigurationError, "does not answer as a schema registry", id="redirect"),
        pytest.param(404, HTML, ConfigurationError, "path included", id="404-html"),
        pytest.param(404, error(404, "HTTP 404 Not Found"), ConfigurationError, "path included", id="404-of-a-web-server"),
        pytest.param(
            422, error(42201, "Invalid schema"), ConfigurationError, "refuses (HTTP 422, code 42201: Invalid schema)", id="422"
        ),
    ],
)
def test_answers_that_are_no_help(status: int, body: bytes, kind: type[K2Error], said: str) -> None:
    """Each wrong answer becomes one line that names the address, and is retryable only if the server says so."""
    with stub(status, body) as url:
        found = fault(RegistryAccess(url, "k2", "s3cret"))
        assert type(found) is kind
        assert said in str(found)
        assert url in str(found)
        assert "s3cret" not in str(found)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_registry_that_never_answers(silent_port: int) -> None:
    """One time-out, no retries behind our back: the caller decides how long to go on."""
    began = time.monotonic()
    found = fault(RegistryAccess(f"http://127.0.0.1:{silent_port}"), timeout_s=0.2)
    assert isinstance(found, RegistryUnavailableError)
    assert "gives no answer" in str(found)
    assert time.monotonic() - began < 5


def test_a_port_that_speaks_no_http() -> None:
    """Another protocol at the address will not turn into a registry by waiting."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection = server.accept()[0]
            with connection:
                connection.recv(65_536)
                connection.sendall(b"220 mail.example ESMTP\r\n\r\n")

        greeter = threading.Thread(target=greet)
        greeter.start()
        found = fault(RegistryAccess(f"http://127.0.0.1:{server.getsockname()[1]}"))
        greeter.join()
    assert type(found) is ConfigurationError
    assert "does not answer as a schema registry" in str(found)


def test_nobody_there(free_port: int) -> None:
    """A refused connection may be a registry that is still starting."""
    assert isinstance(fault(RegistryAccess(f"http://127.0.0.1:{free_port}")), RegistryUnavailableError)


def test_a_registry_that_hangs_up() -> None:
    """A connection closed in the middle may be a registry that restarts."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            server.accept()[0].close()

        closer = threading.Thread(target=hang_up)
        closer.start()
        found = fault(RegistryAccess(f"http://127.0.0.1:{server.getsockname()[1]}"))
        closer.join()
    assert isinstance(found, RegistryUnavailableError)


@pytest.mark.parametrize(
    ("access", "said"),
    [
        pytest.param(RegistryAccess("http://k2:s3cret@127.0.0.1:1"), "must hold no user name", id="credentials-in-the-address"),
        pytest.param(RegistryAccess("ftp://127.0.0.1"), "Invalid url", id="scheme"),
        pytest.param(RegistryAccess("httpx://127.0.0.1"), "is no address", id="nearly-a-scheme"),
        pytest.param(RegistryAccess("http://127.0.0.1:99999"), "--schema-registry", id="port"),
        pytest.param(RegistryAccess("http://[::1"), "--schema-registry", id="bracket"),
        pytest.param(RegistryAccess("https://127.0.0.1:1", ca_file="/does/not/exist.pem"), "--schema-registry", id="ca-file"),
        pytest.param(RegistryAccess("https://127.0.0.1:1", key_file="/does/not/exist.pem"), "--schema-registry", id="key-alone"),
    ],
)
def test_settings_that_cannot_work(access: RegistryAccess, said: str) -> None:
    """Wrong settings are refused at once, with the option's name and never the password."""
    found = fault(access)
    assert isinstance(found, ConfigurationError)
    assert said in str(found)
    assert "s3cret" not in str(found)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


def test_a_trusted_registry_over_tls(authority: trustme.CA, tmp_path: Path) -> None:
    """With the authority's file the connection stands, and the registry's answer comes through."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with stub(200, b'{"id": 7, "version": 1}', tls=server_tls(authority, "127.0.0.1")) as url:
        resolve(RegistryAccess(url, ca_file=str(tmp_path / "ca.pem")))


@pytest.mark.parametrize(
    ("host", "with_ca"), [("127.0.0.1", False), ("elsewhere.example", True)], ids=["unknown-authority", "other-host"]
)
def test_an_untrusted_registry_over_tls(authority: trustme.CA, tmp_path: Path, host: str, with_ca: bool) -> None:
    """A certificate of an unknown authority or for another host will not become right by waiting."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with stub(200, b"{}", tls=server_tls(authority, host)) as url:
        found = fault(RegistryAccess(url, ca_file=str(tmp_path / "ca.pem") if with_ca else None))
    assert type(found) is ConfigurationError
    assert "--schema-registry-ca" in str(found)


ABSENT = (404, error(40401, "Subject not found."))
WEAK = {("GET", "/config/"): ABSENT, ("GET", "/config"): (200, b'{"compatibilityLevel": "NONE"}')}  # the longer path first


@pytest.mark.parametrize(
    ("special", "kind", "said"),
    [
        pytest.param(
            {**WEAK, ("PUT", "/config/"): (403, error(40301, "admins only"))},
            ConfigurationError,
            "setting BACKWARD for subject t-value was refused (HTTP 403: admins only)",
            id="level-refused",
        ),
        pytest.param(
            {
                ("GET", "/config"): (200, b'{"compatibilityLevel": "FULL"}'),
                ("POST", "/subjects/t-value/versions"): (409, error(409, "clash")),
            },
            IncompatibleSchemaError,
            "The registry says: clash",
            id="lost-a-race",
        ),
        pytest.param(
            {
                ("GET", "/config"): (200, b'{"compatibilityLevel": "FULL"}'),
                ("POST", "/subjects/t-value/versions"): (422, error(42205, "Subject t-value is in read-only mode")),
            },
            ConfigurationError,
            "read-only mode",
            id="read-only",
        ),
        pytest.param(
            {
                ("GET", "/config"): (200, b'{"compatibilityLevel": "FULL"}'),
                ("POST", "/compatibility"): (500, error(50001, "later")),
            },
            RegistryUnavailableError,
            "later",
            id="fails-half-way",
        ),
    ],
)
def test_refusals_on_the_way(special: dict[tuple[str, str], tuple[int, bytes]], kind: type[K2Error], said: str) -> None:
    """What goes wrong between look-up and registration is as readable as what goes wrong at once."""
    with stub(*ABSENT, special=special) as url:
        found = fault(RegistryAccess(url))
    assert type(found) is kind
    assert said in str(found)


FOUND = {("POST", "/subjects/t-value"): (200, b'{"id": 7, "version": 1}')}


@pytest.mark.parametrize(
    ("special", "said"),
    [
        pytest.param({("GET", "/config"): (500, error(50001, "later"))}, "cannot serve now (HTTP 500: later)", id="500"),
        pytest.param({("GET", "/config"): (403, error(40301, "admins only"))}, "admins only", id="403"),
        pytest.param({("GET", "/config"): (404, HTML)}, "does not answer as a schema registry", id="no-such-path"),
        pytest.param({("GET", "/config"): (200, b"{}")}, "its answer has another form", id="another-form"),
        pytest.param({**WEAK, ("PUT", "/config/"): (403, error(40301, "admins only"))}, "was refused (HTTP 403", id="not-set"),
    ],
)
def test_a_known_schema_does_without_its_level(special: dict[tuple[str, str], tuple[int, bytes]], said: str) -> None:
    """Whatever goes wrong with the level, an id that the registry gave is used, and the warning gives the reason."""
    with stub(*ABSENT, special={**FOUND, **special}) as url, SchemaRegistry(RegistryAccess(url)) as client:
        resolved = client.resolve("t-value", TRADE, register=True)
    assert (resolved.schema_id, len(resolved.warnings)) == (7, 1)
    assert said in resolved.warnings[0]


def test_no_level_at_all_is_told() -> None:
    """A registry that knows no level for the subject and none for all is not said to have one."""
    with stub(*ABSENT, special=FOUND) as url, SchemaRegistry(RegistryAccess(url)) as client:
        [warning] = client.resolve("t-value", TRADE, register=False).warnings
    assert "subject t-value has no compatibility level" in warning


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\r\nlines", "two lines"),
        ("\x1b[31mred", "[31mred"),
        ("x" * (LONGEST_MESSAGE + 1), "x" * LONGEST_MESSAGE + "…"),
    ],
    ids=["line-feeds", "terminal-codes", "long"],
)
def test_foreign_text_becomes_one_bounded_line(text: str, line: str) -> None:
    """What a stranger sent can neither break a log line nor fill it."""
    assert one_line(text) == line
