"""A published port: a port of the host that leads to another, as Docker makes them."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from collections.abc import Iterator
from socketserver import StreamRequestHandler, ThreadingTCPServer

LOOPBACK = "127.0.0.1"


class _Forward(StreamRequestHandler):
    """One connection: what either side sends reaches the other, until either ends."""

    server: _PublishedPort

    def handle(self) -> None:
        with socket.create_connection((LOOPBACK, self.server.target)) as inner:
            back = threading.Thread(target=_copy, args=(inner, self.request))
            back.start()
            _copy(self.request, inner)
            back.join()


class _PublishedPort(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, target: int) -> None:
        super().__init__((LOOPBACK, port), _Forward)
        self.target = target


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError), source.makefile("rb", buffering=0) as read, sink.makefile("wb", buffering=0) as written:
        shutil.copyfileobj(read, written)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def forwarded(port: int, target: int) -> Iterator[None]:
    """`port` of loopback leads to `target` of loopback meanwhile."""
    with _PublishedPort(port, target) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
