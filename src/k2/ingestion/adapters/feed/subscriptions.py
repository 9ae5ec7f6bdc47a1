"""The subscriptions of one connection: what is still to be asked for, what is not answered yet. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence

from msgspec import Struct

from k2.ingestion.adapters.feed.policy import FeedPolicy
from k2.ingestion.exchanges.binance.requests import batches


class Request(Struct, frozen=True):
    """One SUBSCRIBE frame."""

    request_id: int
    streams: tuple[str, ...]


class Subscriptions:
    """Spends `request_ids`, which go on counting from connection to connection, so that no answer is taken for another's."""

    def __init__(self, streams: Sequence[str], policy: FeedPolicy, request_ids: Iterator[int]) -> None:
        self._policy = policy
        self._unsent = deque(Request(next(request_ids), batch) for batch in batches(streams, policy.streams_per_request))
        self._pending: dict[int, tuple[Request, float]] = {}
        self._request_ids = request_ids
        self._refused: list[tuple[float, tuple[str, ...]]] = []  # when to ask again, and for what
        self._refusals: Counter[tuple[str, ...]] = Counter()
        self._next_at_s = 0.0

    @property
    def complete(self) -> bool:
        """Everything was asked for and acknowledged."""
        return not self._unsent and not self._pending and not self._refused

    @property
    def sending(self) -> bool:
        return bool(self._unsent)

    def due(self, now_s: float) -> Request | None:
        """The next request to send now, if the exchange's message rate allows one."""
        self._ask_again(now_s)
        if not self._unsent or now_s < self._next_at_s:
            return None
        self._next_at_s = now_s + 1 / self._policy.requests_per_s
        request = self._unsent.popleft()
        self._pending[request.request_id] = (request, now_s)
        return request

    def answered(self, request_id: int | None) -> tuple[str, ...]:
        """
        The streams of the request that was answered; none where it is not one of ours.

        Binance leaves the id out of some refusals; those are taken for the oldest open request's.
        """
        if request_id is None and self._pending:
            request_id = next(iter(self._pending))
        answered = self._pending.pop(request_id, None) if request_id is not None else None
        return answered[0].streams if answered else ()

    def refused(self, request_id: int | None, now_s: float) -> tuple[str, ...]:
        """The streams of the request that was refused. They are asked for again later, the longer the more often."""
        streams = self.answered(request_id)
        if streams:
            policy = self._policy
            delay_s = min(policy.refused_retry_s * 2 ** min(self._refusals[streams], 16), policy.refused_retry_max_s)
            self._refusals[streams] += 1
            self._refused.append((now_s + delay_s, streams))
        return streams

    def _ask_again(self, now_s: float) -> None:
        due = [streams for at_s, streams in self._refused if at_s <= now_s]
        self._refused = [entry for entry in self._refused if entry[0] > now_s]
        self._unsent += [Request(next(self._request_ids), streams) for streams in due]

    def overdue(self, now_s: float) -> bool:
        """A request has waited too long for its answer."""
        return any(now_s - sent_at_s >= self._policy.ack_timeout_s for _, sent_at_s in self._pending.values())

    def excuse(self, now_s: float) -> None:
        """Start all waiting anew: we were not reading, so no answer could come."""
        self._pending = {request_id: (request, now_s) for request_id, (request, _) in self._pending.items()}
