"""Times as the project writes them into JSON: RFC 3339 in UTC, to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(at: datetime) -> str:
    """A time in UTC, to the microsecond. One of no zone, as Avro's local timestamps are, stays without."""
    if at.tzinfo is None:
        return at.isoformat(timespec="microseconds")
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def rfc3339_of_us(at_us: int) -> str:
    """The same of microseconds since the epoch."""
    return rfc3339(_EPOCH + timedelta(microseconds=at_us))
