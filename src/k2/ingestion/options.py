"""
Every option of the client, once: its flag, its variable, its default, its unit, its meaning.

The command line, the environment, `--help`, `--print-config` and the table in the README are all made from `OPTIONS`. Ten
variables keep the names of the runbook this product grew from; all others begin with `K2_`.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from k2.ingestion.option_values import (
    Choice,
    Parser,
    brokers,
    host,
    or_off,
    or_off_as,
    path,
    pem_file,
    plain,
    properties,
    seconds,
    secret,
    shard,
    switch,
    topic_prefix,
    url,
    whole,
)
from k2.ingestion.stream_values import streams, symbols_or_all

MOST = 2**31 - 1

HEADINGS = {
    "feed": "Exchange",
    "kafka": "Kafka",
    "registry": "Schema Registry",
    "http": "Health and metrics",
    "logs": "Logging",
    "": "Process",
}


class SourceKind(StrEnum):
    """Where a value came from, the strongest first."""

    PROPERTY = "property"
    FLAG = "flag"
    VARIABLE = "variable"
    PROFILE = "profile"
    DEFAULT = "default"


class Source(Struct, frozen=True):
    """
    Where a value came from, and under which name.

    `place` is the line of a profile, `profiles/mine.yaml:12`; or of a default the variable by which the profile would take it.
    """

    kind: SourceKind
    name: str = ""
    place: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


class Option(Struct, frozen=True):
    """
    One row of the table.

    `key` is the path of the value in `Settings`. `default` is a text for `parse`; None where the value is worked out from other
    options or absent, and then `default_note` tells it. `many`: the flag takes several values. A `secret` has no flag, as the
    process list shows the command line; it is also read from the file that the variable with `_FILE` names. What an option was
    called before goes on to work: `former_flag`, `former_variable`.
    """

    key: str
    flag: str
    variable: str
    default: str | None
    parse: Parser
    unit: str
    meaning: str
    default_note: str = ""
    many: bool = False
    secret: bool = False
    former_flag: str = ""
    former_variable: str = ""

    @property
    def flags(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.flag, self.former_flag)))

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.variable, self.former_variable)))

    @property
    def in_profiles(self) -> str:
        """What the option is called in a profile. A secret, which has no flag, is called after its variable."""
        return (self.flag or self.variable.removeprefix("K2_").lower().replace("_", "-")).removeprefix("--")

    @property
    def heading(self) -> str:
        return HEADINGS[self.key.rpartition(".")[0]]

    @property
    def is_switch(self) -> bool:
        return self.parse is switch

    @property
    def negative_flag(self) -> str:
        return "--no-" + self.flag.removeprefix("--")

    @property
    def file_variable(self) -> str:
        return file_variable(self.variable)

    @property
    def metavar(self) -> str:
        return "|".join(self.parse.words) if isinstance(self.parse, Choice) else self.unit.upper().replace(" OR ", "|")

    @property
    def shown_unit(self) -> str:
        return ", ".join(self.parse.words) if isinstance(self.parse, Choice) else "on, off" if self.is_switch else self.unit

    @property
    def shown_default(self) -> str:
        return self.default_note or self.default or "none"

    @property
    def name(self) -> str:
        """What the option is called where only one name fits."""
        return self.flag or self.variable

    def called(self, source: Source) -> str:
        """What the option is called in a fault, by where its value came from."""
        if source.kind is SourceKind.VARIABLE and self.flag:
            return f"{source.name} ({self.flag})"
        if source.kind is SourceKind.PROFILE:
            return f"{source.place}: options.{self.in_profiles}"
        return source.name or source.place or self.name


def file_variable(variable: str) -> str:
    """The variable that names the file with a secret, for the one that would hold it."""
    return f"{variable}_FILE"


def _secret(key: str, variable: str, meaning: str) -> Option:
    return Option(key, "", variable, None, secret, "", f"{meaning} Not a flag: the process list would show it.", secret=True)


FEED = (
    Option("feed.symbols", "--symbols", "BINANCE_SYMBOLS", "BTCUSDT,ETHUSDT,BNBUSDT", symbols_or_all, "symbols",
           "Whose streams, separated by spaces or commas. `ALL:USDT` is every symbol that trades against USDT. Streams that are "
           "named in full need none.", many=True),
    Option("feed.market", "--market", "K2_MARKET", "spot", Choice("spot", "usdm"), "", "Spot, or USDⓈ-M futures."),
    Option("feed.streams", "--streams", "K2_STREAMS", "aggTrade", or_off_as((), streams), "streams or off",
           "Which streams: of every symbol (`aggTrade kline_1m depth@100ms`), or named in full (`btcusdt@trade`, "
           "`!miniTicker@arr`). A topic carries aggTrade or trade, never both.",
           many=True, former_flag="--stream", former_variable="K2_STREAM"),
    Option("feed.raw_streams", "--raw-streams", "K2_RAW_STREAMS", "off", or_off_as((), streams), "streams or off",
           "Streams whose frames are captured as they come, known to the client or not; named as those of --streams.", many=True),
    Option("feed.candles", "--candles", "K2_CANDLES", "closed", Choice("closed", "updates"), "",
           "Candles once they are closed, or every update of them as well."),
    Option("feed.ws_url", "--ws-url", "BINANCE_WS_URL", None, url("wss", "ws"), "URL", "WebSocket address of the exchange.",
           default_note="wss://stream.binance.com:9443/ws (usdm: wss://fstream.binance.com)"),
    Option("feed.rest_url", "--rest-url", "K2_REST_URL", None, or_off(url("https", "http")), "URL or off",
           "REST address for symbol metadata. Off by default where --ws-url is not one of Binance's.",
           default_note="the one that belongs to --ws-url"),
    Option("feed.transport", "--transport", "K2_TRANSPORT", "auto", Choice("auto", "picows", "websockets"), "",
           "WebSocket library. `auto` takes picows, and websockets where picows is absent or compression is asked for."),
    Option("feed.compression", "--compression", "K2_COMPRESSION", "off", switch, "",
           "Ask the exchange to compress frames: less traffic, more CPU."),
    Option("feed.proxy", "--proxy", "K2_PROXY", None, or_off(url("http", "https")), "URL",
           "HTTP proxy for the way to the exchange. The usual proxy variables are not read."),
    Option("feed.ca_file", "--ws-ca", "K2_WS_CA", None, pem_file, "file",
           "PEM file with the authorities to trust for the exchange instead of the system's."),
    Option("feed.shard", "--shard", "K2_SHARD", None, shard, "I/N",
           "Stream only part I (from 0) of N of the sorted symbols, so that N instances share one list. All-market streams "
           "belong to part 0."),
    Option("feed.listing_interval_s", "--listing-interval", "K2_LISTING_INTERVAL", "600", seconds(1, zero_is_off=True),
           "seconds", "How often to look for symbols that were listed or are gone, where --symbols has an `ALL:`. 0 is off."),
    Option("feed.streams_per_connection", "--streams-per-connection", "K2_STREAMS_PER_CONNECTION", "1024", whole(1, 1024),
           "streams", "At most so many streams share a connection; more open another. The exchange allows 1024."),
    Option("feed.connect_timeout_s", "--connect-timeout", "K2_CONNECT_TIMEOUT", "10", seconds(0.1), "seconds",
           "How long one attempt may take, TLS and upgrade included."),
    Option("feed.reconnect_delay_min_s", "--reconnect-delay-min", "BINANCE_RECONNECT_DELAY_MIN", "1", seconds(0.1), "seconds",
           "Pause before the first new attempt; it doubles with each further one."),
    Option("feed.reconnect_delay_max_s", "--reconnect-delay-max", "BINANCE_RECONNECT_DELAY_MAX", "60", seconds(0.1), "seconds",
           "The longest pause between attempts."),
    Option("feed.give_up_after", "--give-up-after", "K2_GIVE_UP_AFTER", "0", whole(0, 1_000_000), "attempts",
           "End with exit code 69 after so many attempts in a row without a connection. 0 never gives up."),
    # The exchange allows five messages a second, pings included: hence two at most.
    Option("feed.heartbeat_interval_s", "--heartbeat-interval", "BINANCE_HEARTBEAT_INTERVAL", "180", seconds(0.5), "seconds",
           "A ping of ours goes out this often, whatever else happens."),
    Option("feed.idle_ping_after_s", "--idle-ping-after", "K2_IDLE_PING_AFTER", "10", seconds(0.5), "seconds",
           "A ping goes out when nothing at all has arrived for this long."),
    Option("feed.pong_timeout_s", "--pong-timeout", "K2_PONG_TIMEOUT", "5", seconds(0.1), "seconds",
           "The connection counts as dead when nothing answers that ping for this long."),
    Option("feed.silence_timeout_s", "--silence-timeout", "K2_SILENCE_TIMEOUT", "120", seconds(0.5, zero_is_off=True), "seconds",
           "A connection without any event for this long is replaced; doubles while the market stays silent. 0 is off."),
)  # fmt: skip

KAFKA = (
    Option("kafka.bootstrap", "--kafka-bootstrap", "KAFKA_BOOTSTRAP", "localhost:9092", brokers, "HOST:PORT,...",
           "Brokers to begin with."),
    Option("kafka.topic_prefix", "--topic-prefix", "KAFKA_TOPIC_PREFIX", None, topic_prefix, "text",
           "The topic of trades is this with `.binance` behind it. Other records go to siblings: beside `market.crypto.trades` "
           "stand `market.crypto.klines`, `market.crypto.quotes` and so on. A profile's own topics are not named after it.",
           default_note="market.crypto.trades (usdm: market.futures.trades)"),
    Option("kafka.acks", "--acks", "K2_ACKS", "all", Choice("all", "1", "0"), "",
           "Which brokers must have a record before it counts as delivered: all replicas, the leader (1), or none (0). All but "
           "`all` give up the promise that nothing is lost or doubled, and the log says so."),
    Option("kafka.create_topic", "--create-topic", "K2_CREATE_TOPIC", "on", switch, "", "Create topics that are missing."),
    Option("kafka.partitions", "--partitions", "K2_PARTITIONS", "12", whole(1, 10_000), "count",
           "Partitions of a topic that is created. 12 divides evenly among 2, 3, 4, 6 or 12 consumers, and more cannot be added "
           "later without moving symbols to other partitions."),
    Option("kafka.replication_factor", "--replication-factor", "K2_REPLICATION_FACTOR", "-1", whole(1, 32_767, -1), "count",
           "Copies of a topic that is created; -1 leaves it to the broker."),
    Option("kafka.retention_ms", "--retention-ms", "K2_RETENTION_MS", "604800000", whole(1, 2**53, -1), "ms",
           "How long a topic that is created keeps records, counted from the exchange's time; -1 keeps them for ever. "
           "The default is 7 days."),
    Option("kafka.batch_size", "--batch-size", "BINANCE_BATCH_SIZE", "10000", whole(1, 1_000_000), "messages",
           "At most so many messages in one batch (`batch.num.messages`)."),
    Option("kafka.batch_timeout_s", "--batch-timeout", "BINANCE_BATCH_TIMEOUT", "0.005", seconds(0, 900), "seconds",
           "How long a batch waits to fill up (`linger.ms`)."),
    Option("kafka.compression", "--kafka-compression", "K2_KAFKA_COMPRESSION", "lz4",
           Choice("none", "gzip", "snappy", "lz4", "zstd"), "", "Compression of batches."),
    Option("kafka.queue_messages", "--queue-messages", "K2_QUEUE_MESSAGES", "200000", whole(1, MOST), "messages",
           "At most so many messages wait for the broker in memory."),
    Option("kafka.queue_mib", "--queue-mib", "K2_QUEUE_MIB", "256", whole(1, MOST // 1024), "MiB",
           "At most so much waits for the broker in memory."),
    Option("kafka.security_protocol", "--kafka-security-protocol", "K2_KAFKA_SECURITY_PROTOCOL", "PLAINTEXT",
           Choice("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"), "", "How to talk to the brokers."),
    Option("kafka.sasl_mechanism", "--kafka-sasl-mechanism", "K2_KAFKA_SASL_MECHANISM", None,
           Choice("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), "", "How to log in to the brokers."),
    Option("kafka.sasl_username", "--kafka-sasl-username", "K2_KAFKA_SASL_USERNAME", None, plain, "text",
           "User name at the brokers."),
    _secret("kafka.sasl_password", "K2_KAFKA_SASL_PASSWORD", "Password at the brokers."),
    Option("kafka.ca_file", "--kafka-ca", "K2_KAFKA_CA", None, pem_file, "file", "Authorities to trust for the brokers, PEM."),
    Option("kafka.cert_file", "--kafka-cert", "K2_KAFKA_CERT", None, pem_file, "file", "Our certificate for the brokers, PEM."),
    Option("kafka.key_file", "--kafka-key", "K2_KAFKA_KEY", None, pem_file, "file", "Its private key, PEM."),
    _secret("kafka.key_password", "K2_KAFKA_KEY_PASSWORD", "Password of that key."),
    Option("kafka.properties", "--kafka-property", "K2_KAFKA_PROPERTIES", None, properties, "KEY=VALUE",
           "Any librdkafka property, repeatable; in the variable one a line or separated by commas. One that belongs to an "
           "option above sets that option, and wins over its flag.", many=True),
    Option("kafka.allow_unsafe_properties", "--allow-unsafe-kafka-properties", "K2_ALLOW_UNSAFE_KAFKA_PROPERTIES", "off", switch,
           "", "Accept properties that break the delivery promise or switch off the check of certificates."),
)  # fmt: skip

REGISTRY = (
    Option("registry.url", "--schema-registry", "SCHEMA_REGISTRY_URL", "http://localhost:8081", url("http", "https"), "URL",
           "Address of the schema registry."),
    Option("registry.register", "--register", "K2_REGISTER", "on", switch, "",
           "Register the schema where it is missing; off: only look it up."),
    Option("registry.user", "--schema-registry-user", "K2_SCHEMA_REGISTRY_USER", None, plain, "text",
           "User name at the registry."),
    _secret("registry.password", "K2_SCHEMA_REGISTRY_PASSWORD", "Password at the registry."),
    Option("registry.ca_file", "--schema-registry-ca", "K2_SCHEMA_REGISTRY_CA", None, pem_file, "file",
           "Authorities to trust for the registry, PEM."),
    Option("registry.cert_file", "--schema-registry-cert", "K2_SCHEMA_REGISTRY_CERT", None, pem_file, "file",
           "Our certificate for the registry, PEM."),
    Option("registry.key_file", "--schema-registry-key", "K2_SCHEMA_REGISTRY_KEY", None, pem_file, "file",
           "Its private key, PEM, without a password."),
)  # fmt: skip

OTHERS = (
    Option("http.host", "--http-host", "K2_HTTP_HOST", "127.0.0.1", host, "host", "Where health and metrics are served."),
    Option("http.port", "--http-port", "K2_HTTP_PORT", "8001", whole(0, 65_535), "port", "Their port; 0 takes any free one."),
    Option("logs.format", "--log-format", "K2_LOG_FORMAT", "auto", Choice("auto", "json", "console"), "",
           "`auto` is console on a terminal and json elsewhere."),
    Option("logs.level", "--log-level", "K2_LOG_LEVEL", "INFO", Choice("DEBUG", "INFO", "WARNING", "ERROR"), "",
           "The least severe lines to log."),
    Option("logs.file", "--log-file", "K2_LOG_FILE", "logs/binance_client.log", or_off(path), "file or off",
           "Where the log goes beside standard output."),
    Option("metrics_log_interval_s", "--metrics-log-interval", "K2_METRICS_LOG_INTERVAL", "0", seconds(1, zero_is_off=True),
           "seconds", "How often to log what was received, delivered and is waiting. 0 is off."),
    Option("profile", "--profile", "K2_PROFILE", "trades", plain, "NAME or PATH",
           "What the client is set up for: trades, candles, events, envelopes or futures, or a file of your own. It gives other "
           "defaults and topics, and takes other variables (docs/reference/profiles.md)."),
    Option("state_dir", "--state-dir", "K2_STATE_DIR", None, path, "directory",
           "What has to survive a restart: schema ids and symbol metadata. One instance a directory.",
           default_note="$XDG_STATE_HOME/k2, else ~/.local/state/k2"),
    Option("dead_letter_dir", "--dead-letter-dir", "K2_DEAD_LETTER_DIR", "/tmp/dlq", path, "directory",  # noqa: S108
           "Where events go that cannot be published."),
    Option("startup_timeout_s", "--startup-timeout", "K2_STARTUP_TIMEOUT", "60", seconds(0), "seconds",
           "How long to wait for broker and registry at the start before giving up with exit code 69."),
    Option("shutdown_timeout_s", "--shutdown-timeout", "K2_SHUTDOWN_TIMEOUT", "30", seconds(0), "seconds",
           "How long stopping may take to deliver what is still in flight."),
)  # fmt: skip

OPTIONS = (*FEED, *KAFKA, *REGISTRY, *OTHERS)
BY_KEY = {option.key: option for option in OPTIONS}
BY_FLAG = {flag: option for option in OPTIONS for flag in option.flags}
BY_PROFILE_NAME = {option.in_profiles: option for option in OPTIONS}
