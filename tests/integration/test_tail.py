"""`k2 tail` as a process on a real Kafka and a real registry."""

from __future__ import annotations

import base64
import fcntl
import http.client
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from contextlib import closing, contextmanager
from copy import copy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, and exported without saying so
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from rich.cells import cell_len

from integration.filled import FIRST_MS, FilledTopic, Put, Tool
from integration.support import wait_until
from k2.tail.reading import FIRST_WINDOW
from kit.kafka import KafkaBroker
from kit.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kit.registry import SchemaRegistry

CONFIGURATION, UNAVAILABLE, INTERRUPTED, PIPE_CLOSED, TERMINATED = 2, 69, 130, 141, 143
COLUMNS = 80
GONE_BY_S = 60


@pytest.fixture(scope="module")
def trades(kafka: KafkaBroker, registry: SchemaRegistry) -> FilledTopic:
    """Thirty trades a second apart, the symbol and the partition by turns; the order of production is not that of the times."""
    topic = FilledTopic(kafka, registry, "test.tail.trades")
    symbols = ("BTCUSDT", "ETHUSDT", "币安人生USDT")
    topic.put(
        topic.trade(number, symbols[number % 3], partition=number % 3) for part in range(3) for number in range(part, 30, 3)
    )
    return topic


@pytest.fixture
def fresh(kafka: KafkaBroker, registry: SchemaRegistry, topic: str) -> FilledTopic:
    return FilledTopic(kafka, registry, topic)


@pytest.fixture
def tail(tmp_path: Path) -> Iterator[Callable[..., Tool]]:
    """Starts the tool on a topic; all of them end with the test."""
    started: list[Tool] = []

    def start(topic: FilledTopic, *arguments: object, **options: Any) -> Tool:
        started.append(Tool("tail", topic, *arguments, cwd=tmp_path, **options))
        return started[-1]

    yield start
    for process in started:
        process.close()


def numbers(lines: list[dict[str, Any]]) -> list[int]:
    return [line["value"]["source_sequence"] for line in lines]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param([], range(20, 30), id="the-last-ten"),
        pytest.param(["-n", 3], range(27, 30), id="the-last-three"),
        pytest.param(["-n", 1_000], range(30), id="more-than-there-are"),
        pytest.param(["--from", "start"], range(30), id="from-the-start"),
        pytest.param(["--from", "start", "-n", 5], range(5), id="the-first-five"),
        pytest.param(["--from", "2024-08-08T23:54:40Z"], range(25, 30), id="from-a-time"),
        pytest.param(["--from", (FIRST_MS + 24_500) // 1_000, "-n", 2], range(24, 26), id="two-from-a-time"),
        pytest.param(["--from", "9999-01-01"], [], id="from-a-time-to-come"),
        pytest.param(["--from", "99999w"], range(30), id="from-before-everything"),
        pytest.param(["--key", "ETHUSDT", "-n", 2], [25, 28], id="the-last-two-of-a-key"),
        pytest.param(["--key", "ETHUSDT", "--key", "币安人生USDT", "-n", 3], [26, 28, 29], id="of-two-keys"),
        pytest.param(["--key", "ETHUSDT", "--from", "start", "-n", 2], [1, 4], id="the-first-two-of-a-key"),
        pytest.param(["--partition", 1, "-n", 2], [25, 28], id="of-a-partition"),
        pytest.param(["--partition", 1, "--key", "BTCUSDT"], [], id="of-a-key-that-is-elsewhere"),
        pytest.param(["--follow", "--from", "start", "-n", 7], range(7), id="following-to-the-seventh"),
    ],
)
def test_what_is_asked_for_is_shown(
    trades: FilledTopic, tail: Callable[..., Tool], arguments: list[object], expected: range | list[int]
) -> None:
    """Every way of choosing gives the records that it says, over all partitions, in the order of their times."""
    process = tail(trades, *arguments)
    assert numbers(process.ended()) == list(expected)
    assert process.stderr == ("" if expected else f"k2 tail: topic {trades.topic} holds no such record\n")


