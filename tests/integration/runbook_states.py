"""The states that a runbook's reader may find the client in, each brought about for real, and what the commands show in them."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from confluent_kafka import Consumer

from integration.runbook_stack import LETTERS, Stack
from integration.support import generated, wait_until
from k2.simulator.faults import Clear, Garbage, Refuse, Reset, Silence, Skip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

STREAM = "bnbusdt@aggTrade"
SMALL_QUEUE = 2_000
GROUP = "k2-iceberg-writer-crypto-v2"
FORGOTTEN = 1_010  # holes, of which a thousand are remembered


class Shown(NamedTuple):
    """A block, as page#heading/number, and the patterns that its output must hold."""

    place: str
    patterns: tuple[str, ...]


class State(NamedTuple):
    """A state with the commands that are run in it, in this order. `programs` are what the machine must have for it."""

    enter: Callable[[Stack], AbstractContextManager[None]]
    shown: tuple[Shown, ...]
    programs: tuple[str, ...] = ()


def event(trade_id: int, later_ms: int = 0, **more: object) -> bytes:
    """A frame with an aggregated trade of our choice."""
    now_ms = int(time.time() * 1_000) + later_ms
    trade = {"e": "aggTrade", "E": now_ms, "s": "BNBUSDT", "a": trade_id, "p": "1.0", "q": "1.0", "f": 1, "l": 1, "T": now_ms}
    return json.dumps({"stream": STREAM, "data": {**trade, "m": True, "M": True, **more}}).encode()


@contextmanager
def streaming(stack: Stack) -> Iterator[None]:
    """All is well."""
    stack.streaming()
    yield


@contextmanager
def watched(stack: Stack) -> Iterator[None]:
    """All is well, and Prometheus has seen it for a moment."""
    assert stack.prometheus is not None
    prometheus = stack.prometheus
    stack.streaming()
    rate = 'rate(kafka_messages_produced_total{exchange="BINANCE"}[5m]) > 0'
    wait_until(lambda: prometheus.query(rate), "a rate in Prometheus", 60)
    yield


@contextmanager
def refused(stack: Stack) -> Iterator[None]:
    """The exchange cuts the connection and refuses new ones."""
    client = stack.streaming()
    stack.exchange.inject(Refuse(status=503), Reset())
    client.wait_for_event("Connection refused by the exchange")
    try:
        yield
    finally:
        stack.exchange.inject(Clear())


@contextmanager
def rate_limited(stack: Stack) -> Iterator[None]:
    """The exchange answers that there were too many attempts."""
    client = stack.streaming()
    stack.exchange.inject(Refuse(status=429), Reset())
    client.wait_for_event("Connection refused by the exchange: rate limit (429)")
    try:
        yield
    finally:
        stack.exchange.inject(Clear())


@contextmanager
def silent(stack: Stack) -> Iterator[None]:
    """The connection is open and brings nothing; a new one would."""
    stack.streaming()
    stack.exchange.inject(Silence())
    yield


@contextmanager
def one_stream_silent(stack: Stack) -> Iterator[None]:
    client = stack.streaming(K2_SILENCE_TIMEOUT="1")
    stack.exchange.inject(Silence(streams=(STREAM,)))
    client.wait_for_event("Streams fell silent")
    try:
        yield
    finally:
        stack.exchange.inject(Clear())


@contextmanager
def failing_events(stack: Stack) -> Iterator[None]:
    """Events of many kinds that make no sense, and one that the schema has no room for."""
    client = stack.streaming()
    stack.exchange.inject(Garbage(), Garbage(frames=(event(10**7, p="1e400"), event(10**7, p="0.123456789"))))
    client.wait_for_metric("k2_dead_letters_written_total", 5)
    _age_a_letter(stack.container.volumes[LETTERS])
    yield


def _age_a_letter(directory: Path) -> None:
    """Put a letter of a day long past beside those of today."""
    letter = json.loads(max(directory.glob("binance-*.jsonl")).read_text(encoding="utf-8").splitlines()[0])
    letter |= {"id": str(uuid4()), "failed_at": "2020-01-01T00:00:00Z"}
    (directory / "binance-20200101.jsonl").write_text(f"{json.dumps(letter)}\n", encoding="utf-8")


