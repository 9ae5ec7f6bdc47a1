"""Records of a topic as the tests of the reading tools need them, without a topic."""

from __future__ import annotations

from typing import Any

from k2.ingestion.adapters.topic_reader import TopicRecord
from k2.ingestion.core.outcome import Headers
from k2.reading.decoded import Decoded


def topic_record(
    offset: int = 0,
    *,
    partition: int = 0,
    at_ms: int = 0,
    key: bytes | None = b"BTCUSDT",
    value: bytes | None = b"",
    headers: Headers | None = None,
) -> TopicRecord:
    return TopicRecord(partition, offset, at_ms, key, value, headers or [])


def decoded_record(fields: dict[str, Any] | None, *, error: str = "", schema_id: int | None = 1, **record: Any) -> Decoded:
    return Decoded(topic_record(**record), schema_id, fields, error)
