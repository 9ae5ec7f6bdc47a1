"""Certificates that do not hold and ports that speak something else, at every peer: told, and never answered with plain text."""

from __future__ import annotations

import ssl
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import trustme

from faults.peers import answers, passes_on_to
from k2.ingestion.adapters.feed.port import ConnectFailedError, ConnectFailure, LinkOptions
from k2.ingestion.adapters.feed.transports import choose_transport
from k2.ingestion.adapters.rest import RestClient, RestError, RestFailure, RestOptions
from unit.feed.servers import Frames, Peer, listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faults.peers import Servers
    from integration.support import Rig, RunningClient, RunningExchange
    from kit.mock_kafka import MockKafka
    from unit.feed.servers import Handler

CONFIGURATION, UNAVAILABLE = 2, 69
AT_ONCE = 4
TLS_HANDSHAKE = 0x16  # the first byte of a TLS connection
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
TRANSPORTS = ("picows", "websockets")
# How a certificate can fail, and OpenSSL's words for it.
UNTRUSTED = {
    "expired": "certificate has expired",
    "wrong-host": "IP address mismatch",
    "unknown-authority": "unable to get local issuer",
    "self-signed": "self-signed certificate",
}


class Identities:
    """One authority that is trusted, and servers that are not what they should be. Contexts by the name of their fault."""

    def __init__(self, directory: Path) -> None:
        self.authority_file = directory / "ca.pem"
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(self.authority_file)
        self.servers = {
            "good": self._server(self._authority.issue_cert("127.0.0.1")),
            "expired": self._server(self._authority.issue_cert("127.0.0.1", not_after=LONG_AGO)),
            "wrong-host": self._server(self._authority.issue_cert("elsewhere.example")),
            "unknown-authority": self._server(trustme.CA().issue_cert("127.0.0.1")),
            "self-signed": _self_signed(directory),
        }

    def trusting(self) -> ssl.SSLContext:
        """A client's context, as the product makes it."""
        return ssl.create_default_context(cafile=self.authority_file)

    def renew(self, name: str) -> None:
        """Give a server that runs a certificate that holds: from its next connection on."""
        self._authority.issue_cert("127.0.0.1").configure_cert(self.servers[name])

    @staticmethod
    def _server(leaf: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        return context


def _self_signed(directory: Path) -> ssl.SSLContext:
    itself = trustme.CA()
    itself.cert_pem.write_to_path(directory / "itself.pem")
    itself.private_key_pem.write_to_path(directory / "itself.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "itself.pem", directory / "itself.key")
    return context


class PlainPort:
    """A server that knows no TLS, and what it heard."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        self.heard.append(await peer.reader.read(65_536))
        await peer.answer("400 Bad Request")

    def assert_nothing_was_said_in_plain(self) -> None:
        assert self.heard
        assert all(first[:1] in {bytes([TLS_HANDSHAKE]), b""} for first in self.heard)


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    return Identities(tmp_path_factory.mktemp("identities"))


class TestExchange:
    @pytest.mark.parametrize("transport", TRANSPORTS)
    @pytest.mark.parametrize(("fault", "says"), UNTRUSTED.items())
    async def test_a_certificate_that_does_not_hold(self, identities: Identities, transport: str, fault: str, says: str) -> None:
        """No WebSocket is opened; the failure is of the kind tls and says what is wrong with the certificate."""
        frames = Frames()
        async with listening(answers("200 OK"), identities.servers[fault]) as port:
            with pytest.raises(ConnectFailedError, match=says) as failure:
                await _dial(f"wss://127.0.0.1:{port}/stream", transport, frames, identities)
        assert failure.value.kind is ConnectFailure.TLS
        assert frames == []

    @pytest.mark.parametrize("transport", TRANSPORTS)
    async def test_a_plain_port_behind_a_secure_address(self, identities: Identities, transport: str) -> None:
        """The upgrade is not asked for in plain text instead."""
        plain = PlainPort()
        async with listening(plain) as port:
            with pytest.raises(ConnectFailedError, match="WRONG_VERSION_NUMBER") as failure:
                await _dial(f"wss://127.0.0.1:{port}/stream", transport, Frames(), identities)
        assert failure.value.kind is ConnectFailure.TLS
        plain.assert_nothing_was_said_in_plain()

    @pytest.mark.parametrize("transport", TRANSPORTS)
    async def test_a_secure_port_behind_a_plain_address(self, identities: Identities, transport: str) -> None:
        """What was configured as plain stays plain, and so nothing comes of it."""
        async with listening(answers("200 OK"), identities.servers["good"]) as port:
            with pytest.raises(ConnectFailedError) as failure:
                await _dial(f"ws://127.0.0.1:{port}/stream", transport, Frames(), identities)
        assert failure.value.kind in {ConnectFailure.RESET, ConnectFailure.PROTOCOL}

    @pytest.mark.parametrize("transport", TRANSPORTS)
    def test_a_renewed_certificate_is_noticed(
        self, light_rig: Rig, servers: Servers, calm_exchange: RunningExchange, tmp_path: Path, transport: str
    ) -> None:
        """While the certificate has expired the client waits, says so and counts; renewed, it streams without a restart."""
        identities = Identities(tmp_path)
        port = servers.serve(passes_on_to(calm_exchange.port), identities.servers["expired"])
        flags = ["--ws-ca", identities.authority_file, "--transport", transport, "--reconnect-delay-max", 1]
        client = light_rig.client(f"wss://127.0.0.1:{port}", *flags)
        failure = client.wait_for_event("Connection failed", kind="tls")
        assert UNTRUSTED["expired"] in failure["detail"]
        client.wait_for_metric("k2_connection_errors_by_kind_total", 1, kind="tls")
        assert client.get_json("/readyz") == (503, {"ready": False, "waiting_for": ["exchange"]})
        identities.renew("expired")
        client.wait_for_produced(1)
        assert client.stopped()["balanced"]


async def _dial(url: str, transport: str, frames: Frames, identities: Identities) -> None:
    options = LinkOptions(open_timeout_s=5.0, tls=identities.trusting() if url.startswith("wss:") else None)
    await choose_transport(transport, compression=False).open(url, frames, options)


class TestRest:
    @pytest.mark.parametrize(("fault", "says"), UNTRUSTED.items())
    async def test_a_certificate_that_does_not_hold(self, identities: Identities, fault: str, says: str) -> None:
        """Nothing is read, and the failure says what is wrong with the certificate."""
        async with listening(answers("200 OK", b'{"symbols": []}'), identities.servers[fault]) as port:
            failure = await _ask(f"https://127.0.0.1:{port}", identities)
        assert failure.kind is RestFailure.TLS
        assert says in failure.detail

    async def test_a_plain_port_behind_a_secure_address(self, identities: Identities) -> None:
        """The request is not made in plain text instead."""
        plain = PlainPort()
        async with listening(plain) as port:
            failure = await _ask(f"https://127.0.0.1:{port}", identities)
        assert failure.kind is RestFailure.TLS
        plain.assert_nothing_was_said_in_plain()

    async def test_a_secure_port_behind_a_plain_address(self, identities: Identities) -> None:
        """What was configured as plain stays plain."""
        async with listening(answers("200 OK", b'{"symbols": []}'), identities.servers["good"]) as port:
            failure = await _ask(f"http://127.0.0.1:{port}", identities)
        assert failure.kind in {RestFailure.RESET, RestFailure.PROTOCOL}


async def _ask(url: str, identities: Identities) -> RestError:
    async with RestClient(url, "spot", RestOptions(tls=identities.trusting(), timeout_s=5.0)) as rest:
        with pytest.raises(RestError) as failure:
            await rest.exchange_info(["BTCUSDT"])
    return failure.value


PLAIN_PORT, SECURE_PORT = "plain-port", "secure-port"
REFUSED = {
    **{("broker", fault): (CONFIGURATION, "check --kafka-ca, --kafka-cert and --kafka-key") for fault in UNTRUSTED},
    **{("registry", fault): (CONFIGURATION, says) for fault, says in UNTRUSTED.items()},
    ("broker", PLAIN_PORT): (UNAVAILABLE, "check --kafka-security-protocol"),
    ("broker", SECURE_PORT): (UNAVAILABLE, "check the address and --kafka-security-protocol"),
    ("registry", PLAIN_PORT): (CONFIGURATION, "WRONG_VERSION_NUMBER"),
    ("registry", SECURE_PORT): (UNAVAILABLE, "gives no answer"),
}


class TestBrokerAndRegistry:
    """The broker is a TLS port before the mock cluster; for real listeners see tests/integration/test_secure_connections.py."""

    @pytest.mark.parametrize(("peer", "fault"), REFUSED)
    def test_the_start_is_refused(
        self, refused: dict[tuple[str, str], Future[RunningClient]], plain: PlainPort, peer: str, fault: str
    ) -> None:
        """
        One line on stderr names what to look at.

        What is wrong for good ends the start at once with 2, what a restart at the other side may cure with 69 after the
        start-up timeout. Nobody is spoken to in plain text who was to be spoken to in TLS.
        """
        client = refused[peer, fault].result()
        exit_code, says = REFUSED[peer, fault]
        assert client.wait() == exit_code, client.output
        [line] = client.stderr.splitlines()
        assert line.startswith("binance_client: ")
        assert says in line
        assert "Traceback" not in client.output
        if fault == PLAIN_PORT:
            plain.assert_nothing_was_said_in_plain()


@pytest.fixture(scope="module")
def plain() -> PlainPort:
    return PlainPort()


@pytest.fixture(scope="module")
def refused(
    shared_rig: Rig,
    servers: Servers,
    identities: Identities,
    mock_broker: MockKafka,
    plain: PlainPort,
    calm_exchange: RunningExchange,
) -> Iterator[dict[tuple[str, str], Future[RunningClient]]]:
    """Clients that have ended, by the peer that refused them and by what was wrong there."""
    behind: dict[str, Handler] = {
        "broker": passes_on_to(int(mock_broker.bootstrap.rpartition(":")[2])),
        "registry": answers("200 OK", b'{"id": 7, "version": 1}'),
    }
    addresses = {"broker": _broker_flags, "registry": _registry_flags}

    def run(peer: str, fault: str) -> RunningClient:
        tls = identities.servers.get("good" if fault == SECURE_PORT else fault)
        port = servers.serve(plain if fault == PLAIN_PORT else behind[peer], tls)
        authority = None if fault == SECURE_PORT else identities.authority_file
        flags = ["--startup-timeout", 2, *addresses[peer](port, authority)]
        client = shared_rig.client(calm_exchange.ws_url, *flags, home=f"{peer}-{fault}")
        client.wait(60)
        return client

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {case: pool.submit(run, *case) for case in REFUSED}


def _broker_flags(port: int, authority: Path | None) -> list[object]:
    secure = ["--kafka-security-protocol", "SSL", "--kafka-ca", authority] if authority else []
    return ["--kafka-bootstrap", f"127.0.0.1:{port}", *secure]


def _registry_flags(port: int, authority: Path | None) -> list[object]:
    if authority is None:
        return ["--schema-registry", f"http://127.0.0.1:{port}"]
    return ["--schema-registry", f"https://127.0.0.1:{port}", "--schema-registry-ca", authority]