@contextmanager
def unwritable_letters(stack: Stack) -> Iterator[None]:
    """The directory of the dead letters has become a file: not even root can write there."""
    client = stack.streaming()
    directory = stack.container.volumes[LETTERS]
    kept = directory.rename(directory.with_name("kept"))
    directory.write_bytes(b"")
    stack.exchange.inject(Garbage(frames=(b"{",)))
    client.wait_for_event("Dead letters cannot be written")
    try:
        yield
    finally:
        directory.unlink()
        kept.rename(directory)
        client.wait_for_event("Dead letters can be written again")


@contextmanager
def ended(stack: Stack) -> Iterator[None]:
    """The client was killed; afterwards the command of the runbook has brought it back."""
    client = stack.streaming()
    client.kill()
    wait_until(lambda: not client.is_running, "its end")
    try:
        yield
    finally:
        assert stack.run("docker compose up -d --no-deps binance-client").returncode == 0
        stack.client.wait_for_event("Subscribed", timeout=60)


@contextmanager
def restarting(stack: Stack) -> Iterator[None]:
    """It ends again and again: here, because somebody has set something that it refuses."""
    stack.fresh({"K2_MARKET": "nasdaq"})
    for _ in range(2):
        wait_until(lambda: not stack.client.is_running, "its end")
        stack.docker(["compose", "restart", "binance-client"])
    wait_until(lambda: not stack.client.is_running, "its end")
    yield


@contextmanager
def gaps(stack: Stack) -> Iterator[None]:
    """Trades were missed while a connection was cut, and the exchange left some out beside."""
    client = stack.streaming()
    stack.exchange.inject(Skip("BTCUSDT", 3))
    client.wait_for_event("Gap in the exchange's ids")
    stack.exchange.inject(Reset())
    client.wait_for_event("Connection closed")
    client.wait_for_event("Connected", nth=2)
    yield


@contextmanager
def too_many_gaps(stack: Stack) -> Iterator[None]:
    client = stack.streaming()
    frames = tuple(event(10**6 + 2 * number) for number in range(FORGOTTEN))
    stack.exchange.inject(Garbage(frames=frames, stream=STREAM))
    client.wait_for_event("Gap forgotten: too many are open")
    yield


@contextmanager
def ids_anew(stack: Stack) -> Iterator[None]:
    """The ids of a symbol begin far below, later in time."""
    client = stack.streaming()
    stack.exchange.inject(Garbage(frames=(event(10**6), event(7, later_ms=60_000)), stream=STREAM))
    client.wait_for_event("The exchange's ids began anew")
    yield


@contextmanager
def unknown_field(stack: Stack) -> Iterator[None]:
    client = stack.streaming()
    stack.exchange.inject(Garbage(frames=(event(10**6, zz="new"),), stream=STREAM))
    client.wait_for_event("The exchange sent an unknown field")
    yield


@contextmanager
def unknown_symbol(stack: Stack) -> Iterator[None]:
    client = stack.fresh({"BINANCE_SYMBOLS": "BTCUSDT,NOSUCHUSDT"})
    client.wait_for_event("The exchange does not know these symbols; the others stream", timeout=60)
    yield


@contextmanager
def subscription_refused(stack: Stack) -> Iterator[None]:
    """The exchange allows fewer streams on a connection than are asked for."""
    before = stack.exchange
    with type(before)(generated(100), max_streams=2) as narrow:
        stack.exchange = narrow
        stack.fresh().wait_for_event("Subscription refused", timeout=60)
        try:
            yield
        finally:
            stack.exchange = before


@contextmanager
def refused_records(stack: Stack) -> Iterator[None]:
    """The topic takes smaller records only."""
    client = stack.streaming()
    stack.kafka.set_topic(stack.topic, "max.message.bytes", "100")
    client.wait_for_metric("k2_dead_letter_records_total", 1, 60, reason="too_large")
    try:
        yield
    finally:
        stack.kafka.set_topic(stack.topic, "max.message.bytes", "1048588")


