"""Asks a client for its health, once."""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from msgspec import Struct

from k2.errors import UnavailableError
from k2.threads import within

MOST_BYTES = 4 * 1024 * 1024  # a thousand streams and symbols make 30 kB


class Answer(Struct, frozen=True):
    """What came back, whatever its status: an unhealthy client answers 503 and is a client all the same."""

    http_status: int
    body: bytes


def fetch(url: str, path: str, timeout_s: float) -> Answer:
    """
    Ask over a connection of its own: an idle one would hold up the client's end. No proxy is asked.

    Raises:
        UnavailableError: nobody answered, or not within `timeout_s` in all.
    """
    try:
        # The connection's own limit is one for each wait: a byte now and then would keep us waiting for ever.
        return within(timeout_s, lambda: _exchange(url, path, timeout_s))
    except TimeoutError as error:
        raise UnavailableError("timed out") from error
    except (OSError, HTTPException, UnicodeError) as error:
        raise UnavailableError(_reason(error)) from error


def _exchange(url: str, path: str, timeout_s: float) -> Answer:
    parts = urlsplit(url)
    make = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    with closing(make(parts.hostname or "", parts.port, timeout=timeout_s)) as connection:
        connection.request("GET", parts.path + path, headers={"Accept": "application/json", "Connection": "close"})
        response = connection.getresponse()
        return Answer(response.status, response.read(MOST_BYTES))


def _reason(error: Exception) -> str:
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__
