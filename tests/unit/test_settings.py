"""Claims about the settings: what is read, what wins, and what follows from what."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.described import describe
from k2.ingestion.option_values import Shard
from k2.ingestion.options import OPTIONS, Option, SourceKind
from k2.ingestion.settings import Settings, load_settings

HOME = {"HOME": "/home/someone"}
TEN_OF_THE_RUNBOOK = {
    "BINANCE_WS_URL": ("feed.ws_url", "wss://stream.binance.com:9443/ws"),
    "BINANCE_SYMBOLS": ("feed.symbols", ("BTCUSDT", "ETHUSDT", "BNBUSDT")),
    "KAFKA_BOOTSTRAP": ("kafka.bootstrap", "localhost:9092"),
    "KAFKA_TOPIC_PREFIX": ("kafka.topic_prefix", "market.crypto.trades"),
    "SCHEMA_REGISTRY_URL": ("registry.url", "http://localhost:8081"),
    "BINANCE_RECONNECT_DELAY_MIN": ("feed.reconnect_delay_min_s", 1.0),
    "BINANCE_RECONNECT_DELAY_MAX": ("feed.reconnect_delay_max_s", 60.0),
    "BINANCE_HEARTBEAT_INTERVAL": ("feed.heartbeat_interval_s", 180.0),
    "BINANCE_BATCH_SIZE": ("kafka.batch_size", 10_000),
    "BINANCE_BATCH_TIMEOUT": ("kafka.batch_timeout_s", 0.005),
}


def load(*argv: str, **environ: str) -> Settings:
    return load_settings(argv, HOME | environ)


def value_of(settings: Settings, key: str) -> Any:
    return reduce(getattr, key.split("."), settings)


@pytest.mark.parametrize("variable", TEN_OF_THE_RUNBOOK)
def test_runbook_variables_have_their_defaults(variable: str) -> None:
    """Each of the runbook's ten variables exists, and without it the documented default holds."""
    key, default = TEN_OF_THE_RUNBOOK[variable]
    assert variable in {option.variable for option in OPTIONS}
    assert value_of(load(), key) == default


def test_every_other_variable_begins_with_k2() -> None:
    """Beside the runbook's ten, no variable can collide with one of another program, and none is named twice."""
    others = [option.variable for option in OPTIONS if option.variable not in TEN_OF_THE_RUNBOOK]
    assert all(variable.startswith("K2_") for variable in others)
    assert len(set(others)) == len(others) == len(OPTIONS) - len(TEN_OF_THE_RUNBOOK)


def test_every_setting_has_the_type_that_it_is_declared_with() -> None:
    """Parsers and declared fields agree: no text slips through where a number is declared."""
    settings = load()
    for owner in (settings, settings.feed, settings.kafka, settings.registry, settings.http, settings.logs):
        for field, declared in get_type_hints(type(owner)).items():
            allowed = get_args(declared) if NoneType in get_args(declared) else (declared,)
            assert type(getattr(owner, field)) in {getattr(one, "__origin__", one) for one in allowed} | {type(Path())}


OTHER_TEXTS = {
    "feed.symbols": ("SOLUSDT", "ADAUSDT"),
    "feed.market": ("usdm", "spot"),
    "feed.ws_url": ("ws://127.0.0.1:9999", "ws://127.0.0.1:9998"),
    "feed.rest_url": ("off", "https://example.org"),
    "feed.compression": ("on", "off"),
    "feed.heartbeat_interval_s": ("20", "30.5"),
    "kafka.bootstrap": ("a:1", "b:2,[::1]:3"),
    "kafka.create_topic": ("off", "on"),
    "kafka.partitions": ("3", "4"),
    "kafka.retention_ms": ("-1", "60000"),
    "registry.url": ("http://r:1", "https://r:2"),
    "http.port": ("0", "9000"),
    "logs.file": ("off", "x.log"),
    "state_dir": ("/a", "/b"),
}
CHOSEN = [option for option in OPTIONS if option.key in OTHER_TEXTS]


def as_flag(option: Option, text: str) -> list[str]:
    if option.is_switch:
        return [option.flag if text == "on" else option.negative_flag]
    return [option.flag, text]


@hypothesis.settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["absent", "empty", "set"])), min_size=len(CHOSEN), max_size=len(CHOSEN))
)
def test_flag_beats_variable_beats_default(combination: list[tuple[bool, str]]) -> None:
    """Whatever is given where: a flag wins over its variable, that over the default, and an empty variable is none."""
    argv: list[str] = []
    environ = dict(HOME)
    expected = {}
    for option, (has_flag, variable) in zip(CHOSEN, combination, strict=True):
        of_flag, of_variable = OTHER_TEXTS[option.key]
        argv += as_flag(option, of_flag) if has_flag else []
        environ |= {} if variable == "absent" else {option.variable: of_variable if variable == "set" else " "}
        text = of_flag if has_flag else of_variable if variable == "set" else None
        kind = SourceKind.FLAG if has_flag else SourceKind.VARIABLE if variable == "set" else SourceKind.DEFAULT
        expected[option] = (kind, text)
    settings = load_settings(argv, environ)
    for option, (kind, text) in expected.items():
        assert settings.sources[option.key].kind is kind
        if text is not None:
            assert value_of(settings, option.key) == option.parse(text)


