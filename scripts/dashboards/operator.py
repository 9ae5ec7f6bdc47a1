"""The operator's dashboard: is it well, and where on the way from the exchange to Kafka is it not."""

from __future__ import annotations

from .panels import BLUE, FIRING, GREEN, RED, YELLOW, About, Labels, Lines, Numbers, Query, Row

DESCRIPTION = "Is the client well, and where on the way from the exchange to Kafka is it not? In the order of the data flow."
OBJECTIVE_S = 0.5

AT_A_GLANCE = Row(
    "Is it well?",
    [
        Numbers(
            "Binance Connection State",
            About(
                "Whether every wanted stream has a live connection to the exchange, by instance.",
                "CONNECTED. A reconnection takes a second or two. ABSENT: Prometheus does not reach the client.",
                "Disconnections by cause and refusals by kind, on the reliability dashboard.",
            ),
            "none",
            [
                Query("binance_connection_state{}"),
            ],
            alerts=["BinanceDisconnected", "BinanceClientAbsent", "BinanceAccessRefused"],
            states={"1": ("CONNECTED", GREEN), "0": ("DISCONNECTED", RED)},
            filled=True,
            nothing="ABSENT",
        ),
        Numbers(
            "Events received",
            About(
                "Market-data events that arrive in a second, over all instances.",
                "What the market gives, and never nothing while connected.",
                "Messages Received below: since when, and which instance. Silent streams beside it.",
            ),
            "eps",
            [
                Query("sum(rate(binance_messages_received_total{}[$__rate_interval]))", "events"),
            ],
            alerts=["BinanceNoMessages"],
            limits={0.001: GREEN},
            base=RED,
        ),
        Numbers(
            "Latency, p99",
            About(
                "99 of 100 records took at most so long from the receipt of their frame to Kafka's acknowledgement.",
                "Below 0.1 s. The objective is 0.5 s.",
                "Latency by stage: which step takes the time.",
            ),
            "s",
            [
                Query(
                    "histogram_quantile(0.99, sum by (le) (rate(binance_message_latency_seconds_bucket{}[$__rate_interval])))",
                    "p99",
                ),
            ],
            alerts=["BinanceLatencyFastBurn", "BinanceLatencySlowBurn"],
            limits={0.1: YELLOW, OBJECTIVE_S: RED},
        ),
        Numbers(
            "Dead letters",
            About(
                "Events and records that became dead letters within the time shown.",
                "0. Each one lies in the dead-letter file with its exact bytes and can be replayed.",
                "Dead letters by reason, in the last row.",
            ),
            "none",
            [
                Query(
                    "sum(increase(binance_message_errors_total{}[$__range])) "
                    "+ sum(increase(k2_records_dead_lettered_total{}[$__range]))",
                    "dead letters",
                ),
            ],
            alerts=["BinanceDeadLettersGrowing", "BinanceRecordsRefused"],
            limits={0.5: YELLOW},
            decimals=0,
        ),
        Numbers(
            "Ids missing",
            About(
                "Ids of the exchange that were skipped within the time shown and did not come late: trades that the topic lacks.",
                "0. A reconnection costs what was traded meanwhile. What is missed between two runs is not in it.",
                "The row Continuity of the reliability dashboard; the log names first and last id of each hole.",
            ),
            "none",
            [
                Query(
                    "clamp_min(sum(increase(k2_gap_ids_skipped_total{}[$__range])) "
                    "- sum(increase(k2_gap_ids_filled_total{}[$__range])), 0)",
                    "ids",
                ),
            ],
            alerts=["BinanceSequenceGap"],
            limits={0.5: YELLOW},
            decimals=0,
        ),
        Numbers(
            "Alerts firing",
            About(
                "Alerts of the client that fire now.",
                "0.",
                "The table Firing alerts, then the runbook heading that has the alert's name.",
            ),
            "none",
            [
                Query(f"count({FIRING}) or vector(0)", "alerts"),
            ],
            limits={1: RED},
            decimals=0,
            filled=True,
        ),
        Labels(
            "Firing alerts",
            About(
                "The alerts that fire now, with their severities. Critical and high ones page.",
                "None.",
                "The runbook: each alert has a heading of its name there.",
            ),
            FIRING,
            columns={"alertname": "Alert", "severity": "Severity", "instance": "Instance"},
            width=16,
        ),
        Labels(
            "Start waits for",
            About(
                "What a client that has not begun yet waits for: broker, registry or exchange.",
                "None: it has begun.",
                "The part that is named. After the start-up time-out the client ends with exit code 69.",
            ),
            "k2_start_waiting_for{} == 1",
            columns={"part": "Part", "instance": "Instance"},
            alerts=["BinanceSchemaRegistryUnreachable"],
        ),
    ],
)

