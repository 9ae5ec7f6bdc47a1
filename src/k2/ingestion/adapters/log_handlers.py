"""Where log lines end: standard output for as long as somebody reads it, and a file for as long as the disk takes it."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, TextIO


class StreamHandler(logging.StreamHandler[TextIO]):
    """Writes to stdout for as long as somebody reads it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        """Called where `emit` failed: the reader has gone, the stream is closed, or the line could not be formatted."""
        with suppress(OSError, ValueError):
            if isinstance(sys.exc_info()[1], BrokenPipeError):
                # What is buffered would fail again when the interpreter ends, with a traceback and exit code 120.
                with Path(os.devnull).open("wb") as nowhere:
                    os.dup2(nowhere.fileno(), self.stream.fileno())
            else:
                line = {"event": "A log line could not be written", "level": "error", "logger": record.name}
                self.stream.write(json.dumps(line) + "\n")


class FileHandler(WatchedFileHandler):
    """
    Appends to the log file; makes its directory; follows it when it is rotated by renaming or by truncating.

    Args:
        report: Told path and error when the file begins to fall behind, and the path and nothing when it has taken a line again.
    """

    def __init__(self, path: Path, report: Callable[[str, str], None]) -> None:
        self._report, self._failed, self._behind = report, False, False
        super().__init__(path, encoding="utf-8")

    def _open(self) -> Any:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()

    def emit(self, record: logging.LogRecord) -> None:
        self._failed = False
        try:
            super().emit(record)  # reopens outside of its own error handling
        except OSError:
            self.handleError(record)
        if self._behind and not self._failed:
            self._behind = False
            self._report(self.baseFilename, "")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the standard library's name
        """Called where `emit` failed. The same line has gone to stdout, and the report goes the same way, once."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            return  # no fault of the file's: the line could not be formatted, and the stream has said so
        self._failed = True
        if not self._behind:
            self._behind = True  # before the report, which comes here too
            self._report(self.baseFilename, str(error))
