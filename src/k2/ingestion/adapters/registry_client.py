"""
Confluent's registry client, bounded: every request ends soon, however slowly or abundantly the other side answers.

The client's own time limit is one for each wait: a byte now and then keeps it waiting for ever, and it takes in whatever comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import quote

import httpx2
from confluent_kafka.schema_registry import Schema as RegistrySchema
from confluent_kafka.schema_registry import SchemaRegistryClient

from k2.ingestion.adapters.registry_access import RegistryAccess

MAX_ANSWER_BYTES = 16 * 1024 * 1024  # our schema has 3 kB; a list of all subjects of a large registry some 100 kB


class RegistryClient(SchemaRegistryClient):
    """
    Confluent's client, with two answers that it does not give: why a schema is incompatible, and the level that holds.

    Args:
        timeout_s: Of each wait within a request.
    """

    def __init__(self, access: RegistryAccess, timeout_s: float) -> None:
        super().__init__(_properties(access, timeout_s))
        self._rest_client.session.event_hooks = {"response": [_bound]}

    def effective_compatibility(self, subject: str) -> str:
        answer = self._rest_client.get(f"config/{quote(subject, safe='')}", {"defaultToGlobal": "true"})
        return cast("str", answer["compatibilityLevel"])

    def explain_compatibility(self, subject: str, schema: RegistrySchema) -> dict[str, Any]:
        path = f"compatibility/subjects/{quote(subject, safe='')}/versions/latest?normalize=true&verbose=true"
        return cast("dict[str, Any]", self._rest_client.post(path, body=schema.to_dict()))


class _Bounded(httpx2.SyncByteStream):
    """An answer's body, refused where it is longer than any registry's."""

    def __init__(self, body: httpx2.SyncByteStream) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._body:
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise httpx2.DecodingError(f"an answer of more than {MAX_ANSWER_BYTES >> 20} MiB")
            yield chunk

    def close(self) -> None:
        self._body.close()


def _bound(response: httpx2.Response) -> None:
    """Called when the head of an answer is there and its body is not."""
    response.stream = _Bounded(cast("httpx2.SyncByteStream", response.stream))


def _properties(access: RegistryAccess, timeout_s: float) -> dict[str, Any]:
    properties = {
        "url": access.url,
        "timeout": timeout_s,
        "max.retries": 0,  # who calls paces the attempts
        "basic.auth.user.info": f"{access.user}:{access.password or ''}" if access.user else None,
        "ssl.ca.location": access.ca_file,
        "ssl.certificate.location": access.cert_file,
        "ssl.key.location": access.key_file,
    }
    return {key: value for key, value in properties.items() if value is not None}
