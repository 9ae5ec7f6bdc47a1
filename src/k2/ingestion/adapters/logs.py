"""
Logging: one line per event, JSON where a machine reads it, coloured text on a terminal, always JSON in the log file.

The only module that configures structlog and the standard library's logging. Three promises: registered secrets never come out,
text from outside can neither command a terminal nor forge a line, and logging never raises, whatever became of the place it
writes to.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast
from urllib.parse import quote

import structlog
from structlog.stdlib import ProcessorFormatter

from k2.errors import ConfigurationError
from k2.ingestion.adapters.log_handlers import FileHandler, StreamHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
FORMATS = ("auto", "json", "console")  # auto: console on a terminal, json otherwise
MASK = "**********"

# httpx2 prints whole addresses at INFO, credentials in them included.
_QUIET_LIBRARIES = ("aiohttp", "asyncio", "httpcore", "httpcore2", "httpx", "httpx2", "picows", "websockets")
_FIRST_KEYS = ("event", "level", "timestamp", "logger")
_MULTILINE_KEYS = frozenset({"exception", "stack"})
_MAX_DEPTH = 6
_MAX_REMEMBERED = 1000
_DIGITS = re.compile(r"\d+")

_secrets: tuple[str, ...] = ()


def get_logger(name: str) -> FilteringBoundLogger:
    """The logger of module `name`. It may be got before logging is configured."""
    return cast("FilteringBoundLogger", structlog.stdlib.get_logger(name))


def register_secret(text: str) -> None:
    """Mask `text` wherever it occurs from now on, also in the forms that addresses and representations give it."""
    global _secrets  # noqa: PLW0603 - one process has one set of secrets, and every logger must know it
    forms = {text, quote(text, safe=""), repr(text)[1:-1], json.dumps(text)[1:-1]} - {""}
    _secrets = tuple(sorted({*_secrets, *forms}, key=len, reverse=True))  # the longest first: one may contain another


def masked(text: str) -> str:
    """`text` with every registered secret replaced."""
    for secret in _secrets:
        text = text.replace(secret, MASK)
    return text


def configure_logging(
    *, level: str = "INFO", log_format: str = "auto", log_file: Path | None = None, stream: TextIO | None = None
) -> Callable[[], None]:
    """
    Send every log line of the process to `stream` (stdout if None) and, as JSON, to `log_file`.

    A log file that cannot be opened costs one warning and nothing else. Returns the function that undoes all this.

    Raises:
        ConfigurationError: an unknown level or format.
    """
    number = _checked(level, log_format)
    file_handlers, fault = _open_log_file(log_file)
    close = _install([*_stream_handlers(stream or sys.stdout, log_format), *file_handlers], number)
    if fault:
        get_logger(__name__).warning("Log file cannot be opened, logging goes on without it", error=fault)
    return close


def rdkafka_logger(*, clock: Callable[[], float] = time.monotonic) -> logging.Logger:
    """A logger to hand to confluent-kafka: librdkafka's lines come out through ours, repeats suppressed."""
    logger = logging.getLogger("k2.librdkafka.unfiltered")
    logger.propagate = False  # the handler is the only way out
    logger.handlers = [_RdkafkaHandler(RepeatFilter(), clock)]
    return logger


class RepeatFilter:
    """Lets the same thing through once per interval, and says how many were held back meanwhile."""

    def __init__(self, interval_s: float = 30.0) -> None:
        self._interval_s = interval_s
        self._seen: dict[object, tuple[float, int]] = {}  # key -> (let through at, held back since)

    def admit(self, key: object, now_s: float) -> int | None:
        """None if `key` is to be suppressed at `now_s`, else the number of those suppressed since it was last let through."""
        admitted_at_s, held_back = self._seen.get(key, (-math.inf, 0))
        if now_s - admitted_at_s < self._interval_s:
            self._seen[key] = admitted_at_s, held_back + 1
            return None
        self._seen.pop(key, None)  # put at the end again, so that the first one is always the oldest
        self._seen[key] = now_s, 0
        if len(self._seen) > _MAX_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return held_back


class _RdkafkaHandler(logging.Handler):
    def __init__(self, repeats: RepeatFilter, clock: Callable[[], float]) -> None:
        super().__init__()
        self._repeats, self._clock = repeats, clock
        self._log = get_logger("librdkafka")

    def emit(self, record: logging.LogRecord) -> None:
        facility, client, text = _rdkafka_parts(record)
        suppressed = self._repeats.admit((facility, _DIGITS.sub("", text)), self._clock())
        if suppressed is not None:
            fields = {"suppressed": suppressed} if suppressed else {}
            self._log.log(record.levelno, "librdkafka", facility=facility, client=client, detail=text, **fields)


