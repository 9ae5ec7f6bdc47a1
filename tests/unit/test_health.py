"""Health, readiness and liveness as tables: what is known on the left, the answer on the right."""

from __future__ import annotations

from typing import Any

import pytest

from k2.ingestion.core.health import HealthInputs, SchemaSource, Status, evaluate, liveness, readiness, unready_parts


def inputs(**changes: Any) -> HealthInputs:
    well: dict[str, Any] = {
        "connected": True,
        "symbols": ("BTCUSDT", "ETHUSDT"),
        "uptime_s": 3600.9,
        "messages_received": 150_000,
    }
    return HealthInputs(**well | changes)


def test_healthy_answer_has_the_runbooks_five_keys() -> None:
    """The first five keys are those of the runbook, with its types and spellings."""
    report = evaluate(inputs())
    assert (report.status, report.http_status) == (Status.HEALTHY, 200)
    assert list(report.body.items())[:5] == [
        ("status", "healthy"),
        ("connection_state", "CONNECTED"),
        ("symbols", ["BTCUSDT", "ETHUSDT"]),
        ("uptime_seconds", 3600),
        ("messages_received", 150_000),
    ]


@pytest.mark.parametrize(
    ("changes", "status", "reasons"),
    [
        pytest.param({}, Status.HEALTHY, [], id="well"),
        pytest.param(
            {"connected": False, "disconnected_for_s": 29.9},
            Status.DEGRADED,
            ["disconnected from the exchange"],
            id="just-disconnected",
        ),
        pytest.param(
            {"connected": False, "disconnected_for_s": 30.0},
            Status.UNHEALTHY,
            ["disconnected from the exchange for 30 s"],
            id="disconnected",
        ),
        pytest.param({"broker_lost_for_s": 0.1}, Status.DEGRADED, ["broker lost"], id="broker-just-lost"),
        pytest.param({"broker_lost_for_s": 31.0}, Status.UNHEALTHY, ["broker lost for 31 s"], id="broker-lost"),
        pytest.param({"dead_letters_writable": False}, Status.UNHEALTHY, ["dead letters cannot be written"], id="disk-full"),
        pytest.param(
            {"schema_source": SchemaSource.PINNED},
            Status.DEGRADED,
            ["schema ids come from the copy on disk, the registry did not answer at the start"],
            id="pinned-schemas",
        ),
        pytest.param(
            {"held_code": "TOPIC_AUTHORIZATION_FAILED"},
            Status.DEGRADED,
            ["Kafka takes no records now (TOPIC_AUTHORIZATION_FAILED): they wait, in order"],
            id="held",
        ),
        pytest.param({"unknown_symbols": ("XYZ",)}, Status.DEGRADED, ["the exchange does not know XYZ"], id="unknown-symbol"),
        pytest.param(
            {"back_pressure": True}, Status.DEGRADED, ["reading is paused until the broker has taken what is queued"], id="paused"
        ),
        pytest.param(
            {"waiting_for": ("broker", "registry")}, Status.DEGRADED, ["starting, waiting for broker, registry"], id="starting"
        ),
        pytest.param(
            {"dead_letters_writable": False, "unknown_symbols": ("XYZ",)},
            Status.UNHEALTHY,
            ["dead letters cannot be written", "the exchange does not know XYZ"],
            id="worst-first",
        ),
    ],
)
def test_status_and_reasons(changes: dict[str, Any], status: Status, reasons: list[str]) -> None:
    """Each fault has its reason, the gravest one decides, and only unhealthy answers 503."""
    report = evaluate(inputs(**changes))
    assert (report.status, report.body["reasons"]) == (status, reasons)
    assert report.http_status == (503 if status is Status.UNHEALTHY else 200)


def test_disconnected_is_spelled_as_in_the_runbook() -> None:
    """connection_state is CONNECTED or DISCONNECTED."""
    assert evaluate(inputs(connected=False)).body["connection_state"] == "DISCONNECTED"


def test_extra_adds_and_never_replaces() -> None:
    """More keys may be shown, but none can hide one of ours."""
    body = evaluate(inputs(balance={"received": 2}, extra={"status": "fine", "version": "1"})).body
    assert (body["status"], body["version"], body["balance"]) == ("healthy", "1", {"received": 2})


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        pytest.param({}, (), id="ready"),
        pytest.param({"connected": False}, ("exchange",), id="no-exchange"),
        pytest.param({"broker_lost_for_s": 1.0}, ("broker",), id="no-broker"),
        pytest.param({"schema_source": SchemaSource.NONE}, ("registry",), id="no-schema-ids"),
        pytest.param({"schema_source": SchemaSource.PINNED}, (), id="pins-are-enough"),
        pytest.param({"dead_letters_writable": False}, ("dead_letters",), id="disk-full"),
        pytest.param({"waiting_for": ("broker",), "broker_lost_for_s": 9.0}, ("broker",), id="named-once"),
    ],
)
def test_readiness_names_what_is_missing(changes: dict[str, Any], parts: tuple[str, ...]) -> None:
    """Ready means that events can flow; otherwise the missing parts are named."""
    report = readiness(inputs(**changes))
    assert unready_parts(inputs(**changes)) == parts
    assert (report.http_status, report.body) == (503 if parts else 200, {"ready": not parts, "waiting_for": list(parts)})


def test_liveness_depends_on_nothing() -> None:
    """Whoever gets an answer has heard from a running event loop, and that is all it says."""
    assert liveness().http_status == 200
