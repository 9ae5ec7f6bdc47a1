"""The table of checks, in the order in which data flow."""

from __future__ import annotations

from k2.doctor import exchange, host, kafka, registry, rest
from k2.doctor.checks import Check

CONFIGURATION = "configuration"

_EXCHANGE_AWAY = "try again, then look at the way to the exchange"
_KAFKA_AWAY = "look at the broker's log, and check --kafka-bootstrap"
_REGISTRY_AWAY = "look at the registry's log, and check --schema-registry"
_HOST = "look at the machine's log"

CHECKS = (
    Check("state directory", host.check_state, _HOST),
    Check("dead letters", host.check_dead_letters, _HOST),
    Check("http port", host.check_http, _HOST),
    Check("exchange dns", exchange.check_dns, _EXCHANGE_AWAY),
    Check("exchange tcp", exchange.check_tcp, _EXCHANGE_AWAY, needs=("exchange dns",)),
    Check("exchange tls", exchange.check_tls, _EXCHANGE_AWAY, needs=("exchange tcp",)),
    Check("exchange handshake", exchange.check_handshake, _EXCHANGE_AWAY, needs=("exchange tls",)),
    Check(rest.STREAMS, exchange.check_streams, _EXCHANGE_AWAY, needs=("exchange handshake",)),
    Check(rest.REST, rest.check_rest, _EXCHANGE_AWAY),
    Check("exchange symbols", rest.check_symbols, _EXCHANGE_AWAY, needs=(rest.REST,)),
    Check("clock", rest.check_clock, _HOST, after=(rest.REST, rest.STREAMS)),
    Check("registry", registry.check_registry, _REGISTRY_AWAY),
    Check(registry.SUBJECT, registry.check_subject, _REGISTRY_AWAY, needs=("registry",)),
    Check("registry level", registry.check_level, _REGISTRY_AWAY, needs=("registry",), after=(registry.SUBJECT,)),
    Check("kafka network", kafka.check_network, _KAFKA_AWAY),
    Check("kafka tls", kafka.check_tls, _KAFKA_AWAY, needs=("kafka network",)),
    Check(kafka.CLUSTER, kafka.check_cluster, _KAFKA_AWAY, needs=("kafka tls",)),
    Check(kafka.TOPIC, kafka.check_topic, _KAFKA_AWAY, needs=(kafka.CLUSTER,)),
    Check("kafka settings", kafka.check_properties, _KAFKA_AWAY, needs=(kafka.CLUSTER,), after=(kafka.TOPIC,)),
    Check("kafka rights", kafka.check_rights, _KAFKA_AWAY, needs=(kafka.CLUSTER,), after=(kafka.TOPIC,)),
    Check("kafka content", kafka.check_content, _KAFKA_AWAY, needs=(kafka.CLUSTER,), after=(kafka.TOPIC,)),
    Check("kafka probe", kafka.check_probe, _KAFKA_AWAY, needs=(kafka.CLUSTER,)),
)
