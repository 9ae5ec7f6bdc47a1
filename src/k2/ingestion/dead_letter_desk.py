"""
Where events and records that cannot be published are written down.

Turns the core's dead letters and the producer's undeliverable records into lines and drops them into the box, which makes them
durable on a thread of its own.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable

from k2.ingestion.adapters.dead_letters import DeadLetterBox
from k2.ingestion.core.delivery import Verdict
from k2.ingestion.core.letters import FailedRecord, encode_letter
from k2.ingestion.core.outcome import DeadLetter, Reason, Record, Stage
from k2.ingestion.happenings import Happenings
from k2.ingestion.record_reader import RecordReader

ROOM_FROM_PENDING = 5_000  # half of what the box holds
NAP_S = 0.01
PATIENCE_S = 10.0  # in all, for a writer that hangs

RECORD_REASONS = (Reason.TOO_LARGE, Reason.DELIVERY_REJECTED, Reason.DELIVERY_UNKNOWN, Reason.NOT_DELIVERED_AT_SHUTDOWN)


class DeadLetterDesk:
    """
    Writes letters and counts those of records by reason.

    `full` turns true when the box took a letter no more: it went to stderr instead, and the client has to stop.
    """

    def __init__(
        self,
        box: DeadLetterBox,
        happenings: Happenings,
        market: str,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.box = box
        self.full = False
        # Known label values start at 0: a series that appears with its first failure has no rate for it.
        self.records = Counter({reason.value: 0 for reason in RECORD_REASONS})
        self._happenings, self._market, self._clock_ns = happenings, market, clock_ns
        self._reader = RecordReader(market, {}, {})
        self._patience_s = PATIENCE_S

    def use(self, reader: RecordReader) -> None:
        """What reads our records, so that an undeliverable one can be shown under the exchange's keys."""
        self._reader = reader

    def event(self, letter: DeadLetter, received_at_us: int) -> None:
        """Keep an event that could not be understood."""
        self._happenings.dead_letter(letter, self._put(letter, received_at_us))

    def record(self, record: Record, verdict: Verdict, error: str, attempts: int) -> None:
        """Keep a record that could not be delivered, in so many attempts to produce it."""
        self.records[verdict.reason.value] += 1
        told = self._reader.told_by(record)
        stage = Stage.SHUTDOWN if verdict.reason is Reason.NOT_DELIVERED_AT_SHUTDOWN else Stage.PRODUCE
        symbol = (record.key or b"").decode(errors="replace")
        failed = FailedRecord(
            record, stage, verdict.reason, error, verdict.written, told.original_message, stream=told.stream, symbol=symbol
        )
        if stage is Stage.SHUTDOWN:
            self._wait_for_room()
        letter_id = self._put(failed, told.received_at_us, attempts)
        self._happenings.undeliverable(stage, verdict.reason, error, symbol, letter_id)

    def _wait_for_room(self) -> None:
        """
        Give the writer time: when the producer is given up, a whole queue of records comes at once, more than the box holds.

        Blocks the event loop, which has nothing else to do any more.
        """
        while self.box.pending >= ROOM_FROM_PENDING and self.box.writable and self._patience_s > 0:
            time.sleep(NAP_S)
            self._patience_s -= NAP_S

    def _put(self, letter: DeadLetter | FailedRecord, received_at_us: int | None, attempts: int = 1) -> str:
        letter_id = str(uuid.uuid4())
        line = encode_letter(
            letter,
            letter_id=letter_id,
            failed_at_us=self._clock_ns() // 1_000,
            received_at_us=received_at_us,
            market=self._market,
            attempts=attempts,
        )
        if not self.box.put(line):
            self.full = True
        return letter_id
