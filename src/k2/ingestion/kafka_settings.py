"""
What we ask of librdkafka: the settings of the producer, and which properties a user may pass through.

Properties are named as in librdkafka's CONFIGURATION.md. A property that belongs to one of our options sets that option, so
that there is one value and one place that shows it. A property that would break the delivery promise is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from k2.ingestion.option_values import Secret, kibibytes_as_mebibytes, milliseconds_as_seconds

CLIENT_ID = "k2-binance-client"
BATCH_BYTES = 1_000_000  # librdkafka's message.max.bytes by default, which a batch must not exceed

RECONNECT_MAX_MS = 2_000  # librdkafka's 10 s would add that to every outage

ConfigValue = str | int | float | bool

ALL_REPLICAS, LEADER_ONLY, NOBODY = "all", "1", "0"
# What each other choice than `all` gives up. Idempotence needs `all`, so a batch that is sent again may be written twice.
GIVEN_UP = {
    LEADER_ONLY: "a record counts as delivered before a second broker has it, so the failure of one broker can lose records; "
    "one that is sent again may be written twice",
    NOBODY: "a record counts as delivered once it is sent, so whatever the broker refuses or loses is lost without a trace; "
    "one that is sent again may be written twice",
}

ALIASES = {
    "metadata.broker.list": "bootstrap.servers",
    "request.required.acks": "acks",
    "delivery.timeout.ms": "message.timeout.ms",
    "retries": "message.send.max.retries",
    "queue.buffering.max.ms": "linger.ms",
    "compression.codec": "compression.type",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "sasl.mechanisms": "sasl.mechanism",
}


def _same(text: str) -> str:
    return text


def _acks(text: str) -> str:
    return ALL_REPLICAS if text == "-1" else text


# The property, the key of the option that it sets, and how its text becomes that of the option.
OWNED: dict[str, tuple[str, Callable[[str], str]]] = {
    "bootstrap.servers": ("kafka.bootstrap", _same),
    "acks": ("kafka.acks", _acks),
    "batch.num.messages": ("kafka.batch_size", _same),
    "linger.ms": ("kafka.batch_timeout_s", milliseconds_as_seconds),
    "compression.type": ("kafka.compression", _same),
    "queue.buffering.max.messages": ("kafka.queue_messages", _same),
    "queue.buffering.max.kbytes": ("kafka.queue_mib", kibibytes_as_mebibytes),
    "security.protocol": ("kafka.security_protocol", _same),
    "sasl.mechanism": ("kafka.sasl_mechanism", _same),
    "sasl.username": ("kafka.sasl_username", _same),
    "sasl.password": ("kafka.sasl_password", _same),
    "ssl.ca.location": ("kafka.ca_file", _same),
    "ssl.certificate.location": ("kafka.cert_file", _same),
    "ssl.key.location": ("kafka.key_file", _same),
    "ssl.key.password": ("kafka.key_password", _same),
}


class SafeOnly(Struct, frozen=True):
    """A property that is safe with these values only, and what any other would cost. No values: never safe."""

    values: tuple[str, ...]
    cost: str


_ORDER = "could change the order of a symbol's trades"
_LOSS = "could lose trades"
_TLS = "would let anybody pose as a broker"

SAFE_ONLY = {
    "enable.idempotence": SafeOnly(("true",), f"{_ORDER} and double them"),
    "message.timeout.ms": SafeOnly(("0",), "would let librdkafka give up on trades"),
    "message.send.max.retries": SafeOnly(("2147483647",), _LOSS),
    "max.in.flight.requests.per.connection": SafeOnly(("5", "4", "3", "2", "1"), _ORDER),
    "queuing.strategy": SafeOnly(("fifo",), _ORDER),
    "partitioner": SafeOnly(("murmur2_random",), "would put symbols into other partitions than Java and Spark do"),
    "enable.gapless.guarantee": SafeOnly(("false",), "would stop the client at the first record a broker refuses"),
    "transactional.id": SafeOnly((), "needs transactions, which the client does not use"),
    "allow.auto.create.topics": SafeOnly(("false",), "could create the topic with the wrong number of partitions"),
    "delivery.report.only.error": SafeOnly(("false",), "would take away the proof of delivery"),
    "test.mock.num.brokers": SafeOnly(("0",), "would replace the brokers by one inside the process"),
    "enable.ssl.certificate.verification": SafeOnly(("true",), _TLS),
    "ssl.endpoint.identification.algorithm": SafeOnly(("https",), _TLS),
}

# What a property's name begins with where it concerns the connection, so that other clients than the producer need it too.
CONNECTION_PREFIXES = (
    "api.", "broker.", "client.", "connections.", "debug", "enable.ssl.", "log", "metadata.", "reconnect.", "resolve.", "retry.",
    "sasl.", "security.", "socket.", "ssl.", "test.", "topic.metadata.",
)  # fmt: skip

_SECRET_NAME = re.compile(r"pass|pwd|api.?key|credential|secret|token|private\.key|jaas|\.pem$|oauthbearer\.config")
_NOT_TEXT = re.compile(r"_cb$|^(logger|on_delivery|default\.topic\.config)$")


def canonical(properties: Mapping[str, str]) -> dict[str, str]:
    """The properties under librdkafka's current names; of two names for one property the later counts."""
    return {ALIASES.get(name, name): value for name, value in properties.items()}


