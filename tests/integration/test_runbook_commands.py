"""
The commands of the runbooks, as they stand there: each block is run, the way somebody on call would paste it.

For most blocks there is a state of the real parts that its reader may find, and what the block shows in that state. The others
are procedures, and have a test each. The last test sees to it that no block is left out.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import signal
import subprocess
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from integration import runbook_states as states
from integration.runbook_stack import TOPIC, Stack
from integration.runbook_table import NOT_HERE, PROCEDURES, STATES
from integration.secured import PASSWORD, USER, secrets_in
from integration.support import SYMBOLS, RunningExchange, generated, ids_by_symbol, wait_until
from kit.kafka import KafkaBroker
from kit.monitoring import Prometheus
from kit.registry import SchemaRegistry
from kit.tools import needs
from kit.verify import read_topic
from operations.alert_rules import RULE_FILE
from operations.runbook_pages import blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from integration.secured import Files, GuardedBroker
    from integration.support import Rig

pytestmark = [needs("curl", "jq", "docker-compose"), pytest.mark.timeout(400)]

RATE = 300
LISTED = (*SYMBOLS, "ADAUSDT", "SOLUSDT", "XRPUSDT")  # by the exchange; a client streams the first three
BLOCKS = {block.place: block for block in blocks("bash")}
TEXT_INTO_THE_TOPIC = """
echo '{"test": "message"}' | docker compose exec -T kafka kafka-console-producer \\
  --bootstrap-server localhost:9092 --topic market.crypto.trades.binance
"""


@pytest.fixture(scope="module")
def stack(own_kafka: KafkaBroker, own_registry: SchemaRegistry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack of the runbooks, with Prometheus where the machine has it."""
    has_prometheus = shutil.which("prometheus") is not None
    directory = tmp_path_factory.mktemp("stack")
    rules = RULE_FILE.read_text(encoding="utf-8") if has_prometheus else ""
    with (
        RunningExchange(generated(RATE, symbols=LISTED)) as exchange,
        Prometheus(rules=rules) if has_prometheus else nullcontext() as prometheus,
        Stack(own_kafka, own_registry, exchange, directory, prefix=f"test.{uuid4().hex[:12]}", prometheus=prometheus) as stack,
    ):
        if prometheus is not None:
            prometheus.set_targets(f"127.0.0.1:{stack.host_port('binance-client')}")
        yield stack


def run_block(stack: Stack, place: str, *patterns: str, **replaced: str) -> str:
    """Run the block of this place: it ends with 0 and shows all patterns. Returns what it printed."""
    done = stack.run(BLOCKS[place].text, **replaced)
    output = done.stdout + done.stderr
    assert done.returncode == 0, f"{place} ended with {done.returncode}:\n{output}"
    missing = [pattern for pattern in patterns if not re.search(pattern, output)]
    assert missing == [], f"{place} does not show these:\n{output}"
    return output


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(*state.programs), id=name) for name, state in STATES.items()])
def test_commands_show_the_state_that_they_are_for(stack: Stack, name: str) -> None:
    """Each command ends with 0, and shows what its reader has to see in that state."""
    state = STATES[name]
    with state.enter(stack):
        for place, patterns in state.shown:
            run_block(stack, place, *patterns)


def run_all(stack: Stack, test: Callable[..., None], **replaced: str) -> list[str]:
    """Run the blocks of a procedure, in order."""
    return [run_block(stack, place, **replaced) for place in PROCEDURES[test.__name__]]


def test_it_is_started_by_hand(stack: Stack) -> None:
    """The command in the foreground streams, writes the log that the other shell looks at, and ends with 0 at SIGTERM."""
    stack.streaming()
    stack.container.stop(60)
    home = stack.work
    stack.by_hand = {
        "BINANCE_WS_URL": stack.exchange.ws_url, "K2_REST_URL": stack.exchange.rest_url, "KAFKA_TOPIC_PREFIX": stack.prefix,
        "K2_HTTP_PORT": str(stack.host_port("binance-client")), "K2_DEAD_LETTER_DIR": "dlq", "K2_STATE_DIR": str(home / "state"),
    }  # fmt: skip
    start, look = PROCEDURES[test_it_is_started_by_hand.__name__]
    script = stack.here(BLOCKS[start].text)
    # `exec`, so that the shell does not stand between the signal and the client, as Ctrl-C reaches both in a terminal.
    script = script.replace("uv run", "exec uv run")
    with subprocess.Popen(["bash", "-eu", "-c", script], cwd=home, env=stack.environment(), stdout=subprocess.DEVNULL) as started:
        try:
            wait_until((home / "logs" / "binance_client.log").exists, "a log", 60)
            assert "Connected" in run_block(stack, look)
        finally:
            started.send_signal(signal.SIGTERM)
        assert started.wait(60) == 0
    stack.by_hand = {}


