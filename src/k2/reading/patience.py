"""Waiting for a part that is away: how long, and what is said about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct

from k2.errors import UnavailableError

FIRST_RETRY_S, LONGEST_RETRY_S = 0.25, 2.0

Tell = Callable[[str], None]
T = TypeVar("T")


def unheard(_: str) -> None:
    """A `Tell` for a wait of which nobody is to hear."""


class Patience(Struct, frozen=True):
    """
    How long a part may be away, and who hears of it.

    Attributes:
        timeout_s: `math.inf` waits for as long as it takes.
        tell: Hears one line when the part turns out to be away and one when it is back; none where it answers at once.
    """

    timeout_s: float
    tell: Tell = unheard
    sleep: Callable[[float], None] = time.sleep
    clock_s: Callable[[], float] = time.monotonic

    def wait_for(self, part: str, attempt: Callable[[], T]) -> T:
        """
        Try until it works.

        Raises:
            UnavailableError: it was away for the whole time.
        """
        give_up_at_s = self.clock_s() + self.timeout_s
        delay_s, told = FIRST_RETRY_S, False
        while True:
            try:
                found = attempt()
            except UnavailableError as error:
                if self.clock_s() + delay_s > give_up_at_s:
                    raise UnavailableError(f"gave up after {self.timeout_s:g} s of waiting for {part}: {error}") from error
                if not told:
                    self.tell(f"waiting for {part}: {error}")
                told = True
            else:
                if told:
                    self.tell(f"{part} is back")
                return found
            self.sleep(delay_s)
            delay_s = min(2 * delay_s, LONGEST_RETRY_S)
