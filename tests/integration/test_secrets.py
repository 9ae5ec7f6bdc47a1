"""
A canary in every credential: it shows in nothing that the toolbox prints, logs or leaves behind, whether it works or fails.

The client itself is looked at in test_secure_connections.py.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from faults.assembly import make_record
from integration.secured import CANARY, KEY_PASSWORD, PASSWORD, USER, WRONG_PASSWORD, Files, SecureRelay, contents_of, secrets_in
from integration.support import Rig, generated
from k2.cli.main import COMMANDS
from k2.ingestion.core.letters import FailedRecord, encode_letter
from k2.ingestion.core.outcome import Reason, Record, Stage, WriteOutcome
from kit.client import ClientProcess
from kit.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kit.kafka import KafkaBroker
    from kit.registry import SchemaRegistry

K2 = [sys.executable, "-m", "k2.cli.main"]
CONFIGURATION, UNAVAILABLE, FATAL = 2, 69, 70
NOWHERE = "127.0.0.1:9"

# All that a client can be given as a secret, and each passed on to librdkafka as well.
EVERY_SECRET = {
    "K2_KAFKA_SASL_PASSWORD": PASSWORD,
    "K2_KAFKA_KEY_PASSWORD": KEY_PASSWORD,
    "K2_SCHEMA_REGISTRY_PASSWORD": PASSWORD,
    "K2_KAFKA_PROPERTIES": f"sasl.oauthbearer.client.secret={CANARY}-Property1\nssl.keystore.password={CANARY}-Property2",
}
DEFECT = """
import sys
import k2.ingestion.settings
from k2.cli.main import main
from k2.ingestion.adapters import {module} as broken

def fail(*arguments, **options):
    raise RuntimeError("arguments were " + repr((arguments, options)) + " with {password}")

