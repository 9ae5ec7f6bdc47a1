"""The terminal as a picture that is drawn anew, and whether there is one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import TextIOWrapper

from rich.console import Console, RenderableType
from rich.live import Live

from k2.live.text import ASCII, UNICODE, Glyphs

Draw = Callable[[int, int, Glyphs], RenderableType]  # from width, height and glyphs


class Picture:
    """Draws on the terminal's second screen, so that what was there before is there again afterwards."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._glyphs = glyphs_for(console)
        self._live: Live | None = None

    def show(self, draw: Draw) -> None:
        """Draw for the size that the terminal has now."""
        picture = draw(*self._console.size, self._glyphs)
        if self._live is None:
            self._live = Live(
                picture, console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start(refresh=True)
        self._live.update(picture, refresh=True)

    def leave(self) -> None:
        """Give the terminal back. May be called again."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def glyphs_for(console: Console) -> Glyphs:
    return ASCII if console.options.ascii_only else UNICODE


def terminal() -> Console | None:
    """The terminal behind standard output; None where there is none, or one that cannot be drawn on."""
    console = Console(highlight=False)
    return console if sys.stdout.isatty() and not console.is_dumb_terminal else None


def replace_unprintable() -> None:
    """A terminal without Unicode gets question marks instead of an error of ours."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
