"""Turns the options of `k2 exchange`, given as text, into a market and a server, or into all that is wrong with them."""

from __future__ import annotations

import math
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from k2.errors import ConfigurationError
from k2.simulator import faults, generated, recorded, recording
from k2.simulator.options import ExchangeOptions, options_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k2.simulator.market import Market, Venue

_DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
_DEFAULT_RATE = 100.0
_MAX_PORT = 65_535
_INT64_MAX = 2**63 - 1
_GENERATED_ONLY = ("symbols", "rate", "event_rate", "seed", "count", "first_id")
_RECORDING_ONLY = ("speed", "times")
_VENUES: tuple[Venue, ...] = ("spot", "usdm")
_TIMES: tuple[recorded.Times, ...] = ("original", "now")
_Choice = TypeVar("_Choice", bound=str)


class Plan(NamedTuple):
    """What to serve, and what to break and when to end, in seconds after the start."""

    market: Market
    options: ExchangeOptions
    fault: faults.Fault | None
    fault_after_s: float
    duration_s: float | None


def make_plan(values: Mapping[str, Any]) -> Plan:
    """
    Check all options together.

    Args:
        values: Option texts by name, with underscores; None or absent where not given.

    Raises:
        ConfigurationError: with every fault found.
    """
    check = _Check(values)
    with_recording = values.get("recording") is not None
    check.excluded(_GENERATED_ONLY if with_recording else _RECORDING_ONLY, with_recording=with_recording)
    venue = check.choice("market", _VENUES)
    market = _recorded(check, venue) if with_recording else _generated(check, venue)
    fault, fault_after_s = _fault(check), check.number("fault_after") or 0.0
    duration_s = check.number("duration")
    options = _options(check, market.venue if market else "spot")
    if check.faults or market is None:
        raise ConfigurationError(*check.faults)
    return Plan(market, options, fault, fault_after_s, duration_s)


class _Check:
    """Reads options from their text and collects what is wrong with them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.faults: list[str] = []

    def excluded(self, names: tuple[str, ...], *, with_recording: bool) -> None:
        sort = "generated market" if with_recording else "recording"
        given = [name for name in names if self.values.get(name) is not None]
        self.faults.extend(f"{_flag(name)} is for a {sort} only" for name in given)

    def choice(self, name: str, allowed: tuple[_Choice, ...]) -> _Choice | None:
        text = self.values.get(name)
        chosen = next((value for value in allowed if value == text), None)
        if text is not None and chosen is None:
            self.faults.append(f"{_flag(name)} is {text!r}, but must be one of {', '.join(allowed)}")
        return chosen

    def integer(self, name: str, minimum: int, maximum: int = _INT64_MAX) -> int | None:
        text = self.values.get(name)
        if text is None:
            return None
        if not text.isdecimal() or not minimum <= int(text) <= maximum:
            self.faults.append(f"{_flag(name)} is {text!r}, but must be an integer from {minimum} to {maximum}")
            return None
        return int(text)

    def number(self, name: str, *, above: float = -1.0) -> float | None:
        text = self.values.get(name)
        if text is None:
            return None
        number = _float(text)
        if number is None or number < 0 or number <= above:
            self.faults.append(f"{_flag(name)} is {text!r}, but must be a number {'above 0' if above == 0 else 'of 0 or more'}")
        return number

    def pace(self, name: str, default: float) -> float | None:
        """A number above 0, or None for "max"."""
        text = self.values.get(name)
        if text is None:
            return default
        if text == "max":
            return None
        number = _float(text)
        if number is None or number <= 0:
            self.faults.append(f"{_flag(name)} is {text!r}, but must be a number above 0, or max")
        return number


def _recorded(check: _Check, venue: Venue | None) -> Market | None:
    speed = check.pace("speed", 1.0)
    times = check.choice("times", _TIMES) or "original"
    try:
        loaded = recording.load(Path(check.values["recording"]), venue)
    except ConfigurationError as error:
        check.faults.extend(error.faults)
        return None
    return recorded.RecordedMarket(loaded, speed, times)


def _generated(check: _Check, venue: Venue | None) -> Market | None:
    rate = check.pace("rate", _DEFAULT_RATE)
    event_rate = check.number("event_rate", above=0.0)
    count, seed, first_id = check.integer("count", 1), check.integer("seed", 0), check.integer("first_id", 0)
    symbols = tuple(dict.fromkeys(symbol.upper() for symbol in check.values.get("symbols") or _DEFAULT_SYMBOLS))
    if check.faults:
        return None
    repeatable = rate is None or any(given is not None for given in (event_rate, count, seed, first_id))
    return generated.GeneratedMarket(
        generated.GeneratedOptions(
            symbols=symbols,
            venue=venue or "spot",
            rate=rate,
            event_rate=event_rate,
            count=count,
            seed=1 if seed is None else seed,
            first_ids=first_id,
            began_at_ms=None if repeatable else generated.CONTINUOUS_SINCE_MS,
        )
    )


def _options(check: _Check, venue: Venue) -> ExchangeOptions:
    own = options_for(venue)
    ping_interval_s = check.number("ping_interval", above=0.0) or own.ping_interval_s
    host, port = check.values.get("host") or own.host, check.integer("port", 0, _MAX_PORT) or 0
    return msgspec.structs.replace(own, host=host, port=port, ping_interval_s=ping_interval_s, tls=_tls(check))


def _tls(check: _Check) -> ssl.SSLContext | None:
    certificate, key = check.values.get("tls_cert"), check.values.get("tls_key")
    if certificate is None:
        if key is not None:
            check.faults.append("--tls-key needs --tls-cert")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # what OpenSSL refuses is one too
        check.faults.append(f"--tls-cert {certificate}: cannot be used: {error.strerror or error}")
    return context


def _fault(check: _Check) -> faults.Fault | None:
    text = check.values.get("fault")
    if text is None:
        return None
    try:
        return faults.from_json(text)
    except ValueError as error:
        check.faults.append(f"--fault {text}: {error}")
        return None


def _float(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
