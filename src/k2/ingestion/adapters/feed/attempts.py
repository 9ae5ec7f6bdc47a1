"""When a feed may dial, and how long its connection may be silent: what it learns from how the attempts before ended."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Iterator

from msgspec import Struct, field

from k2.errors import UnavailableError
from k2.ingestion.adapters.feed.backoff import AttemptBudget, Backoff, refusal_delay_s
from k2.ingestion.adapters.feed.policy import Cause, FeedPolicy
from k2.ingestion.adapters.feed.port import ConnectFailedError, HandshakeRefusedError
from k2.ingestion.adapters.feed.watch import silence_limit_s


class Shared(Struct, frozen=True):
    """
    What the feeds of a process have in common.

    The exchange counts attempts by address, hence one `budget`. Some of its answers name no request, hence one series of
    `request_ids`: none of them means two things. `clock` gives seconds, steady; `uniform` draws the jitter.
    """

    budget: AttemptBudget = field(default_factory=AttemptBudget)
    request_ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    clock: Callable[[], float] = time.monotonic
    uniform: Callable[[float, float], float] = random.uniform


class Attempts:
    """
    The attempts of one feed to stay connected to `url`.

    A failure is an attempt that brought no data. All methods that take one raise `UnavailableError` when it is the policy's last.
    """

    def __init__(self, url: str, policy: FeedPolicy, shared: Shared) -> None:
        self._url, self._policy, self._budget, self._clock = url, policy, shared.budget, shared.clock
        self._backoff = Backoff(policy.reconnect_min_s, policy.reconnect_max_s, shared.uniform)
        self._dial_at_s = -math.inf
        self._silent_connections = 0

    @property
    def silence_limit_s(self) -> float:
        """How long the next connection may bring no data."""
        return silence_limit_s(self._policy, self._silent_connections)

    def wait_s(self) -> float:
        """How long until the next attempt may begin; 0 or less where it may now."""
        now_s = self._clock()
        return max(self._dial_at_s - now_s, self._budget.wait_s(now_s))

    def begin(self) -> int:
        """Spend one of the budget. Returns its number, from 1 since data last came."""
        self._budget.spend(self._clock())
        return self._backoff.failures + 1

    def refused(self, refusal: HandshakeRefusedError) -> float:
        """The handshake was refused. Returns in how many seconds the next attempt comes."""
        ordinary_s = self._count_failure(str(refusal))
        return self._retry_in(refusal_delay_s(refusal.status, refusal.retry_after_s, ordinary_s))

    def failed(self, failure: ConnectFailedError) -> float:
        """No connection came about. Returns in how many seconds the next attempt comes."""
        return self._retry_in(self._count_failure(str(failure)))

    def ended(self, cause: Cause, *, brought_data: bool) -> None:
        """A connection has ended."""
        if brought_data:
            self._backoff.reset()
            self._silent_connections = 0
        elif cause is Cause.SILENCE:
            self._silent_connections += 1
        if cause in {Cause.HOLD, Cause.STOPPING}:
            self._dial_at_s = -math.inf
            return
        delay_s = self._backoff.next_delay_s() if brought_data else self._count_failure(f"no data, then {cause}")
        # A server that goes down for maintenance is left at once; one that announces it over and over is not.
        at_once = cause is Cause.SERVER_SHUTDOWN and self._backoff.failures == 1
        self._dial_at_s = -math.inf if at_once else self._clock() + delay_s

    def _count_failure(self, reason: str) -> float:
        delay_s = self._backoff.next_delay_s()
        if 0 < self._policy.give_up_after <= self._backoff.failures:
            raise UnavailableError(f"{self._url}: gave up after {self._backoff.failures} failures in a row; {reason}")
        return delay_s

    def _retry_in(self, delay_s: float) -> float:
        """Set the time of the next attempt and say how long that is, the attempt budget included."""
        now_s = self._clock()
        self._dial_at_s = now_s + delay_s
        return max(delay_s, self._budget.wait_s(now_s))
