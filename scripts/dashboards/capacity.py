"""The dashboard of capacity: how much comes, how much room is left, and when it will be full."""

from __future__ import annotations

from .panels import BLUE, GREEN, RED, YELLOW, About, Lines, Numbers, Query, Row

DESCRIPTION = "How much comes, how much room is left, and when it will be full."

GLANCE = Row(
    "How much room is left?",
    [
        Numbers(
            "Frames",
            About(
                "WebSocket messages received in a second, frames of the protocol included.",
                "What the market gives.",
                "Events by stream: which symbol brings them.",
            ),
            "mps",
            [
                Query("sum(rate(k2_frames_received_total{}[$__rate_interval]))", "frames"),
            ],
        ),
        Numbers(
            "CPU",
            About(
                "CPU seconds in a second, of the busiest instance: 100 % is one core, and the event loop has one.",
                "Below 50 %.",
                "Above 80 %: share the symbols among more instances.",
            ),
            "percentunit",
            [
                Query("max(rate(process_cpu_seconds_total{}[$__rate_interval]))", "CPU"),
            ],
            limits={0.5: YELLOW, 0.8: RED},
        ),
        Numbers(
            "Memory",
            About(
                "Resident memory of the largest instance.",
                "About constant, and more while the queue is full.",
                "The producer's queue: its bytes are in here.",
            ),
            "bytes",
            [
                Query("max(process_resident_memory_bytes{})", "memory"),
            ],
        ),
        Numbers(
            "Queue",
            About(
                "How full the producer's queue is, by its caps of messages and of bytes. At 90 % of either reading pauses.",
                "Near 0 %.",
                "Kafka, on the operator's dashboard.",
            ),
            "percentunit",
            [
                Query("max(k2_producer_queue_messages{} / k2_producer_queue_capacity_messages{})", "messages"),
                Query("max(k2_producer_queue_bytes{} / k2_producer_queue_capacity_bytes{})", "bytes"),
            ],
            decimals=1,
            alerts=["BinanceQueueNearlyFull"],
            limits={0.2: YELLOW, 0.8: RED},
        ),
        Numbers(
            "Event loop's lag",
            About(
                "How late the event loop's timer came, the worst of the last interval and of all instances.",
                "A few milliseconds.",
                "CPU: the machine's and ours. A second and more means that something blocks.",
            ),
            "s",
            [
                Query("max(k2_event_loop_lag_seconds{})", "lag"),
            ],
            alerts=["BinanceEventLoopBlocked"],
            limits={0.1: YELLOW, 1: RED},
        ),
        Numbers(
            "Free on the disk",
            About(
                "The free share of the file system that has the least room among those that we write to.",
                "Above 40 %.",
                "Free space of the directories, below: which one, and when it is full.",
            ),
            "percentunit",
            [
                Query("min(k2_directory_free_bytes{} / k2_directory_capacity_bytes{})", "free"),
            ],
            alerts=["BinanceDirectoryAlmostFull"],
            limits={0.1: YELLOW, 0.4: GREEN},
            base=RED,
        ),
    ],
)

LOAD = Row(
    "Load",
    [
        Lines(
            "Messages per second",
            About(
                "Frames received and records acknowledged by Kafka.",
                "The two lie on each other: a frame carries one event.",
                "Records on their way, on the operator's dashboard.",
            ),
            "mps",
            [
                Query("sum(rate(k2_frames_received_total{}[$__rate_interval]))", "received"),
                Query('sum(rate(k2_records_delivered_total{origin="stream"}[$__rate_interval]))', "delivered"),
            ],
            colours={"received": BLUE, "delivered": GREEN},
        ),
        Lines(
            "Bytes per second",
            About(
                "Bytes of the frames received, by instance.",
                "About 200 bytes a frame.",
                "The network's limit; `--compression` trades it for CPU.",
            ),
            "Bps",
            [
                Query("rate(k2_frame_bytes_received_total{}[$__rate_interval])"),
            ],
        ),
        Lines(
            "Events by stream",
            About(
                "Events published in a second, the ten busiest streams.",
                "A few symbols bring most.",
                "For sharing the symbols among instances: the busiest ones apart.",
            ),
            "eps",
            [
                Query("topk(10, sum by (stream) (rate(k2_stream_events_published_total{}[$__rate_interval])))", "{{stream}}"),
            ],
        ),
    ],
)

QUEUE = Row(
    "The producer's queue against its cap",
    [
        Lines(
            "Messages in the queue",
            About(
                "Messages in librdkafka's queue, its cap, and where it will be in ten minutes if it goes on as in the last five.",
                "Near 0.",
                "Kafka, on the operator's dashboard. At 90 % of the cap reading pauses.",
            ),
            "short",
            [
                Query("sum(k2_producer_queue_messages{})", "queued"),
                Query("sum(clamp_min(predict_linear(k2_producer_queue_messages{}[5m], 600), 0))", "in 10 minutes"),
                Query("sum(k2_producer_queue_capacity_messages{})", "cap"),
            ],
            alerts=["BinanceQueueNearlyFull", "BinanceQueueFullSoon"],
            colours={"queued": BLUE, "in 10 minutes": YELLOW, "cap": RED},
            dashed=["in 10 minutes", "cap"],
        ),
        Lines(
            "Bytes in the queue",
            About(
                "The same in bytes.",
                "Near 0.",
                "Kafka, on the operator's dashboard.",
            ),
            "bytes",
            [
                Query("sum(k2_producer_queue_bytes{})", "queued"),
                Query("sum(clamp_min(predict_linear(k2_producer_queue_bytes{}[5m], 600), 0))", "in 10 minutes"),
                Query("sum(k2_producer_queue_capacity_bytes{})", "cap"),
            ],
            alerts=["BinanceQueueNearlyFull", "BinanceQueueFullSoon"],
            colours={"queued": BLUE, "in 10 minutes": YELLOW, "cap": RED},
            dashed=["in 10 minutes", "cap"],
        ),
        Lines(
            "Overflow",
            About(
                "Records that wait because librdkafka's queue is full or the topic refuses them.",
                "0.",
                "The broker, and the topic's rights.",
            ),
            "short",
            [
                Query("k2_overflow_records{}"),
            ],
            alerts=["BinanceReadingPaused"],
        ),
    ],
)

