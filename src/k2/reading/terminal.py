"""How a tool that reads for a while speaks to its user, and ends when it is told to."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from k2.ingestion.adapters.logs import masked, printable
from k2.reading.patience import Tell, unheard

EXIT_TERMINATED = 143  # 128 + SIGTERM, as shells say it


def to_stderr(program: str) -> Tell:
    """One line for each thing told, without passwords and control characters."""

    def tell(text: str) -> None:
        sys.stderr.write(masked(f"{program}: {printable(text)}\n"))
        sys.stderr.flush()

    return tell


def to_terminal(program: str) -> Tell:
    """The same where somebody sits before standard error, and nothing into a file or pipe."""
    return to_stderr(program) if sys.stderr.isatty() else unheard


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does: at once, cleaned up and without a word."""
    if threading.current_thread() is not threading.main_thread():  # Python hands signals to the main thread only
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