def test_a_line_is_the_whole_record(trades: FilledTopic, tail: Callable[..., Tool]) -> None:
    """As `jq` gets it: where it lies, its key, and every field, exact."""
    [line] = tail(trades, "-n", 1).ended()
    value = line.pop("value")
    assert line == {
        "topic": trades.topic, "partition": 2, "offset": 9, "timestamp": "2024-08-08T23:54:44.000Z", "key": "币安人生USDT",
        "headers": {}, "schema_id": trades.schema_id,
    }  # fmt: skip
    assert value["message_id"] == "binance.spot.trade.币安人生USDT.29"
    assert (value["price"], value["quantity"], value["side"]) == ("61837.63000000", "0.02000000", "SELL")
    assert value["timestamp"] == "2024-08-08T23:54:44.000000Z"
    assert len(value) == 15


def test_an_empty_topic(fresh: FilledTopic, tail: Callable[..., Tool]) -> None:
    """It has nothing to show, which is no error, and is said beside the pipe."""
    process = tail(fresh)
    assert process.ended() == []
    assert process.stderr == f"k2 tail: topic {fresh.topic} is empty\n"


def test_a_rare_key_is_found_however_far_back_it_lies(fresh: FilledTopic, tail: Callable[..., Tool]) -> None:
    """The search goes back over several windows, down to the first record of the topic; and so does the way forwards."""
    fresh.put([fresh.trade(0, "RARE")])
    fresh.put(Put("COMMON", b"x", FIRST_MS + 1_000 + number, number % 3) for number in range(3 * 6 * FIRST_WINDOW))
    assert numbers(tail(fresh, "--key", "RARE").ended()) == [0]
    assert numbers(tail(fresh, "--key", "RARE", "--from", "start").ended()) == [0]


def test_it_goes_on_behind_what_cannot_be_decoded(fresh: FilledTopic, tail: Callable[..., Tool]) -> None:
    """A tombstone, a line of text, an unknown schema and a torn record each have a line with the reason and the bytes."""
    good = fresh.trade(5)
    assert good.value
    odd = [None, b"hello \x1b[2J", b"\0\x7f\xff\xff\xff...", good.value[:20]]
    fresh.put([*(Put("k", value, FIRST_MS + n) for n, value in enumerate(odd)), Put(b"\xff", b"", FIRST_MS + 4), good])
    *bad, last = tail(fresh).ended()
    assert [line["raw"] for line in bad] == [None if raw is None else base64.b64encode(raw).decode() for raw in [*odd, b""]]
    assert all(line["value"] is None for line in bad)
    told = [
        "no value",
        "not in Confluent's framing",
        "no Avro schema with id 2147483647",
        "does not fit its schema",
        "framing: 0 bytes",
    ]
    assert all(text in line["error"] for text, line in zip(told, bad, strict=True))
    assert bad[-1]["key"] == {"base64": "/w=="}
    assert numbers([last]) == [5]


def test_a_reader_that_goes_away_is_no_error(fresh: FilledTopic, tmp_path: Path) -> None:
    """`k2 tail | head` ends without a word."""
    fresh.put(fresh.trade(number) for number in range(500))
    places = {"KAFKA_BOOTSTRAP": fresh.bootstrap, "SCHEMA_REGISTRY_URL": fresh.registry_url, "HOME": str(tmp_path)}
    for form in ("json", "table"):
        command = [sys.executable, "-m", "k2.cli.main", "tail", fresh.topic, "--from", "start", "--follow", "--format", form]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=places) as process:
            assert process.stdout
            assert process.stderr
            assert process.stdout.readline()
            process.stdout.close()
            fresh.put(fresh.trade(number) for number in range(500, 1_000))
            assert process.stderr.read() == b""
            assert process.wait(GONE_BY_S) == PIPE_CLOSED


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
def test_following_shows_what_comes_until_it_is_told_to_end(
    fresh: FilledTopic, tail: Callable[..., Tool], number: signal.Signals, exit_code: int
) -> None:
    """New records of all partitions appear as they come; a signal ends it quietly with the code that shells know it by."""
    fresh.put([fresh.trade(0)])
    process = tail(fresh, "--follow", "--from", "start")
    for count in range(1, 4):
        wait_until(lambda count=count: len(process.lines) == count, f"{count} lines", 30)  # type: ignore[misc]
        fresh.put([fresh.trade(count, partition=count % 3)])
    os.kill(process.pid, number)
    assert process.wait() == exit_code
    assert numbers(process.lines)[:3] == [0, 1, 2]
    assert process.stderr == ""


