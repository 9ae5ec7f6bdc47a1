"""The dashboard of reliability: is anything lost, is the stream without holes, and are the promises kept."""

from __future__ import annotations

from .panels import BLUE, GREEN, RED, YELLOW, About, Lines, Numbers, Query, Row

DESCRIPTION = "Is anything lost, is the stream without holes, and are the promises kept?"
UPTIME, OBJECTIVE = 0.995, 0.99

# The state is not sampled while the client is absent, and `up` is: so absence counts as time disconnected.
CONNECTED = "sum_over_time(binance_connection_state{}[$__range]) / count_over_time(up{}[$__range])"
WITHIN = 'increase(binance_message_latency_seconds_bucket{le="0.5"}[$__range])'
ALL = "increase(binance_message_latency_seconds_count{}[$__range])"


def burn(window: str) -> str:
    """How many times faster than allowed the error budget of the latency objective is spent over this window."""
    within = f'sum(increase(binance_message_latency_seconds_bucket{{le="0.5"}}[{window}]))'
    every = f"(sum(increase(binance_message_latency_seconds_count{{}}[{window}])) > 0)"
    return f"(1 - {within} / {every}) / {1 - OBJECTIVE:.2f}"


PROMISES = Row(
    "Promises",
    [
        Numbers(
            "Uptime",
            About(
                "The share of the time shown in which the client was there and connected; of several instances the worst.",
                "At least 99.5 %, which over 30 days leaves 3.6 hours.",
                "Disconnections by cause and restarts, below.",
            ),
            "percentunit",
            [
                Query(f"min({CONNECTED})", "uptime"),
            ],
            alerts=["BinanceDisconnected", "BinanceClientAbsent"],
            limits={UPTIME: GREEN},
            base=RED,
            decimals=2,
            width=5,
        ),
        Numbers(
            "Error budget of the uptime",
            About(
                "What is left of the half per cent of the time shown in which the client may be away.",
                "Above 0. Below it the promise is broken for this time.",
                "Uptime to the left; choose 30 days above for the promise as it is meant.",
            ),
            "percentunit",
            [
                Query(f"1 - (1 - min({CONNECTED})) / {1 - UPTIME:.3f}", "left"),
            ],
            limits={0: YELLOW, 0.25: GREEN},
            base=RED,
            decimals=0,
            width=5,
        ),
        Numbers(
            "Within the latency objective",
            About(
                "The share of records that Kafka acknowledged within 0.5 s of the receipt of their frame.",
                "At least 99 %.",
                "Latency by stage on the operator's dashboard.",
            ),
            "percentunit",
            [
                Query(f"sum({WITHIN}) / sum({ALL})", "within 0.5 s"),
            ],
            alerts=["BinanceLatencyFastBurn", "BinanceLatencySlowBurn"],
            limits={OBJECTIVE: GREEN},
            base=RED,
            decimals=2,
            width=5,
        ),
        Numbers(
            "Error budget of the latency",
            About(
                "What is left of the hundredth part of records that may take longer than 0.5 s.",
                "Above 0. Below it the objective is missed for the time shown.",
                "Burn of the latency budget below: since when.",
            ),
            "percentunit",
            [
                Query(f"1 - (1 - sum({WITHIN}) / sum({ALL})) / {1 - OBJECTIVE:.2f}", "left"),
            ],
            alerts=["BinanceLatencyFastBurn", "BinanceLatencySlowBurn"],
            limits={0: YELLOW, 0.25: GREEN},
            base=RED,
            decimals=0,
            width=5,
        ),
        Numbers(
            "Up since",
            About(
                "How long ago the process began, by instance.",
                "Since the last deployment.",
                "The log's last lines before the restart: they name the exit code and the reason.",
            ),
            "dtdurations",
            [
                Query("time() - process_start_time_seconds{}"),
            ],
            alerts=["BinanceRestartLoop"],
        ),
        Lines(
            "Burn of the latency budget",
            About(
                "How many times faster than allowed the budget is spent: 1 spends it exactly, 14.4 spends a fiftieth of a "
                "month's in an hour.",
                "Below 1. A fast burn pages at 14.4 (over 5 minutes and an hour), a slow one informs at 6 (over 30 minutes and "
                "6 hours).",
                "Latency by stage on the operator's dashboard.",
            ),
            "none",
            [
                *(Query(burn(window), f"over {window}") for window in ("5m", "30m", "1h", "6h")),
            ],
            alerts=["BinanceLatencyFastBurn", "BinanceLatencySlowBurn"],
            limits={6: YELLOW, 14.4: RED},
            width=12,
            height=7,
        ),
        Lines(
            "Restarts",
            About(
                "How often the process began anew within a quarter of an hour, by instance.",
                "0, and 1 after a deployment.",
                "The log's last lines before the restart; the exit code: 2 is configuration, 69 an unreachable part, 70 fatal.",
            ),
            "none",
            [
                Query("changes(process_start_time_seconds{}[15m])"),
            ],
            alerts=["BinanceRestartLoop"],
            limits={2: RED},
            width=12,
            height=7,
            steps=True,
        ),
    ],
)

