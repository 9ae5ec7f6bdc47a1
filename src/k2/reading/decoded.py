"""A topic's records with their fields, or with the reason why they have none."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from msgspec import Struct

from k2.ingestion.adapters.topic_reader import TopicRecord
from k2.ingestion.core.decoding import Fields, UndecodableError, schema_id_of
from k2.reading.patience import Patience

REGISTRY = "the schema registry"


class Decoded(Struct, frozen=True, gc=False):
    """
    A record and what is in it.

    Attributes:
        schema_id: None where the value has none in front.
        fields: None where the value cannot be decoded; `error` says why.
    """

    record: TopicRecord
    schema_id: int | None = None
    fields: Fields | None = None
    error: str = ""


class Decoder(Protocol):
    """Raises UndecodableError, and UnavailableError where the registry is away."""

    def decode(self, value: bytes | None) -> Fields: ...


def _json_object(value: bytes | None) -> Fields | None:
    """What a JSON layout holds; None for Avro, whose framing begins with a zero byte, and for whatever else it may be."""
    if value is None or not value.startswith(b"{"):
        return None
    try:
        return msgspec.json.decode(value, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class PatientDecoder:
    """
    Decodes through the registry, and waits for it where it is away.

    Args:
        at_start: Until the registry has answered once.
        later: From then on.
        takes_json: Whether a JSON object is a record as well, or as undecodable as any other text.
    """

    def __init__(self, decoder: Decoder, at_start: Patience, later: Patience, *, takes_json: bool = False) -> None:
        self._decoder, self._patience, self._later, self._takes_json = decoder, at_start, later, takes_json

    def decode(self, record: TopicRecord) -> Decoded:
        """
        What is in a record. Blocks where a schema id is met for the first time.

        Raises:
            UnavailableError: the registry was away for too long.
            ConfigurationError: credentials, certificates, address.
        """
        if self._takes_json and (document := _json_object(record.value)) is not None:
            return Decoded(record, None, document)
        schema_id: int | None = None
        try:
            schema_id = schema_id_of(record.value)
            fields = self._patience.wait_for(REGISTRY, lambda: self._decoder.decode(record.value))
        except UndecodableError as error:
            decoded = Decoded(record, schema_id, None, str(error))
        else:
            decoded = Decoded(record, schema_id, fields)
        if schema_id is not None:
            self._patience = self._later
        return decoded
