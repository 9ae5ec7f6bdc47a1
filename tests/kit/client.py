"""The product as its user runs it: a process with arguments and an environment, judged by its output and its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Self

from kit.processes import Guard, freeze, thaw

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Event = dict[str, Any]

CLIENT_COMMAND = (sys.executable, "-m", "k2.ingestion.binance_client")
TAIL_LINES = 60


@dataclass(frozen=True)
class _Line:
    source: str  # "stdout" or "stderr"
    text: str
    event: Event | None


class ClientProcess:
    """
    The ingestion client as a child process, running from the moment this object exists.

    Its environment is clean but for PATH and the language, with `cwd` as HOME, so that nothing of the developer's own
    settings or state gets in. Its output is a pipe, so it logs JSON lines; both streams are collected as they come.

    Args:
        arguments: What follows the command; numbers are taken too.
        cwd: The working directory and the home of the process.
        environment: Variables to add.
        command: What to run instead of the client.
    """

    def __init__(
        self,
        *arguments: object,
        cwd: Path,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = CLIENT_COMMAND,
    ) -> None:
        self._lines: list[_Line] = []
        self._open_streams = 2
        self._changed = threading.Condition()
        clean = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": str(cwd)}
        self._process = subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=cwd,
            env={**clean, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._guard = Guard(self._process.pid)
        self._readers = [self._read_in_background("stdout"), self._read_in_background("stderr")]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """Everything printed so far on both streams, in the order in which it arrived."""
        return self._text("stdout", "stderr")

    @property
    def stdout(self) -> str:
        return self._text("stdout")

    @property
    def stderr(self) -> str:
        return self._text("stderr")

    @property
    def events(self) -> list[Event]:
        """The log lines so far: every line of either stream that is a JSON object with the key `event`."""
        with self._changed:
            return [line.event for line in self._lines if line.event is not None]

    def events_named(self, event: str, **fields: object) -> list[Event]:
        """The log lines so far with this `event` and these fields."""
        wanted = {"event": event, **fields}
        return [line for line in self.events if wanted.items() <= line.items()]

    def wait_for_event(self, event: str, *, timeout: float = 30, nth: int = 1, **fields: object) -> Event:
        """
        The nth log line with this `event` and these fields, as soon as it is there.

        AssertionError with the end of the output if it is not within `timeout` seconds, or if the process ended without it.
        """
        what = " ".join([f"event {event!r}", *(f"{name}={value!r}" for name, value in fields.items()), f"number {nth}"])
        self._wait_until(lambda: len(self.events_named(event, **fields)) >= nth, timeout, what)
        return self.events_named(event, **fields)[nth - 1]

    def wait_for_output(self, text: str, *, timeout: float = 30) -> None:
        """Return as soon as `text` was printed on either stream; AssertionError otherwise."""
        self._wait_until(lambda: text in self.output, timeout, f"printing {text!r}")

    def terminate(self) -> None:
        """SIGTERM: what an orchestrator sends."""
        self._process.terminate()

    def interrupt(self) -> None:
        """SIGINT: what Ctrl-C sends."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL: a crash."""
        self._process.kill()

    def pause(self) -> None:
        """SIGSTOP: the process freezes, its connections stay open."""
        freeze(self._process)

    def resume(self) -> None:
        """SIGCONT."""
        thaw(self._process)

    def wait(self, timeout: float = 30) -> int:
        """The exit code (minus the signal's number where one ended it). AssertionError if it still runs after `timeout` s."""
        try:
            exit_code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._failed(f"still running after {timeout:.0f} s") from None
        self._finish()
        return exit_code

    def close(self) -> None:
        """Kill it if it still runs, and free what it held."""
        self._process.kill()
        self._process.wait()
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _text(self, *sources: str) -> str:
        with self._changed:
            return "".join(line.text for line in self._lines if line.source in sources)

    def _wait_until(self, arrived: Callable[[], bool], timeout: float, what: str) -> None:
        deadline = time.monotonic() + timeout
        with self._changed:
            while not arrived():
                if self._open_streams == 0:
                    raise self._failed(f"the process ended without {what}")
                if time.monotonic() > deadline:
                    raise self._failed(f"{timeout:.0f} s went by without {what}")
                self._changed.wait(deadline - time.monotonic())

    def _failed(self, complaint: str) -> AssertionError:
        tail = "\n".join(self.output.splitlines()[-TAIL_LINES:])
        return AssertionError(f"{complaint}; the end of the output:\n{tail}")

    def _finish(self) -> None:
        """Read on to the end: what was printed last may still be in the pipes when the process has ended."""
        self._guard.dismiss()
        for reader in self._readers:
            reader.join()

    def _read_in_background(self, source: str) -> threading.Thread:
        stream = getattr(self._process, source)
        reader = threading.Thread(target=self._read, args=(source, stream), name=f"client-{source}", daemon=True)
        reader.start()
        return reader

    def _read(self, source: str, stream: IO[str]) -> None:
        with stream:
            for text in stream:
                line = _Line(source, text, _parse(text))
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._open_streams -= 1
            self._changed.notify_all()


def _parse(text: str) -> Event | None:
    """The log event that a line holds, None where it is anything else."""
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) and "event" in parsed else None
