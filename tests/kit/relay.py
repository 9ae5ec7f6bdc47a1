"""Another way to a server: a port that passes on to its own."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

from kit.ports import free_port

BUFFER_BYTES = 1 << 16


class Relay:
    """A port that passes on to another one, and can be cut: what is behind it is then not there for those who come this way."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._target = (self._url.hostname or "", self._url.port or 0)
        self.port = free_port()
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []

    @property
    def url(self) -> str:
        """The address that it passes on to, as it is by this way."""
        return self._url._replace(netloc=f"127.0.0.1:{self.port}").geturl()

    def mend(self) -> None:
        """Pass on from now on."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Break what is open, and refuse what comes."""
        if self._listener is not None:
            for one in (self._listener, *self._open):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._listener, self._open = None, []

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # cut
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._target)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()

    def __enter__(self) -> Self:
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # either end may go at any time
        while data := source.recv(BUFFER_BYTES):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
