"""
The status page: one file beside this module, over `/health`, for the moment before anyone opens a dashboard.

Its script and style stand inside it, so that it needs nothing from anywhere. The browser runs exactly these two, by their
hashes, and asks nobody but us: whatever an exchange or a dead letter puts into a name stays a text.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files

from msgspec import Struct

FILE = "status_page.html"
HTML_TYPE = "text/html; charset=utf-8"


class StatusPage(Struct, frozen=True):
    """The page as it is served. `headers` bind the browser to what is in it."""

    body: bytes
    headers: Mapping[str, str]
    content_type: str = HTML_TYPE


@cache
def load_status_page() -> StatusPage:
    """Read it, once a process."""
    body = files(__package__).joinpath(FILE).read_bytes()
    return StatusPage(body, {"Content-Security-Policy": policy_for(body), "Referrer-Policy": "no-referrer"})


def policy_for(body: bytes) -> str:
    """The Content-Security-Policy of a page: what stands in its script and style elements, `/health` of its own port, no more."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hashes(body, b'script')}",
            f"style-src {_hashes(body, b'style')}",
            "connect-src 'self'",
            "img-src data:",  # the icon
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _hashes(body: bytes, element: bytes) -> str:
    found = re.findall(rb"<%s>(.*?)</%s>" % (element, element), body, re.DOTALL)
    return " ".join(f"'sha256-{b64encode(sha256(text).digest()).decode()}'" for text in found) or "'none'"
