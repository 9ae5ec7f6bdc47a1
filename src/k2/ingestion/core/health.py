"""
Is the client well, may traffic of operators be sent to it, should it be restarted: three questions with three answers.

`/health` is for people and alerting: the five keys of the runbook always, the reasons in words beside them. `/readyz` names the
parts that are not there yet. `/livez` says only that the event loop answers: restarting us would not bring a broker back.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STREAMS_NAMED = 10
UNHEALTHY_AFTER_S = 30.0  # longer without the exchange or the broker is no hiccup any more

HTTP_OK = 200
HTTP_UNAVAILABLE = 503


class Status(StrEnum):
    """What `/health` says in one word."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class SchemaSource(StrEnum):
    """Where the schema ids that we encode with came from at the start."""

    REGISTRY = "registry"
    PINNED = "pinned"  # the copy on the disk, because the registry did not answer
    NONE = "none"  # not known yet
    UNNEEDED = "unneeded"  # nothing is written in Avro


class HealthInputs(Struct, frozen=True, kw_only=True):
    """
    What is known at one moment; durations in seconds.

    `disconnected_for_s` and `broker_lost_for_s` count since the loss, or since the start where there was no connection yet, and
    are 0.0 while there is one. `waiting_for` names what the start still waits for ("broker", "registry", ...). `held_code` is the
    error that keeps Kafka from taking records, if any. `extra` is put into the answer as it is.
    """

    connected: bool
    symbols: tuple[str, ...]
    uptime_s: float
    messages_received: int
    disconnected_for_s: float = 0.0
    broker_lost_for_s: float = 0.0
    dead_letters_writable: bool = True
    schema_source: SchemaSource = SchemaSource.REGISTRY
    unknown_symbols: tuple[str, ...] = ()
    refused_streams: tuple[str, ...] = ()
    streams_never_heard: tuple[str, ...] = ()
    back_pressure: bool = False
    held_code: str = ""
    waiting_for: tuple[str, ...] = ()
    balance: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


class HealthReport(Struct, frozen=True):
    """An answer ready to be sent: `body` is JSON-ready."""

    status: Status
    http_status: int
    body: dict[str, Any]


def evaluate(inputs: HealthInputs) -> HealthReport:
    """The answer to `/health`. 503 only when unhealthy: a degraded client does its work."""
    severe, lesser = tuple(_unhealthy_reasons(inputs)), tuple(_degraded_reasons(inputs))
    status = Status.UNHEALTHY if severe else Status.DEGRADED if lesser else Status.HEALTHY
    body = {
        **inputs.extra,
        "status": status.value,
        "connection_state": "CONNECTED" if inputs.connected else "DISCONNECTED",
        "symbols": list(inputs.symbols),
        "uptime_seconds": int(inputs.uptime_s),
        "messages_received": inputs.messages_received,
        "reasons": [*severe, *lesser],
        "schema_source": inputs.schema_source.value,
        "balance": dict(inputs.balance),
    }
    return HealthReport(status, HTTP_UNAVAILABLE if severe else HTTP_OK, _runbook_keys_first(body))


def unready_parts(inputs: HealthInputs) -> tuple[str, ...]:
    """The parts that must come (back) before events flow from the exchange to the broker."""
    missing = {
        "exchange": not inputs.connected,
        "broker": inputs.broker_lost_for_s > 0,
        "registry": inputs.schema_source is SchemaSource.NONE,
        "dead_letters": not inputs.dead_letters_writable,
    }
    return tuple(dict.fromkeys([*inputs.waiting_for, *(part for part, is_missing in missing.items() if is_missing)]))


def readiness(inputs: HealthInputs) -> HealthReport:
    """The answer to `/readyz`."""
    parts = unready_parts(inputs)
    status, http_status = (Status.UNHEALTHY, HTTP_UNAVAILABLE) if parts else (Status.HEALTHY, HTTP_OK)
    return HealthReport(status, http_status, {"ready": not parts, "waiting_for": list(parts)})


def liveness() -> HealthReport:
    """The answer to `/livez`: whoever gets it has heard from a running event loop."""
    return HealthReport(Status.HEALTHY, HTTP_OK, {"alive": True})


def _unhealthy_reasons(inputs: HealthInputs) -> Iterator[str]:
    if inputs.disconnected_for_s >= UNHEALTHY_AFTER_S:
        yield f"{_disconnected(inputs)} for {inputs.disconnected_for_s:.0f} s"
    if inputs.broker_lost_for_s >= UNHEALTHY_AFTER_S:
        yield f"broker lost for {inputs.broker_lost_for_s:.0f} s"
    if not inputs.dead_letters_writable:
        yield "dead letters cannot be written"


def _degraded_reasons(inputs: HealthInputs) -> Iterator[str]:
    if inputs.waiting_for:
        yield f"starting, waiting for {', '.join(inputs.waiting_for)}"
    if not inputs.connected and inputs.disconnected_for_s < UNHEALTHY_AFTER_S:
        yield _disconnected(inputs)
    if 0 < inputs.broker_lost_for_s < UNHEALTHY_AFTER_S:
        yield "broker lost"
    if inputs.schema_source is SchemaSource.PINNED:
        yield "schema ids come from the copy on disk, the registry did not answer at the start"
    if inputs.unknown_symbols:
        yield f"the exchange does not know {_named(inputs.unknown_symbols)}"
    if inputs.refused_streams:
        yield f"the exchange refuses to subscribe {_named(inputs.refused_streams)}"
    if inputs.streams_never_heard:
        yield f"never an event from {_named(inputs.streams_never_heard)}: does the exchange have these streams?"
    if inputs.held_code:
        yield f"Kafka takes no records now ({inputs.held_code}): they wait, in order"
    if inputs.back_pressure:
        yield "reading is paused until the broker has taken what is queued"


def _disconnected(inputs: HealthInputs) -> str:
    return "not every stream is subscribed" if inputs.refused_streams else "disconnected from the exchange"


def _named(streams: tuple[str, ...]) -> str:
    rest = len(streams) - STREAMS_NAMED
    return ", ".join(streams[:STREAMS_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _runbook_keys_first(body: dict[str, Any]) -> dict[str, Any]:
    first = ("status", "connection_state", "symbols", "uptime_seconds", "messages_received")
    return {key: body[key] for key in first} | body
