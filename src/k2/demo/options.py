"""What may be asked of the demo, checked as a whole: every fault is reported at once, under the name of its option."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from msgspec import Struct

from k2.errors import ConfigurationError
from k2.ingestion.option_values import TOPIC_SUFFIX, symbols
from k2.ingestion.settings import MARKET_DEFAULTS

Market = Literal["spot", "usdm"]
Stream = Literal["aggTrade", "trade"]

DEFAULT_SECONDS = 12.0
DEFAULT_RATE = 600.0
DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
MARKETS: tuple[Market, ...] = ("spot", "usdm")
STREAMS: tuple[Stream, ...] = ("aggTrade", "trade")
MAX_SECONDS = 86_400.0
MAX_RATE = 10_000.0  # all parts share the machine, and the screen is to show the client and not their struggle for it

_T = TypeVar("_T")


class DemoOptions(Struct, frozen=True, kw_only=True):
    """
    A valid wish.

    Attributes:
        seconds: How long to watch, counted from the first record that came back.
        rate: Trades per second over all symbols; of no meaning where `live`.
        live: The real exchange instead of the simulated one.
        keep: Where logs and dead letters go; None for a temporary directory.
    """

    seconds: float = DEFAULT_SECONDS
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    rate: float = DEFAULT_RATE
    market: Market = "spot"
    stream: Stream = "aggTrade"
    live: bool = False
    keep: Path | None = None

    @property
    def topic_prefix(self) -> str:
        return MARKET_DEFAULTS["kafka.topic_prefix"][self.market]

    @property
    def topic(self) -> str:
        return self.topic_prefix + TOPIC_SUFFIX


def make_options(values: Mapping[str, Any]) -> DemoOptions:
    """
    Check what the command line gave.

    Args:
        values: Texts by option name; None or absent where not given. `symbols` is a list of texts, `live` a bool.

    Raises:
        ConfigurationError: with every fault found.
    """
    faults: list[str] = []

    def checked(name: str, parse: Callable[[Any], _T], default: _T) -> _T:
        given = values.get(name)
        try:
            return default if given is None else parse(given)
        except ValueError as error:
            faults.append(f"--{name}: {error}")
            return default

    live = bool(values.get("live"))
    if live and values.get("rate") is not None:
        faults.append("--rate: the real exchange has a pace of its own; leave it out with --live")
    options = DemoOptions(
        seconds=checked("seconds", lambda text: _number(text, MAX_SECONDS), DEFAULT_SECONDS),
        symbols=checked("symbols", lambda words: symbols(" ".join(words)), DEFAULT_SYMBOLS),
        rate=checked("rate", lambda text: _number(text, MAX_RATE), DEFAULT_RATE),
        market=checked("market", lambda text: _choice(text, MARKETS), "spot"),
        stream=checked("stream", lambda text: _choice(text, STREAMS), "aggTrade"),
        live=live,
        keep=checked("keep", Path, None),
    )
    if faults:
        raise ConfigurationError(*faults)
    return options


def _number(text: str, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= most:
        raise ValueError(f"{text!r} must be a number above 0 and at most {most:,.0f}")
    return number


def _choice(text: str, allowed: tuple[_T, ...]) -> _T:
    found = next((value for value in allowed if value == text), None)
    if found is None:
        raise ValueError(f"{text!r} must be one of {', '.join(map(str, allowed))}")
    return found
