"""A client's `/health` as a test wants it: served by the client's own HTTP server, with every number given."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from k2.ingestion.adapters.http import HttpServer, service_routes
from k2.ingestion.core.health import HealthInputs, HealthReport, evaluate, liveness

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW_MS = 1_764_000_000_000
BALANCE = {
    "received": 7_205, "published": 7_197, "dead_lettered": 5, "ignored": 3, "ignored_by_reason": {"duplicate": 3},
    "records": 7_197, "delivered": 7_190, "dead_lettered_records": 0, "spooled": 0, "in_flight": 7, "balanced": True,
}  # fmt: skip
EXTRA: dict[str, Any] = {
    "version": "0.1.0",
    "latency_seconds": {"p50": 0.0065, "p95": 0.0121, "p99": 0.0184},
    "exchange_lag_seconds": 0.042,
    "gaps_open": 2,
    "ids_missing": 37,
    "reconnections": 1,
    "reading": "flowing",
    "answered_at_ms": NOW_MS,
    "versions": {"k2": "0.1.0", "python": "3.11.7", "librdkafka": "2.16.0", "transport": "picows"},
    "schema": {"subject": "market.crypto.trades.binance-value", "id": 1, "fingerprint": "0123456789abcdef", "source": "registry"},
    "connections": {"established": 2, "reconnections": 1, "failed_attempts": 4, "disconnections": {"reset": 1}},
    "dead_letters": {
        "total": 5, "by_reason": {"decode/not_json": 4, "map/timestamp_out_of_range": 1},
        "written": 5, "pending": 0, "writable": True,
    },
}  # fmt: skip
WELL: dict[str, Any] = {"connected": True, "uptime_s": 3_725.0, "messages_received": 7_205, "balance": BALANCE}


def stream(name: str, published: int, *, age_s: float | None = 0.25, gaps_open: int = 0, ids_missing: int = 0) -> dict[str, Any]:
    """A row of `streams`. `age_s` None: never an event."""
    last_event_ms = 0 if age_s is None else NOW_MS - round(age_s * 1_000)
    symbol = name.partition("@")[0].upper()
    numbers = {"published": published, "last_event_ms": last_event_ms, "gaps_open": gaps_open, "ids_missing": ids_missing}
    return {"stream": name, "symbol": symbol, **numbers}


STREAMS = (
    stream("btcusdt@aggTrade", 4_000),
    stream("ethusdt@aggTrade", 3_197, age_s=75.0, gaps_open=2, ids_missing=37),
    stream("bnbusdt@aggTrade", 0, age_s=None),
)


def report(streams: Sequence[dict[str, Any]] = STREAMS, *, streams_total: int | None = None, **changes: Any) -> HealthReport:
    """An answer. `changes` are to the inputs of health, or to what stands beside its verdict."""
    inputs = {**WELL, **{name: value for name, value in changes.items() if name not in EXTRA}}
    extra = {**EXTRA, **{name: value for name, value in changes.items() if name in EXTRA}}
    extra |= {"streams": list(streams), "streams_total": len(streams) if streams_total is None else streams_total}
    return evaluate(HealthInputs(symbols=tuple(row["symbol"] for row in streams), extra=extra, **inputs))


def later(seconds: float, messages: int, published: Sequence[int], **changes: Any) -> HealthReport:
    """An answer that comes after that of `report()`, when so many events more were received and published."""
    streams = [{**row, "published": row["published"] + more} for row, more in zip(STREAMS, published, strict=True)]
    moved = {"answered_at_ms": NOW_MS + round(seconds * 1_000), "uptime_s": WELL["uptime_s"] + seconds}
    return report(streams, **{**moved, "messages_received": WELL["messages_received"] + messages, **changes})


class ScriptedClient:
    """Answers with its reports in turn, and with the last one from then on. Can go away and come back under its port."""

    def __init__(self, *reports: HealthReport) -> None:
        self.asked, self.was_asked = 0, asyncio.Event()
        self.play(*reports)
        self._server: HttpServer | None = None
        self._port = 0

    def play(self, *reports: HealthReport) -> None:
        self._reports = list(reports)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> ScriptedClient:
        exposition = (b"# no metrics here\n", "text/plain")
        routes = service_routes(metrics=lambda: exposition, health=self._next, readiness=liveness, liveness=liveness)
        self._server = HttpServer("127.0.0.1", self._port, routes)
        await self._server.start()
        self._port = self._server.port
        return self

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()
            self._server = None

    def _next(self) -> HealthReport:
        self.asked += 1
        self.was_asked.set()
        return self._reports.pop(0) if len(self._reports) > 1 else self._reports[0]