CONSERVATION = Row(
    "Conservation: nothing is lost between the socket and Kafka",
    [
        Numbers(
            "Events unaccounted",
            About(
                "received - published - dead-lettered - ignored.",
                "0, at every moment. Anything else is a defect of the client.",
                "The log around the first such moment; keep the dead-letter file and the log for the report.",
            ),
            "none",
            [
                Query("sum(abs(k2_events_unaccounted{}))", "events"),
            ],
            alerts=["BinanceConservationBroken"],
            limits={1: RED},
            filled=True,
        ),
        Numbers(
            "Records unaccounted",
            About(
                "made - delivered - dead-lettered - spooled - in flight.",
                "0, at every moment. Anything else is a defect of the client.",
                "The log around the first such moment; keep the dead-letter file and the log for the report.",
            ),
            "none",
            [
                Query("sum(abs(k2_records_unaccounted{}))", "records"),
            ],
            alerts=["BinanceConservationBroken"],
            limits={1: RED},
            filled=True,
        ),
        Numbers(
            "The ledger of events",
            About(
                "What was received since each process started, and what became of it. Both sides are of one scrape, so "
                "they agree to the last digit.",
                "received = published + dead-lettered + ignored.",
                "Ignored by reason and dead letters by reason, below.",
            ),
            "none",
            [
                Query("sum(binance_messages_received_total{})", "received"),
                Query("sum(k2_events_published_total{})", "published"),
                Query("sum(binance_message_errors_total{})", "dead-lettered"),
                Query("sum(k2_events_ignored_total{})", "ignored"),
            ],
            decimals=0,
            width=8,
        ),
        Numbers(
            "The ledger of records",
            About(
                "Records made since each process started, what became of them, and those still on their way. Both sides are of "
                "one scrape, so they agree to the last digit.",
                "made = delivered + dead-lettered + spooled + in flight.",
                "Records on their way, on the operator's dashboard; dead letters of records, below.",
            ),
            "none",
            [
                Query("sum(k2_records_made_total{})", "made"),
                Query("sum(k2_records_delivered_total{})", "delivered"),
                Query("sum(k2_records_dead_lettered_total{})", "dead-lettered"),
                Query("sum(k2_records_spooled{})", "spooled"),
                Query("sum(k2_records_in_flight{})", "in flight"),
            ],
            decimals=0,
            width=8,
        ),
    ],
)

CONTINUITY = Row(
    "Continuity: no hole in the exchange's ids",
    [
        Lines(
            "Holes open",
            About(
                "Holes in the exchange's contiguous ids that are still open.",
                "0. Each reconnection may leave one a symbol.",
                "The log: `Gap in the exchange's ids` names symbol, first and last id.",
            ),
            "none",
            [
                Query("sum(k2_gaps_open{})", "holes"),
            ],
            alerts=["BinanceSequenceGap"],
            colours={"holes": YELLOW},
            steps=True,
            width=6,
        ),
        Lines(
            "Ids missing, by instance",
            About(
                "Ids in those holes: trades that the topic lacks.",
                "0.",
                "Disconnections at the same time; without one the exchange skipped ids.",
            ),
            "none",
            [
                Query("k2_ids_missing{}"),
            ],
            alerts=["BinanceSequenceGap"],
            steps=True,
            width=6,
        ),
        Lines(
            "Ids skipped and filled",
            About(
                "Holes that opened, ids in them, and ids that came late and filled one.",
                "0. Late ones carry a header in the topic.",
                "Disconnections by cause.",
            ),
            "none",
            [
                Query("sum(increase(k2_gaps_total{}[$__rate_interval]))", "holes opened"),
                Query("sum(increase(k2_gap_ids_skipped_total{}[$__rate_interval]))", "ids skipped"),
                Query("sum(increase(k2_gap_ids_filled_total{}[$__rate_interval]))", "ids that came late"),
            ],
            alerts=["BinanceSequenceGap"],
            colours={"holes opened": YELLOW, "ids skipped": RED, "ids that came late": GREEN},
            width=6,
        ),
        Lines(
            "Holes forgotten, ids that began anew",
            About(
                "Holes no longer waited for because too many were open, and times that the exchange's ids began anew.",
                "0. Testnets begin anew about once a month.",
                "The log: `Gap forgotten`, `The exchange's ids began anew`.",
            ),
            "none",
            [
                Query("sum(increase(k2_gaps_forgotten_total{}[$__rate_interval]))", "holes forgotten"),
                Query("sum(increase(k2_sequence_resets_total{}[$__rate_interval]))", "ids began anew"),
            ],
            alerts=["BinanceGapsForgotten", "BinanceSequenceReset"],
            colours={"holes forgotten": RED, "ids began anew": BLUE},
            width=6,
        ),
    ],
)

