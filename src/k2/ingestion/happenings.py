"""
What happens to the client, one method a happening: each counts, and says so in the log where a person should know.

The texts of the log events are part of the product: operators grep for them, and runbooks quote them. Nothing here is called
for an event that goes straight through.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from k2.ingestion.adapters.feed.policy import Cause
from k2.ingestion.adapters.feed.port import ConnectFailure, LinkClosed
from k2.ingestion.adapters.logs import RepeatFilter, get_logger
from k2.ingestion.core.outcome import (
    DeadLetter,
    FieldAppeared,
    GapFilled,
    GapForgotten,
    GapOpened,
    Notice,
    Reason,
    SequenceReset,
    Stage,
)

FAILURES_LOGGED_EVERY_S = 1.0  # per stage and reason: a bad day of the exchange must not fill the disk with log lines
STREAMS_NAMED = 20  # in one log line
CLIENT_ERRORS_LOGGED_EVERY_S = 30.0  # librdkafka repeats itself some times a second while a broker is away
HTTP_TOO_MANY, HTTP_BANNED, HTTP_RESTRICTED = 429, 418, 451

_UNKNOWN_AUTHORITY = re.compile(r"self.signed|unable to get (local )?issuer|unable to verify")  # in OpenSSL's words

_REFUSALS = {
    HTTP_TOO_MANY: "Connection refused by the exchange: rate limit (429)",
    HTTP_BANNED: "Connection refused by the exchange: this address is banned for ignoring the rate limit (418)",
    HTTP_RESTRICTED: "Connection refused by the exchange: restricted location (451)",
}
_HTTP_KINDS = {status: f"http_{status}" for status in _REFUSALS}
HTTP_OTHER = "http_other"
_FAILURES = {
    Reason.NOT_JSON: ("Failed to parse message", "error"),
    Reason.NOT_UTF8: ("Failed to parse message", "error"),
    Reason.MISSING_FIELD: ("Invalid field: missing", "warning"),
}
_FAILURES_BY_STAGE = {
    Stage.DECODE: ("Invalid field", "error"),
    Stage.ROUTE: ("Failed to parse message: not a stream of ours", "error"),
    Stage.MAP: ("Invalid field in mapping", "error"),
    Stage.ENCODE: ("Invalid field: cannot serialize", "error"),
    Stage.PRODUCE: ("Failed to produce", "error"),
    Stage.SHUTDOWN: ("Failed to produce before the end", "error"),
}


class Happenings:
    """The counters of what is out of the ordinary, and the log lines that go with them."""

    def __init__(self, transport: str, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._log = get_logger("k2.client")
        self._transport, self._clock_s = transport, clock_s
        self._repeats = RepeatFilter(FAILURES_LOGGED_EVERY_S)
        self._client_repeats = RepeatFilter(CLIENT_ERRORS_LOGGED_EVERY_S)
        self.connections = self.reconnections = self._lost_connections = 0
        self.connection_errors = Counter(dict.fromkeys((*ConnectFailure, *_HTTP_KINDS.values(), HTTP_OTHER), 0))
        self.disconnections = Counter({cause.value: 0 for cause in Cause})
        self.subscriptions_refused = 0
        self.gaps_opened = self.ids_skipped = self.ids_filled = self.gaps_forgotten = self.sequence_resets = 0
        self.unknown_fields = 0
        self.pauses = self.holds = 0
        self.client_errors = self.delivery_failures = 0

    # The feed

    def connecting(self, attempt: int) -> None:
        self._log.debug("Connecting", attempt=attempt)

    def connected(self, url: str) -> None:
        self.connections += 1
        if self._lost_connections:
            self._lost_connections -= 1
            self.reconnections += 1
        self._log.info("Connected", url=url, transport=self._transport, connections=self.connections)

    def subscribed(self, streams: Sequence[str]) -> None:
        self._log.info("Subscribed", streams=list(streams))

    def subscription_refused(self, streams: Sequence[str], error: str) -> None:
        self.subscriptions_refused += 1
        self._log.error("Subscription refused", streams=list(streams), error=error)

    def disconnected(self, cause: Cause, closed: LinkClosed) -> None:
        self.disconnections[cause.value] += 1
        if cause is not Cause.STOPPING:
            self._lost_connections += 1
        level = self._log.info if cause is Cause.STOPPING else self._log.warning
        level("Connection closed", cause=cause.value, code=closed.code, reason=closed.reason, by_us=closed.by_us)

    def connect_failed(self, kind: ConnectFailure, detail: str, retry_in_s: float) -> None:
        self.connection_errors[kind.value] += 1
        if kind is ConnectFailure.TLS and _UNKNOWN_AUTHORITY.search(detail):
            detail = f"{detail}; where the exchange's certificate has an authority of your own, name it with --ws-ca"
        self._log.warning("Connection failed", kind=kind.value, detail=detail, retry_in_s=round(retry_in_s, 1))

    def refused(self, status: int, detail: str, retry_in_s: float) -> None:
        self.connection_errors[_HTTP_KINDS.get(status, HTTP_OTHER)] += 1
        text = _REFUSALS.get(status, "Connection refused by the exchange")
        self._log.error(text, status=status, detail=detail, retry_in_s=round(retry_in_s, 1))

    def fell_silent(self, streams: Sequence[str]) -> None:
        self._limited("silent", "Streams fell silent", streams=list(streams)[:STREAMS_NAMED], silent=len(streams))

    def spoke_again(self, streams: Sequence[str]) -> None:
        self._limited("speaking", "Streams spoke again", "info", streams=list(streams)[:STREAMS_NAMED], speaking=len(streams))

    # Events

    def dead_letter(self, letter: DeadLetter, letter_id: str) -> None:
        self._failure(
            letter.stage, letter.reason, f"{letter.stage}/{letter.reason}",
            error=letter.error, stream=letter.stream, symbol=letter.symbol, letter=letter_id,
        )  # fmt: skip

    def undeliverable(self, stage: Stage, reason: Reason, error: str, symbol: str, letter_id: str) -> None:
        self._failure(stage, reason, f"record/{reason}", error=error, symbol=symbol, letter=letter_id)

    def _failure(self, stage: Stage, reason: Reason, repeats_as: str, **facts: str) -> None:
        text, level = _FAILURES.get(reason) or _FAILURES_BY_STAGE[stage]
        self._limited(repeats_as, text, level, stage=stage.value, reason=reason.value, **facts)

    def noticed(self, notice: Notice) -> None:
        match notice:
            case GapOpened():
                self.gap_opened(notice)
            case GapFilled():
                self.gap_filled(notice)
            case GapForgotten():
                self.gap_forgotten(notice)
            case SequenceReset():
                self.sequence_reset(notice)
            case FieldAppeared():
                self.field_appeared(notice)

    def gap_opened(self, gap: GapOpened) -> None:
        self.gaps_opened += 1
        missing = gap.last_id - gap.first_id + 1
        self.ids_skipped += missing
        self._limited(
            f"gap/{gap.symbol}", "Gap in the exchange's ids",
            stream=gap.stream, symbol=gap.symbol, first_id=gap.first_id, last_id=gap.last_id, missing=missing,
        )  # fmt: skip

    def gap_filled(self, filled: GapFilled) -> None:
        self.ids_filled += filled.ids

    def gap_forgotten(self, gap: GapForgotten) -> None:
        self.gaps_forgotten += 1
        text = "Gap forgotten: too many are open"
        self._limited("gap_forgotten", text, symbol=gap.symbol, first_id=gap.first_id, last_id=gap.last_id)

    def sequence_reset(self, reset: SequenceReset) -> None:
        self.sequence_resets += 1
        self._log.warning("The exchange's ids began anew", symbol=reset.symbol, last_id=reset.last_id, new_id=reset.new_id)

    def field_appeared(self, appeared: FieldAppeared) -> None:
        self.unknown_fields += 1
        self._log.warning("The exchange sent an unknown field", stream=appeared.stream, field=appeared.field)

    # The producer

    def delivery_failed(self, code: str, text: str) -> None:
        self.delivery_failures += 1
        self._limited(f"delivery/{code}", "Failed to produce", code=code, error=text)

    def client_error(self, code: str, text: str) -> None:
        self.client_errors += 1
        line = "Failed to produce: the Kafka client reports an error and goes on trying"
        self._say(self._client_repeats, code, line, "warning", {"code": code, "error": text})

    def broker_lost(self) -> None:
        self._log.error("Broker lost: records wait until it answers")

    def broker_back(self, away_s: float, waiting: int) -> None:
        self._log.info("Broker answers again", away_s=round(away_s, 1), waiting=waiting)

    def producer_renewed(self, code: str, text: str, carried_over: int) -> None:
        line = "Producer made anew after a fatal error: what it held is sent again"
        self._log.error(line, code=code, error=text, records=carried_over)

    def fatal_error(self, code: str, text: str) -> None:
        self._log.critical("Fatal producer error", code=code, error=text)

    # Back-pressure

    def paused(self, in_flight: int) -> None:
        self.pauses += 1
        self._log.warning("Reading paused: Kafka is slower than the exchange", in_flight=in_flight)

    def resumed(self, in_flight: int) -> None:
        self._log.info("Reading resumed", in_flight=in_flight)

    def held(self, in_flight: int) -> None:
        self.holds += 1
        text = "Connection closed on purpose until Kafka takes records again: what is missed is a gap"
        self._log.error(text, in_flight=in_flight)

    # Dead letters

    def letters_unwritable(self, error: str, pending: int) -> None:
        self._log.critical("Dead letters cannot be written", error=error, pending=pending)

    def letters_writable(self, pending: int) -> None:
        self._log.info("Dead letters can be written again", pending=pending)

    def _limited(self, repeats_as: str, text: str, level: str = "warning", **facts: object) -> None:
        self._say(self._repeats, repeats_as, text, level, facts)

    def _say(self, repeats: RepeatFilter, repeats_as: str, text: str, level: str, facts: Mapping[str, object]) -> None:
        """Log once in the filter's interval, and say the next time how often it was held back."""
        suppressed = repeats.admit(repeats_as, self._clock_s())
        if suppressed is not None:
            getattr(self._log, level)(text, **facts, **({"suppressed": suppressed} if suppressed else {}))
