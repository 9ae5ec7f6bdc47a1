"""Logging end to end: what is logged on one side, what a file, a pipe or a terminal gets on the other."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from k2.errors import ConfigurationError
from k2.ingestion.adapters import logs
from k2.ingestion.adapters.logs import MASK, RepeatFilter, configure_logging, get_logger, rdkafka_logger, register_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CANARY = "canary/pa$$ wörd'\"\\"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_secrets", ())


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Logging into memory as JSON; the function parses what has come out so far."""
    out = io.StringIO()
    close = configure_logging(level="INFO", stream=out)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    close()


def log_failure(text: str) -> None:
    local = "local value".upper().lower()
    try:
        fail(text, local)
    except ValueError:
        get_logger("k2").exception("Failed")


def fail(text: str, _local: str) -> None:
    raise ValueError(text)


def console_output(log: Callable[[], None], stream: io.StringIO) -> str:
    close = configure_logging(log_format="console", stream=stream)
    log()
    close()
    return stream.getvalue()


def test_piped_line_is_json_with_the_event_first(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """A line begins with what happened, and carries level, UTC time, logger and the fields."""
    get_logger("k2.feed").info("Connected", url="wss://x", attempt=1)
    (line,) = lines()
    assert list(line) == ["event", "level", "timestamp", "logger", "url", "attempt"]
    assert (line["event"], line["level"], line["logger"], line["attempt"]) == ("Connected", "info", "k2.feed", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"])


def test_level_filters(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Below the level nothing comes out."""
    get_logger("k2").debug("silent")
    get_logger("k2").warning("heard")
    assert [line["event"] for line in lines()] == ["heard"]


@pytest.mark.parametrize("library", ["aiohttp.access", "picows", "websockets.client", "httpx2"])
def test_libraries_are_heard_from_warning_on(lines: Callable[[], list[dict[str, Any]]], library: str) -> None:
    """What libraries log with the standard library comes out in our form, but not their chatter."""
    logging.getLogger(library).info("HTTP Request: GET http://user:pass@host")
    logging.getLogger(library).warning("%s is odd", "it")
    assert [(line["event"], line["level"], line["logger"]) for line in lines()] == [("it is odd", "warning", library)]


def test_exception_is_one_line(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """A traceback stays inside its JSON line, without local variables."""
    log_failure("boom")
    (line,) = lines()
    assert "ValueError: boom" in line["exception"]
    assert "local value" not in json.dumps(line)


def test_any_value_becomes_json(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """A value that JSON does not know is logged as text."""
    get_logger("k2").info("x", error=ValueError("why"), empty=ValueError(), nan=float("nan"), many={"a": (1, b"z")})
    (line,) = lines()
    assert {key: line[key] for key in ("error", "empty", "nan", "many")} == {
        "error": "why",
        "empty": "ValueError()",
        "nan": "nan",
        "many": {"a": [1, "b'z'"]},
    }


def test_registered_secret_never_comes_out(tmp_path: Path) -> None:
    """In texts, keys, nested values, exceptions, addresses and foreign lines a secret is masked, on stdout and in the file."""
    register_secret(CANARY)
    out = io.StringIO()
    close = configure_logging(stream=out, log_file=tmp_path / "client.log")
    log = get_logger("k2")
    log.info(
        f"with {CANARY}", nested={CANARY: [CANARY, ValueError(CANARY)]}, url="http://u:canary%2Fpa%24%24%20w%C3%B6rd%27%22%5C@h"
    )
    logging.getLogger("k2.foreign").error("repr %r", CANARY)
    log_failure(CANARY)
    close()
    for text in (out.getvalue(), (tmp_path / "client.log").read_text(encoding="utf-8")):
        assert "canary" not in text
        assert text.count(MASK) >= 6


@pytest.mark.parametrize(
    ("stream", "log_format", "is_json"),
    [
        pytest.param(io.StringIO, "auto", True, id="piped"),
        pytest.param(Terminal, "auto", False, id="terminal"),
        pytest.param(Terminal, "json", True, id="json-asked-for"),
        pytest.param(io.StringIO, "console", False, id="console-asked-for"),
    ],
)
def test_format_follows_the_stream(stream: type[io.StringIO], log_format: str, *, is_json: bool) -> None:
    """On a terminal people read, in a pipe machines do, unless told otherwise."""
    out = stream()
    close = configure_logging(log_format=log_format, stream=out)
    get_logger("k2").info("Connected")
    close()
    assert out.getvalue().startswith('{"event": "Connected"') == is_json


def test_console_escapes_what_commands_a_terminal() -> None:
    """Neither a control sequence nor a forged line gets to the terminal, from texts, fields or foreign loggers."""
    nasty = "evil\x1b[2J\x9b2J\nERROR forged\u202e"

    def log() -> None:
        get_logger("k2").info(nasty, field=nasty)
        logging.getLogger("foreign").warning(nasty)

    text = console_output(log, io.StringIO())
    assert len(text.splitlines()) == 2
    assert not set(text) & set("\x1b\x9b\u202e")
    assert r"evil\x1b[2J\x9b2J\nERROR forged\u202e" in text


def test_console_keeps_the_lines_of_a_traceback() -> None:
    """A traceback stays readable, while a control sequence in its message does not work."""
    text = console_output(lambda: log_failure("bad\x1b[2J"), io.StringIO())
    assert "Traceback (most recent call last):\n" in text
    assert r"ValueError: bad\x1b[2J" in text


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colours unless NO_COLOR is set."""
    coloured = console_output(lambda: get_logger("k2").info("x"), Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    plain = console_output(lambda: get_logger("k2").info("x"), Terminal())
    assert ("\x1b[" in coloured, "\x1b[" in plain) == (True, False)


def test_log_file_is_made_and_followed(tmp_path: Path) -> None:
    """The file and its directory are made; after rotation by renaming or truncating logging goes on under the name."""
    path = tmp_path / "logs" / "binance_client.log"
    close = configure_logging(stream=io.StringIO(), log_file=path)
    log = get_logger("k2")
    log.info("first")
    rotated = path.rename(path.with_suffix(".log.1"))
    log.info("second")
    path.write_bytes(b"")
    log.info("third")
    close()
    events = [[json.loads(line)["event"] for line in file.read_text().splitlines()] for file in (rotated, path)]
    assert events == [["first"], ["third"]]


def test_vanished_log_directory_is_made_again(tmp_path: Path) -> None:
    """Somebody who removes the whole directory loses the old lines only."""
    path = tmp_path / "logs" / "binance_client.log"
    close = configure_logging(stream=io.StringIO(), log_file=path)
    path.unlink()
    path.parent.rmdir()
    get_logger("k2").info("again")
    close()
    assert json.loads(path.read_text())["event"] == "again"


def test_unusable_log_file_costs_one_warning(tmp_path: Path) -> None:
    """A log file that cannot be opened is said once, and stdout goes on."""
    (tmp_path / "logs").write_bytes(b"")
    out = io.StringIO()
    close = configure_logging(stream=out, log_file=tmp_path / "logs" / "client.log")
    get_logger("k2").info("Connected")
    close()
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["level"], first["event"]) == ("warning", "Log file cannot be opened, logging goes on without it")
    assert second["event"] == "Connected"


def test_full_disk_does_not_stop_the_program(tmp_path: Path) -> None:
    """A log file on a full disk loses lines and nothing else: stdout has them, and says once that the file has not."""
    (tmp_path / "client.log").symlink_to("/dev/full")
    out = io.StringIO()
    close = configure_logging(stream=out, log_file=tmp_path / "client.log")
    get_logger("k2").info("one")
    get_logger("k2").info("two")
    close()
    one, fault, two = (json.loads(line) for line in out.getvalue().splitlines())
    assert (one["event"], two["event"]) == ("one", "two")
    assert (fault["level"], fault["event"]) == ("error", "Log file cannot be written, logging goes on without it")
    assert "No space left" in fault["error"]


def test_unformattable_line_is_said(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """A log call with a mistake in it does not raise, and does not vanish."""

    class Unprintable:
        def __str__(self) -> str:
            raise ValueError

    get_logger("k2.odd").info("x", value=Unprintable())
    assert [(line["event"], line["logger"]) for line in lines()] == [("A log line could not be written", "k2.odd")]


def test_closing_undoes_the_configuration() -> None:
    """After close the root logger is as before, so that a second configuration logs each line once."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    configure_logging(stream=io.StringIO())()
    assert (list(root.handlers), root.level) == before


def test_configuring_twice_does_not_double_lines(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """The last configuration holds."""
    out = io.StringIO()
    close = configure_logging(stream=out)
    get_logger("k2").info("once")
    close()
    assert (lines(), len(out.getvalue().splitlines())) == ([], 1)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"level": "LOUD"}, r"--log-level: 'LOUD' is not one of DEBUG"),
        ({"log_format": "xml"}, r"--log-format: 'xml' is not one of"),
    ],
)
def test_unknown_setting_names_its_option(arguments: dict[str, str], fault: str) -> None:
    """A wrong level or format is a wrong configuration."""
    with pytest.raises(ConfigurationError, match=fault):
        configure_logging(**arguments)  # type: ignore[arg-type]


CHATTY = """
import sys
from k2.ingestion.adapters.logs import configure_logging, get_logger

close = configure_logging()
sys.stdin.readline()
for _ in range(3):
    get_logger("k2").info("x" * 10000)
close()
sys.stderr.write("done")
"""


def test_closed_pipe_does_not_raise() -> None:
    """When the reader of stdout goes away the program goes on, and ends with exit code 0 and without a traceback."""
    with subprocess.Popen(
        [sys.executable, "-c", CHATTY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        program.stdout.close()
        program.stdout = None
        _, errors = program.communicate(b"go\n", timeout=60)
    assert (program.returncode, errors) == (0, b"done")


def test_missing_stdout_does_not_raise() -> None:
    """A program started without a stdout (`>&-`) logs to its file only."""
    run = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, CHATTY], input=b"go\n", capture_output=True, timeout=60, check=False
    )
    assert (run.returncode, run.stderr) == (0, b"done")


def test_repeats_are_suppressed_and_counted() -> None:
    """A key passes once per interval; the next time it says how many were held back."""
    repeats = RepeatFilter(interval_s=30.0)
    moments = [("a", 0.0), ("a", 1.0), ("b", 2.0), ("a", 29.9), ("a", 30.0), ("a", 60.0)]
    assert [repeats.admit(key, at_s) for key, at_s in moments] == [0, None, 0, None, 2, 0]


def test_repeat_filter_is_bounded() -> None:
    """Keys without end do not fill the memory: the one let through longest ago is forgotten."""
    repeats = RepeatFilter(interval_s=1e9)
    assert [repeats.admit(key, float(key)) for key in range(1500)] == [0] * 1500
    assert len(repeats._seen) == 1000
    assert (repeats.admit(1499, 1500.0), repeats.admit(0, 1500.0)) == (None, 0)


def test_librdkafka_lines_come_out_as_ours(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """The same line but for its numbers comes out once in 30 s, then with the count of those suppressed."""
    now_s = [0.0]
    logger = rdkafka_logger(clock=lambda: now_s[0])
    for at_s in (0.0, 1.0, 2.0, 31.0):
        now_s[0] = at_s
        logger.log(logging.ERROR, "%s [%s] %s", "FAIL", "rdkafka#producer-1", f"refused (after {at_s:.0f}ms)")
    logger.log(logging.ERROR, "no librdkafka line")
    fields = ("event", "level", "facility", "client", "detail", "suppressed")
    assert [[line.get(field) for field in fields] for line in lines()] == [
        ["librdkafka", "error", "FAIL", "rdkafka#producer-1", "refused (after 0ms)", None],
        ["librdkafka", "error", "FAIL", "rdkafka#producer-1", "refused (after 31ms)", 2],
        ["librdkafka", "error", "", "", "no librdkafka line", None],
    ]


def test_real_librdkafka_logs_through_it(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """A producer without a broker reports the refused connection in one of our lines."""
    from confluent_kafka import Producer  # noqa: PLC0415 - this one test needs it

    producer = Producer({"bootstrap.servers": "127.0.0.1:1"}, logger=rdkafka_logger())
    for _ in range(100):
        producer.poll(0.1)
        if any("Connection refused" in line["detail"] for line in lines()):
            return
    pytest.fail(f"nothing was logged: {lines()}")
