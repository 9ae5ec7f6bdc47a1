"""What every child process of a test run needs: freezing it with certainty, and not leaving it behind."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def freeze(process: subprocess.Popen[Any]) -> None:
    """
    Send SIGSTOP and return when every thread of the process has stopped.

    Sending alone is not enough: threads on other cores run on for a moment, long enough for one more answer.
    """
    process.send_signal(signal.SIGSTOP)
    # An end is waited for as well, so that a process that just died does not hold us up; it is left to Popen to collect.
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def thaw(process: subprocess.Popen[Any]) -> None:
    """Let a frozen process go on. Harmless for one that is not."""
    process.send_signal(signal.SIGCONT)


class Guard:
    """
    Clears a process away if the test run dies without a chance to do so, or it would hold memory and ports for ever.

    A shell waits for the end of a pipe that only the test run holds. The kernel's "parent died" signal would not do:
    it counts the death of the *thread* that started the process, which may be a worker that ends early.
    """

    def __init__(self, pid: int, directory: Path | None = None) -> None:
        """Watch over process `pid`, and remove `directory` with it."""
        command = ["/bin/sh", "-c", 'read -r _; kill -9 "$1"; rm -rf "$2"', "guard", str(pid), str(directory or "")]
        self._shell = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)

    def dismiss(self) -> None:
        """The process has ended. May be called again."""
        self._shell.kill()
        self._shell.communicate()
