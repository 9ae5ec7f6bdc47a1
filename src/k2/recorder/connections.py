"""What happens to the connections: told as it happens, and counted for the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from k2.ingestion.adapters.feed.policy import Cause
from k2.ingestion.adapters.feed.port import ConnectFailure, LinkClosed
from k2.reading.patience import Tell


class Connections:
    """
    The feeds' observer.

    Attributes:
        opened: How many connections came about.
        interruptions: How many ended without being told to, by cause. What the exchange sent until the next one is missed.
        reconnections: How many were replaced.
        refusals: What the exchange said, by stream, where it refused to send one.
        last_failure: Why the last attempt failed; empty where none did.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._lost = 0
        self.opened = self.reconnections = 0
        self.interruptions: Counter[str] = Counter()
        self.refusals: dict[str, str] = {}
        self.last_failure = ""

    def connecting(self, attempt: int) -> None:
        """Nothing to tell: what comes of it is told."""

    def connected(self, url: str) -> None:
        self.opened += 1
        if self._lost:
            self._lost -= 1
            self.reconnections += 1
            self._tell(f"connected again to {url}")

    def subscribed(self, streams: Sequence[str]) -> None:
        for stream in streams:
            self.refusals.pop(stream, None)

    def subscription_refused(self, streams: Sequence[str], error: str) -> None:
        self.refusals |= dict.fromkeys(streams, error)
        self._tell(f"the exchange refused {len(streams)} streams, such as {streams[0]}: {error}; they are asked for again")

    def disconnected(self, cause: Cause, closed: LinkClosed) -> None:
        if cause is Cause.STOPPING:
            return
        self._lost += 1
        self.interruptions[cause.value] += 1
        self._tell(f"a connection ended ({cause.value}, code {closed.code}): what is sent until the next one is missed")

    def connect_failed(self, kind: ConnectFailure, detail: str, retry_in_s: float) -> None:
        self._failed(f"{kind.value}: {detail}", retry_in_s)

    def refused(self, status: int, detail: str, retry_in_s: float) -> None:
        self._failed(f"HTTP {status}: {detail}", retry_in_s)

    def _failed(self, why: str, retry_in_s: float) -> None:
        self.last_failure = why
        self._tell(f"no connection: {why}; next attempt in {retry_in_s:.1f} s")
