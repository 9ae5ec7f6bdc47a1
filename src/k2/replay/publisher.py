"""Sends batches of records with the client's own producer, and waits for what became of each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from k2.errors import K2Error, UnavailableError
from k2.ingestion.adapters.kafka import KafkaSink
from k2.ingestion.core.delivery import Verdict
from k2.ingestion.core.outcome import Record

NAP_S = 0.002
EXIT_ON_SIGNAL = 128  # and the signal's number, as shells say it


class InterruptedReplayError(K2Error):
    """The run was told to stop while records were under way. The next run finds out what became of them."""

    def __init__(self, signal_number: int) -> None:
        super().__init__("stopped; what was under way is looked up in the topic by the next run")
        self.exit_code = EXIT_ON_SIGNAL + signal_number


class Refusal(Struct, frozen=True):
    """A record that Kafka would not take."""

    record: Record
    verdict: Verdict
    error: str


class Publisher:
    """
    Sends one batch after the other. It is what the producer reports to.

    Args:
        config: librdkafka configuration of the producer.
        patience_s: How long nothing may be acknowledged before the run is given up.
        stop_signal: The number of a signal that asked us to stop, 0 while none has.
    """

    def __init__(
        self, config: Mapping[str, Any], logger: logging.Logger, *, patience_s: float, stop_signal: Callable[[], int]
    ) -> None:
        self._sink = KafkaSink(config, self, logger)
        self._patience_s, self._stop_signal = patience_s, stop_signal
        self._refused: list[Refusal] = []
        self._latest_error = "no answer"

    def publish(self, records: Sequence[Record]) -> list[Refusal]:
        """
        Send a batch. All records that are not among the refusals were acknowledged.

        Raises:
            UnavailableError: nothing was acknowledged for too long, or the producer broke for good.
            InterruptedReplayError: a signal came.
        """
        self._refused = []
        read = self._sink.begin_read()
        for record in records:
            self._sink.send(record, read)
        self._wait()
        return self._refused

    def _wait(self) -> None:
        sink, ended, give_up_at_s = self._sink, 0, time.monotonic() + self._patience_s
        while sink.in_flight:
            sink.poll()
            if sink.delivered + sink.dead != ended:
                ended, give_up_at_s = sink.delivered + sink.dead, time.monotonic() + self._patience_s
            if sink.fatal or time.monotonic() > give_up_at_s:
                raise UnavailableError(f"Kafka takes no records: {sink.fatal or self._latest_error}; run again when it does")
            if signal_number := self._stop_signal():
                raise InterruptedReplayError(signal_number)
            time.sleep(NAP_S)

    # From the producer

    def delivery_failed(self, code: str, text: str) -> None:
        self._latest_error = f"{code}: {text}"

    def client_error(self, code: str, text: str) -> None:
        self._latest_error = f"{code}: {text}"

    def renewed(self, code: str, text: str, _carried_over: int) -> None:
        self._latest_error = f"{code}: {text}"

    def fatal_error(self, code: str, text: str) -> None:
        self._latest_error = f"{code}: {text}"

    def undeliverable(self, record: Record, verdict: Verdict, error: str, _attempts: int) -> None:
        self._refused.append(Refusal(record, verdict, error))