def test_following_from_the_end_shows_the_new_ones_only(fresh: FilledTopic, tail: Callable[..., Tool]) -> None:
    """And `-n` ends it with the second of them."""
    fresh.put(fresh.trade(number) for number in range(5))
    process = tail(fresh, "--follow", "-n", 2)
    number = 5

    def something_came() -> bool:
        nonlocal number
        fresh.put([fresh.trade(number)])
        number += 1
        return not process.is_running

    wait_until(something_came, "an end", 30)
    first, second = numbers(process.ended())
    assert 5 <= first == second - 1


def test_partitions_that_are_added_are_followed(kafka: KafkaBroker, fresh: FilledTopic, tail: Callable[..., Tool]) -> None:
    """A topic may get more of them while it is followed."""
    fresh.put([fresh.trade(0)])
    process = tail(fresh, "--follow", "--from", "start")
    wait_until(lambda: process.lines, "the first record", 30)
    kafka.add_partitions(fresh.topic, 5)
    fresh.put([fresh.trade(1, partition=4)])
    wait_until(lambda: len(process.lines) == 2, "the record of the new partition", 60)
    assert process.lines[1]["partition"] == 4


def test_a_topic_that_is_deleted_ends_it(kafka: KafkaBroker, fresh: FilledTopic, tail: Callable[..., Tool]) -> None:
    """With one line, as nothing more can come."""
    fresh.put([fresh.trade(0)])
    process = tail(fresh, "--follow", "--from", "start")
    wait_until(lambda: process.lines, "the first record", 30)
    kafka.delete_topic(fresh.topic)
    process.ended(CONFIGURATION)
    assert process.stderr.splitlines()[-1] == f"k2 tail: topic {fresh.topic} does not exist any more"


def test_a_topic_that_does_not_exist(trades: FilledTopic, tail: Callable[..., Tool]) -> None:
    """One line that names the one that was meant."""
    mistyped = copy(trades)
    mistyped.topic = "test.tail.trade"
    process = tail(mistyped)
    process.ended(CONFIGURATION)
    [line] = process.stderr.splitlines()
    assert line.startswith("k2 tail: topic test.tail.trade does not exist")
    assert trades.topic in line


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["--partition", 3], "has no partition 3; it has 0 to 2", id="no-such-partition"),
        pytest.param(["--from", "yesterday"], "--from: 'yesterday' is none of", id="no-place"),
        pytest.param(["--json", "--format", "table"], "exclude each other", id="two-forms"),
    ],
)
def test_what_makes_no_sense_is_refused(
    trades: FilledTopic, tail: Callable[..., Tool], arguments: list[object], told: str
) -> None:
    """With one line that says why."""
    process = tail(trades, *arguments)
    process.ended(CONFIGURATION)
    [line] = process.stderr.splitlines()
    assert told in line


@pytest.mark.parametrize("part", ["KAFKA_BOOTSTRAP", "SCHEMA_REGISTRY_URL"])
def test_a_part_that_is_away_is_waited_for_and_given_up(trades: FilledTopic, tail: Callable[..., Tool], part: str) -> None:
    """For as long as the start-up time-out says; then one line names the part and its address."""
    address = f"127.0.0.1:{free_port()}"
    place = {part: address if part == "KAFKA_BOOTSTRAP" else f"http://{address}"}
    process = tail(trades, "--startup-timeout", 1, environment=place)
    process.ended(UNAVAILABLE)
    [line] = process.stderr.splitlines()
    assert "gave up after 1 s of waiting for" in line
    assert address in line


