"""Free ports on loopback for servers that have to know theirs before they start."""

from __future__ import annotations

import random
import socket
from pathlib import Path

FIRST_PORT = 20_000
_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """
    A TCP port of 127.0.0.1 that nobody uses, from below the range that the kernel hands out itself.

    A server that is down for a while in a test must find its port again. From the kernel's own range it may be gone: any
    client could get it as its local port, and one that keeps knocking on a closed port even connects to itself in the end.
    """
    ports = range(FIRST_PORT, _first_ephemeral_port())
    return next(port for port in random.sample(ports, len(ports)) if _is_free(port))


def _first_ephemeral_port() -> int:
    if not _RANGE_FILE.exists():
        return 32_768
    return max(int(_RANGE_FILE.read_text(encoding="ascii").split()[0]), FIRST_PORT + 1_000)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
