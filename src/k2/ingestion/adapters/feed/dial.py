"""TCP connections of our own making: a bounded receive buffer, every address tried, no socket left behind."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
from urllib.parse import urlsplit

from k2 import __version__

USER_AGENT = f"k2/{__version__}"  # a request that names no program is one that firewalls like to refuse

# For the libraries: all that they log reaches us as an exception or a close code as well, and unconfigured it would go to stderr.
SILENT = logging.getLogger(f"{__name__}.silent")
SILENT.setLevel(logging.CRITICAL + 1)

_DEFAULT_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080}
_FIRST_ADDRESS_TIMEOUT_S = 3.0  # an IPv6 route to nowhere must not use up the time that the IPv4 address needs


def endpoint(url: str) -> tuple[str, int]:
    """Host and port of a WebSocket or proxy URL. Raises ValueError where there is none."""
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"not an address to connect to: scheme {parts.scheme!r}, host {parts.hostname!r}")
    return parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]


@functools.cache
def system_tls() -> ssl.SSLContext:
    """The context for wss:// where none is configured. Loading the certificates takes some 20 ms, so it is done once."""
    return ssl.create_default_context()


async def dial(host: str, port: int, receive_buffer_bytes: int) -> socket.socket:
    """
    Connect to the first address of `host` that answers. The caller owns the socket.

    Raises:
        OSError: no address answered; the error is that of the last one tried.
    """
    addresses = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for family, _, protocol, _, address in addresses[:-1]:
        try:
            async with asyncio.timeout(_FIRST_ADDRESS_TIMEOUT_S):
                return await _connect(family, protocol, address, receive_buffer_bytes)
        except OSError:
            continue
    family, _, protocol, _, address = addresses[-1]
    return await _connect(family, protocol, address, receive_buffer_bytes)


async def _connect(family: int, protocol: int, address: tuple[object, ...], receive_buffer_bytes: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        sock.setblocking(False)
        # Set before connecting, or the window scale is already agreed. Linux doubles the value for its own book-keeping.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes // 2)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
