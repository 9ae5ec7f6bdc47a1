"""k2: Binance market data as governed Kafka topics."""

__version__ = "0.1.0"
