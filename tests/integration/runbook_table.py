"""Which block of the runbooks is run where: in a state of the stack, with what it shows there, or in a procedure of its own."""

from __future__ import annotations

from integration import runbook_states as states
from integration.runbook_states import Shown, State
from operations.runbook_pages import blocks

STREAMING = "binance-streaming#"
LETTER_PAGE, SCALING = "dead-letter-queue#", "scaling#"


def shown(place: str, *patterns: str) -> Shown:
    return Shown(place, patterns)


def alert(name: str, *patterns: str) -> Shown:
    return shown(f"{STREAMING}{name}/1", *patterns)


NUMBER = r"(?m)^\d+(\.\d+)?(e[+-]\d+)?$"

STATES: dict[str, State] = {
    "streaming": State(
        states.streaming,
        (
            shown(f"{STREAMING}BinanceDeliveryFailing/2", r"(?m)^1$"),
            shown(f"{STREAMING}The first minute/1", r'"status": "healthy"', r'"in_flight"', "exchange handshake"),
            alert("BinanceConservationBroken", "k2_events_unaccounted 0.0", "k2_records_unaccounted 0.0"),
            alert("BinanceQueueNearlyFull", r"k2_producer_queue_messages \d", "k2_kafka_up 1.0"),
            alert("BinanceClockSkew", r"k2_exchange_lag_last_seconds -?\d", "clock"),
            alert("BinanceEventLoopBlocked", r"k2_event_loop_lag_seconds \d", r"binance-client"),
            alert("BinanceDirectoryAlmostFull", r'directory="dead_letters"} \d', "Filesystem"),
            shown(f"{STREAMING}Connection keeps dropping/2", r"--heartbeat-interval +180", "--pong-timeout +5"),
            shown(f"{STREAMING}Messages not reaching Kafka/2", "kafka .*running", r'\{"test": "message"\}'),
            shown(f"{STREAMING}Messages not reaching Kafka/3", r'"version": 1'),
            shown(f"{STREAMING}Settings/1", r"--symbols +BTCUSDT"),
            shown(f"{STREAMING}Health checks/1", '"connection_state": "CONNECTED"', '"ready":true', '"alive":true'),
            shown(f"{SCALING}Another number of shards/1", "0/4"),
            shown(f"{SCALING}The producer/1", "batch.size=65536", "--batch-timeout +0.1 seconds", "zstd"),
            shown("disaster-recovery#The host/1", r'"id": \d+'),
        ),
    ),
    "watched": State(
        states.watched,
        (
            alert("BinanceLatencyFastBurn", r"acknowledge\t\d", r"process\t\d", r"exchange\t\d"),
            alert("Watchdog", "prometheus prometheus running", "(?m)^Watchdog$"),
            shown(f"{STREAMING}Verification/3", NUMBER),
            shown(f"{STREAMING}Messages not reaching Kafka/1", r"(?m)^0$", r'-value"'),
            shown(f"{SCALING}What one instance carries/1", NUMBER),
            shown("upgrades#Kafka/1", NUMBER),
            shown("upgrades#Prometheus, Alertmanager, Grafana/1", "binance_streaming"),
        ),
        ("prometheus",),
    ),
    "consumed": State(
        states.consumed,
        (shown(f"{STREAMING}High latency/1", NUMBER, r"acknowledge\t\d", "binance-client"),
         shown(f"{STREAMING}High latency/2", "LAG", rf"{states.GROUP} +\S+ +\d+ +\d+ +\d+ +\d+ ")),
        ("prometheus",),
    ),
    "refused": State(
        states.refused,
        (
            alert("BinanceDisconnected", "Connection closed", "refused by the exchange", r'"waiting_for":\["exchange"\]'),
            shown(f"{STREAMING}Connection keeps dropping/1", "Connection closed", r"(?m)^0$", "503"),
        ),
    ),
    "rate-limited": State(states.rate_limited, (alert("BinanceAccessRefused", "rate limit \\(429\\)"),)),
    "silent": State(states.silent, (alert("BinanceNoMessages", '"reading": "flowing"', "ok +exchange streams"),)),
    "one-stream-silent": State(states.one_stream_silent, (alert("BinanceStreamSilent", "Streams fell silent.*bnbusdt"),)),
    "failing-events": State(
        states.failing_events,
        (
            alert("BinanceHighErrorRate", 'reason="missing_field"', "missing_field", "not replayed"),
            alert("BinanceDeadLettersGrowing", "number_invalid", "payload"),
            shown(f"{STREAMING}Message parsing errors/1", "Failed to parse message", "Invalid field", '"original_message"'),
            shown(f"{STREAMING}Messages not reaching Kafka/4", "cannot serialize|in mapping"),
            shown(f"{LETTER_PAGE}What is there/1", "unknown_stream", "payload"),
            shown(f"{LETTER_PAGE}What is there/2", r"binance-\d{8}\.jsonl", r"(?m)^ +\d+ BTCUSDT$", r"(?m)^ +\d+ not_json$"),
            shown(f"{LETTER_PAGE}Replay/1", "would fail again", "Nothing was published|would publish", "exit code 1"),
            shown(f"{LETTER_PAGE}Disk/1", "Filesystem"),
            shown(f"{LETTER_PAGE}Disk/2", "2020-01-01"),
            shown(f"{LETTER_PAGE}Disk/3", r"(?s)\A(?!.*20200101).*binance-20\d{6}\.jsonl"),
            shown("disaster-recovery#The dead letters/1", "k2_dead_letters_written_total", '"letter":"'),
        ),
    ),
    "unwritable-letters": State(
        states.unwritable_letters,
        (alert("BinanceDeadLettersNotWritable", "Dead letters cannot be written", "writable 0.0", "pending 1.0"),),
    ),
    "ended": State(states.ended, (alert("BinanceClientAbsent", "binance-client exited", "exited exit=137 oom=false"),)),
    "restarting": State(states.restarting, (alert("BinanceRestartLoop", "(?s)(binance_client: .*nasdaq.*){3}"),)),
    "gaps": State(
        states.gaps,
        (
            alert("BinanceSequenceGap", "Gap in the exchange's ids", "Connection closed", r"k2_ids_missing [1-9]"),
            shown(f"{STREAMING}BinanceSequenceGap/2", r'\{"a":\d+,"p":"'),
        ),
    ),
    "too-many-gaps": State(states.too_many_gaps, (alert("BinanceGapsForgotten", "Gap forgotten"),)),
    "ids-anew": State(states.ids_anew, (alert("BinanceSequenceReset", "ids began anew", "--ws-url"),)),
    "unknown-field": State(states.unknown_field, (alert("BinanceSchemaDrift", '"field": ?"zz"'),)),
    "unknown-symbol": State(states.unknown_symbol, (alert("BinanceUnknownSymbols", "NOSUCHUSDT"),)),
    "subscription-refused": State(
        states.subscription_refused, (alert("BinanceSubscriptionRefused", "more than 2 streams", "refuses to subscribe"),)
    ),
    "refused-records": State(
        states.refused_records, (alert("BinanceRecordsRefused", "too_large", 'code="MSG_SIZE_TOO_LARGE"', 'reason="too_large"'),)
    ),
    "broker-away": State(
        states.broker_away,
        (
            alert("BinanceDeliveryFailing", "broker lost", "NAME SERVICE", "Broker lost", "k2_kafka_up 0.0"),
            alert("BinanceKafkaUnreachable", "NAME SERVICE", "kafka network"),
        ),
    ),
    "paused": State(states.paused, (alert("BinanceReadingPaused", '"reading": "paused"', "Reading paused"),)),
    "renewed": State(states.renewed, (alert("BinanceProducerRenewed", "Producer made anew", "PartitionCount: 3"),)),
    "registry-away": State(states.registry_away, (alert("BinanceSchemaRegistryUnreachable", "Waiting for the registry"),)),
    "pinned": State(states.pinned, (alert("BinanceSchemaPinned", '"source": ?"pinned"'),)),
    "storm": State(states.storm, (alert("BinanceReconnectStorm", r'disconnections_total\{cause="reset"\} 3.0'),)),
    "letters-of-a-stop": State(
        states.letters_of_a_stop,
        (
            shown(f"{LETTER_PAGE}Replay/3", "Completed updating config"),
            shown(f"{LETTER_PAGE}Replay/2", "not_delivered_at_shutdown"),
            shown(f"{LETTER_PAGE}Replay/5", r'(?m)^"binance\.spot\.aggTrade\.'),
            shown(f"{LETTER_PAGE}Replay/4", "Completed updating config"),
        ),
    ),
    "lost-state": State(
        states.streaming,
        (shown("disaster-recovery#The state directory/1", "lock", "symbols-spot.json", '"ready":true|"ready": true'),),
    ),
    "new-registry": State(
        states.streaming,
        (
            shown("disaster-recovery#The registry/1", "under .*-value", "Schema resolved", '"source": ?"registry"', '"symbol"'),
            shown("disaster-recovery#The registry/2", r"(?m)^ +\d+ \d+$"),
        ),
    ),
    "upgrade": State(
        states.streaming,
        (
            shown("upgrades#Upgrades/1", '"status": "healthy"', "sha256:"),
            shown("upgrades#The client/1", "trade_v2 is well"),
            shown("upgrades#The client/2", '"schema_source": "registry"', '"symbol"'),
            shown("upgrades#Rolling back/1", "ready"),
            shown("upgrades#A schema/1", "trade_v2 is well for"),
            shown("upgrades#Kafka/2", "kafka kafka running", "ready"),
            shown("upgrades#The registry/1", '"version": 1'),
        ),
    ),
}  # fmt: skip

