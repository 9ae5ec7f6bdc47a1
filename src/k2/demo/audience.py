"""For whom the demo plays: a terminal that is redrawn, or a pipe that gets a line a second."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from io import TextIOWrapper
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from k2.demo.sheet import Line
from k2.demo.snapshot import Snapshot
from k2.demo.text import ASCII, UNICODE
from k2.demo.view import plain_heading, plain_line, screen


class Audience(Protocol):
    """`show` is called several times a second; `leave` before anything else is printed, and more than once."""

    def show(self, seen: Snapshot) -> None: ...
    def leave(self) -> None: ...
    def tell(self, lines: Iterable[Line]) -> None: ...


class Terminal:
    """Draws on the terminal's second screen, so that what was there before is there again afterwards."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._glyphs = ASCII if console.options.ascii_only else UNICODE
        self._live: Live | None = None

    def show(self, seen: Snapshot) -> None:
        width, height = self._console.size
        picture = screen(seen, width, height, self._glyphs)
        if self._live is None:
            self._live = Live(
                picture, console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start(refresh=True)
        self._live.update(picture, refresh=True)

    def leave(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def tell(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._console.print(Text(line.text, line.style), soft_wrap=True)


class Lines:
    """Prints a plain line for each full second, at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told_s = -1

    def show(self, seen: Snapshot) -> None:
        full_s = int(seen.elapsed_s)
        if self._told_s < 0:
            self._print(plain_heading(seen))
        elif full_s > self._told_s:
            self._print(plain_line(seen))
        self._told_s = full_s

    def leave(self) -> None:
        """Nothing to undo."""

    def tell(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._print(line.text)

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def choose_audience(*, as_json: bool) -> Audience:
    """Where standard output is for a program, progress goes to standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode gets question marks instead of an error of ours
    if as_json:
        return Lines(sys.stderr)
    console = Console(highlight=False)
    if sys.stdout.isatty() and not console.is_dumb_terminal:
        return Terminal(console)
    return Lines(sys.stdout)