class Door(ThreadingHTTPServer):
    """Stands before the registry, and can be shut."""

    def __init__(self, target: str) -> None:
        self.target, self.is_shut = urlsplit(target), False
        super().__init__(("127.0.0.1", 0), _Passing)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{self.target.path}"


class _Passing(BaseHTTPRequestHandler):
    server: Door

    def do_GET(self) -> None:
        status, body = (503, b"shut") if self.server.is_shut else self._asked()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _asked(self) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection(self.server.target.netloc, timeout=10)) as connection:
            connection.request("GET", self.path)
            response = connection.getresponse()
            return response.status, response.read()

    def log_message(self, *_: object) -> None:
        """Nothing to stderr."""


@contextmanager
def door_to(url: str) -> Iterator[Door]:
    with Door(url) as door:
        thread = threading.Thread(target=door.serve_forever)
        thread.start()
        try:
            yield door
        finally:
            door.shutdown()
            thread.join()


def test_following_outlives_the_registry(registry: SchemaRegistry, fresh: FilledTopic, tail: Callable[..., Tool]) -> None:
    """A schema that is new while the registry is away waits for it, with a line when it goes and one when it is back."""
    fresh.put([fresh.trade(0)])
    with door_to(registry.url) as door:
        process = tail(fresh, "--follow", "--from", "start", environment={"SCHEMA_REGISTRY_URL": door.url})
        wait_until(lambda: process.lines, "the first record", 30)
        door.is_shut = True
        schema = json.dumps({"type": "record", "name": "Mark", "fields": [{"name": "at", "type": "long"}]})
        schema_id = registry.request("POST", f"/subjects/{fresh.topic}-mark/versions", {"schema": schema})["id"]
        fresh.put([fresh.trade(1), Put("k", b"\0" + schema_id.to_bytes(4, "big") + b"\x0e")])
        process.wait_for_output("k2 tail: waiting for the schema registry: ")
        door.is_shut = False
        process.wait_for_output("k2 tail: the schema registry is back")
        wait_until(lambda: len(process.lines) == 3, "the record of the new schema", 30)
    assert process.lines[2]["value"] == {"at": 7}
    assert process.stderr.count("registry is back") == process.stderr.count("waiting for the schema registry") == 1


USERS = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_k2="right";'
AS_K2 = {
    "K2_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "K2_KAFKA_SASL_MECHANISM": "PLAIN",
    "K2_KAFKA_SASL_USERNAME": "k2",
    "K2_KAFKA_SASL_PASSWORD": "right",
}


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[KafkaBroker]:
    """A broker that may be stopped. Everybody inside may do everything, user k2 only what it is given."""
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "listener.name.guarded.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.guarded.plain.sasl.jaas.config": USERS,
    }
    with KafkaBroker(listeners={"GUARDED": "SASL_PLAINTEXT"}, extra_properties=properties) as broker:
        yield broker


@pytest.fixture
def owned(own_kafka: KafkaBroker, registry: SchemaRegistry, topic: str) -> FilledTopic:
    return FilledTopic(own_kafka, registry, topic)


@pytest.mark.parametrize("given", [None, AclOperation.DESCRIBE], ids=["nothing", "describe"])
def test_without_the_acl_to_read(
    own_kafka: KafkaBroker, owned: FilledTopic, tail: Callable[..., Tool], given: AclOperation | None
) -> None:
    """One line names it; with it, and no ACL on any group, the same command shows the record."""
    owned.put([owned.trade(0)])
    guarded = {**AS_K2, "KAFKA_BOOTSTRAP": own_kafka.address("GUARDED")}
    if given:
        allow(own_kafka, owned.topic, given)
    refused = tail(owned, environment=guarded)
    refused.ended(CONFIGURATION)
    assert refused.stderr == f"k2 tail: the ACL Read on topic {owned.topic} is missing\n"
    allow(own_kafka, owned.topic, AclOperation.READ)
    assert numbers(tail(owned, environment=guarded).ended()) == [0]