def _rdkafka_parts(record: logging.LogRecord) -> tuple[str, str, str]:
    # confluent-kafka calls logger.log(level, "%s [%s] %s", facility, client, text).
    if isinstance(record.args, tuple) and len(record.args) == 3:  # noqa: PLR2004 - the three above
        facility, client, text = record.args
        return str(facility), str(client), str(text)
    return "", "", record.getMessage()


def _checked(level: str, log_format: str) -> int:
    if level.upper() not in LEVELS:
        raise ConfigurationError(f"--log-level: {level!r} is not one of {', '.join(LEVELS)}")
    if log_format not in FORMATS:
        raise ConfigurationError(f"--log-format: {log_format!r} is not one of {', '.join(FORMATS)}")
    return LEVELS[level.upper()]


def _stream_handlers(stream: TextIO | None, log_format: str) -> list[logging.Handler]:
    if stream is None:  # the process was started with stdout closed
        return []
    on_terminal = stream.isatty()
    as_console = log_format == "console" or (log_format == "auto" and on_terminal)
    handler = StreamHandler(stream)
    handler.setFormatter(_formatter(_console(colors=on_terminal and "NO_COLOR" not in os.environ) if as_console else [_json]))
    return [handler]


def _open_log_file(path: Path | None) -> tuple[list[FileHandler], str]:
    try:
        handlers = [FileHandler(path, _report_log_file)] if path else []
    except OSError as error:
        return [], str(error)
    for handler in handlers:
        handler.setFormatter(_formatter([_json]))
    return handlers, ""


def _report_log_file(path: str, error: str) -> None:
    """The file fell behind because of an error, or with none it is no more."""
    if error:
        get_logger(__name__).error("Log file cannot be written, logging goes on without it", path=path, error=error)
    else:
        get_logger(__name__).info("Log file can be written again", path=path)


def _install(handlers: Sequence[logging.Handler], level: int) -> Callable[[], None]:
    root = logging.getLogger()
    level_before = root.level
    _take_out(root, [handler for handler in root.handlers if isinstance(handler, StreamHandler | FileHandler)])
    root.setLevel(level)
    for handler in handlers:
        root.addHandler(handler)
    _quieten_libraries(max(level, logging.WARNING))
    _configure_structlog(level)

    def close() -> None:
        _take_out(root, handlers)
        root.setLevel(level_before)
        _quieten_libraries(logging.NOTSET)
        structlog.reset_defaults()

    return close


def _quieten_libraries(level: int) -> None:
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(level)


def _take_out(root: logging.Logger, handlers: Sequence[logging.Handler]) -> None:
    for handler in handlers:
        root.removeHandler(handler)
        with suppress(OSError, ValueError):  # what a full disk or a closed stream did not take before
            handler.close()


_ENRICH: list[Processor] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def _configure_structlog(level: int) -> None:
    structlog.configure(
        processors=[*_ENRICH, structlog.processors.StackInfoRenderer(), ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,  # a cached logger would survive a second configuration
    )


def _formatter(renderers: Sequence[Processor]) -> ProcessorFormatter:
    chain: list[Processor] = [
        ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _plain_and_ordered,
        *renderers,
    ]
    return ProcessorFormatter(foreign_pre_chain=_ENRICH, processors=chain)


def _console(*, colors: bool) -> list[Processor]:
    # structlog's default exception format prints local variables, and with them whatever secret they hold.
    plain = structlog.dev.plain_traceback
    return [_escape_controls, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain, sort_keys=False)]


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return json.dumps(event)


def _plain_and_ordered(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Only JSON's own types from here on, every text of them masked, and what happened first in the line."""
    plain = {masked(key): _plain(value) for key, value in event.items()}
    return {key: plain[key] for key in _FIRST_KEYS if key in plain} | plain


def _plain(value: object, depth: int = 0) -> Any:
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        return {masked(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < _MAX_DEPTH:
        return [_plain(item, depth + 1) for item in value]
    return masked(str(value) or repr(value) if not isinstance(value, str) else value)


def _escape_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """On a terminal a control character is a command and a line feed begins a forged line."""
    return {printable(key): _escaped(key, value) for key, value in event.items()}


def _escaped(key: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    return "\n".join(map(printable, value.split("\n"))) if key in _MULTILINE_KEYS else printable(value)


def printable(text: str) -> str:
    """The text with every character escaped that a terminal would obey instead of showing it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
