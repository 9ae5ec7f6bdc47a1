"""Which WebSocket library to use."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from k2.errors import ConfigurationError
from k2.ingestion.adapters.feed.port import Transport

# Imported when chosen: the one that is not needed costs up to 100 ms of the start, and picows may be absent.
_CLASSES = {
    "picows": ("k2.ingestion.adapters.feed.picows_transport", "PicowsTransport"),
    "websockets": ("k2.ingestion.adapters.feed.websockets_transport", "WebsocketsTransport"),
}
TRANSPORT_NAMES = ("auto", *_CLASSES)


def choose_transport(name: str, compression: bool) -> Transport:
    """
    The transport for `--transport` and whether compression is asked for.

    "auto" takes picows, and websockets where picows is absent or compression is asked for, which picows cannot do.

    Raises:
        ConfigurationError: an unknown name, or a library that is missing or cannot do what is asked.
    """
    if name not in TRANSPORT_NAMES:
        raise ConfigurationError(f"--transport must be one of {', '.join(TRANSPORT_NAMES)}, not {name!r}")
    if name == "picows" and compression:
        raise ConfigurationError("--transport picows cannot decompress; use --transport websockets, or no compression")
    if name == "auto":
        name = "websockets" if compression or find_spec("picows") is None else "picows"
    return _load(name)


def _load(name: str) -> Transport:
    if find_spec(name) is None:
        raise ConfigurationError(f"--transport {name}: the package {name} is not installed; install it, or use --transport auto")
    module, class_name = _CLASSES[name]
    transport: Transport = getattr(import_module(module), class_name)()
    return transport
