"""What there is to see of a client at one moment, free of how it is shown; and the short memory that rates need."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

from k2.live.rates import RateMeter
from k2.live.sheet import ClientSheet, Count

CLOCKS_DIFFER_S = 2.0  # whole seconds there, an answer that took its time here
TOTAL = ""  # the key of all streams together; no stream has an empty name


class Schema(Struct, frozen=True):
    """The schema in use. The id is None until the client knows it."""

    subject: str = ""
    id: Count | None = None
    source: str = ""


class Connections(Struct, frozen=True):
    """How often the exchange was reached, how often not, and why connections ended."""

    established: Count = 0
    failed_attempts: Count = 0
    disconnections: dict[str, Count] = field(default_factory=dict)


class DeadLetters(Struct, frozen=True):
    """How many, why, and whether they can be written."""

    total: Count = 0
    by_reason: dict[str, Count] = field(default_factory=dict)
    pending: Count = 0
    writable: bool = True


class StreamHealth(Struct, frozen=True):
    """One stream, as the client tells it."""

    stream: str
    published: Count = 0
    last_event_ms: Count = 0
    gaps_open: Count = 0
    ids_missing: Count = 0


class Health(Struct, frozen=True):
    """A client's `/health`, as far as it is shown. The first five are what makes an answer one of a client."""

    status: str
    connection_state: str
    symbols: tuple[str, ...]
    uptime_seconds: Count
    messages_received: Count
    reasons: tuple[str, ...] = ()
    balance: ClientSheet = field(default_factory=ClientSheet)
    latency_seconds: dict[str, float] = field(default_factory=dict)
    exchange_lag_seconds: float = 0.0
    ids_missing: Count = 0
    reading: str = ""
    answered_at_ms: Count = 0
    versions: dict[str, str] = field(default_factory=dict)
    schema: Schema = field(default_factory=Schema)
    connections: Connections = field(default_factory=Connections)
    dead_letters: DeadLetters = field(default_factory=DeadLetters)
    streams: tuple[StreamHealth, ...] = ()
    streams_total: Count = 0


class StreamRow(Struct, frozen=True):
    """One stream. `per_s` is None after the first look; `age_s` is that of its latest event, None before one."""

    stream: str
    per_s: float | None
    published: int
    age_s: float | None
    gaps_open: int
    ids_missing: int


class Seen(Struct, frozen=True, kw_only=True):
    """
    One look.

    Attributes:
        at_ms: When, by our clock.
        interval_s: How often it is looked; 0 where this look is the only one.
        fault: Why there was no answer, or empty. Then everything else is of the latest answer, `away_for_s` old.
        health: None where there was no answer yet.
        body: The whole answer, for programs.
        streams: The busiest first.
    """

    url: str
    at_ms: int
    interval_s: float
    fault: str = ""
    away_for_s: float = 0.0
    http_status: int = 0
    health: Health | None = None
    body: dict[str, Any] = field(default_factory=dict)
    per_s: float | None = None
    streams: tuple[StreamRow, ...] = ()


def health_in(body: bytes) -> tuple[Health, dict[str, Any]] | None:
    """The health in an answer, as far as it is shown and whole; None where what answered is no client of ours."""
    try:
        whole = msgspec.json.decode(body)
        return msgspec.convert(whole, Health), whole
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class Memory:
    """Turns answers and their absence into what is seen, with rates. Times are of a steady clock, in seconds."""

    def __init__(self, url: str, interval_s: float, now_s: float) -> None:
        self._seen = Seen(url=url, at_ms=0, interval_s=interval_s)
        self._answered_at_s = now_s
        self._forget()

    @property
    def has_met(self) -> bool:
        """Whether a client has answered before."""
        return self._seen.health is not None

    def answered(self, now_s: float, at_ms: int, http_status: int, health: Health, body: dict[str, Any]) -> Seen:
        """An answer came."""
        if self._seen.health and _begun_anew(self._seen.health, health, now_s - self._answered_at_s):
            self._forget()  # it counts from 0
        counts = {stream.stream: stream.published for stream in health.streams}
        self._rates.observe(now_s, counts | {TOTAL: health.messages_received})
        self._looks += 1
        self._answered_at_s = now_s
        rows = (self._row(stream, health.answered_at_ms) for stream in health.streams)
        self._seen = msgspec.structs.replace(
            self._seen, at_ms=at_ms, fault="", away_for_s=0.0, http_status=http_status, health=health,
            body=body, per_s=self._per_s(TOTAL), streams=tuple(sorted(rows, key=_busiest_first)),
        )  # fmt: skip
        return self._seen

    def missed(self, now_s: float, at_ms: int, fault: str) -> Seen:
        """No answer came."""
        away_for_s = now_s - self._answered_at_s
        self._seen = msgspec.structs.replace(self._seen, at_ms=at_ms, fault=fault, away_for_s=away_for_s)
        return self._seen

    def _forget(self) -> None:
        self._rates, self._looks = RateMeter(), 0

    def _per_s(self, key: str) -> float | None:
        return self._rates.per_s(key) if self._looks > 1 else None

    def _row(self, stream: StreamHealth, answered_at_ms: int) -> StreamRow:
        age_s = (answered_at_ms - stream.last_event_ms) / 1_000 if stream.last_event_ms else None
        numbers = (stream.published, age_s, stream.gaps_open, stream.ids_missing)
        return StreamRow(stream.stream, self._per_s(stream.stream), *numbers)


def _begun_anew(before: Health, now: Health, passed_s: float) -> bool:
    """Whether another process answers. It may be up for longer than the one before was, where looks are far apart."""
    is_younger = now.uptime_seconds < before.uptime_seconds + passed_s - CLOCKS_DIFFER_S
    return is_younger or now.messages_received < before.messages_received


def _busiest_first(row: StreamRow) -> tuple[float, int, str]:
    """By rate; those of equal rate by what they have published, so that rows do not change places for nothing."""
    return -(row.per_s or 0.0), -row.published, row.stream
