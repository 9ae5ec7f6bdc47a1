"""Kinds and texts of what goes wrong on the way to a server."""

from __future__ import annotations

import errno
import socket
import ssl
from email.utils import formatdate
from time import time

import pytest

from k2.ingestion.adapters.feed.faults import describe, excerpt, failure_kind, retry_after_s, without_credentials
from k2.ingestion.adapters.feed.port import ConnectFailure


def caused_by(cause: Exception) -> Exception:
    fault = RuntimeError("wrapped")
    fault.__cause__ = cause
    return fault


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        pytest.param(socket.gaierror(-2, "Name or service not known"), ConnectFailure.DNS, id="dns"),
        pytest.param(ssl.SSLCertVerificationError("bad"), ConnectFailure.TLS, id="certificate"),
        pytest.param(ConnectionRefusedError(), ConnectFailure.REFUSED, id="refused"),
        pytest.param(OSError(errno.ENETUNREACH, "unreachable"), ConnectFailure.REFUSED, id="unreachable"),
        pytest.param(TimeoutError(), ConnectFailure.TIMEOUT, id="timeout"),
        pytest.param(ConnectionResetError(), ConnectFailure.RESET, id="reset"),
        pytest.param(OSError(errno.EIO, "odd"), ConnectFailure.RESET, id="other-error-of-the-system"),
        pytest.param(caused_by(EOFError()), ConnectFailure.RESET, id="wrapped"),
        pytest.param(ValueError("what"), ConnectFailure.PROTOCOL, id="anything-else"),
    ],
)
def test_fault_has_a_kind(fault: Exception, kind: ConnectFailure) -> None:
    """Every fault is of one kind, by itself or by what caused it."""
    assert failure_kind(fault) is kind


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(None, None, id="absent"),
        pytest.param("30", 30, id="seconds"),
        pytest.param(" 0 ", 0, id="zero"),
        pytest.param("-5", None, id="negative"),
        pytest.param("soon", None, id="nonsense"),
        pytest.param("²", None, id="digit-that-is-none"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT", 0, id="past-date"),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """Retry-After is read as seconds or a date, and is nothing where it is neither."""
    assert retry_after_s(header) == seconds


def test_retry_after_date() -> None:
    """A date to come is the time until then."""
    assert retry_after_s(formatdate(time() + 600, usegmt=True)) == pytest.approx(600, abs=30)


def test_description_is_one_line_without_credentials() -> None:
    """A fault's text fits a log line, and a proxy's user and password are not in it."""
    proxy = "http://user:canary@proxy:3128"
    assert describe(ValueError(f"bad\n  proxy {proxy}"), proxy) == "bad proxy http://***@proxy:3128"


def test_fault_without_words_is_named() -> None:
    """A fault that says nothing is described by its type."""
    assert describe(ConnectionResetError()) == "ConnectionResetError"


def test_urls_without_credentials_stay() -> None:
    """There is nothing to blot out where a URL holds no credentials."""
    assert without_credentials("see http://proxy", "http://proxy") == "see http://proxy"


def test_excerpt_is_short_and_readable() -> None:
    """Whatever a body holds, its excerpt is one short line of text."""
    assert excerpt(b"<html>\n \xff  403" + b"x" * 10_000).startswith("<html> \ufffd 403")
    assert len(excerpt(b"x" * 10_000)) == 200
    assert excerpt(None) == ""
