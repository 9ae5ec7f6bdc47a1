"""Claims about what the settings refuse, and about what they never show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from k2.errors import EXIT_CONFIGURATION, ConfigurationError
from k2.ingestion.described import describe
from k2.ingestion.settings import load_settings

CANARY = "c4n4ry"


def faults_of(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(argv, environ or {})
    assert caught.value.exit_code == EXIT_CONFIGURATION
    return caught.value.faults


@pytest.fixture
def pem(tmp_path: Path) -> str:
    file = tmp_path / "some.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\n")
    return str(file)


def test_all_faults_are_reported_together() -> None:
    """One start shows every fault, each under the name by which the value came in."""
    faults = faults_of(
        ["--symbols", "BTC/USDT", "--market", "margin", "--symbls", "X", "--http-port", "x"],
        {"BINANCE_HEARTBEAT_INTERVAL": "often", "BINANCE_RECONNECT_DELAY_MIN": "70"},
    )
    wanted = ("--symbls", "--symbols", "--market", "--http-port", "BINANCE_HEARTBEAT_INTERVAL (--heartbeat-interval)",
              "BINANCE_RECONNECT_DELAY_MIN (--reconnect-delay-min)")  # fmt: skip
    assert len(faults) == len(wanted)
    assert all(any(name in fault for fault in faults) for name in wanted)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        pytest.param(["--symbols"], "--symbols: expected at least one argument", id="value-missing"),
        pytest.param(["--kafka-bootstrap"], "--kafka-bootstrap: expected one argument", id="one-value-missing"),
        pytest.param(["--symbls", "A"], "did you mean --symbols?", id="misspelt"),
        pytest.param(["--symb", "A"], "there is no option --symb;", id="abbreviated"),
        pytest.param(["BTCUSDT"], "'BTCUSDT' belongs to no option", id="stray"),
        pytest.param(["--kafka-sasl-password", CANARY], "set K2_KAFKA_SASL_PASSWORD or K2_KAFKA_SASL_PASSWORD_FILE", id="secret"),
    ],
)
def test_a_wrong_command_line_is_told_readably(argv: list[str], told: str) -> None:
    """What argparse cannot take is one line that names the flag and shows the way."""
    (fault,) = faults_of(argv)
    assert told in fault
    assert "\n" not in fault


WRONG_VALUES = [
    ("--symbols", ""), ("--symbols", ", ,"), ("--symbols", "BTC-USDT"), ("--symbols", "BTC_USDT"), ("--symbols", "a\x1b[31m"),
    ("--streams", "kline_7m"), ("--stream", "depth7"), ("--streams", ","), ("--streams", "a|b"),
    ("--raw-streams", "@trade"), ("--raw-streams", "!"), ("--candles", "all"), ("--symbols", "ALL"),
    ("--symbols", "ALL: BTCUSDT"),
    ("--streams-per-connection", "1025"), ("--give-up-after", "-1"), ("--metrics-log-interval", "0.5"), ("--acks", "2"),
    ("--profile", "event"), ("--profile", "./absent.yaml"), ("--profile", "\0/"), ("--streams", "aggTrade trade"),
    ("--transport", "aiohttp"), ("--ws-url", "https://x"), ("--ws-url", "wss://"), ("--ws-url", "x:1"),
    ("--ws-url", "wss://h:99999"), ("--ws-url", "wss://h/ws?streams=a"), ("--ws-url", "wss://h h"), ("--ws-url", "wss://[::1"),
    ("--rest-url", "ftp://x"), ("--proxy", "socks5://x"), ("--shard", "1/1"), ("--shard", "1"), ("--shard", "0/0"),
    ("--state-dir", ""), ("--state-dir", "~/k2"), ("--kafka-bootstrap", "kafka"), ("--kafka-bootstrap", ""),
    ("--kafka-bootstrap", "a:1,b:0"), ("--kafka-bootstrap", "PLAINTEXT://a:1"), ("--kafka-bootstrap", "[::g]:1"),
    ("--topic-prefix", "a b"), ("--topic-prefix", "x" * 242), ("--partitions", "0"), ("--partitions", "1_0"),
    ("--partitions", "\u0661"), ("--replication-factor", "0"), ("--retention-ms", "-2"), ("--reconnect-delay-min", "0.05"),
    ("--heartbeat-interval", "nan"), ("--heartbeat-interval", "inf"), ("--heartbeat-interval", "1e999"),
    ("--silence-timeout", "-1"), ("--batch-timeout", "901"), ("--batch-size", "1000001"), ("--queue-mib", "2097152"),
    ("--kafka-compression", "brotli"), ("--http-host", "a b"), ("--http-port", "65536"), ("--log-level", "LOUD"),
    ("--kafka-security-protocol", "TLS"), ("--ws-ca", "/does/not/exist"), ("--ws-ca", "/dev/null"), ("--ws-ca", "/"),
    ("--schema-registry", "localhost:8081"), ("--kafka-property", "acks"), ("--kafka-property", "linger.ms=soon"),
    ("--kafka-property", "queue.buffering.max.kbytes=1000"), ("--kafka-property", "error_cb=print"),
]  # fmt: skip


@pytest.mark.parametrize(("flag", "text"), WRONG_VALUES)
def test_a_wrong_value_is_one_fault_of_its_option(flag: str, text: str) -> None:
    """A value that cannot work is refused at the start, in one printable line that begins with its option."""
    (fault,) = faults_of([f"{flag}={text}"])
    assert fault.startswith(flag)
    assert fault.isprintable()


CONTRADICTIONS = [
    (["--reconnect-delay-min", "5", "--reconnect-delay-max", "4"], "is greater than"),
    (["--market", "usdm", "--ws-url", "wss://stream.binance.com:9443/ws"], "serves the other market"),
    (["--transport", "picows", "--compression"], "picows does not compress"),
    (["--symbols", "A", "--shard", "1/2"], "leaves no symbol"),
    (["--streams", "btcusdt@trade", "!miniTicker@arr", "--shard", "1/2"], "leaves no stream of --streams"),
    (["--streams", "off"], "--streams and --raw-streams are both off"),
    (["--kafka-security-protocol", "SASL_SSL"], "need a mechanism"),
    (["--kafka-cert", "PEM", "--kafka-security-protocol", "SSL"], "--kafka-cert and --kafka-key belong together"),
    (["--kafka-ca", "PEM"], "no effect unless --kafka-security-protocol"),
    (["--schema-registry-user", "u"], "--schema-registry-user and K2_SCHEMA_REGISTRY_PASSWORD belong together"),
    (["--schema-registry-ca", "PEM"], "an https:// address"),
    (["--ws-url", "ws://h", "--ws-ca", "PEM"], "a wss:// address"),
]


@pytest.mark.parametrize(("argv", "told"), CONTRADICTIONS)
def test_options_that_contradict_are_refused(argv: list[str], told: str, pem: str) -> None:
    """Values that are right alone and wrong together are refused as well, under the names of both options."""
    (fault,) = faults_of([pem if word == "PEM" else word for word in argv])
    assert told in fault


def test_a_mechanism_needs_user_and_password() -> None:
    """A half-given login is a fault for each missing half."""
    faults = faults_of(["--kafka-security-protocol", "SASL_SSL", "--kafka-sasl-mechanism", "PLAIN"])
    assert [name in fault for fault in faults for name in ("--kafka-sasl-username", "K2_KAFKA_SASL_PASSWORD")] == [
        True, False, False, True,
    ]  # fmt: skip


def test_a_faulty_option_causes_no_second_fault(pem: str) -> None:
    """Rules over an option that is faulty itself stay silent: the operator gets one line for one mistake."""
    (fault,) = faults_of(["--market", "margin", "--ws-ca", pem])
    assert fault.startswith("--market")


@pytest.mark.parametrize("content", [CANARY, f"{CANARY}\n"])
def test_a_password_comes_from_a_file(tmp_path: Path, content: str) -> None:
    """The variable with `_FILE` names a file that holds the password, with or without a line end."""
    (tmp_path / "password").write_text(content)
    settings = load_settings(["--schema-registry-user", "u"], {"K2_SCHEMA_REGISTRY_PASSWORD_FILE": str(tmp_path / "password")})
    assert settings.registry.password is not None
    assert settings.registry.password.reveal() == CANARY
    assert str(settings.sources["registry.password"]) == "variable K2_SCHEMA_REGISTRY_PASSWORD_FILE"


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"K2_SCHEMA_REGISTRY_PASSWORD_FILE": "/does/not/exist"}, "cannot read"),
        ({"K2_SCHEMA_REGISTRY_PASSWORD_FILE": "/dev/null"}, "is empty"),
        ({"K2_SCHEMA_REGISTRY_PASSWORD_FILE": "/dev/null", "K2_SCHEMA_REGISTRY_PASSWORD": CANARY}, "both set"),
    ],
)
def test_a_password_file_that_gives_none_is_one_fault(environ: dict[str, str], told: str) -> None:
    """A password that was meant to be there is never taken for absent."""
    (fault,) = faults_of(["--schema-registry-user", "u"], environ)
    assert told in fault
    assert "K2_SCHEMA_REGISTRY_PASSWORD_FILE" in fault


LOGIN = ["--kafka-security-protocol", "SASL_SSL", "--kafka-sasl-mechanism", "PLAIN", "--kafka-sasl-username", "u"]


def test_secrets_are_never_shown(pem: str) -> None:
    """Neither the table nor any repr or text of the settings holds a password, wherever it was given."""
    argv = [*LOGIN, "--schema-registry-user", "u", "--kafka-cert", pem, "--kafka-key", pem]
    variables = ("K2_KAFKA_SASL_PASSWORD", "K2_SCHEMA_REGISTRY_PASSWORD", "K2_KAFKA_KEY_PASSWORD")
    settings = load_settings([*argv, "--kafka-property", f"ssl.key.pem={CANARY}"], dict.fromkeys(variables, CANARY))
    assert CANARY not in describe(settings) + repr(settings) + f"{settings.kafka.sasl_password}"
    assert describe(settings).count("********") == 4
    assert list(settings.kafka.producer_config().values()).count(CANARY) == 3
    assert settings.secrets() == (CANARY,) * 4


@pytest.mark.parametrize(
    ("argv", "environ"),
    [
        pytest.param([], {"SCHEMA_REGISTRY_URL": f"http://user:{CANARY}@host"}, id="registry"),
        pytest.param([], {"SCHEMA_REGISTRY_URL": f"http://user:{CANARY}@host:port"}, id="unreadable-port"),
        pytest.param([], {"BINANCE_WS_URL": f"wss://user:{CANARY}/x,@host"}, id="websocket"),
        pytest.param(["--proxy", f"http://user:{CANARY}@host"], {}, id="proxy"),
        pytest.param(["--kafka-bootstrap", f"user:{CANARY}@host"], {}, id="bootstrap"),
        pytest.param([], {"K2_KAFKA_PROPERTIES": f"acks=1,sasl.password=x,{CANARY}"}, id="password-with-comma"),
        pytest.param(["--kafka-sasl-password", CANARY], {}, id="flag-that-does-not-exist"),
        pytest.param([f"--password={CANARY}"], {}, id="unknown-flag"),
        pytest.param(["--shard", "x"], {"K2_KAFKA_SASL_PASSWORD": CANARY}, id="beside-another-fault"),
    ],
)
def test_faults_never_repeat_a_password(argv: list[str], environ: dict[str, str]) -> None:
    """A password in the wrong place is refused without being shown."""
    assert CANARY not in "".join(faults_of(argv, environ))
