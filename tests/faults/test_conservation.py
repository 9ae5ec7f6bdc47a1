"""Whatever the broker does, the books balance: made = delivered + dead-lettered + in flight, and in the end nothing flies."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from faults.harness import TOPIC, Bench
from kit.mock_kafka import MockKafka

# Everything but what is fatal to the producer.
CODES = (
    "NO_ERROR",
    "INVALID_RECORD",
    "MSG_SIZE_TOO_LARGE",
    "INVALID_TIMESTAMP",
    "TOPIC_AUTHORIZATION_FAILED",
    "POLICY_VIOLATION",
    "NETWORK_EXCEPTION",
    "UNKNOWN",
    "TOPIC_EXCEPTION",
    "NOT_ENOUGH_REPLICAS",
    "NOT_LEADER_FOR_PARTITION",
    "REQUEST_TIMED_OUT",
    "_TRANSPORT",
)
TOO_LARGE_BYTES = 1_100_000  # more than librdkafka takes

Action = Callable[[Bench, MockKafka], None]


def named(name: str, action: Action) -> Action:
    action.__name__ = name
    return action


def sending(count: int) -> Action:
    def send(bench: Bench, _: MockKafka) -> None:
        bench.send(count)

    return named(f"send {count}", send)


def answering(codes: list[str]) -> Action:
    return named(f"answer {codes}", lambda _, mock: mock.answer_with(*codes))


def polling(times: int) -> Action:
    def poll(bench: Bench, _: MockKafka) -> None:
        for _turn in range(times):
            bench.poll()
            time.sleep(0.005)

    return named(f"poll {times}", poll)


def send_too_large(bench: Bench, _: MockKafka) -> None:
    bench.send(1, size=TOO_LARGE_BYTES)


PLAIN: tuple[Action, ...] = (
    send_too_large,
    named("down", lambda _, mock: mock.set_down()),
    named("up", lambda _, mock: mock.set_up()),
    named("slow", lambda _, mock: mock.set_delay(20)),
)
ACTIONS = st.one_of(
    st.integers(1, 60).map(sending),
    st.lists(st.sampled_from(CODES), min_size=1, max_size=5).map(answering),
    st.integers(1, 4).map(polling),
    st.sampled_from(PLAIN),
)


@given(script=st.lists(ACTIONS, min_size=4, max_size=16))
@settings(
    max_examples=12,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # an example takes a second, and threads decide its course
    suppress_health_check=[HealthCheck.too_slow],
)
def test_every_record_is_accounted_for(script: list[Action]) -> None:
    """Through any course of faults each record ends in the topic or as a dead letter, and nothing else gets there."""
    with MockKafka() as mock:
        mock.create_topic(TOPIC)
        bench = Bench(mock.bootstrap, batch_num_messages=7, queue_buffering_max_messages=40)
        for action in script:
            action(bench, mock)
            bench.assert_balanced()
        mock.forgive()
        mock.set_up()
        mock.set_delay(0)
        bench.drain()
        assert_accounted_for(bench)


def assert_accounted_for(bench: Bench) -> None:
    sent, dead = {record.value for record in bench.sent}, Counter(bench.observer.dead_values)
    stored = Counter(value for value in bench.stored_values() if value is not None)
    assert set(stored) | set(dead) == sent
    assert max(dead.values(), default=1) == 1
    assert bench.sink.delivered + bench.sink.dead == len(sent)


def test_the_order_of_a_key_survives_a_flapping_broker() -> None:
    """A broker that comes and goes costs no record and changes no order; the mock may store what it did not acknowledge twice."""
    with MockKafka() as mock:
        mock.create_topic(TOPIC)
        bench = Bench(mock.bootstrap, batch_num_messages=10, queue_buffering_max_messages=50)
        for _ in range(4):
            bench.send(60)
            mock.set_down()
            bench.poll()
            bench.send(10)
            mock.set_up()
            bench.poll_until(lambda: bench.sink.in_flight < 50)
        bench.drain()
        first_seen = list(dict.fromkeys(bench.stored_values()))
        assert first_seen == [record.value for record in bench.sent]
        assert bench.sink.dead == 0
