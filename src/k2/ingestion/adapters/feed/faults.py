"""What goes wrong on the way to a server, as bounded kinds and readable texts. Shared by the transports and the REST client."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from k2.ingestion.adapters.feed.port import ConnectFailure

_EXCERPT_CHARACTERS = 200

# The first row that fits decides: TLS and name errors are OSErrors too.
_KINDS: tuple[tuple[type[BaseException], ConnectFailure], ...] = (
    (socket.gaierror, ConnectFailure.DNS),
    (UnicodeError, ConnectFailure.DNS),  # a host name that IDNA cannot encode
    (ssl.SSLError, ConnectFailure.TLS),
    (ssl.CertificateError, ConnectFailure.TLS),
    (ConnectionRefusedError, ConnectFailure.REFUSED),
    (TimeoutError, ConnectFailure.TIMEOUT),
    (ConnectionError, ConnectFailure.RESET),
    (EOFError, ConnectFailure.RESET),
)
# Nobody takes the connection, whether a host says so or a router.
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL})


def failure_kind(fault: BaseException | None) -> ConnectFailure:
    """The kind of a fault, looked for along its causes. What fits no row is a fault of the protocol."""
    while fault is not None:
        for fault_type, kind in _KINDS:
            if isinstance(fault, fault_type):
                return kind
        if isinstance(fault, OSError):
            return ConnectFailure.REFUSED if fault.errno in _UNREACHABLE else ConnectFailure.RESET
        fault = fault.__cause__
    return ConnectFailure.PROTOCOL


def describe(fault: BaseException, proxy: str | None = None) -> str:
    """One line for an operator. The proxy's credentials are cut out, because libraries quote the URL."""
    text = " ".join(str(fault).split()) or type(fault).__name__
    return without_credentials(text, proxy)[: 2 * _EXCERPT_CHARACTERS]


def without_credentials(text: str, url: str | None) -> str:
    """`text` with the user and password of `url` blotted out."""
    credentials = urlsplit(url).netloc.rpartition("@")[0] if url else ""
    return text.replace(credentials, "***") if credentials else text


def retry_after_s(header: str | None) -> float | None:
    """A Retry-After header in seconds from now, whether it holds seconds or an HTTP date; None where it holds neither."""
    if header is None:
        return None
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def excerpt(body: bytes | None) -> str:
    """The beginning of an error body on one line: enough to recognise the exchange's words or a firewall's page."""
    text = (body or b"")[: 4 * _EXCERPT_CHARACTERS].decode("utf-8", "replace")
    return " ".join(text.split())[:_EXCERPT_CHARACTERS]
