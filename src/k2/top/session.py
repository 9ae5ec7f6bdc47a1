"""One run of `k2 top`: asks, shows, waits, until somebody ends it. A client that goes away is waited for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from rich.console import Console

from k2.errors import ConfigurationError, UnavailableError
from k2.live.terminal import Picture, glyphs_for, replace_unprintable, terminal
from k2.reading.patience import Tell
from k2.reading.terminal import to_stderr
from k2.top.fetch import Answer, fetch
from k2.top.request import HEALTH_PATH, Request
from k2.top.snapshot import Memory, Seen, health_in
from k2.top.view import json_object, plain_line, screen

PROGRAM = "k2 top"
ANSWER_TIMEOUT_S = 5.0
AWAY_STATUSES = frozenset({502, 503, 504})  # what a proxy says of a client that is away
TALL = 1_000  # rows, where the picture stays: every stream has room

Fetch = Callable[[str, str, float], Answer]


class Audience(Protocol):
    """Gets every look, answered or not; `leave` before anything else is printed."""

    def show(self, seen: Seen) -> None: ...
    def leave(self) -> None: ...


class Screen:
    """A terminal that is drawn anew at every look."""

    def __init__(self, console: Console) -> None:
        self._picture = Picture(console)

    def show(self, seen: Seen) -> None:
        self._picture.show(partial(screen, seen))

    def leave(self) -> None:
        self._picture.leave()


class Sheet:
    """A terminal that one picture is printed on, to stay."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, seen: Seen) -> None:
        self._console.print(screen(seen, self._console.width, TALL, glyphs_for(self._console)))

    def leave(self) -> None:
        """Nothing to undo."""


class Lines:
    """A line for each look; for one without an answer none in plain text, as `tell` hears when it begins and ends."""

    def __init__(self, tell: Tell, *, as_json: bool) -> None:
        self._tell, self._as_json = tell, as_json
        self._is_away = False

    def show(self, seen: Seen) -> None:
        if bool(seen.fault) is not self._is_away:
            self._is_away = not self._is_away
            self._tell(f"waiting for {seen.url}: {seen.fault}" if seen.fault else f"{seen.url} is back")
        if self._as_json:
            print(json.dumps(json_object(seen)), flush=True)  # noqa: T201 - this is what the tool is for
        elif not seen.fault:
            print(plain_line(seen), flush=True)  # noqa: T201 - the same

    def leave(self) -> None:
        """Nothing to undo."""


def run(request: Request) -> None:
    """
    Watch. Returns after `--once`; otherwise only an exception ends it.

    Raises:
        UnavailableError: with `--once`, nobody answered.
        ConfigurationError: whoever answers there is no client.
    """
    replace_unprintable()
    audience = choose_audience(request)
    watch = Watch(request)
    try:
        if request.once:
            audience.show(watch.once())
        else:
            watch.on(audience.show)
    finally:
        audience.leave()


def choose_audience(request: Request) -> Audience:
    """A screen where there is a terminal, lines elsewhere."""
    console = None if request.as_json else terminal()
    if console is None:
        return Lines(to_stderr(PROGRAM), as_json=request.as_json)
    return Sheet(console) if request.once else Screen(console)


class Watch:
    """Looks at one client. `fetch`, the clocks and `sleep` are those of this machine, but in tests."""

    def __init__(
        self,
        request: Request,
        *,
        fetch: Fetch = fetch,
        clock_s: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._request, self._fetch, self._clock_s, self._clock_ns, self._sleep = request, fetch, clock_s, clock_ns, sleep
        self._memory = Memory(request.url, 0.0 if request.once else request.interval_s, clock_s())

    def once(self) -> Seen:
        """
        Two looks, as rates need them, and what is seen then.

        Raises:
            UnavailableError, ConfigurationError: see `run`.
        """
        for is_last in (False, True):
            seen = self._look()
            if seen.fault:
                advice = "is a client running, and is this its --http-host and --http-port?"
                raise UnavailableError(f"{seen.url} does not answer: {seen.fault}; {advice}")
            if not is_last:
                self._sleep(self._request.interval_s)
        return seen

    def on(self, show: Callable[[Seen], None]) -> None:
        """
        Look on and on, at an even pace.

        Raises:
            ConfigurationError: see `run`.
        """
        while True:
            due_s = self._clock_s() + self._request.interval_s
            show(self._look())
            self._sleep(max(0.0, due_s - self._clock_s()))

    def _look(self) -> Seen:
        try:
            answer = self._fetch(self._request.url, HEALTH_PATH, ANSWER_TIMEOUT_S)
        except UnavailableError as error:
            return self._memory.missed(self._clock_s(), self._now_ms(), str(error))
        found = health_in(answer.body)
        if found is not None:
            return self._memory.answered(self._clock_s(), self._now_ms(), answer.http_status, *found)
        fault = f"HTTP {answer.http_status}, and no health of a client in it"
        if self._memory.has_met or answer.http_status in AWAY_STATUSES:
            return self._memory.missed(self._clock_s(), self._now_ms(), fault)
        raise ConfigurationError(f"{self._request.url} is no client of k2: {fault}")

    def _now_ms(self) -> int:
        return self._clock_ns() // 1_000_000