EXCHANGE = Row(
    "Exchange to socket",
    [
        Lines(
            "Messages Received (msg/sec)",
            About(
                "Market-data events that arrive in a second, by instance.",
                "Follows the market: busy hours bring some times what quiet ones do.",
                "If it falls to nothing: the connection state above, Streams to the right, then the exchange's status.",
            ),
            "mps",
            [
                Query("rate(binance_messages_received_total{}[5m])", "Messages/sec"),
            ],
            alerts=["BinanceNoMessages"],
        ),
        Lines(
            "Lag behind the exchange",
            About(
                "From the exchange's event time to the receipt of the frame; needs two clocks that agree.",
                "Some tens of milliseconds. Below zero: our clock is behind the exchange's.",
                "The clock of this machine; then the network; then the event loop's lag on the capacity dashboard.",
            ),
            "s",
            [
                Query(
                    "histogram_quantile(0.99, sum by (le) "
                    '(rate(k2_stage_latency_seconds_bucket{stage="exchange"}[$__rate_interval])))',
                    "p99",
                ),
                Query("k2_exchange_lag_last_seconds{}", "latest {{instance}}"),
            ],
            alerts=["BinanceClockSkew"],
            floor=None,
        ),
        Lines(
            "Streams",
            About(
                "Streams that are to be received, those among them that are silent, and symbols that the exchange does not know.",
                "As many as configured, none silent, none unknown.",
                "Age of the latest event, by stream, on the reliability dashboard; then the symbol's state at the exchange.",
            ),
            "none",
            [
                Query("sum(k2_streams{})", "wanted"),
                Query("sum(k2_streams_silent{})", "silent"),
                Query("sum(k2_unknown_symbols{})", "unknown symbols"),
            ],
            alerts=["BinanceStreamSilent", "BinanceUnknownSymbols"],
            colours={"wanted": GREEN, "silent": YELLOW, "unknown symbols": RED},
            steps=True,
        ),
    ],
)

DECODE = Row(
    "Socket to decode",
    [
        Lines(
            "What became of the events",
            About(
                "Every event is published, a dead letter, or ignored for a reason. The three add up to what was received.",
                "Published. Duplicates are ignored after a reconnection.",
                "Share of errors to the right, dead letters by reason below.",
            ),
            "eps",
            [
                Query("sum(rate(k2_events_published_total{}[$__rate_interval]))", "published"),
                Query("sum(rate(binance_message_errors_total{}[$__rate_interval]))", "dead letters"),
                Query("sum by (reason) (rate(k2_events_ignored_total{}[$__rate_interval]))", "ignored: {{reason}}"),
            ],
            colours={"published": GREEN, "dead letters": RED},
            stacked=True,
        ),
        Lines(
            "Share of events that are errors",
            About(
                "Events that became dead letters because they could not be understood, as a share of those received.",
                "0. Above 5 % for five minutes it alerts.",
                "Dead letters by reason below; `k2 dlq show` has the bytes. Most often the exchange has changed a field.",
            ),
            "percentunit",
            [
                Query(
                    "rate(binance_message_errors_total{}[$__rate_interval]) "
                    "/ (rate(binance_messages_received_total{}[$__rate_interval]) > 0)"
                ),
            ],
            alerts=["BinanceHighErrorRate", "BinanceSchemaDrift"],
            limits={0.05: RED},
        ),
        Lines(
            "Reading",
            About(
                "The state that reading from the exchange is in, as a number of instances for each state.",
                "Flowing. Paused: Kafka is slower than the exchange. Held: closed on purpose until Kafka takes records again.",
                "Records on their way and the producer's queue in the next row.",
            ),
            "none",
            [
                Query("sum by (state) (k2_reading_state{})", "{{state}}"),
            ],
            alerts=["BinanceReadingPaused"],
            colours={"flowing": GREEN, "paused": YELLOW, "held": RED},
            steps=True,
        ),
    ],
)

