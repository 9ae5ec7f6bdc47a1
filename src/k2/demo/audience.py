"""For whom the demo plays: a terminal that is redrawn, or a pipe that gets a line a second."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from typing import Protocol, TextIO

from rich.console import Console
from rich.text import Text

from k2.demo.plain import plain_heading, plain_line
from k2.demo.sheet_lines import Line
from k2.demo.snapshot import Snapshot
from k2.demo.view import screen
from k2.live.terminal import Picture, replace_unprintable, terminal


class Audience(Protocol):
    """`show` is called several times a second; `leave` before anything else is printed, and more than once."""

    def show(self, seen: Snapshot) -> None: ...
    def leave(self) -> None: ...
    def tell(self, lines: Iterable[Line]) -> None: ...


class Terminal:
    """Shows a picture, and prints what is told where the picture was."""

    def __init__(self, console: Console) -> None:
        self._console, self._picture = console, Picture(console)

    def show(self, seen: Snapshot) -> None:
        self._picture.show(partial(screen, seen))

    def leave(self) -> None:
        self._picture.leave()

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
    replace_unprintable()
    if as_json:
        return Lines(sys.stderr)
    console = terminal()
    return Terminal(console) if console else Lines(sys.stdout)
