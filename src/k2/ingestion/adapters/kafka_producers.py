"""
librdkafka's producers behind the sink: one for all records, one for those that have to go alone, and both made anew together.

A fatal error of the idempotent producer (it lost count of what the broker has) is for ever: librdkafka takes no record any
more. What it held comes back through the delivery reports, and a new producer, with a new identity, can send it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from k2.ingestion.adapters.kafka_faults import open_client
from k2.ingestion.core.delivery import Concern, concern_of
from k2.ingestion.core.tally import NS_PER_SECOND

STATISTICS_INTERVAL_MS = 2_000

# After the n-th fatal error within the window, from 0, the new producer is made so much later. One more is the end.
RENEWAL_DELAYS_NS = (0, 5 * NS_PER_SECOND, 30 * NS_PER_SECOND)
RENEWAL_WINDOW_NS = 600 * NS_PER_SECOND
PERMISSION_DELAY_NS = 10 * NS_PER_SECOND  # a permission that is missing is waited for, however long


class Renewals:
    """When a producer may be made anew. Times in nanoseconds of one steady clock. `count` is how often it was."""

    def __init__(self) -> None:
        self.count = 0
        self._met_at_ns: deque[int] = deque()

    def next_at_ns(self, code: str, now_ns: int) -> int | None:
        """The time from which on, for a fatal error met now; None where there were too many of late."""
        if concern_of(code) is Concern.PERMISSION:
            return now_ns + PERMISSION_DELAY_NS
        while self._met_at_ns and now_ns - self._met_at_ns[0] >= RENEWAL_WINDOW_NS:
            self._met_at_ns.popleft()
        met = len(self._met_at_ns)
        if met == len(RENEWAL_DELAYS_NS):
            return None
        self._met_at_ns.append(now_ns)
        return now_ns + RENEWAL_DELAYS_NS[met]


class Producers:
    """
    Everything that is asked of librdkafka. Its own errors, in the callback or raised, go to `on_error`.

    `produce` is the main producer's own method, for the hot path: it is another one after `renew`.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        logger: logging.Logger,
        *,
        on_error: Callable[[KafkaError], None],
        on_statistics: Callable[[str], None],
    ) -> None:
        self._config, self._logger, self._on_error, self._on_statistics = dict(config), logger, on_error, on_statistics
        self._open()

    def _open(self) -> None:
        statistics = {"statistics.interval.ms": STATISTICS_INTERVAL_MS, "stats_cb": self._on_statistics}
        self._main = self._new(statistics)
        self._lone: Producer | None = None
        self._all = [self._main]
        self.produce = self._main.produce

    def _new(self, extra: Mapping[str, Any]) -> Producer:
        return open_client(Producer, {**self._config, **extra, "error_cb": self._on_error}, self._logger)

    @property
    def produce_alone(self) -> Callable[..., None]:
        """`produce` of the producer whose batches hold one record."""
        if self._lone is None:
            self._lone = self._new({"batch.num.messages": 1, "linger.ms": 0})
            self._all.append(self._lone)
        return self._lone.produce

    def poll(self) -> None:
        """Serve callbacks. Never waits."""
        for producer in self._all:
            self._guarded(producer.poll, 0)

    def flush(self, at_most_s: float) -> None:
        """Let batches go that still wait to fill up, and serve callbacks meanwhile."""
        for producer in self._all:
            self._guarded(producer.flush, at_most_s)

    def purge(self) -> None:
        """Give up on all that librdkafka has: the reports of it are then there to be served."""
        for producer in self._all:
            producer.purge(in_queue=True, in_flight=True, blocking=True)

    def renew(self) -> None:
        """Put new producers in the place of those that are there, which must have nothing left."""
        self._open()

    def _guarded(self, call: Callable[[float], object], argument: float) -> None:
        try:
            call(argument)
        except KafkaException as exception:  # a fatal error is raised by whatever is called next
            self._on_error(exception.args[0])
        except SystemError as exception:  # by `flush` like this, for it neither returns nor raises cleanly then
            if not isinstance(exception.__cause__, KafkaException):
                raise
            self._on_error(exception.__cause__.args[0])
