"""Claims about what the demo makes of the client: its command line, its environment, its log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k2.demo.client import ClientLog, arguments, environment, failure, past_the_proxy, readable
from k2.demo.options import DemoOptions
from k2.errors import ConfigurationError, FatalError, K2Error, UnavailableError
from k2.ingestion.options import OPTIONS
from k2.ingestion.profiles import profile_names
from k2.ingestion.settings import load_settings
from unit.demo.samples import asked


def log_of(*events: dict[str, object]) -> ClientLog:
    log = ClientLog()
    for event in events:
        log.take_stdout(json.dumps(event).encode() + b"\n")
    return log


@pytest.mark.parametrize(
    "options",
    [
        asked(),
        asked(market="usdm", stream=["trade"], symbols=["ETHBTC"]),
        asked(streams=["kline_1m", "!miniTicker@arr"], raw_streams=["depth"], candles="updates"),
        *(asked(profile=name) for name in profile_names()),
    ],
)
def test_the_client_takes_the_command_line(options: DemoOptions, tmp_path: Path) -> None:
    """Every flag exists, and what the demo was asked for arrives; nothing is written outside the given directory."""
    words = arguments(options, tmp_path, bootstrap="127.0.0.1:1", registry_url="http://127.0.0.1:2")
    settings = load_settings(words, {"HOME": "/elsewhere"})
    asked_for = ("symbols", "market", "streams", "raw_streams", "candles")
    assert [getattr(settings.feed, name) for name in asked_for] == [getattr(options.settings.feed, name) for name in asked_for]
    assert [(plan.name, plan.layout) for plan in settings.topics] == [(plan.name, plan.layout) for plan in options.topics]
    written = [settings.state_dir, settings.dead_letter_dir, settings.logs.file]
    assert all(path is not None and path.is_relative_to(tmp_path) for path in written)


def test_the_users_own_settings_do_not_reach_the_simulation() -> None:
    """A developer's brokers, passwords and addresses in the environment change nothing about the demo."""
    own = {name: "x" for option in OPTIONS for name in (*option.variables, option.file_variable)}
    others = {"BINANCE_STREAMS": "x", "KAFKA_API_KEY": "x", "TOPIC_RAW_TRADES": "x"}
    assert environment({**own, **others, "PATH": "/bin"}, live=False) == {"PATH": "/bin"}


def test_a_profile_of_the_users_brings_no_variables_either(tmp_path: Path) -> None:
    """Its own names for brokers and streams are left out as well; a file with faults is judged elsewhere."""
    path = tmp_path / "mine.yaml"
    path.write_text("version: 1\ndescription: mine\nenvironment: {MY_BROKERS: {option: kafka-bootstrap}}\n")
    assert environment({"MY_BROKERS": "x"}, live=True, profile=str(path)) == {}
    assert environment({"MY_BROKERS": "x"}, live=True, profile="no-such-profile") == {"MY_BROKERS": "x"}


def test_the_way_to_the_real_exchange_may_come_from_the_environment() -> None:
    """A proxy and an address are kept; brokers are still the demo's own, and what to stream is what it was asked for."""
    way = {"K2_PROXY": "http://proxy:1", "BINANCE_WS_URL": "wss://elsewhere"}
    others = {"KAFKA_BOOTSTRAP_SERVERS": "b", "SCHEMA_REGISTRY_URL": "r", "BINANCE_SYMBOLS": "s", "K2_STREAM": "t"}
    assert environment({**way, **others}, live=True) == way


@pytest.mark.parametrize(
    ("inherited", "expected"),
    [
        pytest.param({}, "127.0.0.1", id="nothing-set"),
        pytest.param({"NO_PROXY": "a.example"}, "a.example,127.0.0.1", id="upper-case"),
        pytest.param({"no_proxy": "b.example", "NO_PROXY": "a.example"}, "b.example,127.0.0.1", id="lower-case-wins"),
    ],
)
def test_loopback_is_not_asked_of_a_proxy(inherited: dict[str, str], expected: str) -> None:
    """The user's proxy cannot reach this machine's loopback, and its own exceptions stay."""
    assert past_the_proxy(inherited) == {"no_proxy": expected, "NO_PROXY": expected}


def test_the_log_tells_where_health_is_and_how_it_ended() -> None:
    """Address and balance sheet are read from the client's own lines."""
    log = log_of(
        {"event": "Serving health and metrics", "level": "info", "address": "http://127.0.0.1:9"},
        {"event": "Shutdown complete", "level": "info", "received": 3, "published": 2, "dead_lettered": 1, "balanced": True},
    )
    assert log.health_url == "http://127.0.0.1:9/health"
    assert log.sheet is not None
    assert (log.sheet.received, log.sheet.published, log.sheet.dead_lettered, log.sheet.balanced) == (3, 2, 1, True)


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n", b"\xff\n", b"\n"])
def test_other_output_is_passed_over(line: bytes) -> None:
    """What is no log event does no harm."""
    log = ClientLog()
    log.take_stdout(line)
    assert (log.health_url, log.sheet, log.last_problem) == ("", None, "")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        pytest.param(
            {"event": "Connection failed", "level": "warning", "kind": "dns", "detail": "no such host", "retry_in_s": 1},
            "Connection failed: dns, no such host", id="connection",
        ),
        pytest.param(
            {"event": "Refused (451)", "level": "error", "status": 451, "detail": "", "advice": "use another host"},
            "Refused (451): 451; use another host", id="refusal-with-advice",
        ),
        pytest.param({"event": "Odd", "level": "error", "error": "a\x1b[2Jb\nc"}, "Odd: a?[2Jb c", id="control-characters"),
    ],
)  # fmt: skip
def test_the_latest_problem_is_one_readable_sentence(event: dict[str, object], text: str) -> None:
    """The cause that the demo gives is what the client logged, with its details and its advice, safe to print."""
    assert readable(event) == text
    assert log_of({"event": "Connected", "level": "info"}, event).last_problem == text


def test_the_warning_about_a_temporary_directory_is_no_problem() -> None:
    """That the dead letters do not last is the demo's intention."""
    assert log_of({"event": "Dead letters", "level": "warning", "detail": "may not survive"}).last_problem == ""


@pytest.mark.parametrize(
    ("exit_code", "kind", "text"),
    [(2, ConfigurationError, "--symbols: none"), (69, UnavailableError, "--symbols: none"), (70, FatalError, "exit code 70")],
)
def test_an_end_of_its_own_keeps_its_meaning(exit_code: int, kind: type[K2Error], text: str) -> None:
    """The client's exit code becomes the demo's, and its last words the reason."""
    log = ClientLog()
    log.take_stderr(b"binance_client: --symbols: none\n")
    error = failure(exit_code, log)
    assert type(error) is kind
    assert text in str(error)
    assert "binance_client" not in str(error)
