"""The way to a server step by step: its name, its port, its certificate."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any

from k2.doctor.findings import Finding, Status, ok, some, warning
from k2.doctor.troubles import Peer, hung_up, no_handshake, trouble
from k2.ingestion.adapters.feed.dial import dial
from k2.ingestion.adapters.feed.port import RECEIVE_BUFFER_BYTES

EXPIRES_SOON_DAYS = 14
_DAY_S = 86_400


async def resolve(peer: Peer, timeout_s: float) -> Finding:
    """Whether the host's name leads to addresses."""
    try:
        async with asyncio.timeout(timeout_s):
            found = await asyncio.get_running_loop().getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return trouble(error, peer)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if addresses == [peer.host]:
        return ok(f"{peer.host} is an address", facts={"addresses": addresses})
    return ok(f"{peer.host} is {some(addresses)}", facts={"addresses": addresses})


async def connect(peer: Peer, timeout_s: float) -> Finding:
    """Whether the port takes connections."""
    began_s = time.monotonic()
    try:
        sock = await _dialled(peer, timeout_s)
    except (OSError, UnicodeError) as error:
        return trouble(error, peer)
    with sock:
        address = str(sock.getpeername()[0])
    took_ms = _ms_since(began_s)
    return ok(f"{peer.address} takes connections, in {took_ms} ms", facts={"address": address, "took_ms": took_ms})


async def connect_any(peers: Sequence[Peer], timeout_s: float) -> Finding:
    """Whether any of a cluster's addresses takes connections, and a warning where not all do."""
    found = await asyncio.gather(*(connect(peer, timeout_s) for peer in peers))
    failed = [finding for finding in found if finding.status is Status.FAILED]
    if len(failed) == len(found) or len(found) == 1:
        return found[0]
    if failed:
        return warning(f"{len(failed)} of {len(found)} do not answer: {failed[0].text}", failed[0].advice, failed[0].command)
    return ok(f"all of {some([peer.address for peer in peers])} take connections")


async def shake_hands(peer: Peer, context: ssl.SSLContext, timeout_s: float) -> Finding:
    """Whether the server's certificate is to be trusted, and for how long it will be."""
    try:
        certificate = await _certificate_of(peer, context, timeout_s)
    except TimeoutError:
        return no_handshake(peer)
    except ConnectionError:
        return hung_up(peer)
    except (OSError, UnicodeError) as error:
        return trouble(error, peer)
    return validity(certificate, peer, time.time())


async def speaks_tls(peer: Peer, timeout_s: float) -> bool:
    """Whether the port answers a TLS handshake, whoever's certificate it shows: nothing else is sent there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        await _certificate_of(peer, context, timeout_s)
    except (OSError, UnicodeError):
        return False
    return True


def validity(certificate: dict[str, Any], peer: Peer, now_s: float) -> Finding:
    """The finding on a certificate that is valid at `now_s`. Pure."""
    days = int((ssl.cert_time_to_seconds(certificate["notAfter"]) - now_s) // _DAY_S)
    issuer = _name_in(certificate.get("issuer", ()))
    facts = {"days": days, "issuer": issuer}
    if days < EXPIRES_SOON_DAYS:
        text = f"the certificate of {peer.address} expires in {days} days"
        return warning(text, "have it renewed in time", facts=facts)
    return ok(f"trusted, valid for {days} days{f', issued by {issuer}' if issuer else ''}", facts=facts)


async def _certificate_of(peer: Peer, context: ssl.SSLContext, timeout_s: float) -> dict[str, Any]:
    async with asyncio.timeout(timeout_s):
        sock = await dial(peer.host, peer.port, RECEIVE_BUFFER_BYTES)
        try:
            _, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=peer.host)
        except BaseException:
            sock.close()
            raise
    try:
        certificate: dict[str, Any] = writer.get_extra_info("peercert")
        return certificate
    finally:
        writer.transport.abort()  # no good-bye: a peer that does not answer one would be waited for


async def _dialled(peer: Peer, timeout_s: float) -> socket.socket:
    async with asyncio.timeout(timeout_s):
        return await dial(peer.host, peer.port, RECEIVE_BUFFER_BYTES)


def _name_in(distinguished: Sequence[Sequence[tuple[str, str]]]) -> str:
    """The organisation in a distinguished name, else its common name."""
    names = {key: value for part in distinguished for key, value in part}
    return names.get("organizationName") or names.get("commonName", "")


def _ms_since(began_s: float) -> int:
    return round((time.monotonic() - began_s) * 1000)