def protected(properties: Mapping[str, str]) -> dict[str, str | Secret]:
    """The properties with their passwords, tokens and keys wrapped."""
    return {name: Secret(value) if _SECRET_NAME.search(name) else value for name, value in properties.items()}


def unusable(properties: Mapping[str, str]) -> Iterator[str]:
    """A fault for each property that no text can set."""
    for name in properties:
        if _NOT_TEXT.search(name):
            yield f"{name} takes a function of a program, not a text: leave it out"


def unsafe(properties: Mapping[str, str | Secret]) -> Iterator[str]:
    """A fault for each property that breaks the delivery promise, or the trust in the brokers."""
    for name, value in properties.items():
        rule = SAFE_ONLY.get(name)
        if rule and str(value).lower() not in rule.values:
            remedy = f"use {name}={rule.values[0]}" if rule.values else "leave it out"
            yield f"{name}={value} {rule.cost}: {remedy}, or accept that with --allow-unsafe-kafka-properties"


class KafkaSettings(Struct, frozen=True):
    """Topic, producer and security. `retention_ms` and `replication_factor`: -1 is for ever and the broker's default."""

    bootstrap: str
    topic_prefix: str
    acks: str
    create_topic: bool
    partitions: int
    replication_factor: int
    retention_ms: int
    batch_size: int
    batch_timeout_s: float
    compression: str
    queue_messages: int
    queue_mib: int
    security_protocol: str
    sasl_mechanism: str | None
    sasl_username: str | None
    sasl_password: Secret | None
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    key_password: Secret | None
    properties: dict[str, str | Secret]
    allow_unsafe_properties: bool

    def producer_config(self) -> dict[str, ConfigValue]:
        """Everything for `Producer` but the callbacks and the logger. Holds passwords in the clear: never log it."""
        return {
            **self._connection(),
            **self._acknowledgement(),
            "message.timeout.ms": 0,  # for ever: what becomes of a record is ours to decide, not librdkafka's
            "partitioner": "murmur2_random",  # as Java and Spark partition
            "reconnect.backoff.max.ms": RECONNECT_MAX_MS,
            "allow.auto.create.topics": False,  # a broker would create them with a single partition
            "linger.ms": self.batch_timeout_s * 1000,
            "batch.num.messages": min(self.batch_size, self.queue_messages),  # more would never fill
            "batch.size": BATCH_BYTES,
            "compression.type": self.compression,
            "queue.buffering.max.messages": self.queue_messages,
            "queue.buffering.max.kbytes": self.queue_mib * 1024,
            **_revealed(self.properties),
        }

    def _acknowledgement(self) -> dict[str, ConfigValue]:
        if self.acks == ALL_REPLICAS:
            return {"acks": self.acks, "enable.idempotence": True}
        # One request at a time keeps the order, which idempotence would keep otherwise.
        return {"acks": self.acks, "enable.idempotence": False, "max.in.flight.requests.per.connection": 1}

    def admin_config(self) -> dict[str, ConfigValue]:
        """Connection and security only: for the admin client and for consumers. Holds passwords in the clear: never log it."""
        passed = _revealed(self.properties).items()
        return {**self._connection(), **{name: value for name, value in passed if name.startswith(CONNECTION_PREFIXES)}}

    def _connection(self) -> dict[str, ConfigValue]:
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": CLIENT_ID,
            "socket.keepalive.enable": True,
            "security.protocol": self.security_protocol,
            **self._credentials(),
        }

    def _credentials(self) -> dict[str, str]:
        given: dict[str, str | Path | Secret | None] = {
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password,
            "ssl.ca.location": self.ca_file,
            "ssl.certificate.location": self.cert_file,
            "ssl.key.location": self.key_file,
            "ssl.key.password": self.key_password,
        }
        return _revealed({name: value for name, value in given.items() if value is not None})


def _revealed(properties: Mapping[str, str | Path | Secret]) -> dict[str, str]:
    return {name: value.reveal() if isinstance(value, Secret) else str(value) for name, value in properties.items()}