PRODUCER = Row(
    "Decode to producer",
    [
        Lines(
            "Message Processing Latency",
            About(
                "From the receipt of a frame to Kafka's acknowledgement of its record.",
                "p99 below 0.1 s. The objective, dashed, is 0.5 s for 99 of 100 records.",
                "Latency by stage to the right.",
            ),
            "s",
            [
                Query("histogram_quantile(0.50, rate(binance_message_latency_seconds_bucket{}[5m]))", "p50"),
                Query("histogram_quantile(0.95, rate(binance_message_latency_seconds_bucket{}[5m]))", "p95"),
                Query("histogram_quantile(0.99, rate(binance_message_latency_seconds_bucket{}[5m]))", "p99"),
            ],
            alerts=["BinanceLatencyFastBurn", "BinanceLatencySlowBurn"],
            limits={OBJECTIVE_S: RED},
        ),
        Lines(
            "Latency by stage, p99",
            About(
                "Where the time goes: exchange (its event time to receipt), process (to the hand-over to the producer), "
                "acknowledge (to Kafka's answer).",
                "Process far below a millisecond; acknowledge a few; exchange what the network takes.",
                "Exchange: lag above. Process: CPU and event loop on the capacity dashboard. Acknowledge: the broker.",
            ),
            "s",
            [
                Query(
                    "histogram_quantile(0.99, sum by (le, stage) (rate(k2_stage_latency_seconds_bucket{}[$__rate_interval])))",
                    "{{stage}}",
                ),
            ],
        ),
        Lines(
            "Records on their way",
            About(
                "Records in flight, those among them that wait for room in librdkafka's queue, and those on the disk.",
                "A few: what one batch holds. The overflow is empty.",
                "If it grows: Kafka, in the next row. The queue against its cap is on the capacity dashboard.",
            ),
            "none",
            [
                Query("sum(k2_records_in_flight{})", "in flight"),
                Query("sum(k2_overflow_records{})", "overflow"),
                Query("sum(k2_records_spooled{})", "on the disk"),
            ],
            alerts=["BinanceQueueNearlyFull", "BinanceQueueFullSoon"],
        ),
    ],
)

KAFKA = Row(
    "Producer to Kafka",
    [
        Lines(
            "Records made and acknowledged",
            About(
                "Records handed to the producer, and records that Kafka acknowledged, in a second.",
                "The two lie on each other.",
                "If acknowledged falls behind: broker and errors to the right.",
            ),
            "recps",
            [
                Query("sum(rate(k2_records_made_total{}[$__rate_interval]))", "made"),
                Query('sum(rate(kafka_messages_produced_total{exchange="BINANCE"}[$__rate_interval]))', "acknowledged"),
            ],
            alerts=["BinanceDeliveryFailing"],
            colours={"made": BLUE, "acknowledged": GREEN},
        ),
        Lines(
            "Produce errors",
            About(
                "Failed deliveries, events that could not be serialized, and errors of the Kafka client, in a second.",
                "0. A broker that is away shows here, although no record is lost by it.",
                "Errors by code on the reliability dashboard; the page of errors says what each code means.",
            ),
            "ops",
            [
                Query('sum(rate(kafka_produce_errors_total{exchange="BINANCE"}[$__rate_interval]))', "errors"),
            ],
            alerts=["BinanceRecordsRefused", "BinanceDeliveryFailing"],
            colours={"errors": RED},
        ),
        Numbers(
            "Broker",
            About(
                "Whether a broker is connected and answers.",
                "UP.",
                "The broker itself: is it running, does its address resolve from here.",
            ),
            "none",
            [
                Query("k2_kafka_up{}"),
            ],
            alerts=["BinanceKafkaUnreachable", "BinanceDeliveryFailing"],
            states={"1": ("UP", GREEN), "0": ("AWAY", RED)},
            height=8,
        ),
        Numbers(
            "Schema",
            About(
                "Whether the schema's id came from the registry or, because that did not answer, from the copy on the disk.",
                "REGISTRY. A copy is as good until the schema changes.",
                "The registry; a restart of the client asks it again.",
            ),
            "none",
            [
                Query("k2_schema_pinned{}"),
            ],
            alerts=["BinanceSchemaPinned"],
            states={"0": ("REGISTRY", GREEN), "1": ("COPY", YELLOW)},
            height=8,
        ),
    ],
)