@contextmanager
def broker_away(stack: Stack) -> Iterator[None]:
    client = stack.streaming()
    stack.kafka.stop()
    client.wait_for_event("Broker lost: records wait until it answers", timeout=60)
    client.wait_for_event("Failed to produce: the Kafka client reports an error and goes on trying", timeout=60)
    try:
        yield
    finally:
        assert stack.run("docker compose up -d kafka").returncode == 0
        client.wait_for_event("Broker answers again", timeout=60)


@contextmanager
def paused(stack: Stack) -> Iterator[None]:
    """Kafka hangs, and the queue is full."""
    client = stack.streaming(K2_QUEUE_MESSAGES=str(SMALL_QUEUE))
    stack.kafka.pause()
    client.wait_for_event("Reading paused: Kafka is slower than the exchange", timeout=60)
    try:
        yield
    finally:
        stack.kafka.resume()
        client.wait_for_event("Reading resumed", timeout=60)


@contextmanager
def renewed(stack: Stack) -> Iterator[None]:
    """The broker crashed and lost the end of what it had acknowledged, in a topic that only this client has written to."""
    with own_topic(stack, partitions=3):
        client = stack.streaming()
        client.wait_for_produced(300)
        stack.kafka.kill()
        for partition in (stack.kafka.directory / "data").glob(f"{stack.topic}-*"):
            for snapshot in partition.glob("*.snapshot"):
                snapshot.unlink()
            for log in partition.glob("*.log"):
                os.truncate(log, log.stat().st_size // 2)
        stack.kafka.start()
        client.wait_for_event("Producer made anew after a fatal error: what it held is sent again", timeout=60)
        yield


@contextmanager
def own_topic(stack: Stack, partitions: int) -> Iterator[None]:
    """Let the stack use a topic that nothing else has."""
    before, stack.prefix = stack.prefix, f"test.{uuid4().hex[:12]}"
    stack.kafka.create_topic(stack.topic, partitions)
    try:
        yield
    finally:
        stack.prefix = before


@contextmanager
def registry_away(stack: Stack) -> Iterator[None]:
    """A client starts without a copy of the schema's id, and the registry does not answer."""
    stack.streaming()
    stack.registry.stop()
    stack.fresh().wait_for_event("Waiting for the registry", timeout=60)
    try:
        yield
    finally:
        assert stack.run("docker compose up -d schema-registry").returncode == 0
        stack.client.wait_for_event("Schema resolved", timeout=60)


@contextmanager
def pinned(stack: Stack) -> Iterator[None]:
    """The same, and it has a copy."""
    stack.streaming()
    stack.registry.stop()
    client = stack.fresh(keep_state=True)
    client.wait_for_event("Schema resolved", timeout=60, source="pinned")
    client.wait_for_metric("k2_schema_pinned", 1)
    try:
        yield
    finally:
        stack.registry.start()


@contextmanager
def storm(stack: Stack) -> Iterator[None]:
    """Connections are cut one after the other."""
    client = stack.streaming()
    for number in range(1, 4):
        stack.exchange.inject(Reset())
        client.wait_for_event("Connection closed", nth=number)
        client.wait_for_event("Subscribed", nth=number + 1)
    yield


@contextmanager
def letters_of_a_stop(stack: Stack) -> Iterator[None]:
    """Stopped while Kafka was away: what it held are dead letters, and Kafka is back."""
    client = stack.streaming(K2_SHUTDOWN_TIMEOUT="1")
    stack.kafka.pause()
    time.sleep(1)
    client.terminate()
    client.wait_for_event("Shutdown complete", timeout=60)
    stack.kafka.resume()
    stack.streaming()
    yield


@contextmanager
def consumed(stack: Stack) -> Iterator[None]:
    """A consumer downstream has committed what it has read."""
    stack.streaming()
    settings: dict[str, Any] = {"bootstrap.servers": stack.kafka.bootstrap, "group.id": GROUP, "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    consumer.subscribe([stack.topic])
    assert consumer.consume(1, timeout=60)
    consumer.commit(asynchronous=False)
    consumer.close()
    with watched(stack):
        yield