def test_it_is_started_with_compose(stack: Stack) -> None:
    """From nothing, `up` brings the client up; what comes then shows that it streams."""
    for name in list(stack.containers):
        stack.remove(name)
    stack.extra = {}
    listed, verified, read = run_all(stack, test_it_is_started_with_compose)
    assert "binance-client binance-client running" in listed
    assert "binance_client" in verified
    assert "Processed a total of 5 messages" in read
    assert len(re.findall(r'"symbol": ?"', read)) == 5


def test_symbols_are_added(stack: Stack) -> None:
    """The new container streams the symbols of the new `.env`."""
    stack.streaming()
    [output] = run_all(stack, test_symbols_are_added)
    assert "solusdt@aggTrade" in output
    assert stack.client.get_json("/health")[1]["symbols"] == list(LISTED[:5])
    (stack.work / ".env").write_text("", encoding="ascii")


def test_symbols_are_changed_without_a_hole(stack: Stack) -> None:
    """While instances change places no trade is missed: with what came twice taken out, every symbol's ids are contiguous."""
    with states.own_topic(stack, partitions=3):
        stack.streaming()
        before = stack.client.metrics.produced
        (stack.work / ".env").write_text("BINANCE_SYMBOLS=BTCUSDT,ETHUSDT,BNBUSDT,XRPUSDT\n", encoding="ascii")
        [output] = run_all(stack, test_symbols_are_changed_without_a_hole)
        assert '"balanced": true' in output
        assert "XRPUSDT" in stack.client.get_json("/health")[1]["symbols"]
        stack.client.wait_for_produced(200)
        stack.container.stop(60)
        records = read_topic(stack.kafka.bootstrap, stack.registry.url, stack.topic, count=before + 200)
        (stack.work / ".env").write_text("", encoding="ascii")
    for symbol in SYMBOLS:
        ids = sorted({record.value["source_sequence"] for record in records if record.key == symbol})
        assert ids == list(range(ids[0], ids[-1] + 1)), symbol


def test_a_graceful_stop(stack: Stack) -> None:
    """The last line tells that the books balance and nothing is in flight; the exit code is 0."""
    stack.streaming()
    [output] = run_all(stack, test_a_graceful_stop)
    line, code = output.splitlines()
    sheet = json.loads(line)
    assert (sheet["event"], sheet["balanced"], sheet["in_flight"], code) == ("Shutdown complete", True, 0, "0")


def test_shards_share_the_symbols(stack: Stack) -> None:
    """Three containers have each symbol once, their records are complete and none comes twice; then one has all again."""
    with states.own_topic(stack, partitions=3):
        stack.streaming()
        _, shared, _ = [run_block(stack, place) for place in PROCEDURES[test_shards_share_the_symbols.__name__]]
        assert re.findall(r"(?m)^ +(\d+) (\w+)$", shared) == [("1", "BNBUSDT"), ("1", "BTCUSDT"), ("1", "ETHUSDT")]
        assert stack.container.is_running
        assert [stack.containers[f"binance-client-{shard}"].status for shard in range(3)] == ["exited"] * 3
        written_by_shards = sum(sheet_of(stack, f"binance-client-{shard}")["delivered"] for shard in range(3))
        stack.container.stop(60)
        records = read_topic(stack.kafka.bootstrap, stack.registry.url, stack.topic, count=written_by_shards)
    assert len({record.value["message_id"] for record in records}) == len(records)
    assert set(ids_by_symbol(records)) == set(SYMBOLS)


def test_the_producer_is_tuned(stack: Stack) -> None:
    """The properties in `.env` reach the client, which shows them as what is in force, and streams with them."""
    stack.streaming()
    [output] = run_all(stack, test_the_producer_is_tuned)
    assert re.search(r"--batch-timeout +0.1 seconds +property K2_KAFKA_PROPERTIES linger.ms", output), output
    assert "batch.size=65536" in output
    stack.client.wait_for_produced(20, 60)
    (stack.work / ".env").write_text("", encoding="ascii")


def test_a_topic_is_made_anew(stack: Stack) -> None:
    """After a topic was deleted and made anew by the command, what the client held is in the new one and it is well."""
    with states.own_topic(stack, partitions=3):
        client = stack.streaming()
        stack.kafka.delete_topic(stack.topic)
        client.wait_for_metric("k2_records_in_flight", 50, 60)
        [output] = run_all(stack, test_a_topic_is_made_anew)
        assert "PartitionCount: 12" in output
        client.wait_for_produced(client.metrics.produced + 100, 60)
        stack.container.stop(60)
        [sheet] = client.events_named("Shutdown complete")
        assert (sheet["balanced"], sheet["dead_lettered_records"], sheet["in_flight"]) == (True, 0, 0)


