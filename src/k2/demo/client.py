"""The real client as a process of its own: how it is started, what its log tells, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from k2.demo.options import DemoOptions
from k2.demo.parts import PARTITIONS
from k2.errors import EXIT_CONFIGURATION, EXIT_UNAVAILABLE, ConfigurationError, FatalError, K2Error, UnavailableError
from k2.ingestion.options import FEED, OPTIONS
from k2.ingestion.profiles import load_profile, profile_names
from k2.live.sheet import ClientSheet
from k2.live.text import printable

MODULE = "k2.ingestion.binance_client"
LOOPBACK = "127.0.0.1"
SHUTDOWN_TIMEOUT_S = 8
END_TIMEOUT_S = SHUTDOWN_TIMEOUT_S + 4.0
# What the demo's own options say.
WHAT_TO_STREAM = frozenset({"feed.symbols", "feed.market", "feed.streams", "feed.raw_streams", "feed.candles", "feed.shard"})
_LONGEST_LINE_BYTES = 1 << 20
_PROBLEMS = frozenset({"warning", "error", "critical"})
# That a temporary directory does not last is the demo's intention, and the embedded broker makes topics as it likes.
_ORDINARY_WARNINGS = frozenset({"Dead letters", "Topic differs from the settings"})
_DETAILS = ("kind", "status", "detail", "error")

Event = dict[str, Any]


def arguments(options: DemoOptions, directory: Path, *, bootstrap: str, registry_url: str) -> list[str]:
    """The client's command line without the exchange's address."""
    given: dict[str, object] = {
        "--kafka-bootstrap": bootstrap,
        "--schema-registry": registry_url,
        "--partitions": PARTITIONS,
        "--state-dir": directory / "state",
        "--dead-letter-dir": letters_directory(directory),
        "--http-host": LOOPBACK,
        "--http-port": 0,
        "--log-file": directory / "client.log",
        "--log-format": "json",
        "--log-level": "INFO",
        "--shutdown-timeout": SHUTDOWN_TIMEOUT_S,
    }
    return [*options.words, "--register", *(str(word) for pair in given.items() for word in pair)]


def letters_directory(directory: Path) -> Path:
    return directory / "dead-letters"


def environment(inherited: Mapping[str, str], *, live: bool, profile: str | None = None) -> dict[str, str]:
    """
    What the client inherits: nothing that would set an option of its own, neither by our names nor by those of a profile.

    For the real exchange the way to it (address, proxy, certificates) may come from the environment, as it would for the client
    alone.

    Args:
        profile: The one that was asked for, which may be a file of the user's.
    """
    kept = {name for option in FEED if live and option.key not in WHAT_TO_STREAM for name in option.variables}
    names = {name for option in OPTIONS for name in (*option.variables, option.file_variable)}
    names |= {name for known in (*profile_names(), profile) if known for name in _variables_of(known)}
    return {name: value for name, value in inherited.items() if name in kept or name not in names}


def _variables_of(profile: str) -> Iterable[str]:
    try:
        return load_profile(profile).content.environment
    except (ValueError, ConfigurationError):  # what is wrong with it is said where it is used
        return ()


def past_the_proxy(inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep a proxy of the user's away from our own parts, which are all on loopback."""
    spared = inherited.get("no_proxy") or inherited.get("NO_PROXY") or ""
    return dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(filter(None, (spared, LOOPBACK))))


class ClientLog:
    """
    What the client's output has told so far.

    Attributes:
        health_url: Where its health is served; empty until it says so.
        sheet: Its balance sheet, once it has shut down.
        last_problem: The latest warning or error, readable.
        last_words: The latest line on standard error, without the program's name.
    """

    def __init__(self) -> None:
        self.health_url = ""
        self.sheet: ClientSheet | None = None
        self.last_problem = ""
        self.last_words = ""

    def take_stdout(self, line: bytes) -> None:
        with suppress(ValueError):  # whatever else a library prints is not for us
            event = json.loads(line)
            if isinstance(event, dict):
                self._take(event)

    def take_stderr(self, line: bytes) -> None:
        text = line.decode(errors="replace").strip()
        if text:
            self.last_words = printable(text.removeprefix("binance_client: "))

    def _take(self, event: Event) -> None:
        name = event.get("event")
        if name == "Serving health and metrics":
            self.health_url = f"{event['address']}/health"
        elif name == "Shutdown complete":
            self.sheet = msgspec.convert(event, ClientSheet)
        elif event.get("level") in _PROBLEMS and name not in _ORDINARY_WARNINGS:
            self.last_problem = readable(event)


def readable(event: Event) -> str:
    """A log event as one sentence: what happened, its details, and what to do about it."""
    details = ", ".join(str(event[name]) for name in _DETAILS if event.get(name) not in {None, ""})
    advice = f"; {event['advice']}" if event.get("advice") else ""
    return printable(f"{event.get('event', '')}{f': {details}' if details else ''}{advice}")


def failure(exit_code: int, log: ClientLog) -> K2Error:
    """The error that a client which ended by itself stands for."""
    cause = log.last_words or log.last_problem or "it left no word about why"
    if exit_code == EXIT_CONFIGURATION:
        return ConfigurationError(cause)
    if exit_code == EXIT_UNAVAILABLE:
        return UnavailableError(cause)
    return FatalError(f"the client ended with exit code {exit_code}: {cause}")


class ClientProcess:
    """A running client. `close` it on every way out: it never outlives this process, not even one that is killed."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path | None) -> None:
        self.log = ClientLog()
        self._process = process
        self._guard = _Guard(process.pid, directory)
        self._readers = asyncio.gather(self._follow(process.stdout, self.log.take_stdout),
                                       self._follow(process.stderr, self.log.take_stderr))  # fmt: skip

    @classmethod
    async def start(cls, words: list[str], env: Mapping[str, str], directory: Path | None) -> ClientProcess:
        """
        Start it.

        Args:
            directory: Removed as well if this process is killed; None to leave everything.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", MODULE, *words, env=env, limit=_LONGEST_LINE_BYTES,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us: a second signal would cut the client's orderly end short
        )  # fmt: skip
        return cls(process, directory)

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    async def stop(self) -> int:
        """
        Ask for the orderly end and wait for it. Returns the exit code.

        Raises:
            FatalError: it did not end in time.
        """
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await self._process.wait()
                await self._readers
        except TimeoutError:
            raise FatalError(f"the client did not end within {END_TIMEOUT_S:.0f} s of being asked to") from None
        return self._process.returncode or 0

    async def close(self) -> None:
        """Kill it if it still runs."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._readers.cancel()
        with suppress(asyncio.CancelledError):
            await self._readers
        self._guard.dismiss()

    @staticmethod
    async def _follow(stream: asyncio.StreamReader | None, take: Any) -> None:
        assert stream is not None  # noqa: S101 - for the type checker: both are pipes
        async for line in stream:
            take(line)


class _Guard:
    """
    Clears the client away if this process dies without a chance to do so.

    A shell waits for the end of a pipe whose other end only this process holds.
    """

    def __init__(self, pid: int, directory: Path | None) -> None:
        words = ["/bin/sh", "-c", 'read -r _; kill -9 "$1"; rm -rf "$2"', "k2-demo-guard", str(pid), str(directory or "")]
        self._shell = subprocess.Popen(  # noqa: S603 - words of our own
            words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd=os.sep
        )

    def dismiss(self) -> None:
        self._shell.kill()
        self._shell.communicate()
