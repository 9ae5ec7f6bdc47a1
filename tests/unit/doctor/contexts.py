"""What the doctor's tests hand to a check: settings as a command line gives them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from k2.doctor.checks import Context
from k2.ingestion.settings import load_settings
from k2.simulator.exchange import Exchange

LOGGER = logging.getLogger("test.librdkafka")
LOGGER.propagate = False
LOGGER.addHandler(logging.NullHandler())

SYMBOLS = ("BTCUSDT", "ETHUSDT")
Running = Callable[..., Awaitable[Exchange]]  # what the fixture of this name gives


def context(*arguments: object, timeout_s: float = 5.0, probe: bool = False, environ: Mapping[str, str] | None = None) -> Context:
    """The context of an examination with these flags of the client."""
    settings = load_settings(list(map(str, arguments)), environ or {"HOME": "/nonexistent"})
    return Context(settings, timeout_s, probe, LOGGER)
