"""Threads that nobody has to wait for: what hangs in the kernel must not keep the program from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")


class DaemonThreads(ThreadPoolExecutor):
    """
    Runs each call on a daemon thread of its own: what `asyncio.to_thread` and name resolution use.

    Python waits at its end for the threads of an ordinary executor, also for one that hangs.
    """

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return _started(lambda: fn(*args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """There is nothing to wait for."""


def within(limit_s: float, call: Callable[[], T]) -> T:
    """
    What `call` returns or raises, on a thread that neither we nor the end of the program wait for any longer than this.

    Raises:
        TimeoutError: the time was over first.
    """
    outcome = _started(call)
    wait([outcome], limit_s)
    if not outcome.done():
        raise TimeoutError(f"no complete answer within {limit_s:.3g} s")
    return outcome.result()


def _started(call: Callable[[], T]) -> Future[T]:
    outcome: Future[T] = Future()
    threading.Thread(target=_settle, args=(outcome, call), daemon=True, name="k2-call").start()
    return outcome


def _settle(outcome: Future[T], call: Callable[[], T]) -> None:
    if not outcome.set_running_or_notify_cancel():
        return
    try:
        outcome.set_result(call())
    except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
        outcome.set_exception(error)
