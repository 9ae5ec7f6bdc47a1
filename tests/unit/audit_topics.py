"""Recordings and topics in memory for the tests of the audit: what was recorded, and the records that would be right for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from k2.audit.recorded import RecordedEvents, recorded_events
from k2.ingestion.core.outcome import Publish
from k2.reading.decoded import Decoded
from k2.simulator.recording import Recording, load
from unit.core.pipelines import RECEIVED_AT_US, decoded, new_pipeline
from unit.topic_records import topic_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from k2.ingestion.core.outcome import Outcome

AT_MS = 1_723_161_255_342
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def agg_trade(exchange_id: int, symbol: str = "BTCUSDT", **changes: Any) -> dict[str, Any]:
    """One event of spot's aggregated trades."""
    event = {
        "e": "aggTrade", "E": AT_MS + exchange_id, "s": symbol, "a": exchange_id, "p": f"{60_000 + exchange_id}.50000000",
        "q": "0.02000000", "f": exchange_id * 2, "l": exchange_id * 2 + 1, "T": AT_MS + exchange_id, "m": exchange_id % 2 == 0,
        "M": True,
    }  # fmt: skip
    return event | changes


def frame_of(event: dict[str, Any], stream: str = "") -> bytes:
    name = stream or f"{event['s'].lower()}@{event['e']}"
    return json.dumps({"stream": name, "data": event}, separators=(",", ":")).encode()


def recording_of(path: Path, frames: Iterable[bytes]) -> Recording:
    """A recording in the plain format, read back."""
    lines = (b"%d.%03d: %s\n" % (1_723_161_255 + number, number, frame) for number, frame in enumerate(frames))
    path.write_bytes(b"wss://stream.binance.com/stream\n" + b"".join(lines))
    return load(path)


def events_in(
    recording: Recording, market: str = "spot", stream: str = "aggTrade", symbols: Sequence[str] = ()
) -> RecordedEvents:
    return recorded_events(recording, market, stream, symbols)


def published(outcomes: Iterable[Outcome], partition: int = 0) -> list[Decoded]:
    """The records of these outcomes as they lie in a partition."""
    records = (record for outcome in outcomes if isinstance(outcome, Publish) for record in outcome.records)
    return [
        Decoded(
            topic_record(
                offset, partition=partition, at_ms=record.timestamp_ms, key=record.key, value=record.value, headers=record.headers
            ),
            1,
            decoded(record.value),
        )
        for offset, record in enumerate(records)
    ]


def topic_of(
    frames: Iterable[bytes], market: str = "spot", stream: str = "aggTrade", symbols: tuple[str, ...] = SYMBOLS
) -> list[Decoded]:
    """What the client makes of these frames."""
    pipeline = new_pipeline(market, stream, symbols)
    return published(outcome for frame in frames for outcome in pipeline.process(frame, RECEIVED_AT_US))
