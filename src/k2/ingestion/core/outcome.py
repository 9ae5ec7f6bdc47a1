"""
What becomes of a frame: the vocabulary between the pure core and the shell.

Every event ends as exactly one of `Publish`, `DeadLetter` or `Ignored`. A frame of the exchange's own protocol (the answer to a
subscription, an announcement) carries no event and is a `Control`. Outcomes are msgspec Structs without garbage collection
and are told apart by `type(o) is`: a frozen dataclass costs ten times as much, and there is one for every event.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Origin(StrEnum):
    """Where a record came from. Rows of the record ledger."""

    STREAM = "stream"
    BACKFILL = "backfill"
    REPLAY = "replay"


class Stage(StrEnum):
    """Where on its way an event failed."""

    DECODE = "decode"
    ROUTE = "route"
    MAP = "map"
    ENCODE = "encode"
    PRODUCE = "produce"
    SHUTDOWN = "shutdown"


class Reason(StrEnum):
    """Why an event or a record became a dead letter. A closed set: free text belongs into the letter's `error`."""

    NOT_JSON = "not_json"
    NOT_UTF8 = "not_utf8"
    UNKNOWN_STREAM = "unknown_stream"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    NUMBER_INVALID = "number_invalid"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    TOO_LARGE = "too_large"
    DELIVERY_REJECTED = "delivery_rejected"
    DELIVERY_UNKNOWN = "delivery_unknown"
    NOT_DELIVERED_AT_SHUTDOWN = "not_delivered_at_shutdown"


# The combinations in which an event can fail. What a record can fail with is up to the broker.
EVENT_FAILURES = (
    (Stage.DECODE, Reason.NOT_JSON),
    (Stage.DECODE, Reason.NOT_UTF8),
    (Stage.DECODE, Reason.MISSING_FIELD),
    (Stage.DECODE, Reason.WRONG_TYPE),
    (Stage.DECODE, Reason.NUMBER_OUT_OF_RANGE),
    (Stage.ROUTE, Reason.UNKNOWN_STREAM),
    (Stage.MAP, Reason.TIMESTAMP_OUT_OF_RANGE),
    (Stage.ENCODE, Reason.NUMBER_INVALID),
    (Stage.ENCODE, Reason.NUMBER_OUT_OF_RANGE),
)


class WriteOutcome(StrEnum):
    """Whether what failed may be in the topic all the same. Replaying an `unknown` may bring it twice, under one message_id."""

    NOT_WRITTEN = "not_written"
    UNKNOWN = "unknown"


class IgnoreReason(StrEnum):
    """Why a well-formed event is not published."""

    DUPLICATE = "duplicate"
    NOT_A_TRADE = "not_a_trade"
    OPEN_CANDLE = "open_candle"  # only closed ones were asked for
    EMPTY = "empty"  # an array without elements
    OTHER_MARKET = "other_market"  # all-market streams of futures carry COIN-M contracts as well


class ControlKind(StrEnum):
    """Frames of the exchange's protocol itself."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    SERVER_SHUTDOWN = "server_shutdown"


Headers = list[tuple[str, str | bytes | None]]  # as confluent_kafka takes and gives them


class Record(Struct, gc=False):
    """One record for Kafka, ready to be produced."""

    topic: str
    key: bytes | None
    value: bytes
    timestamp_ms: int
    headers: Headers | None = None


class GapOpened(Struct, gc=False):
    """Ids `first_id` to `last_id`, both inclusive, were skipped."""

    stream: str
    symbol: str
    first_id: int
    last_id: int


class GapFilled(Struct, gc=False):
    """`ids` ids of an open gap, the last of them `filled_id`, arrived late; `remaining` of that gap are still missing."""

    stream: str
    symbol: str
    filled_id: int
    remaining: int
    ids: int = 1


class GapForgotten(Struct, gc=False):
    """A symbol had too many open gaps, so the oldest (ids inclusive) is no longer waited for."""

    stream: str
    symbol: str
    first_id: int
    last_id: int


class SequenceReset(Struct, gc=False):
    """The exchange began to count anew (a wiped testnet): `new_id` came later in time than the far higher `last_id`."""

    stream: str
    symbol: str
    last_id: int
    new_id: int


class FieldAppeared(Struct, gc=False):
    """The exchange sent a field that we do not know. Reported once per stream kind and field."""

    stream: str
    field: str


Notice = GapOpened | GapFilled | GapForgotten | SequenceReset | FieldAppeared


class Publish(Struct, gc=False):
    """An event that is to be produced, with what was noticed on its way. `event_time_ms` is the exchange's clock."""

    records: tuple[Record, ...]
    event_time_ms: int
    notices: tuple[Notice, ...] = ()


class DeadLetter(Struct, gc=False):
    """
    An event that cannot be published. `payload` holds the exact bytes of its frame; `captured` are the records of the frame as it
    came, where it is kept whatever becomes of its events.
    """

    stage: Stage
    reason: Reason
    error: str
    payload: bytes
    stream: str = ""
    symbol: str = ""
    topic: str = ""
    notices: tuple[Notice, ...] = ()
    captured: tuple[Record, ...] = ()


class Ignored(Struct, gc=False):
    """A well-formed event that is not published, on purpose. `captured` as in `DeadLetter`."""

    reason: IgnoreReason
    notices: tuple[Notice, ...] = ()
    captured: tuple[Record, ...] = ()


class Control(Struct, gc=False):
    """A frame of the exchange's protocol. `request_id` is that of our request where it answers one; `error` its refusal."""

    kind: ControlKind
    request_id: int | None = None
    error: str = ""


Outcome = Publish | DeadLetter | Ignored | Control
