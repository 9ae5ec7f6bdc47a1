"""Child processes of a measurement: told what to do line by line, and measured from outside by the kernel's clocks."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from kit.processes import Guard

ROOT = Path(__file__).resolve().parents[1]
_CPUCLOCK_SCHED = 2  # Linux: the kind of a process clock that counts all its threads, the ended ones too


class BenchmarkError(Exception):
    """The measurement came to nothing. The text says why."""


def cpu_s(pid: int) -> float:
    """CPU time that a process has used in all its threads. See clock_getcpuclockid(3); its resolution is nanoseconds."""
    return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED) / 1e9


def peak_rss_mib(pid: int) -> float:
    """The most memory that a process has had resident so far."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


class Worker:
    """A module of this package as a process. Its standard error is ours, so that a failure shows."""

    def __init__(self, module: str, *arguments: object) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._guard = Guard(self._process.pid)
        self._input, self._output = _piped(self._process.stdin), _piped(self._process.stdout)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, line: str) -> None:
        """Send a line."""
        try:
            self._input.write(f"{line}\n")
            self._input.flush()
        except OSError as error:
            raise BenchmarkError(f"{self._module} ended before it was told {line!r}") from error

    def expect(self, word: str, timeout_s: float = 60) -> str:
        """Wait for the line that begins with `word`; what follows it there. Lines before it are dropped."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise BenchmarkError(f"{self._module} did not say {word!r} within {timeout_s:.0f} s") from None
            if line is None:
                raise BenchmarkError(f"{self._module} ended before it said {word!r}")
            said, _, rest = line.strip().partition(" ")
            if said == word:
                return rest

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._guard.dismiss()
        self._reader.join()
        self._output.close()
        with suppress(BrokenPipeError):
            self._input.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        for line in self._output:
            self._lines.put(line)
        self._lines.put(None)


def _piped(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise RuntimeError("the process was started without pipes")
    return stream
