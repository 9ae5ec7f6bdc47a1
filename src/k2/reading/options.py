"""Checks the options of a tool together, so that every fault is reported at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from k2.errors import ConfigurationError

T = TypeVar("T")


class Check:
    """Reads options from their text and collects what is wrong, each fault under the name of its option."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def parsed(self, flag: str, text: str | None, parse: Callable[[str], T], default: T) -> T:
        """What `parse` makes of the text; the default where there is none, or where it is wrong."""
        if text is None:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.faults.append(f"{flag}: {error}")
            return default

    def raise_faults(self) -> None:
        """ConfigurationError with every fault, if there is any."""
        if self.faults:
            raise ConfigurationError(*self.faults)