CONNECTIONS = Row(
    "Connections and silence",
    [
        Lines(
            "Disconnections by cause",
            About(
                "Connections that ended, by cause.",
                "None to a few a day: the exchange ends every connection within 24 hours.",
                "reset and pong_timeout: the network. silence: the exchange. hold: Kafka. server_shutdown: maintenance.",
            ),
            "none",
            [
                Query("sum by (cause) (increase(k2_disconnections_total{}[$__rate_interval]))", "{{cause}}"),
            ],
            alerts=["BinanceReconnectStorm"],
        ),
        Lines(
            "Refused and failed attempts by kind",
            About(
                "Attempts to connect that failed, by kind.",
                "None.",
                "http_429, http_418: too many attempts from this address. http_451: a restricted location. dns, tls: set-up.",
            ),
            "none",
            [
                Query("sum by (kind) (increase(k2_connection_errors_by_kind_total{}[$__rate_interval]))", "{{kind}}"),
            ],
            alerts=["BinanceAccessRefused", "BinanceReconnectStorm"],
        ),
        Lines(
            "Reconnections and failures in 10 minutes",
            About(
                "Connections made anew, attempts that failed, and subscriptions that the exchange refused, within 10 minutes.",
                "0 to 2. More than ten is a storm.",
                "The two panels to the left: cause and kind.",
            ),
            "none",
            [
                Query("sum(increase(binance_reconnections_total{}[10m]))", "reconnections"),
                Query("sum(increase(binance_connection_errors_total{}[10m]))", "failed attempts"),
                Query("sum(increase(k2_subscriptions_refused_total{}[10m]))", "subscriptions refused"),
            ],
            alerts=["BinanceReconnectStorm", "BinanceSubscriptionRefused"],
            limits={10: YELLOW},
            colours={"reconnections": BLUE, "failed attempts": RED, "subscriptions refused": YELLOW},
        ),
        Lines(
            "Age of the latest event, by stream",
            About(
                "How long ago the exchange's latest event of a stream was: the ten that have been still for longest.",
                "Below a second for busy symbols, minutes for rare ones.",
                "A stream far above its neighbours: is the symbol still traded?",
            ),
            "s",
            [
                Query("topk(10, time() - (k2_stream_last_event_timestamp_seconds{} > 0))", "{{stream}}"),
            ],
            alerts=["BinanceStreamSilent"],
        ),
        Lines(
            "Silent streams, unknown symbols",
            About(
                "Subscribed streams that brought no event for longer than the silence time-out, and configured symbols that the "
                "exchange does not know.",
                "0 and 0.",
                "Age of the latest event to the left names the streams; so does the log, `Streams fell silent`.",
            ),
            "none",
            [
                Query("k2_streams_silent{}", "silent {{instance}}"),
                Query("k2_unknown_symbols{}", "unknown {{instance}}"),
            ],
            alerts=["BinanceStreamSilent", "BinanceUnknownSymbols"],
            steps=True,
        ),
        Lines(
            "Frames of the exchange's protocol",
            About(
                "Answers to subscriptions and announcements of the exchange, by kind.",
                "A few after each connection.",
                "refused: the log names the streams. server_shutdown: a reconnection follows within minutes.",
            ),
            "none",
            [
                Query("sum by (kind) (increase(k2_control_frames_total{}[$__rate_interval]))", "{{kind}}"),
            ],
            alerts=["BinanceSubscriptionRefused"],
        ),
    ],
)

