"""
The subscriptions of one connection: what is wanted, what is still to be asked for, what is not answered yet. Pure.

What is wanted may change at any time. Requests are made up when their turn comes, from what is wanted then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from msgspec import Struct

from k2.ingestion.adapters.feed.policy import FeedPolicy
from k2.ingestion.exchanges.binance.requests import Method, request_text


class Request(Struct, frozen=True):
    """One frame to the exchange."""

    request_id: int
    streams: tuple[str, ...]
    method: Method = Method.SUBSCRIBE

    @property
    def text(self) -> str:
        return request_text(self.method, self.request_id, self.streams)


class Subscriptions:
    """Spends `request_ids`, which go on counting from connection to connection, so that no answer is taken for another's."""

    def __init__(self, streams: Sequence[str], policy: FeedPolicy, request_ids: Iterator[int]) -> None:
        self._policy, self._request_ids = policy, request_ids
        self._wanted = dict.fromkeys(streams)
        self._to_add = dict(self._wanted)
        self._to_drop: dict[str, None] = {}
        self._asked: set[str] = set()  # a SUBSCRIBE was sent, and no UNSUBSCRIBE after it
        self._pending: dict[int, tuple[Request, float]] = {}
        self._refused: list[tuple[float, Request]] = []  # when to ask again, and for what
        self._refusals: Counter[tuple[str, ...]] = Counter()
        self._next_at_s = 0.0
        self._complete = not streams

    @property
    def complete(self) -> bool:
        """
        Everything was asked for and acknowledged.

        Streams that are added later leave this as it is, because the others go on, unless they are refused.
        """
        return self._complete

    @property
    def sending(self) -> bool:
        """Something is to be sent as soon as the exchange's message rate allows."""
        return bool(self._to_drop or self._to_add)

    @property
    def leaving(self) -> frozenset[str]:
        """Streams that are not wanted any more and may still arrive."""
        unanswered = (
            stream for request in self._open_requests if request.method is Method.UNSUBSCRIBE for stream in request.streams
        )
        return frozenset(self._to_drop).union(unanswered) - self._wanted.keys()

    def change(self, streams: Iterable[str]) -> None:
        """From now on these are wanted. What was not sent yet is forgotten; what stays is not asked for again."""
        before, self._wanted = self._wanted, dict.fromkeys(streams)
        for stream in before:
            if stream not in self._wanted:
                self._remove(stream)
        for stream in self._wanted:
            if stream not in before:
                self._add(stream)
        self._settle()

    def _remove(self, stream: str) -> None:
        self._to_add.pop(stream, None)
        if stream in self._asked:
            self._to_drop[stream] = None

    def _add(self, stream: str) -> None:
        self._to_drop.pop(stream, None)
        if stream not in self._asked:
            self._to_add[stream] = None

    def due(self, now_s: float) -> Request | None:
        """The next request to send now, if the exchange's message rate allows one."""
        if now_s < self._next_at_s:
            return None
        request = self._next(now_s)
        if request is None:
            return None
        if request.method is Method.SUBSCRIBE:
            self._asked.update(request.streams)
        else:
            self._asked.difference_update(request.streams)
        self._pending[request.request_id] = (request, now_s)
        self.take_turn(now_s)
        return request

    def take_turn(self, now_s: float) -> None:
        """A message was sent, ours or a ping: the exchange counts them together."""
        self._next_at_s = max(self._next_at_s, now_s) + 1 / self._policy.requests_per_s

    def answered(self, request_id: int | None) -> tuple[str, ...]:
        """
        The streams that were subscribed to by the request that was answered, and are still wanted.

        None where the request is not one of ours, and none for an UNSUBSCRIBE. Binance leaves the id out of some refusals; those
        are taken for the oldest open request's.
        """
        request = self._closed(request_id)
        self._settle()
        if request is None or request.method is Method.UNSUBSCRIBE:
            return ()
        return tuple(stream for stream in request.streams if stream in self._wanted)

    def refused(self, request_id: int | None, now_s: float) -> tuple[str, ...]:
        """
        The wanted streams of the request that was refused; none for an UNSUBSCRIBE.

        The request is made again later, the longer the more often.
        """
        request = self._closed(request_id)
        if request is None:
            return ()
        policy, streams = self._policy, request.streams
        delay_s = min(policy.refused_retry_s * 2 ** min(self._refusals[streams], 16), policy.refused_retry_max_s)
        self._refusals[streams] += 1
        self._refused.append((now_s + delay_s, request))
        wanted = self._due_of(request) if request.method is Method.SUBSCRIBE else ()
        self._complete = self._complete and not wanted
        return wanted

    def overdue(self, now_s: float) -> bool:
        """A request has waited too long for its answer."""
        return any(now_s - sent_at_s >= self._policy.ack_timeout_s for _, sent_at_s in self._pending.values())

    def excuse(self, now_s: float) -> None:
        """Start all waiting anew: we were not reading, so no answer could come."""
        self._pending = {request_id: (request, now_s) for request_id, (request, _) in self._pending.items()}

    def _next(self, now_s: float) -> Request | None:
        # What goes makes room for what comes: the exchange counts the streams of a connection.
        if self._to_drop:
            return Request(next(self._request_ids), self._taken_from(self._to_drop), Method.UNSUBSCRIBE)
        if self._to_add:
            return Request(next(self._request_ids), self._taken_from(self._to_add))
        return self._again(now_s)

    def _taken_from(self, waiting: dict[str, None]) -> tuple[str, ...]:
        streams = tuple(islice(waiting, self._policy.streams_per_request))
        for stream in streams:
            del waiting[stream]
        return streams

    def _again(self, now_s: float) -> Request | None:
        """The first refused request whose time has come, less what it is not needed for any more."""
        while entry := next((entry for entry in self._refused if entry[0] <= now_s), None):
            self._refused.remove(entry)
            if streams := self._due_of(entry[1]):
                return Request(next(self._request_ids), streams, entry[1].method)
        return None

    def _due_of(self, request: Request) -> tuple[str, ...]:
        subscribes = request.method is Method.SUBSCRIBE
        return tuple(stream for stream in request.streams if (stream in self._wanted) is subscribes)

    def _closed(self, request_id: int | None) -> Request | None:
        if request_id is None and self._pending:
            request_id = next(iter(self._pending))
        pending = self._pending.pop(request_id, None) if request_id is not None else None
        return pending[0] if pending else None

    @property
    def _open_requests(self) -> list[Request]:
        """What was asked and not granted yet."""
        return [request for request, _ in self._pending.values()] + [request for _, request in self._refused]

    def _settle(self) -> None:
        waiting = any(request.method is Method.SUBSCRIBE and self._due_of(request) for request in self._open_requests)
        self._complete = self._complete or not (self._to_add or waiting)
