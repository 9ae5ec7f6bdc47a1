"""
The textbook client: websockets, json, a dict with Decimals, Confluent's AvroSerializer, one poll a message.

Written after the examples of the libraries. It makes the same records with the same producer settings, and keeps none of the
client's promises: no dead letters, no check of ids or numbers, no metrics. Says `ready` once subscribed and `done` when every
record is acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from websockets.asyncio.client import connect

from benchmarks.frames import SYMBOLS
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.settings import load_settings


class TextbookClient:
    """Reads trades from a WebSocket and produces them."""

    def __init__(self, bootstrap: str, registry_url: str, topic: str) -> None:
        registry = SchemaRegistryClient({"url": registry_url})
        schema = json.dumps(load_schema("trade_v2").parsed)
        self._serialize = AvroSerializer(registry, schema, conf={"subject.name.strategy.type": "TOPIC"})
        self._context = SerializationContext(topic, MessageField.VALUE)
        self._producer = Producer(load_settings(["--kafka-bootstrap", bootstrap], {}).kafka.producer_config())
        self._topic = topic
        self.delivered = 0

    async def run(self, url: str, count: int) -> None:
        async with connect(url) as websocket:
            streams = [f"{symbol.lower()}@aggTrade" for symbol in SYMBOLS]
            await websocket.send(json.dumps({"method": "SUBSCRIBE", "params": streams, "id": 1}))
            await websocket.recv()
            print("ready", flush=True)
            for _ in range(count):
                self._publish(json.loads(await websocket.recv())["data"])
            self._producer.flush()

    def _publish(self, event: dict[str, Any]) -> None:
        trade = to_trade(event)
        value = self._serialize(trade, self._context)
        self._producer.produce(self._topic, value, key=trade["symbol"], on_delivery=self._on_delivery, timestamp=event["T"])
        self._producer.poll(0)

    def _on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            raise RuntimeError(error.str())
        self.delivered += 1


def to_trade(event: dict[str, Any]) -> dict[str, Any]:
    """Binance's event as a TradeV2."""
    symbol = event["s"]
    return {
        "message_id": f"binance.spot.aggTrade.{symbol}.{event['a']}",
        "trade_id": f"BINANCE-{event['a']}",
        "symbol": symbol,
        "exchange": "BINANCE",
        "asset_class": "crypto",
        "timestamp": datetime.fromtimestamp(event["T"] / 1000, tz=UTC),
        "price": Decimal(event["p"]),
        "quantity": Decimal(event["q"]),
        "currency": symbol[-4:],
        "side": "SELL" if event["m"] else "BUY",
        "trade_conditions": [],
        "source_sequence": event["a"],
        "ingestion_timestamp": datetime.now(UTC),
        "platform_sequence": None,
        "vendor_data": {
            "event_type": event["e"],
            "event_time": str(event["E"]),
            "first_trade_id": str(event["f"]),
            "last_trade_id": str(event["l"]),
        },
    }


def main(bootstrap: str, registry_url: str, topic: str, url: str, count: str) -> None:
    client = TextbookClient(bootstrap, registry_url, topic)
    asyncio.run(client.run(url, int(count)))
    print("done", client.delivered, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
