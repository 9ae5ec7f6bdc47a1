"""A few numbers for whoever embeds the client or reads its log: what came in, what went out, what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from k2.ingestion.adapters.logs import get_logger
from k2.ingestion.readings import Readings

NOTHING_YET: Mapping[str, Any] = {
    "messages_received": 0, "messages_processed": 0, "messages_buffered": 0, "messages_delivered": 0, "messages_failed": 0,
    "connected": False, "reconnect_count": 0, "uptime_seconds": 0,
}  # fmt: skip

_log = get_logger("k2.service")


def service_metrics(readings: Readings) -> dict[str, Any]:
    """
    Counts since the start.

    `messages_received` are market events, `messages_processed` those that were published, `messages_buffered` the records that
    Kafka has not acknowledged yet, `messages_failed` the dead letters of events and records together.
    """
    sheet = readings.balance()
    return {
        "messages_received": sheet.received,
        "messages_processed": sheet.published,
        "messages_buffered": sheet.in_flight,
        "messages_delivered": sheet.delivered,
        "messages_failed": sheet.dead_lettered + sheet.dead_lettered_records,
        "connected": readings.connected,
        "reconnect_count": readings.happenings.reconnections,
        "uptime_seconds": int(readings.uptime_s),
    }


async def keep_logging(readings: Readings, every_s: float) -> None:
    """One line each so many seconds, for ever."""
    while True:
        await asyncio.sleep(every_s)
        _log.info("service_metrics", **service_metrics(readings))