def allow(broker: KafkaBroker, topic: str, operation: AclOperation) -> None:
    binding = AclBinding(
        ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:k2", "*", operation, AclPermissionType.ALLOW
    )
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})  # held until the answer is there
    for future in admin.create_acls([binding]).values():
        future.result(10)


@pytest.mark.parametrize("pause", [False, True], ids=["stopped", "frozen"])
def test_following_outlives_the_broker(
    own_kafka: KafkaBroker, owned: FilledTopic, tail: Callable[..., Tool], pause: bool
) -> None:
    """A broker that goes away costs a line, another one when it is back, and no record: each is shown once and in order."""
    owned.put(owned.trade(number) for number in range(3))
    process = tail(owned, "--follow", "--from", "start")
    wait_until(lambda: len(process.lines) == 3, "the first records", 30)
    own_kafka.pause() if pause else own_kafka.stop()
    process.wait_for_output("k2 tail: waiting for Kafka: ", timeout=GONE_BY_S)
    own_kafka.resume() if pause else own_kafka.start()
    process.wait_for_output("k2 tail: Kafka is back", timeout=GONE_BY_S)
    owned.put(owned.trade(number) for number in range(3, 6))
    wait_until(lambda: len(process.lines) >= 6, "the records that came later", GONE_BY_S)
    process.interrupt()
    assert process.wait() == INTERRUPTED
    assert numbers(process.lines) == list(range(6))
    told = process.stderr.splitlines()
    assert set(told[1::2]) == {"k2 tail: Kafka is back"}
    assert all(line.startswith("k2 tail: waiting for Kafka: ") for line in told[::2])


def on_terminal(*words: object, **environment: str) -> list[str]:
    """Run a tool on a terminal of 80 columns. Returns the lines that it shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    variables = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "xterm", "NO_COLOR": "1", **environment}
    command = [sys.executable, "-m", "k2.cli.main", *map(str, words)]
    shown = b""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=variables) as process:
        os.close(theirs)
        while block := _read_terminal(ours):
            shown += block
        assert process.stderr
        assert (process.wait(GONE_BY_S), process.stderr.read()) == (0, b"")
    os.close(ours)
    return shown.decode().replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "").splitlines()


def _read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # the other end is closed
        return b""


def test_a_table_on_a_terminal(fresh: FilledTopic) -> None:
    """Without being asked: a header, the date, and a row for each record, which fits the terminal and cannot command it."""
    fresh.put(
        [
            fresh.trade(0),
            fresh.trade(1, "币安人生USDT", headers=[("k2-source", b"late")]),
            Put("k\x1b[31m", b"\x1b[2J", FIRST_MS + 2_000),
        ]
    )
    lines = on_terminal("tail", fresh.topic, KAFKA_BOOTSTRAP=fresh.bootstrap, SCHEMA_REGISTRY_URL=fresh.registry_url)
    assert [line.split() for line in lines[:4]] == [
        ["Time", "(UTC)", "Symbol", "Side", "Price", "Quantity", "Sequence", "Source", "Offset"],
        ["2024-08-08"],
        ["23:54:15.000", "BTCUSDT", "SELL", "61837.63", "0.02", "0", "0:0"],
        ["23:54:16.000", "币安人生USDT", "SELL", "61837.63", "0.02", "1", "late", "0:1"],
    ]
    assert lines[4].startswith("23:54:17.000  0:2  k\\x1b[31m  not in Confluent's framing: 4 bytes")
    assert all(line.isprintable() and cell_len(line) <= COLUMNS for line in lines)
