"""A producer that breaks for good under load on a real broker: nothing is lost, and what comes twice says so."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError

from faults.harness import Bench
from kit.fatal import break_for_good

if TYPE_CHECKING:
    from kit.kafka import KafkaBroker

KEYS = (b"BTCUSDT", b"ETHUSDT", b"BNBUSDT")
ROUNDS, IN_A_ROUND = 30, 300
BREAKS_IN = (10, 20)


def test_a_fatal_error_under_load_loses_nothing(kafka: KafkaBroker, topic: str) -> None:
    """
    Twice the producer meets a fatal error while records are in its queue and under way.

    Every record is in the topic. Within a key the unmarked ones are in order and there once; only records that carry
    `k2-source: late` come again or after younger ones.
    """
    kafka.create_topic(topic, 3)
    bench = Bench(kafka.bootstrap, topic, linger_ms=1)
    for number in range(ROUNDS):
        for key in KEYS:
            bench.send(IN_A_ROUND // len(KEYS), key=key)
        if number in BREAKS_IN:
            break_for_good(bench.sink._producers._main, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "on purpose")
        bench.poll()
    bench.drain()
    sink = bench.sink
    assert (sink.renewals.count, sink.fatal, sink.dead) == (len(BREAKS_IN), "", 0)
    assert sink.delivered == len(bench.sent)

    stored = bench.stored()
    assert {record.payload for record in stored} == {record.value for record in bench.sent}
    for key in KEYS:
        unmarked = [record.payload or b"" for record in stored if record.key == key.decode() and not record.headers]
        assert all(earlier < later for earlier, later in pairwise(unmarked))
    counts = Counter(record.payload for record in stored)
    marked = {record.payload for record in stored if record.headers == {"k2-source": b"late"}}
    assert marked
    assert {payload for payload, count in counts.items() if count > 1} <= marked
