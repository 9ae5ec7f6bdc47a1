"""A topic on the real broker with records to order, and the tools that read it as processes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from confluent_kafka import Producer

from k2.ingestion.adapters.registry import SchemaRegistry as RegistryClient
from k2.ingestion.adapters.registry_access import RegistryAccess
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.exchanges.binance.streams import avro_output, rows_of
from kit.client import ClientProcess

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from k2.ingestion.core.outcome import Headers
    from kit.kafka import KafkaBroker
    from kit.registry import SchemaRegistry

FIRST_MS = 1_723_161_255_000  # 2024-08-08T23:54:15Z
SECONDS_AT_MOST = 60


class Put(NamedTuple):
    """A record to produce."""

    key: str | bytes | None
    value: bytes | None
    at_ms: int = FIRST_MS
    partition: int = 0
    headers: Headers | None = None


class FilledTopic:
    """A topic that keeps what is old, with the schema of trades registered for it."""

    def __init__(self, kafka: KafkaBroker, registry: SchemaRegistry, name: str, partitions: int = 3) -> None:
        self.topic, self.bootstrap, self.registry_url = name, kafka.bootstrap, registry.url
        kafka.create_topic(name, partitions, {"retention.ms": "-1"})
        with RegistryClient(RegistryAccess(registry.url)) as client:
            self.schema_id = client.resolve(f"{name}-value", load_schema("trade_v2"), register=True).schema_id

    def event(self, number: int, symbol: str = "BTCUSDT") -> dict[str, Any]:
        """A spot trade as the exchange sends it; each a second after the one before it."""
        at_ms = FIRST_MS + 1_000 * number
        return {
            "e": "trade",
            "E": at_ms,
            "s": symbol,
            "t": number,
            "p": "61837.63000000",
            "q": "0.02000000",
            "T": at_ms,
            "m": True,
        }

    def trade(self, number: int, symbol: str = "BTCUSDT", **put: Any) -> Put:
        """The record that the client makes of this trade."""
        stream, event = f"{symbol.lower()}@trade", self.event(number, symbol)
        schema = load_schema("trade_v2").parsed
        rows = rows_of("spot", "trade", [symbol], lambda _: "USDT", avro_output(self.topic, schema, self.schema_id))
        [outcome] = rows[stream.encode()].process(
            json.dumps({"stream": stream, "data": event}).encode(), (event["T"] + 5) * 1_000
        )
        [record] = outcome.records  # type: ignore[union-attr]  # a good event is published
        return Put(record.key, record.value, record.timestamp_ms, **put)

    def put(self, records: Iterable[Put]) -> None:
        """Produce these, in this order."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5, "log_level": 0})
        for record in records:
            producer.produce(
                self.topic, record.value, record.key, record.partition, timestamp=record.at_ms, headers=record.headers or []
            )
        assert producer.flush(SECONDS_AT_MOST) == 0


class Place(Protocol):
    """A topic and the parts that it lies on: a `FilledTopic`, or a `Rig`."""

    topic: str
    bootstrap: str
    registry_url: str


class Tool(ClientProcess):
    """A tool of ours on a topic, as a process whose output is a pipe."""

    def __init__(
        self, tool: str, place: Place, *arguments: object, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        places = {"KAFKA_BOOTSTRAP": place.bootstrap, "SCHEMA_REGISTRY_URL": place.registry_url}
        command = (sys.executable, "-m", "k2.cli.main", tool, place.topic)
        super().__init__(*arguments, cwd=cwd, environment={**places, **(environment or {})}, command=command)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines so far."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    def ended(self, exit_code: int = 0) -> list[dict[str, Any]]:
        """Wait for its end with this exit code. Returns the JSON lines."""
        assert self.wait(SECONDS_AT_MOST) == exit_code, self.output
        return self.lines