DEAD_LETTERS = Row(
    "Dead letters",
    [
        Lines(
            "Dead letters by reason",
            About(
                "New dead letters: of events that could not be understood, and of records that Kafka refused.",
                "None.",
                "`k2 dlq list` and `k2 dlq show`; the runbook on dead letters tells how to sort and replay them.",
            ),
            "none",
            [
                Query("sum by (reason) (increase(k2_dead_letters_total{}[$__rate_interval]))", "event: {{reason}}"),
                Query(
                    "sum by (reason) (increase(k2_dead_letter_records_total{}[$__rate_interval]))",
                    "record: {{reason}}",
                ),
            ],
            alerts=["BinanceDeadLettersGrowing", "BinanceRecordsRefused"],
            beside=True,
            width=12,
        ),
        Lines(
            "Writing of dead letters",
            About(
                "Dead letters accepted and not yet on the disk, and attempts to write that failed.",
                "0 and 0. Pending ones are in memory only: they are what a crash would cost.",
                "The disk: space, rights, and whether the directory is there.",
            ),
            "none",
            [
                Query("sum(k2_dead_letters_pending{})", "pending"),
                Query("sum(increase(k2_dead_letter_write_failures_total{}[$__rate_interval]))", "failed attempts"),
            ],
            colours={"pending": YELLOW, "failed attempts": RED},
        ),
        Numbers(
            "Dead letters writable",
            About(
                "Whether dead letters can be written.",
                "YES. The client stops before it loses one.",
                "The directory of the dead letters: space and rights.",
            ),
            "none",
            [
                Query("k2_dead_letters_writable{}"),
            ],
            alerts=["BinanceDeadLettersNotWritable"],
            states={"1": ("YES", GREEN), "0": ("NO", RED)},
            height=8,
        ),
    ],
)

WHAT_RUNS = Row(
    "What runs",
    [
        Labels(
            "Program",
            About(
                "The program that runs, by instance.",
                "The same versions on all instances, apart from an upgrade that is under way.",
                "The changelog, where a change of behaviour falls together with a change here.",
            ),
            "k2_build_info{}",
            columns={
                "instance": "Instance",
                "version": "k2",
                "python": "Python",
                "librdkafka": "librdkafka",
                "transport": "WebSocket",
            },
            width=12,
        ),
        Labels(
            "Schema in use",
            About(
                "The schema that records are written with, by instance.",
                "One id and one fingerprint for all instances.",
                "The subject's versions in the registry.",
            ),
            "k2_schema_info{}",
            columns={"instance": "Instance", "subject": "Subject", "schema_id": "Id", "fingerprint": "Fingerprint"},
            widths={"Instance": 150, "Id": 60, "Fingerprint": 170},
            width=12,
        ),
    ],
)

ROWS = (AT_A_GLANCE, EXCHANGE, DECODE, PRODUCER, KAFKA, DEAD_LETTERS, WHAT_RUNS)
