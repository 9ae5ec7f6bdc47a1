"""A container of the runbooks' stack: a process of this machine with the environment that compose gives it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from integration.support import RunningClient

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SIGNALLED = 128  # an exit code beyond it tells the signal
KILLED = SIGNALLED + 9


@dataclass
class Container:
    """
    One that runs the client.

    Attributes:
        environment: As compose gives it; `real` is what it is here, with other addresses.
        volumes: Where the directories of the container really lie.
    """

    name: str
    environment: dict[str, str]
    volumes: dict[str, Path]
    port: int
    home: Path
    real: Mapping[str, str] = field(default_factory=dict)
    exit_code: int = 0
    _process: RunningClient | None = None
    _earlier: list[tuple[str, str]] = field(default_factory=list)

    @property
    def client(self) -> RunningClient:
        assert self._process is not None
        return self._process

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running

    @property
    def status(self) -> str:
        if self.is_running:
            return "running"
        self._note_exit_code()
        return "exited"

    @property
    def stdout(self) -> str:
        """What all its processes printed, one after the other, as Docker keeps it over a restart."""
        return "".join(out for out, _ in self._earlier) + (self._process.stdout if self._process else "")

    @property
    def stderr(self) -> str:
        return "".join(err for _, err in self._earlier) + (self._process.stderr if self._process else "")

    def here(self, text: str) -> str:
        """A word of a command with the places of this machine."""
        for inside, outside in self.volumes.items():
            text = text.replace(inside, str(outside))
        return text

    def start(self) -> None:
        """Start its process, after an earlier one too."""
        if self._process is not None:
            self._note_exit_code()
            self._earlier.append((self._process.stdout, self._process.stderr))
            self._process.close()
        self._process = RunningClient(self.home, self.port, [], environment=self.real)

    def stop(self, timeout_s: float) -> None:
        """SIGTERM, and what Docker does when that is not enough."""
        if not self.is_running:
            return
        self.client.terminate()
        try:
            self.client.wait(timeout_s)
        except AssertionError:
            self.client.kill()
        self._note_exit_code()

    def close(self) -> None:
        if self._process is not None:
            self._process.close()

    def _note_exit_code(self) -> None:
        """As Docker tells it: who was killed by a signal ended with 128 and its number."""
        if self._process is not None:
            code = self._process.wait()
            self.exit_code = code if code >= 0 else SIGNALLED - code
