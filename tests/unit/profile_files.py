"""Profiles as the tests write them, and the `.env` files of the clients that the shipped profiles stand for."""

from __future__ import annotations

from pathlib import Path

from k2.errors import ConfigurationError
from k2.ingestion.settings import Settings, load_settings

HEAD = "version: 1\ndescription: A profile of the tests.\n"

# As the clients' own documents list them.
EVENTS_ENV = """
# Binance symbols to monitor
BINANCE_SYMBOLS=BTCUSDT,ETHUSDT,BNBUSDT,ADAUSDT,XRPUSDT

# Stream types
BINANCE_STREAM_TYPES=aggTrade,depth@100ms,trade,kline_1m

# Kafka brokers
KAFKA_BOOTSTRAP_SERVERS=localhost:9092

# Kafka topics
KAFKA_TOPIC_RAW_EVENTS=binance-raw-events
KAFKA_TOPIC_TRADES=binance-trades
KAFKA_TOPIC_DEPTH=binance-depth

# Connection settings
RECONNECT_INTERVAL=5
MAX_RETRIES=5
BATCH_SIZE=100
BATCH_TIMEOUT_SECONDS=5

# Logging
LOG_LEVEL=INFO
LOG_FORMAT=json
"""

ENVELOPES_ENV = """
# WebSocket Configuration
BINANCE_WS_URL=wss://stream.binance.com:9443/stream
BINANCE_STREAMS=btcusdt@trade,ethusdt@trade,bnbusdt@trade,btcusdt@kline_1m,ethusdt@kline_1m,btcusdt@ticker
PING_INTERVAL_SECONDS=180
RECONNECT_MAX_DELAY_SECONDS=60
WS_CONNECTION_TIMEOUT=10

# Kafka Configuration
KAFKA_BOOTSTRAP_SERVERS=localhost:9092
KAFKA_COMPRESSION=snappy
KAFKA_ACKS=1

# Kafka Topics
TOPIC_RAW_TRADES=raw_trades
TOPIC_RAW_KLINES=raw_klines
TOPIC_RAW_TICKERS=raw_tickers

# Batching Configuration
BATCH_SIZE=100
BATCH_TIMEOUT_MS=100
BATCH_CHECK_INTERVAL_MS=10

# Logging
LOG_LEVEL=INFO
"""

FUTURES_ENV = """
BOOTSTRAP_SERVER=pkc-12345.eu-west-1.aws.confluent.cloud:9092
KAFKA_API_KEY=c4n4ry-key
KAFKA_SECRET_KEY=c4n4ry-secret
DB_URL=jdbc:postgresql://db.example.com:5432/crypto
DB_USER=someone
DB_PASSWORD=c4n4ry-database
"""

TRADES_ENV = """
# Binance WebSocket URL
BINANCE_WS_URL=wss://stream.binance.com:9443/ws

# Symbols to stream (comma-separated)
BINANCE_SYMBOLS=BTCUSDT,ETHUSDT,BNBUSDT

# Kafka configuration
KAFKA_BOOTSTRAP=localhost:9092
KAFKA_TOPIC_PREFIX=market.crypto.trades

# Schema Registry
SCHEMA_REGISTRY_URL=http://localhost:8081

# Reconnection settings
BINANCE_RECONNECT_DELAY_MIN=1     # seconds
BINANCE_RECONNECT_DELAY_MAX=60    # seconds

# Heartbeat settings
BINANCE_HEARTBEAT_INTERVAL=180    # seconds (3 minutes)

# Batching settings
BINANCE_BATCH_SIZE=100            # messages
BINANCE_BATCH_TIMEOUT=1.0         # seconds
"""

ENVIRONMENTS = {"trades": TRADES_ENV, "candles": "", "events": EVENTS_ENV, "envelopes": ENVELOPES_ENV, "futures": FUTURES_ENV}


def variables(env: str) -> dict[str, str]:
    """What a `.env` file sets."""
    lines = (line.partition(" #")[0].strip() for line in env.splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def written(directory: Path, text: str, name: str = "mine.yaml") -> str:
    """The path of a profile with this text."""
    file = directory / name
    file.write_text(text, encoding="utf-8", newline="")
    return str(file)


def load(profile: str, *argv: str, **environ: str) -> Settings:
    return load_settings(["--profile", profile, *argv], environ)


def faults_of(profile: str, *argv: str, **environ: str) -> list[str]:
    """The faults of a profile, without the directory before its name; none where it loads."""
    try:
        load(profile, *argv, **environ)
    except ConfigurationError as error:
        return [fault.replace(f"{Path(profile).parent}/", "") if Path(profile).is_absolute() else fault for fault in error.faults]
    return []