DEAD_LETTERS = Row(
    "Dead letters",
    [
        Lines(
            "Dead letters of events, by stage and reason",
            About(
                "Events that could not be understood: at which stage, and why.",
                "None.",
                "`k2 dlq show` has the exact bytes and what was wrong with them.",
            ),
            "none",
            [
                Query(
                    "sum by (stage, reason) (increase(k2_dead_letters_total{}[$__rate_interval]))",
                    "{{stage}}: {{reason}}",
                ),
            ],
            beside=True,
            alerts=["BinanceDeadLettersGrowing", "BinanceHighErrorRate"],
        ),
        Lines(
            "Dead letters of records, by reason",
            About(
                "Records that could not be delivered, and why.",
                "None.",
                "delivery_rejected: Kafka refuses them; errors by code tell why. not_delivered_at_shutdown: replay them.",
            ),
            "none",
            [
                Query("sum by (reason) (increase(k2_dead_letter_records_total{}[$__rate_interval]))", "{{reason}}"),
            ],
            alerts=["BinanceRecordsRefused"],
        ),
        Lines(
            "Written, pending and failed",
            About(
                "Dead letters written to the disk, those that wait for it, and attempts that failed.",
                "None pending, none failed.",
                "Free space of the directories, on the capacity dashboard.",
            ),
            "none",
            [
                Query("sum(increase(k2_dead_letters_written_total{}[$__rate_interval]))", "written"),
                Query("sum(k2_dead_letters_pending{})", "pending"),
                Query("sum(increase(k2_dead_letter_write_failures_total{}[$__rate_interval]))", "failed"),
            ],
            alerts=["BinanceDeadLettersNotWritable"],
            colours={"written": BLUE, "pending": YELLOW, "failed": RED},
        ),
    ],
)

DELIVERY = Row(
    "Delivery",
    [
        Lines(
            "Delivery errors by code",
            About(
                "Failed deliveries and errors of the Kafka client, all together and by librdkafka's code. A code has no line "
                "for its first error, the sum has.",
                "None.",
                "The page of errors lists every code with its course and what to do.",
            ),
            "none",
            [
                Query('sum(increase(kafka_produce_errors_total{exchange="BINANCE"}[$__rate_interval]))', "all"),
                Query("sum by (code) (increase(k2_producer_errors_by_code_total{}[$__rate_interval]))", "{{code}}"),
            ],
            alerts=["BinanceDeliveryFailing", "BinanceKafkaUnreachable"],
            dashed=["all"],
        ),
        Lines(
            "Records retried alone",
            About(
                "Records produced once more alone because the broker refused the batch that they were in.",
                "None. They come after younger ones and carry a header.",
                "Dead letters of records: those that failed alone too.",
            ),
            "none",
            [
                Query("sum(increase(k2_records_retried_alone_total{}[$__rate_interval]))", "records"),
            ],
            alerts=["BinanceRecordsRefused"],
        ),
        Lines(
            "Producer renewed, reading held",
            About(
                "Times that the producer was made anew after a fatal error, that reading was paused, and that the connection was "
                "closed on purpose because a pause lasted too long.",
                "None.",
                "The broker. Four renewals in ten minutes end the client with exit code 70.",
            ),
            "none",
            [
                Query("sum(increase(k2_producer_renewals_total{}[$__rate_interval]))", "renewals"),
                Query("sum(increase(k2_reading_pauses_total{}[$__rate_interval]))", "pauses"),
                Query("sum(increase(k2_reading_holds_total{}[$__rate_interval]))", "holds"),
            ],
            alerts=["BinanceProducerRenewed", "BinanceReadingPaused"],
            colours={"renewals": RED, "pauses": BLUE, "holds": YELLOW},
        ),
        Lines(
            "Events ignored, by reason",
            About(
                "Well-formed events that are not published, and why.",
                "None to a few: what comes twice around a reconnection.",
                "not_a_trade: the exchange sends something that no stream of ours asked for.",
            ),
            "none",
            [
                Query("sum by (reason) (increase(k2_events_ignored_total{}[$__rate_interval]))", "{{reason}}"),
            ],
            width=12,
            height=6,
        ),
        Lines(
            "Unknown fields",
            About(
                "Fields that the exchange sent and we do not know; each is counted once while the process lives.",
                "0. A new one does no harm: it is ignored and named in the log.",
                "The exchange's changelog; the log, `The exchange sent an unknown field`.",
            ),
            "none",
            [
                Query("k2_unknown_fields_total{}"),
            ],
            alerts=["BinanceSchemaDrift"],
            steps=True,
            width=12,
            height=6,
        ),
    ],
)

ROWS = (PROMISES, CONSERVATION, CONTINUITY, CONNECTIONS, DEAD_LETTERS, DELIVERY)
