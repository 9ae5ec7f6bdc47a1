"""
The demo from its first part to the balance sheet: starts exchange, broker, registry and client, watches, and ends them in order.

One event loop plays exchange, registry and screen; librdkafka's broker has threads of its own, the reader blocks in a worker
thread, and the client is a process.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from k2.demo import client as client_process
from k2.demo.audience import Audience
from k2.demo.client import ClientProcess
from k2.demo.letters import LetterBox
from k2.demo.options import DemoOptions
from k2.demo.parts import EmbeddedBroker, SimulatedExchange, fetch, http_session
from k2.demo.sheet import Sheet, make_sheet
from k2.demo.snapshot import Health, Memory, Snapshot
from k2.demo.tally import TopicTally
from k2.errors import ConfigurationError, FatalError, K2Error, UnavailableError
from k2.simulator.registry import EmbeddedRegistry

LOOK_EVERY_S = 0.02
HEALTH_EVERY_S = 0.25
CONNECT_TIMEOUT_S = 20.0  # to the first connection; a slow machine needs some of it for the client's own start
FIRST_RECORD_TIMEOUT_S = 60.0  # a connected client may have to wait for a trade of a rare symbol
SETTLE_TIMEOUT_S = 2.0
READ_TO_THE_END_TIMEOUT_S = 5.0
MALFORMED_AT = 1 / 3  # of the time


class Ending(Struct, frozen=True):
    """
    How a run ended. `sheet` is None where the client had not begun; `signal` is the one that cut the run short, or 0.

    `failure` is why the client ended by itself.
    """

    sheet: Sheet | None
    signal: int = 0
    failure: K2Error | None = None
    health: Health | None = None


async def run(options: DemoOptions, audience: Audience) -> Ending:
    """
    Play it all and return the sheet. Whatever happens, nothing that was started goes on.

    Raises:
        ConfigurationError, UnavailableError, FatalError: a part did not come up or broke.
    """
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(_directory(options.keep))
        stack.callback(audience.leave)
        return await Director(options, audience, directory, stack).run()


class Director:
    """One run. What is started is ended by `stack`."""

    def __init__(self, options: DemoOptions, audience: Audience, directory: Path, stack: AsyncExitStack) -> None:
        self._options, self._audience, self._directory, self._stack = options, audience, directory, stack
        self._tally, self._memory = TopicTally(), Memory(options.symbols)
        self._letters = LetterBox(client_process.letters_directory(directory))
        self._signal = 0
        self._phase = "starting"
        self._health: Health | None = None
        self._schema_id: int | None = None
        self._exchange: SimulatedExchange | None = None
        self._first_record_s: float | None = None
        self._watched_s = 0.0
        self._background: list[asyncio.Task[None]] = []