BATCHES = Row(
    "Batches and requests",
    [
        Lines(
            "Records in a batch",
            About(
                "Average records in a batch, over librdkafka's last window.",
                "More load makes larger batches, which cost less a record.",
                "If it is 1 at a high rate: the linger time is too short.",
            ),
            "none",
            [
                Query("k2_producer_batch_records{}"),
            ],
        ),
        Lines(
            "Bytes in a batch",
            About(
                "Average bytes of a batch, over librdkafka's last window.",
                "Below the broker's largest message.",
                "The topic's `max.message.bytes`.",
            ),
            "bytes",
            [
                Query("k2_producer_batch_bytes{}"),
            ],
        ),
        Lines(
            "Requests to Kafka",
            About(
                "Requests sent to Kafka in a second.",
                "Far fewer than records: they are batched.",
                "Records in a batch.",
            ),
            "reqps",
            [
                Query("rate(k2_producer_requests_total{}[$__rate_interval])"),
            ],
        ),
    ],
)

PROCESS = Row(
    "The process",
    [
        Lines(
            "CPU by instance",
            About(
                "CPU seconds in a second: 100 % is one core.",
                "Below 50 %. librdkafka's threads count too, so more than 100 % is possible.",
                "CPU for a message: did the load grow, or the price?",
            ),
            "percentunit",
            [
                Query("rate(process_cpu_seconds_total{}[$__rate_interval])"),
            ],
            limits={0.8: RED},
        ),
        Lines(
            "CPU for a message",
            About(
                "CPU time divided by events received.",
                "Some tens of microseconds at high rates; more where few come, for a fixed part is shared by fewer.",
                "A rise at the same load: what was deployed then?",
            ),
            "s",
            [
                Query(
                    "rate(process_cpu_seconds_total{}[$__rate_interval]) "
                    "/ (rate(binance_messages_received_total{}[$__rate_interval]) > 0)"
                ),
            ],
        ),
        Lines(
            "Memory by instance",
            About(
                "Resident memory.",
                "About constant, after the first minutes.",
                "A steady rise over days: a leak. Together with the queue: the broker.",
            ),
            "bytes",
            [
                Query("process_resident_memory_bytes{}", "{{instance}}"),
            ],
        ),
        Lines(
            "Event loop's lag by instance",
            About(
                "How late the event loop's timer came, the worst of each interval.",
                "A few milliseconds.",
                "Pauses of the garbage collector to the right; then what else runs on the machine.",
            ),
            "s",
            [
                Query("k2_event_loop_lag_seconds{}"),
            ],
            alerts=["BinanceEventLoopBlocked"],
            limits={1: RED},
        ),
        Lines(
            "Descriptors",
            About(
                "Open files and sockets, as a share of how many there may be.",
                "Below 1 %, and about constant.",
                "A steady rise: a leak.",
            ),
            "percentunit",
            [
                Query("process_open_fds{} / process_max_fds{}"),
            ],
            limits={0.8: RED},
        ),
        Lines(
            "Garbage collections",
            About(
                "Runs of Python's garbage collector in a second, by generation.",
                "The oldest generation nearly never.",
                "Many of the oldest: something makes many objects that live long.",
            ),
            "ops",
            [
                Query("sum by (generation) (rate(python_gc_collections_total{}[$__rate_interval]))", "generation {{generation}}"),
            ],
        ),
    ],
)

DISK = Row(
    "Disk",
    [
        Lines(
            "Free share of the directories",
            About(
                "The free share of the file system under each directory that we write to.",
                "Above 40 %. Below 10 % it alerts.",
                "Who fills it: our files are named in the runbook, others may share the file system.",
            ),
            "percentunit",
            [
                Query("k2_directory_free_bytes{} / k2_directory_capacity_bytes{}", "{{directory}} {{instance}}"),
            ],
            alerts=["BinanceDirectoryAlmostFull"],
            limits={0.1: RED},
            ceiling=1,
            width=12,
        ),
        Lines(
            "Free share in four hours",
            About(
                "Where the free share will be in four hours if it goes on as in the last one.",
                "About where it is now.",
                "Dead letters by reason: a flood of them fills a disk fastest.",
            ),
            "percentunit",
            [
                Query(
                    "clamp_min(predict_linear(k2_directory_free_bytes{}[1h], 14400), 0) / k2_directory_capacity_bytes{}",
                    "{{directory}} {{instance}}",
                ),
            ],
            alerts=["BinanceDirectoryFullSoon"],
            limits={0.1: RED},
            ceiling=1,
            width=12,
        ),
    ],
)

ROWS = (GLANCE, LOAD, QUEUE, BATCHES, PROCESS, DISK)