broken.{name} = fail
sys.exit(main(sys.argv[1:]))
"""


class Surroundings:
    """A topic with records, a dead letter and a recording, behind log-ins; and the toolbox on it, as verbose as it gets."""

    def __init__(self, rig: Rig, broker: KafkaBroker, relay: SecureRelay, files: Files, home: Path) -> None:
        self.rig, self.home, self.files = rig, home, files
        self.topic = rig.topic
        self.environment = {
            "KAFKA_BOOTSTRAP": broker.address("LOGIN"),
            "K2_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "K2_KAFKA_SASL_MECHANISM": "PLAIN",
            "K2_KAFKA_SASL_USERNAME": USER,
            "K2_KAFKA_CA": str(files.path("ca")),
            "K2_KAFKA_PROPERTIES": "debug=all",
            "SCHEMA_REGISTRY_URL": relay.url,
            "K2_SCHEMA_REGISTRY_CA": str(files.path("ca")),
            "K2_SCHEMA_REGISTRY_USER": USER,
            "K2_LOG_LEVEL": "DEBUG",
            "K2_STARTUP_TIMEOUT": "3",
            "K2_STATE_DIR": str(home / "state"),
            "K2_DEAD_LETTER_DIR": str(home / "dlq"),
            "KAFKA_TOPIC_PREFIX": rig.prefix,
            "K2_PARTITIONS": "3",
            "K2_HTTP_PORT": str(free_port()),
            "K2_REST_URL": "off",
        }
        self.right = {"K2_KAFKA_SASL_PASSWORD": PASSWORD, "K2_SCHEMA_REGISTRY_PASSWORD": PASSWORD}

    def prepare(self, ws_url: str) -> None:
        """A client has streamed here before, and left a dead letter."""
        self.environment["BINANCE_WS_URL"] = ws_url
        secrets = {**self.environment, **self.right}
        client = self.rig.start(["--log-file", "off"], int(self.environment["K2_HTTP_PORT"]), environment=secrets)
        client.wait_for_produced(50)
        sheet = client.stopped()
        assert sheet["balanced"]
        made = make_record(5)
        [record, *_] = self.rig.records()
        assert record.payload is not None
        value = record.payload[:5] + made.value[5:]
        outcome = (Stage.SHUTDOWN, Reason.NOT_DELIVERED_AT_SHUTDOWN, "_PURGE_QUEUE", WriteOutcome.UNKNOWN)
        failed = FailedRecord(Record(self.topic, made.key, value, made.timestamp_ms), *outcome, original_message={})
        line = encode_letter(failed, letter_id="one", failed_at_us=1, received_at_us=1, market="spot")
        (self.home / "dlq").mkdir(exist_ok=True)
        (self.home / "dlq" / "binance-20231114.jsonl").write_bytes(line + b"\n")
        (self.home / "recording.txt").write_text(f"1700000000.0: {json.dumps(_frame(record.value))}\n", encoding="utf-8")

    def run(self, words: str, secrets: Mapping[str, str], *command: str, **variables: str) -> ClientProcess:
        environment = {**self.environment, **secrets, **variables}
        (self.home / "dlq" / "replay-ledger.sqlite3").unlink(missing_ok=True)  # so that a replay has something to do
        arguments = words.format(topic=self.topic, home=self.home).split()
        with ClientProcess(*arguments, cwd=self.home, environment=environment, command=command or K2) as process:
            process.wait(120)
            return process

    def assert_silent(self, process: ClientProcess) -> None:
        assert secrets_in(process.output.encode(), *contents_of(self.home)) == []


def _frame(record: Any) -> dict[str, Any]:
    vendor, symbol = record["vendor_data"], record["symbol"]
    return {
        "stream": f"{symbol.lower()}@aggTrade",
        "data": {
            "e": "aggTrade", "E": int(vendor["event_time"]), "s": symbol, "a": record["source_sequence"],
            "p": str(record["price"]), "q": str(record["quantity"]),
            "f": int(vendor["first_trade_id"]), "l": int(vendor["last_trade_id"]),
            "T": int(record["timestamp"].timestamp() * 1_000), "m": record["side"] == "SELL", "M": True,
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("toolbox")


@pytest.fixture(scope="module")
def surroundings(
    secure_broker: KafkaBroker, registry: SchemaRegistry, secure_relay: SecureRelay, secure_files: Files, home: Path
) -> Iterator[Surroundings]:
    with Rig(secure_broker, registry, home) as rig:
        made = Surroundings(rig, secure_broker, secure_relay, secure_files, home)
        made.prepare(rig.exchange(generated(200)).ws_url)
        yield made


TOOLS = {
    "doctor": "doctor",
    "doctor-json": "doctor --json",
    "tail": "tail {topic}",
    "tail-json": "tail {topic} --json -n 5",
    "audit": "audit {topic} --against {home}/recording.txt",
    "replay": "dlq replay --publish",
    "dry-replay": "dlq replay",
    "list": "dlq list",
    "show": "dlq show --json",
    "schemas": "schemas check --schema trade_v2 --topic {topic}",
    "registering": "schemas register --topic {topic}",
    "config": "client --print-config",
}
ASKS_KAFKA = ("doctor", "tail", "audit", "replay")
ASKS_REGISTRY = ("doctor", "schemas", "registering")


@pytest.mark.parametrize("words", TOOLS.values(), ids=TOOLS)
@pytest.mark.parametrize("by_file", [False, True], ids=["variables", "files"])
def test_what_works_keeps_its_secrets(surroundings: Surroundings, words: str, by_file: bool) -> None:
    """Each tool gets in with passwords from variables and from files, and repeats none of them, however verbose it is."""
    secrets = surroundings.right
    if by_file:
        secrets = {f"{name}_FILE": str(surroundings.files.path("password")) for name in secrets}
    process = surroundings.run(words, secrets)
    assert process.wait() == 0, process.output
    surroundings.assert_silent(process)


@pytest.mark.parametrize("tool", ASKS_KAFKA)
def test_a_wrong_password_for_kafka_is_not_repeated(surroundings: Surroundings, tool: str) -> None:
    """The refusal names the option, and not the password."""
    process = surroundings.run(TOOLS[tool], {**surroundings.right, "K2_KAFKA_SASL_PASSWORD": WRONG_PASSWORD})
    assert process.wait() == CONFIGURATION, process.output
    assert "K2_KAFKA_SASL_PASSWORD" in process.output
    surroundings.assert_silent(process)


@pytest.mark.parametrize("tool", ASKS_REGISTRY)
def test_a_wrong_password_for_the_registry_is_not_repeated(surroundings: Surroundings, tool: str) -> None:
    """Nor is that one."""
    process = surroundings.run(TOOLS[tool], {**surroundings.right, "K2_SCHEMA_REGISTRY_PASSWORD": WRONG_PASSWORD})
    assert process.wait() == CONFIGURATION, process.output
    assert "K2_SCHEMA_REGISTRY_PASSWORD" in process.output
    surroundings.assert_silent(process)


@pytest.mark.parametrize("tool", ASKS_KAFKA)
def test_a_broker_that_is_away_hears_nothing(surroundings: Surroundings, tool: str) -> None:
    """With nobody there the tool waits, gives up, and has told nobody anything."""
    process = surroundings.run(TOOLS[tool], surroundings.right, KAFKA_BOOTSTRAP=NOWHERE)
    assert process.wait() == UNAVAILABLE, process.output
    surroundings.assert_silent(process)


@pytest.mark.parametrize("tool", ASKS_REGISTRY)
def test_a_registry_that_is_away_hears_nothing(surroundings: Surroundings, tool: str) -> None:
    process = surroundings.run(TOOLS[tool], surroundings.right, SCHEMA_REGISTRY_URL=f"https://{NOWHERE}")
    assert process.wait() == UNAVAILABLE, process.output
    surroundings.assert_silent(process)


@pytest.mark.parametrize("name", [*COMMANDS, "client --print-config", "dlq replay"])
def test_help_shows_no_value(surroundings: Surroundings, name: str) -> None:
    """Help and configuration name the variables, whatever these hold."""
    identity = {f"K2_KAFKA_{part}": str(surroundings.files.path(f"client_{part.lower()}")) for part in ("CERT", "KEY")}
    process = surroundings.run(name if "print-config" in name else f"{name} --help", {**EVERY_SECRET, **identity})
    assert process.wait() == 0, process.output
    surroundings.assert_silent(process)


@pytest.mark.parametrize("flag", ["--kafka-sasl-password", "--schema-registry-password", "--password"])
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in {"demo", "exchange"}])
def test_a_password_on_the_command_line_is_refused_without_repeating_it(surroundings: Surroundings, name: str, flag: str) -> None:
    """There is no such flag; the complaint names it, and not what came behind it."""
    words = {
        "audit": "audit t --against f", "dlq": "dlq replay", "tail": "tail t", "schemas": "schemas show",
        "record": "record --output f", "topics": "topics check",
    }.get(name, name)  # fmt: skip
    process = surroundings.run(f"{words} {flag} {PASSWORD}", {})
    assert process.wait() == CONFIGURATION, process.output
    assert flag in process.stderr
    surroundings.assert_silent(process)


@pytest.mark.parametrize(
    ("words", "module", "name"),
    [
        pytest.param("tail {topic}", "topic_reader", "open_client", id="tail"),
        pytest.param("dlq replay --publish", "registry", "_open", id="replay"),
        pytest.param("schemas register", "registry", "_open", id="schemas"),
    ],
)
def test_a_defect_shows_no_secret(surroundings: Surroundings, words: str, module: str, name: str) -> None:
    """An error of ours whose text is full of secrets: one line and, as asked for, a traceback, with all of them masked."""
    program = DEFECT.format(module=module, name=name, password=PASSWORD)
    process = surroundings.run(words, surroundings.right, sys.executable, "-c", program)
    assert process.wait() == FATAL, process.output
    assert "unexpected RuntimeError" in process.stderr
    assert "Traceback" in process.stderr
    surroundings.assert_silent(process)
