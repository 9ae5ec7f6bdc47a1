"""When to dial again: back-off after failures, what the exchange's refusals ask for, and a ceiling over it all. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType

from msgspec import Struct

# Binance allows 300 attempts in 5 minutes and address; replicas behind one address share that.
ATTEMPTS_PER_WINDOW = 100
WINDOW_S = 300.0
SPACING_S = 0.5

_LARGEST_EXPONENT = 32  # 2^32 times any sensible minimum is past any sensible maximum
_LONGEST_BAN_S = 3 * 24 * 3600.0  # Binance's; a Retry-After beyond it is not to be believed


class RefusalRule(Struct, frozen=True):
    """What an HTTP status at the handshake asks for where it names no time itself, and what it means."""

    at_least_s: float
    meaning: str


REFUSALS: Mapping[int, RefusalRule] = MappingProxyType(
    {
        403: RefusalRule(0.0, "refused by the exchange's firewall"),
        418: RefusalRule(120.0, "this address is banned for a while"),
        429: RefusalRule(60.0, "too many attempts from this address"),
        451: RefusalRule(
            300.0,
            "the exchange does not serve this location; its market-data-only host may: --ws-url wss://data-stream.binance.vision",
        ),
    }
)
_ORDINARY = RefusalRule(0.0, "")


def meaning_of(status: int) -> str:
    """What a refusal with this HTTP status means at Binance; empty where nothing special."""
    return REFUSALS.get(status, _ORDINARY).meaning


def refusal_delay_s(status: int, retry_after_s: float | None, ordinary_s: float) -> float:
    """
    How long to wait after a refused handshake: never less than `ordinary_s`, the back-off's delay.

    The server's Retry-After counts before our own floor for the status, up to Binance's longest ban; 451 keeps its floor, and so
    does a Retry-After of nothing.
    """
    floor_s = REFUSALS.get(status, _ORDINARY).at_least_s
    if retry_after_s is not None:
        asked_s = min(retry_after_s, _LONGEST_BAN_S)
        floor_s = max(asked_s, floor_s) if status == 451 or not asked_s else asked_s  # noqa: PLR2004 - named in the docstring
    return max(ordinary_s, floor_s)


class Backoff:
    """
    Exponential back-off with full jitter: after the n-th failure in a row (from 0) a uniform choice between `min_s` and
    `min(max_s, min_s * 2^(n+1))`.

    A failure is a connection that brought no data. `uniform` is `random.uniform` or a stand-in.
    """

    def __init__(self, min_s: float, max_s: float, uniform: Callable[[float, float], float]) -> None:
        self._min_s, self._max_s, self._uniform = min_s, max(min_s, max_s), uniform
        self.failures = 0

    def next_delay_s(self) -> float:
        """Count a failure and say how long to wait after it, in seconds."""
        self.failures += 1
        ceiling_s = min(self._max_s, self._min_s * (1 << min(self.failures, _LARGEST_EXPONENT)))
        return self._uniform(self._min_s, ceiling_s)

    def reset(self) -> None:
        """Data came: the next failure is the first again."""
        self.failures = 0


class AttemptBudget:
    """
    At most `attempts` in any `window_s` seconds, whatever happens. One budget may serve several feeds of a process.

    With `at_once` it spreads them as well: no more than so many within `spacing_s`. Times are in seconds on any steady clock. Ask
    `wait_s` until it says 0 and `spend` at once.
    """

    def __init__(
        self,
        attempts: int = ATTEMPTS_PER_WINDOW,
        window_s: float = WINDOW_S,
        *,
        at_once: int | None = None,
        spacing_s: float = SPACING_S,
    ) -> None:
        self._windows = [_Window(attempts, window_s)]
        if at_once is not None:
            self._windows.append(_Window(at_once, spacing_s))

    def wait_s(self, now_s: float) -> float:
        """How long until another attempt is allowed; 0 where it is now."""
        return max(window.wait_s(now_s) for window in self._windows)

    def spend(self, now_s: float) -> None:
        for window in self._windows:
            window.spent_at_s.append(now_s)


class _Window:
    """So many attempts in any stretch of so many seconds."""

    def __init__(self, attempts: int, length_s: float) -> None:
        self._attempts, self._length_s = attempts, length_s
        self.spent_at_s: deque[float] = deque(maxlen=attempts)

    def wait_s(self, now_s: float) -> float:
        if len(self.spent_at_s) < self._attempts:
            return 0.0
        return max(0.0, self.spent_at_s[0] + self._length_s - now_s)