# Blocks that a test of their own runs.
PROCEDURES: dict[str, tuple[str, ...]] = {
    "test_it_is_started_by_hand": (f"{STREAMING}By hand/1", f"{STREAMING}By hand/2"),
    "test_it_is_started_with_compose": (
        f"{STREAMING}With compose/1", f"{STREAMING}Verification/1", f"{STREAMING}Verification/2",
    ),
    "test_symbols_are_added": (f"{STREAMING}Adding symbols/1",),
    "test_symbols_are_changed_without_a_hole": (f"{STREAMING}Changing symbols without downtime/1",),
    "test_a_graceful_stop": (f"{STREAMING}Graceful shutdown/1",),
    "test_shards_share_the_symbols": (f"{SCALING}Shards/1", f"{SCALING}Shards/2", f"{SCALING}Shards/3"),
    "test_the_producer_is_tuned": (f"{SCALING}The producer/2",),
    "test_a_topic_is_made_anew": ("disaster-recovery#The topic/1",),
    "test_credentials_are_changed": (
        "credentials#Nothing in any listing/1", "credentials#Rights/1", "credentials#A new password for Kafka/1",
        "credentials#A new password for Kafka/2", "credentials#A new password for the registry/1",
        "credentials#New certificates/1",
    ),
    "test_the_registry_is_operated_as_the_runbook_says": tuple(
        block.place for block in blocks("bash") if block.page == "schema-registry-operations"
    ),
}  # fmt: skip

# Blocks that cannot run here, and why. They are looked at word by word in operations/test_runbooks.py, as are all others.
NOT_HERE: dict[str, str] = {}
