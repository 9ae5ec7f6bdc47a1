"""Work beside everything else, and the signals that reach it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, Protocol

from k2.ingestion.adapters.logs import get_logger

_log = get_logger("k2.service")


class Stoppable(Protocol):
    """What signals are for."""

    def stop(self) -> None: ...
    def reload(self) -> None: ...


def in_background(parts: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Runs beside everything until the end. The client can do without it, but not without knowing."""
    task = asyncio.create_task(work)
    task.add_done_callback(_tell_of_a_defect)
    parts.push_async_callback(_cancelled, task)


def _tell_of_a_defect(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (defect := task.exception()):
        _log.error("Work in the background broke, please report this", exc_info=defect)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def install_signals(service: Stoppable) -> None:
    """SIGTERM and SIGINT end in order; a second one ends at once. SIGHUP reloads the settings."""
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        _log.info("Signal received", signal=signal.Signals(number).name)
        service.stop()
        for again in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(again)
            signal.signal(again, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    loop.add_signal_handler(signal.SIGHUP, service.reload)
