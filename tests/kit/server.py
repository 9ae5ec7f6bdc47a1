"""A real server as a child process: started, stopped, killed, frozen and watched the same way whatever it is."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, ClassVar, Self

from kit.processes import Guard, freeze, thaw

# Short-lived and small: compile fast rather than well, and take little of the machine.
JVM_FLAGS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")

# The rest of the environment stays out: both servers would take settings from variables that happen to be set.
SERVER_ENVIRONMENT = {"LANG": "C.UTF-8"}

POLL_INTERVAL_S = 0.05


class ServerFailedError(Exception):
    """A server did not come up. Carries the end of its log."""

    def __init__(self, server: Server, problem: str) -> None:
        super().__init__(f"{server.title} {problem}; the end of its log:\n{server.log_text(last_lines=40)}")


class Server(ABC):
    """
    One server on loopback with a directory of its own, which `close` removes.

    Its address stays the same for its whole life, and its data survive `stop`, `kill` and `restart`. As a context manager
    it is started on entry and closed on exit.
    """

    title: ClassVar[str]

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="k2-server-"))
        (self.directory / "tmp").mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    @abstractmethod
    def _command(self) -> list[str]:
        """The command line of the server, which runs in `directory`."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it serves. Asked again and again while it starts, so it must return soon and never raise."""

    @property
    def is_running(self) -> bool:
        """Whether the process lives. A paused one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def log_path(self) -> Path:
        return self.directory / "server.log"

    def log_text(self, last_lines: int | None = None) -> str:
        """What the server printed since it was first started."""
        text = self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""
        return text if last_lines is None else "\n".join(text.splitlines()[-last_lines:])

    def start(self, timeout_s: float = 90) -> Self:
        """Start, and return once it answers. ServerFailedError if it does not within `timeout_s`."""
        self.launch()
        return self.wait_until_ready(timeout_s)

    def launch(self) -> Self:
        """Start without waiting, so that several servers can come up side by side."""
        if self.is_running:
            raise RuntimeError(f"{self.title} is running already")
        self._reap()  # one that ended by itself
        self._process = self._spawn()
        self._guard = Guard(self._process.pid, self.directory)
        return self

    def wait_until_ready(self, timeout_s: float = 90) -> Self:
        """Return once it answers. ServerFailedError if it ends before, or does not within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not self._answers():
            if not self.is_running:
                raise ServerFailedError(self, "ended while it was starting")
            if time.monotonic() > deadline:
                raise ServerFailedError(self, f"did not answer within {timeout_s:.0f} s")
            time.sleep(POLL_INTERVAL_S)
        return self

    def stop(self, timeout_s: float = 30) -> None:
        """End it in good order (SIGTERM), and by force if it has not ended within `timeout_s`."""
        process = self._running()
        self.resume()  # a frozen process hears no SIGTERM
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
        self._reap()

    def kill(self) -> None:
        """End it at once (SIGKILL): a crash."""
        self._running().kill()
        self._reap()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, nothing answers."""
        freeze(self._running())

    def resume(self) -> None:
        """Let a frozen one go on (SIGCONT). Harmless for one that is not."""
        thaw(self._running())

    def restart(self) -> Self:
        """Stop in good order, start at the same address on the same data."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """End it at once if it runs, and remove its directory."""
        if self._process is not None:
            self._process.kill()  # no harm if it has ended by itself
        self._reap()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"{self.title} is not running; the end of its log:\n{self.log_text(last_lines=40)}")
        return self._process

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return _spawn(self._command(), self.directory, log)

    def _run(self, command: list[str]) -> None:
        """A short helper program of the server, in its directory and to its log."""
        with self.log_path.open("ab") as log:
            exit_code = _spawn(command, self.directory, log).wait(60)
        if exit_code != 0:
            raise ServerFailedError(self, f"could not be prepared: {' '.join(command)} ended with {exit_code}")

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
        if self._guard is not None:
            self._guard.dismiss()
        self._process = self._guard = None


def _spawn(command: list[str], directory: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=directory,
        env=SERVER_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C in the terminal is for the test run, which ends the servers itself
    )
