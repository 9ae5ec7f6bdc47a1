"""Decodes records of any schema that the registry knows, each schema fetched once."""

from __future__ import annotations

import json

import fastavro

from k2.ingestion.adapters.registry import SchemaRegistry
from k2.ingestion.core.decoding import DECODE_ERRORS, Fields, ParsedSchema, UndecodableError, decode_framed, schema_id_of

MOST_SCHEMAS = 1_000  # remembered: more ids are not those of schemas, but what other programs' bytes look like


class RecordDecoder:
    """Turns framed values into fields. Blocks when a schema id is met for the first time."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._schemas: dict[int, ParsedSchema | None] = {}

    def decode(self, value: bytes | None) -> Fields:
        """
        The record's fields, as Python values.

        Raises:
            UndecodableError: not a record that a schema of this registry describes; the text says why.
            RegistryUnavailableError: no answer; try again later.
            ConfigurationError: credentials, certificates, address.
        """
        schema_id = schema_id_of(value)
        schema = self._schema(schema_id)
        if schema is None:
            raise UndecodableError(f"the registry has no Avro schema with id {schema_id}")
        assert value is not None  # noqa: S101 - for the type checker: it has a schema id
        return decode_framed(value, schema)

    def _schema(self, schema_id: int) -> ParsedSchema | None:
        if schema_id not in self._schemas:
            text = self._registry.schema_text(schema_id)
            if len(self._schemas) >= MOST_SCHEMAS:
                self._schemas.clear()
            self._schemas[schema_id] = None if text is None else parsed_schema(text)
        return self._schemas[schema_id]


def parsed_schema(text: str) -> ParsedSchema | None:
    """The schema, ready to decode with; None where the text is no Avro schema."""
    try:
        return fastavro.parse_schema(json.loads(text))
    except (*DECODE_ERRORS, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType):
        return None
