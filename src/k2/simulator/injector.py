"""Carries faults out on the connections of a running exchange."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from k2.simulator import faults, framing, garbage
from k2.simulator.connection import GOING_AWAY
from k2.simulator.hub import Withheld
from k2.simulator.market import TRADE_KINDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from k2.simulator.connection import Connection
    from k2.simulator.hub import Hub
    from k2.simulator.market import Market


class _Standing(Struct):
    """A fault that waits for clients; `remaining` None means until cleared."""

    fault: faults.Refuse | faults.AcceptAndDrop
    remaining: int | None

    def strike(self) -> bool:
        if self.remaining == 0:
            return False
        self.remaining = None if self.remaining is None else self.remaining - 1
        return True


class Injector:
    """
    Keeps the faults that last and strikes with those that do not.

    Attributes:
        garbage_sent: Malformed frames sent, by name ("given" for those handed in).
    """

    def __init__(self, hub: Hub, market: Market) -> None:
        self.garbage_sent: Counter[str] = Counter()
        self._hub, self._market = hub, market
        self._refusals: list[_Standing] = []
        self._drops: list[_Standing] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._actions: dict[type, Callable[[Any], Awaitable[None]]] = {
            faults.Close: self._close,
            faults.Reset: self._reset,
            faults.Silence: self._silence,
            faults.Garbage: self._garbage,
            faults.Refuse: self._refuse,
            faults.AcceptAndDrop: self._accept_and_drop,
            faults.Shutdown: self._shutdown,
            faults.Skip: self._skip,
            faults.ListSymbol: self._list_symbol,
            faults.Delist: self._delist,
            faults.Clear: self._clear,
        }

    async def inject(self, fault: faults.Fault) -> None:
        """
        Let a fault happen.

        Raises:
            ValueError: it names garbage, a connection or a number that makes no sense.
        """
        await self._actions[type(fault)](fault)

    def refusal(self, target: faults.Target) -> faults.Refuse | None:
        """The refusal that the request at hand is answered with, if any; each call uses one up."""
        for standing in self._refusals:
            fault = standing.fault
            if isinstance(fault, faults.Refuse) and fault.target in {target, "both"} and standing.strike():
                return fault
        return None

    def drops_next(self) -> bool:
        """Whether the connection at hand is to be dropped; each call uses one up."""
        return any(standing.strike() for standing in self._drops)

    def stop(self) -> None:
        for task in self._closing:
            task.cancel()

    def _struck(self, number: int | None) -> list[Connection]:
        connections = [c for c in self._hub.open if number in {None, c.number}]
        if number is not None and not connections:
            raise ValueError(f"connection {number} is not open")
        return connections

    async def _close(self, fault: faults.Close) -> None:
        await asyncio.gather(*(c.close(fault.code, fault.reason) for c in self._struck(fault.connection)))

    async def _reset(self, fault: faults.Reset) -> None:
        for connection in self._struck(fault.connection):
            connection.reset()

    async def _silence(self, fault: faults.Silence) -> None:
        for stream in fault.streams:
            self._hub.withheld[stream] = Withheld(None)
        if not fault.streams:
            for connection in self._struck(fault.connection):
                connection.silent = True

    async def _garbage(self, fault: faults.Garbage) -> None:
        unknown = [name for name in fault.names if name not in garbage.NAMES]
        if unknown:
            raise ValueError(f"no garbage is named {', '.join(unknown)}; known: {', '.join(garbage.NAMES)}")
        venue = self._market.venue
        for connection in self._struck(fault.connection):
            stream = fault.stream or _trade_stream(connection)
            for name in fault.names or (() if fault.frames else garbage.names_for(venue, stream)):
                payload, opcode = garbage.frame(name, venue, stream, int(time.time() * 1_000))
                self.garbage_sent[name] += connection.send([payload], opcode)
            self.garbage_sent["given"] += len(fault.frames) * connection.send(fault.frames)

    async def _refuse(self, fault: faults.Refuse) -> None:
        self._refusals.append(_Standing(fault, fault.count))

    async def _accept_and_drop(self, fault: faults.AcceptAndDrop) -> None:
        self._drops.append(_Standing(fault, fault.count))

    async def _shutdown(self, fault: faults.Shutdown) -> None:
        event = b'{"e":"serverShutdown","E":%d}' % int(time.time() * 1_000)
        connections = self._hub.open
        for connection in connections:
            combined = b'{"stream":"!serverShutdown","data":%b}' % event
            connection.send([combined if connection.subscriptions.combined else event], framing.TEXT)
        task = asyncio.create_task(_close_later(connections, fault.close_after_s))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _skip(self, fault: faults.Skip) -> None:
        if fault.count < 1:
            raise ValueError(f"count is {fault.count}, but at least one id must be skipped")
        for kind in fault.kinds:
            self._hub.withheld[f"{fault.symbol.lower()}@{kind}"] = Withheld(fault.count, hidden_from_rest=not fault.on_rest)

    async def _list_symbol(self, fault: faults.ListSymbol) -> None:
        self._market.list_symbol(fault.symbol)

    async def _delist(self, fault: faults.Delist) -> None:
        self._market.delist(fault.symbol, listed=fault.listed)

    async def _clear(self, _fault: faults.Clear) -> None:
        self._refusals.clear()
        self._drops.clear()
        self._hub.withheld.clear()


async def _close_later(connections: list[Connection], after_s: float) -> None:
    await asyncio.sleep(after_s)
    await asyncio.gather(*(connection.close(GOING_AWAY, "server shutdown") for connection in connections))


def _trade_stream(connection: Connection) -> str:
    streams = list(connection.subscriptions.streams)
    return next((name for name in streams if name.partition("@")[2] in TRADE_KINDS), "btcusdt@aggTrade")
