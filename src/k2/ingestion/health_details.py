"""
What `/health` tells beside its verdict: streams, connections, dead letters by reason, versions, schema.

It is asked every few seconds while frames come, so it reads counters that exist anyway and lists a hundred streams at most.
Nothing of the configuration is in it: no address, no user, no secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from k2.ingestion.core.outcome import Reason, Stage

if TYPE_CHECKING:
    from k2.ingestion.core.rows import Row
    from k2.ingestion.readings import Readings

STREAMS_LISTED = 100  # one by one, here and in the metrics: rendering 1,000 symbols took 60 ms of the event loop

Details = dict[str, Any]


def details(readings: Readings, clock_ns: Callable[[], int] = time.time_ns) -> Details:
    """All of it. `answered_at_ms` is our clock, from which a reader tells the age of an event without trusting his own."""
    rows = readings.rows
    return {
        "answered_at_ms": clock_ns() // 1_000_000,
        "versions": dict(zip(("k2", "python", "librdkafka", "transport"), readings.build, strict=True)),
        "schema": _schema(readings),
        "schemas": [_described(schema, readings) for schema in readings.schemas],
        "connections": _connections(readings),
        "dead_letters": _dead_letters(readings),
        "streams": [_stream(row) for row in rows[:STREAMS_LISTED]],
        "streams_total": len(rows),
    }


def _schema(readings: Readings) -> Details:
    """That of the first topic. The id is null, and the rest empty, until the start has learnt it."""
    return _described(readings.schemas[0] if readings.schemas else ("", "", ""), readings)


def _described(schema: tuple[str, str, str], readings: Readings) -> Details:
    subject, schema_id, fingerprint = schema
    source = readings.start.schema_source.value
    return {"subject": subject, "id": int(schema_id) if schema_id else None, "fingerprint": fingerprint, "source": source}


def _connections(readings: Readings) -> Details:
    happenings = readings.happenings
    return {
        "established": happenings.connections,
        "reconnections": happenings.reconnections,
        "failed_attempts": happenings.connection_errors.total(),
        "disconnections": {cause: count for cause, count in happenings.disconnections.items() if count},
    }


def _dead_letters(readings: Readings) -> Details:
    box = readings.letters.box
    by_reason = {f"{stage}/{reason}": count for (stage, reason), count in readings.engine.letters.items() if count}
    by_reason |= {f"{_stage_of(reason)}/{reason}": count for reason, count in readings.letters.records.items() if count}
    return {
        "total": sum(by_reason.values()),
        "by_reason": by_reason,
        "written": box.written,
        "pending": box.pending,
        "writable": box.writable,
    }


def _stage_of(reason: str) -> Stage:
    """Where a record failed; its counter knows the reason only."""
    return Stage.SHUTDOWN if reason == Reason.NOT_DELIVERED_AT_SHUTDOWN else Stage.PRODUCE


def _stream(row: Row) -> Details:
    """`last_event_ms` is the exchange's time of the latest event, 0 before the first one."""
    return {
        "stream": row.stream,
        "symbol": row.symbol,
        "published": row.published,
        "last_event_ms": row.last_event_ms,
        "gaps_open": len(row.sequence.gaps),
        "ids_missing": row.sequence.ids_missing,
    }