@pytest.mark.parametrize(
    ("argv", "symbols"),
    [
        pytest.param(["btcusdt", "ETHUSDT"], ("BTCUSDT", "ETHUSDT"), id="spaces-and-lower-case"),
        pytest.param(["BTCUSDT,ETHUSDT, BTCUSDT"], ("BTCUSDT", "ETHUSDT"), id="commas-and-twice"),
        pytest.param(["A", "--symbols", "B"], ("A", "B"), id="flag-twice"),
        pytest.param(["这是测试币456"], ("这是测试币456",), id="chinese"),
        pytest.param(["1000SHIBUSDT", "BTCUSDT_261225"], ("1000SHIBUSDT", "BTCUSDT_261225"), id="digits-and-delivery-date"),
    ],
)
def test_symbols_are_read_as_people_write_them(argv: list[str], symbols: tuple[str, ...]) -> None:
    """Spaces, commas and any case do; each symbol counts once, in the order given."""
    assert load("--symbols", *argv).feed.symbols == symbols


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shards_split_the_symbols(count: int) -> None:
    """The parts hold every symbol exactly once, whatever order an instance lists them in."""
    listed = ["E", "C", "A", "D", "B"]
    parts = [
        load("--symbols", *(listed if index % 2 else listed[::-1]), "--shard", f"{index}/{count}").feed.symbols
        for index in range(count)
    ]
    assert sorted(symbol for part in parts for symbol in part) == sorted(listed)
    assert Shard(0, 2).pick(listed) == ("A", "C", "E")


@pytest.mark.parametrize(
    ("argv", "rest_url"),
    [
        ([], "https://api.binance.com"),
        (["--market", "usdm"], "https://fapi.binance.com"),
        (["--ws-url", "wss://data-stream.binance.vision/ws"], "https://data-api.binance.vision"),
        (["--ws-url", "wss://stream.testnet.binance.vision"], "https://testnet.binance.vision"),
        (["--ws-url", "ws://127.0.0.1:7000"], None),
        (["--ws-url", "ws://127.0.0.1:7000", "--rest-url", "http://127.0.0.1:7000/"], "http://127.0.0.1:7000"),
        (["--rest-url", "off"], None),
        (["--rest-url="], None),
    ],
)
def test_rest_address_belongs_to_the_websocket_address(argv: list[str], rest_url: str | None) -> None:
    """Ids of one server are never looked up at another: an unknown WebSocket host has no REST address by itself."""
    assert load(*argv).feed.rest_url == rest_url


@pytest.mark.parametrize(
    ("argv", "topic"),
    [
        ([], "market.crypto.trades.binance"),
        (["--market", "usdm"], "market.futures.trades.binance"),
        (["--topic-prefix", "test.x", "--market", "usdm"], "test.x.binance"),
    ],
)
def test_topic_and_subject_follow_market_and_prefix(argv: list[str], topic: str) -> None:
    """The topic is the prefix with `.binance` behind it, and its subject that with `-value`."""
    settings = load(*argv)
    assert (settings.topics[0].name, settings.topics[0].subject) == (topic, f"{topic}-value")


@pytest.mark.parametrize(
    ("environ", "state_dir"),
    [
        ({}, "/home/someone/.local/state/k2"),
        ({"XDG_STATE_HOME": "/var/x"}, "/var/x/k2"),
        ({"XDG_STATE_HOME": "relative"}, "/home/someone/.local/state/k2"),
        ({"XDG_STATE_HOME": "/var/x", "K2_STATE_DIR": "/srv/k2"}, "/srv/k2"),
    ],
)
def test_state_directory_follows_xdg(environ: dict[str, str], state_dir: str) -> None:
    """State lies where the XDG specification wants it, unless an option says otherwise."""
    assert load(**environ).state_dir == Path(state_dir)


def test_the_table_tells_every_value_and_its_source() -> None:
    """`--print-config` has a line for every option: what it is called, its value with its unit, where it came from."""
    settings = load("--symbols", "A", "B", "--print-config", "--no-create-topic", BINANCE_HEARTBEAT_INTERVAL="20")
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in describe(settings).splitlines()}
    assert settings.print_config
    assert set(lines) == {option.name for option in OPTIONS} | {"option", "topic", "subject"}
    assert lines["--symbols"] == "A,B flag --symbols"
    assert lines["--heartbeat-interval"] == "20 seconds variable BINANCE_HEARTBEAT_INTERVAL"
    assert lines["--create-topic"] == "off flag --no-create-topic"
    assert lines["--rest-url"] == "https://api.binance.com default"


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_end_the_program(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both print and end with 0, even beside faults; the help names every flag and every variable."""
    with pytest.raises(SystemExit) as caught:
        load("--market", "margin", flag)
    assert caught.value.code == 0
    printed = "".join(capsys.readouterr().out.split())
    assert printed == "k20.1.0" or all(option.name in printed and option.variable in printed for option in OPTIONS)
