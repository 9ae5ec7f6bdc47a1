"""What happens to the client is counted, and told in words that runbooks quote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from k2.ingestion.adapters.feed.policy import Cause
from k2.ingestion.adapters.feed.port import ConnectFailure, LinkClosed
from k2.ingestion.core.outcome import (
    EVENT_FAILURES,
    DeadLetter,
    FieldAppeared,
    GapFilled,
    GapForgotten,
    GapOpened,
    Reason,
    SequenceReset,
    Stage,
)
from k2.ingestion.happenings import Happenings

if TYPE_CHECKING:
    from collections.abc import Callable

    Happen = Callable[[Happenings], Any]
    Log = list[dict[str, Any]]

CLOSED = LinkClosed(1006, "", by_us=False)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def told(happen: Happen, happenings: Happenings | None = None) -> tuple[Happenings, Log]:
    """Lets it happen and returns what was logged."""
    happenings = happenings or Happenings("picows", clock_s=Clock())
    with capture_logs() as log:
        happen(happenings)
    return happenings, [dict(line) for line in log]


@pytest.mark.parametrize(
    ("happen", "event", "level"),
    [
        pytest.param(lambda h: h.connected("ws://x"), "Connected", "info", id="connected"),
        pytest.param(lambda h: h.subscribed(["btcusdt@aggTrade"]), "Subscribed", "info", id="subscribed"),
        pytest.param(
            lambda h: h.subscription_refused(["x"], "2: no"), "Subscription refused", "error", id="subscription-refused"
        ),
        pytest.param(lambda h: h.disconnected(Cause.RESET, CLOSED), "Connection closed", "warning", id="lost"),
        pytest.param(lambda h: h.disconnected(Cause.STOPPING, CLOSED), "Connection closed", "info", id="stopping"),
        pytest.param(lambda h: h.connect_failed(ConnectFailure.DNS, "?", 1.0), "Connection failed", "warning", id="dns"),
        pytest.param(
            lambda h: h.refused(429, "?", 1.0), "Connection refused by the exchange: rate limit (429)", "error", id="429"
        ),
        pytest.param(lambda h: h.refused(503, "?", 1.0), "Connection refused by the exchange", "error", id="503"),
        pytest.param(
            lambda h: h.noticed(GapOpened("aggTrade", "BTCUSDT", 5, 9)), "Gap in the exchange's ids", "warning", id="gap"
        ),
        pytest.param(
            lambda h: h.noticed(GapForgotten("aggTrade", "BTCUSDT", 5, 9)),
            "Gap forgotten: too many are open",
            "warning",
            id="gap-forgotten",
        ),
        pytest.param(
            lambda h: h.noticed(SequenceReset("aggTrade", "BTCUSDT", 9, 1)),
            "The exchange's ids began anew",
            "warning",
            id="reset",
        ),
        pytest.param(
            lambda h: h.noticed(FieldAppeared("aggTrade", "zz")), "The exchange sent an unknown field", "warning", id="new-field"
        ),
        pytest.param(lambda h: h.delivery_failed("INVALID_RECORD", "no"), "Failed to produce", "warning", id="delivery"),
        pytest.param(
            lambda h: h.client_error("_TRANSPORT", "no"),
            "Failed to produce: the Kafka client reports an error and goes on trying",
            "warning",
            id="client-error",
        ),
        pytest.param(lambda h: h.fatal_error("_FATAL", "no"), "Fatal producer error", "critical", id="fatal"),
        pytest.param(lambda h: h.paused(9), "Reading paused: Kafka is slower than the exchange", "warning", id="paused"),
        pytest.param(lambda h: h.resumed(1), "Reading resumed", "info", id="resumed"),
        pytest.param(
            lambda h: h.held(9),
            "Connection closed on purpose until Kafka takes records again: what is missed is a gap",
            "error",
            id="held",
        ),
        pytest.param(
            lambda h: h.letters_unwritable("disk full", 3), "Dead letters cannot be written", "critical", id="letters-unwritable"
        ),
        pytest.param(lambda h: h.letters_writable(0), "Dead letters can be written again", "info", id="letters-writable"),
    ],
)
def test_words_and_levels(happen: Happen, event: str, level: str) -> None:
    """Operators grep for these."""
    _, [line] = told(happen)
    assert (line["event"], line["log_level"]) == (event, level)


@pytest.mark.parametrize(
    ("happen", "counter", "value"),
    [
        (lambda h: h.noticed(GapOpened("aggTrade", "BTCUSDT", 5, 9)), "gaps_opened", 1),
        (lambda h: h.noticed(GapOpened("aggTrade", "BTCUSDT", 5, 9)), "ids_skipped", 5),
        (lambda h: h.noticed(GapFilled("aggTrade", "BTCUSDT", 7, 4)), "ids_filled", 1),
        (lambda h: h.noticed(GapForgotten("aggTrade", "BTCUSDT", 5, 9)), "gaps_forgotten", 1),
        (lambda h: h.noticed(SequenceReset("aggTrade", "BTCUSDT", 9, 1)), "sequence_resets", 1),
        (lambda h: h.noticed(FieldAppeared("aggTrade", "zz")), "unknown_fields", 1),
        (lambda h: h.subscription_refused(["x"], "no"), "subscriptions_refused", 1),
        (lambda h: h.paused(9), "pauses", 1),
        (lambda h: h.held(9), "holds", 1),
        (lambda h: h.delivery_failed("INVALID_RECORD", "no"), "delivery_failures", 1),
        (lambda h: h.client_error("_TRANSPORT", "no"), "client_errors", 1),
    ],
)
def test_each_is_counted(happen: Happen, counter: str, value: int) -> None:
    """One counter a happening, moved by what happened."""
    happenings, _ = told(happen)
    assert getattr(happenings, counter) == value


class TestConnections:
    def test_a_connection_that_takes_a_lost_ones_place_is_a_reconnection(self) -> None:
        """One of several that were opened to begin with is none, and neither is one after an end that we chose."""
        happenings = Happenings("picows")
        log = [line for _ in range(3) for line in told(lambda h: h.connected("ws://x"), happenings)[1]]
        assert (happenings.connections, happenings.reconnections) == (3, 0)
        assert [line["connections"] for line in log] == [1, 2, 3]
        for cause in (Cause.RESET, Cause.STOPPING):
            happenings.disconnected(cause, LinkClosed(1006, "", by_us=False))
        for _ in range(2):
            happenings.connected("ws://x")
        assert (happenings.connections, happenings.reconnections) == (5, 1)

    @pytest.mark.parametrize(
        ("happen", "kind"),
        [
            *((lambda h, kind=kind: h.connect_failed(kind, "?", 1.0), kind.value) for kind in ConnectFailure),
            *((lambda h, status=status: h.refused(status, "?", 1.0), f"http_{status}") for status in (418, 429, 451)),
            *((lambda h, status=status: h.refused(status, "?", 1.0), "http_other") for status in (400, 503)),
        ],
    )
    def test_failed_attempts_by_kind(self, happen: Happen, kind: str) -> None:
        """The kinds are a closed set, all of them there from the start."""
        before = set(Happenings("picows").connection_errors)
        happenings, _ = told(happen)
        assert happenings.connection_errors[kind] == happenings.connection_errors.total() == 1
        assert set(happenings.connection_errors) == before

    @pytest.mark.parametrize("cause", Cause)
    def test_ends_by_cause(self, cause: Cause) -> None:
        """So are the causes of an end, ours among them."""
        happenings, _ = told(lambda h: h.disconnected(cause, CLOSED))
        assert happenings.disconnections == {one.value: int(one is cause) for one in Cause}

    def test_a_restricted_location_is_named(self) -> None:
        """HTTP 451 is no outage; what the feed advises is in the line."""
        _, [line] = told(lambda h: h.refused(451, "the market-data-only host may", 60.0))
        assert ("restricted location" in line["event"], line["detail"]) == (True, "the market-data-only host may")


class TestFailures:
    @pytest.mark.parametrize(("stage", "reason"), EVENT_FAILURES)
    def test_every_failure_of_an_event_has_words(self, stage: Stage, reason: Reason) -> None:
        """One line names stage, reason and the letter to look up."""
        letter = DeadLetter(stage, reason, "why", b"{", "btcusdt@aggTrade", "BTCUSDT")
        _, [line] = told(lambda h: h.dead_letter(letter, "id-1"))
        assert (line["stage"], line["reason"], line["letter"], line["error"]) == (stage.value, reason.value, "id-1", "why")
        assert line["event"].startswith(("Failed to parse message", "Invalid field"))

    @pytest.mark.parametrize("stage", [Stage.PRODUCE, Stage.SHUTDOWN])
    def test_every_failure_of_a_record_has_words(self, stage: Stage) -> None:
        """The runbook looks for "Failed to produce"."""
        _, [line] = told(lambda h: h.undeliverable(stage, Reason.DELIVERY_REJECTED, "why", "BTCUSDT", "id-1"))
        assert line["event"].startswith("Failed to produce")
        assert line["symbol"] == "BTCUSDT"

    def test_a_bad_day_does_not_fill_the_disk(self) -> None:
        """The same failure is logged once a second, then with the number of those held back; another one is logged at once."""
        clock = Clock()
        happenings = Happenings("picows", clock_s=clock)
        bad, other = DeadLetter(Stage.DECODE, Reason.NOT_JSON, "no", b"{"), DeadLetter(Stage.DECODE, Reason.NOT_UTF8, "no", b"{")

        def happen(h: Happenings) -> None:
            for letter in (bad, bad, bad, other):
                h.dead_letter(letter, "id")
            clock.now_s = 1.5
            h.dead_letter(bad, "id")

        _, log = told(happen, happenings)
        assert [(line["reason"], line.get("suppressed")) for line in log] == [
            ("not_json", None),
            ("not_utf8", None),
            ("not_json", 2),
        ]


@pytest.mark.parametrize(
    ("detail", "advised"),
    [
        pytest.param("certificate verify failed: self-signed certificate in certificate chain", True, id="self-signed"),
        pytest.param("certificate verify failed: unable to get local issuer certificate", True, id="unknown-authority"),
        pytest.param("certificate verify failed: certificate has expired", False, id="expired"),
        pytest.param("Hostname mismatch, certificate is not valid for '127.0.0.1'", False, id="wrong-host"),
        pytest.param("[SSL: WRONG_VERSION_NUMBER] wrong version number", False, id="plain-port"),
    ],
)
def test_an_authority_is_advised_where_it_is_the_matter(detail: str, advised: bool) -> None:
    """Naming an authority helps against an unknown one, and against nothing else that is wrong with a certificate."""
    _, [line] = told(lambda h: h.connect_failed(ConnectFailure.TLS, detail, 1.0))
    assert ("--ws-ca" in line["detail"]) is advised
