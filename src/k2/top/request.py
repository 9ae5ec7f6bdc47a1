"""What `k2 top` is asked for, checked as a whole: every fault is reported at once, under the name of its option."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from k2.errors import ConfigurationError
from k2.ingestion.option_values import seconds, url
from k2.ingestion.settings import HttpSettings
from k2.reading.options import Check

DEFAULT_INTERVAL_S = 1.0
SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S = 0.2, 3_600.0
HEALTH_PATH = "/health"

# A client that listens everywhere is asked on this machine.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound


class Request(Struct, frozen=True):
    """Whom to watch, how often, and how it is shown. `url` is without `/health`."""

    url: str
    interval_s: float = DEFAULT_INTERVAL_S
    once: bool = False
    as_json: bool = False


def make_request(values: Mapping[str, Any], http: Callable[[], HttpSettings]) -> Request:
    """
    What the options ask for.

    Args:
        values: Option texts by name; None or absent where not given.
        http: Where a client with the same options and variables serves; asked only where no address is given.

    Raises:
        ConfigurationError: with every fault found.
    """
    check = Check()
    interval_s = check.parsed(
        "--interval", values.get("interval"), seconds(SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S), DEFAULT_INTERVAL_S
    )
    address = check.parsed("URL", values.get("url"), url("http", "https"), None)
    if values.get("url") and (values.get("http.host") or values.get("http.port")):
        check.faults.append("URL excludes --http-host and --http-port")
    check.raise_faults()
    found = address.removesuffix(HEALTH_PATH) if address else address_of(http())
    return Request(found, interval_s, once=bool(values.get("once")), as_json=bool(values.get("json")))


def address_of(http: HttpSettings) -> str:
    """
    Where such a client answers.

    Raises:
        ConfigurationError: it takes any free port, so nobody can tell.
    """
    if not http.port:
        raise ConfigurationError("--http-port 0 takes any free port: give the address that the client's log names, as URL")
    host = _EVERYWHERE.get(http.host, http.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{http.port}"
