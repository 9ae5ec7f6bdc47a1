"""Calls that hang, and a program that ends all the same."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from k2.threads import within

HANGS = """
import asyncio, threading
from k2.threads import DaemonThreads

async def main():
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    hanging = asyncio.ensure_future(asyncio.to_thread(threading.Event().wait))
    await asyncio.sleep(0.1)
    hanging.cancel()

asyncio.run(main())
"""


def test_a_call_that_hangs_does_not_keep_the_program() -> None:
    """The default executor would be waited for, without a limit."""
    assert subprocess.run([sys.executable, "-c", HANGS], timeout=30, check=False).returncode == 0


def test_a_call_in_time_gives_what_it_gives() -> None:
    """Its value, or what it raises."""
    assert within(10, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(10, lambda: 1 // 0)


def test_a_call_that_takes_too_long_is_left_alone() -> None:
    """Nobody waits for its end."""
    with pytest.raises(TimeoutError, match=r"no complete answer within 0.02 s"):
        within(0.02, lambda: time.sleep(30))