def test_credentials_are_changed(
    rig: Rig, guarded_broker: GuardedBroker, own_registry: SchemaRegistry, secure_files: Files, tmp_path: Path
) -> None:
    """On a broker that asks for log-in and rights: the rights of the page suffice, the new password serves, and none shows."""
    exchange = rig.exchange(generated(RATE))
    with Stack(guarded_broker, own_registry, exchange, tmp_path, prefix=rig.prefix) as stack:
        secrets = stack.work / "secrets"
        secrets.mkdir()
        (secrets / "kafka_password").write_text(f"{PASSWORD}\n", encoding="ascii")
        (secrets / "kafka_password.new").write_text(new := f"{PASSWORD}-new", encoding="ascii")
        shutil.copy(secure_files.path("client_cert"), secrets / "client.pem")
        stack.extra = {
            "K2_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "K2_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "K2_KAFKA_SASL_USERNAME": USER,
            "K2_KAFKA_SASL_PASSWORD_FILE": str(secrets / "kafka_password"), "K2_KAFKA_CA": str(secure_files.path("ca")),
            "KAFKA_BOOTSTRAP": guarded_broker.address("LOGIN"),
        }  # fmt: skip
        as_user = {"PRINCIPAL:-k2": f"PRINCIPAL:-{USER}"}
        listing, rights, change, restart, registry, certificates = PROCEDURES[test_credentials_are_changed.__name__]
        run_block(stack, rights, f"principal=User:{USER}.*WRITE", **as_user)
        stack.docker.up(["binance-client"])
        stack.client.wait_for_produced(20, 60)
        run_block(stack, listing, "K2_KAFKA_SASL_PASSWORD", "SASL_SSL", "no password in the environment")
        run_block(stack, change, "Completed updating config", **as_user)
        assert sorted(path.name for path in secrets.iterdir()) == ["client.pem", "kafka_password", "kafka_password.new"]
        run_block(stack, restart, "ready")
        stack.client.wait_for_produced(20, 60)
        run_block(stack, registry, "ok +registry")
        run_block(stack, certificates, "notAfter=")
        assert secrets_in(stack.container.stdout.encode(), stack.container.stderr.encode()) == []
        assert (secrets / "kafka_password").read_text(encoding="ascii") == new


def test_the_registry_is_operated_as_the_runbook_says(stack: Stack) -> None:
    """From an empty subject on, every command works, and in the end the schema is there under a level that protects consumers."""
    topic = f"test.{uuid4().hex[:12]}"
    places = PROCEDURES["test_the_registry_is_operated_as_the_runbook_says"]
    done = stack.run("\n".join(BLOCKS[place].text for place in places), **{TOPIC: topic})
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"trade_v2 is well for {topic}-value" in done.stdout
    assert f"under {topic}-value (version 1)" in done.stdout
    assert stack.registry.request("GET", f"/subjects/{topic}-value/versions") == [1]
    assert stack.registry.request("GET", f"/config/{topic}-value")["compatibilityLevel"] == "BACKWARD"


@pytest.fixture
def watched(stack: Stack) -> Iterator[Prometheus]:
    with states.watched(stack):
        assert stack.prometheus is not None
        yield stack.prometheus


@needs("prometheus")
def test_every_query_returns_something(watched: Prometheus) -> None:
    """On a live stack no query of a runbook comes back empty, and none with what is no number."""
    for block in blocks("promql"):
        found = watched.query(block.text)
        assert found, f"{block.place}: {block.text}"
        assert not any(math.isnan(series.value) for series in found), f"{block.place}: {block.text}"


def test_a_text_in_the_topic_harms_nobody(stack: Stack) -> None:
    """The earlier runbook's test message in the real topic: the client starts and streams, `k2 tail` shows it as what it is."""
    stack.streaming()
    assert stack.run(TEXT_INTO_THE_TOPIC).returncode == 0
    stack.streaming()
    tail = stack.run("k2 tail market.crypto.trades.binance -n 2000 --json | jq -c 'select(.schema_id == null) | .value'")
    assert tail.stdout.strip()


def test_no_block_is_left_out() -> None:
    """Every command of every runbook is run by a test above, or stands in the table with the reason why it cannot be."""
    in_states = [place for state in STATES.values() for place, _ in state.shown]
    in_procedures = [place for places in PROCEDURES.values() for place in places]
    accounted = [*in_states, *in_procedures, *NOT_HERE]
    assert sorted(accounted) == sorted(BLOCKS)
    assert all(name in globals() for name in PROCEDURES)


def sheet_of(stack: Stack, name: str) -> dict[str, Any]:
    """The balance sheet that a container printed at its end."""
    lines = [json.loads(line) for line in stack.containers[name].stdout.splitlines() if "Shutdown complete" in line]
    sheet: dict[str, Any] = lines[-1]
    return sheet
