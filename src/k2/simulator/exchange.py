"""
Binance's market data on loopback: WebSocket and REST on one port, from a recorded or a generated market.

It keeps the contract of the real exchange closely enough that a client cannot tell, counts everything it sends, and can be made
to fail in every way that the real one does. A market without a pace of its own ("max" speed) waits for its slowest reader; a
paced one cuts off a reader that falls too far behind, as the real exchange does.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from k2.errors import ConfigurationError
from k2.simulator import control
from k2.simulator.connection import GOING_AWAY, Connection, Handshake
from k2.simulator.hub import Hub
from k2.simulator.injector import Injector
from k2.simulator.options import ExchangeOptions, options_for
from k2.simulator.protocol import Subscriptions
from k2.simulator.rest import Rest, RestRequest, refused
from k2.simulator.streams import PathKind, names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from k2.simulator.faults import Fault
    from k2.simulator.market import Market

_BATCH = 256
_SHORTEST_SLEEP_S = 0.001
_LONGEST_SLEEP_S = 0.25
_REMEMBERED_HANDSHAKES = 10_000
_PATHS: dict[str, PathKind] = {"": "legacy", "/public": "public", "/market": "market"}


class Exchange:
    """
    A simulated exchange.

    Attributes:
        handshakes: Every attempt to open a WebSocket, the refused ones too.
        exhausted: Set when the market has issued its last frame. Connections stay open.
    """

    def __init__(self, market: Market, options: ExchangeOptions | None = None) -> None:
        self.market = market
        self.options = options_for(market.venue) if options is None else options
        self.handshakes: deque[Handshake] = deque(maxlen=_REMEMBERED_HANDSHAKES)
        self.exhausted = asyncio.Event()
        self._begun, self._readers_changed = asyncio.Event(), asyncio.Event()
        self._hub = Hub(self.options, self._on_subscribed)
        self._injector = Injector(self._hub, market)
        self._rest = Rest(market, self._hub, self._injector, self.options.weight_per_minute)
        self._accepted = 0
        self._runner: web.AppRunner | None = None
        self._pump_task: asyncio.Task[None] | None = None
        self.port = self.options.port

    async def start(self) -> None:
        """
        Listen, and let the market begin when it is meant to.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """
        # The handler of a connection ends with its client, even while it waits for something else.
        runner = web.AppRunner(self._app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.options.host, self.options.port, ssl_context=self.options.tls).start()
        except OSError as error:
            await runner.cleanup()
            address = f"{self.options.host}:{self.options.port}"
            raise ConfigurationError(f"cannot listen on {address}: {_reason(error)}; choose another --port") from error
        self._runner, self.port = runner, runner.addresses[0][1]
        if self._start_mode() == "at_once":
            self.begin()
        self._pump_task = asyncio.create_task(self._pump())

    async def stop(self) -> None:
        """Close every connection and the port. The market keeps its place: another exchange may go on with it."""
        if self._pump_task:
            self._pump_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump_task
        self._injector.stop()
        await asyncio.gather(*(connection.close(GOING_AWAY, "exchange stopped") for connection in self._hub.open))
        if self._runner:
            await self._runner.cleanup()

    def begin(self) -> None:
        """Let the market begin now; needed with `start="called"` only."""
        self._begun.set()

    async def inject(self, fault: Fault) -> None:
        """
        Let a fault of `k2.simulator.faults` happen.

        Raises:
            ValueError: the fault names something that does not exist.
        """
        await self._injector.inject(fault)

    @property
    def ws_url(self) -> str:
        """The server alone; `/ws`, `/stream` and the futures paths follow it."""
        return f"{'wss' if self.options.tls else 'ws'}://{self._authority}"

    @property
    def rest_url(self) -> str:
        return f"{'https' if self.options.tls else 'http'}://{self._authority}"

    @property
    def connections(self) -> Sequence[Connection]:
        """All WebSockets ever accepted (the newest 10,000), in order."""
        return self._hub.connections

    @property
    def open_connections(self) -> list[Connection]:
        return self._hub.open

    @property
    def sent(self) -> Counter[str]:
        """Market frames sent over all connections, by stream."""
        return self._hub.sent

    @property
    def withheld(self) -> Counter[str]:
        """Frames that a fault kept from being sent, by stream."""
        return self._hub.withheld_frames

    @property
    def garbage_sent(self) -> Counter[str]:
        """Malformed frames sent, by name."""
        return self._injector.garbage_sent

    @property
    def rest_requests(self) -> Sequence[RestRequest]:
        return self._rest.requests

    @property
    def weight_used(self) -> int:
        """REST weight used in the current minute."""
        return self._rest.weight.used

    @property
    def _authority(self) -> str:
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"{host}:{self.port}"

    def _app(self) -> web.Application:
        app = web.Application()
        for prefix, path in _PATHS.items():
            app.router.add_get(f"{prefix}/ws", self._websocket(path, combined=False))
            app.router.add_get(f"{prefix}/ws/{{streams:.+}}", self._websocket(path, combined=False))
            app.router.add_get(f"{prefix}/stream", self._websocket(path, combined=True))
        app.add_routes(self._rest.routes())
        app.add_routes(control.routes(self))
        return app

    def _websocket(self, path: PathKind, *, combined: bool) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if refusal := self._injector.refusal("websocket"):
                self._note(request, refusal.status)
                return refused(refusal)
            subscriptions = Subscriptions(combined, self.options.max_streams)
            asked = names(request.query.get("streams", "") if combined else request.match_info.get("streams", ""))
            if not subscriptions.add(asked):
                self._note(request, 400)
                raise web.HTTPBadRequest(text=f"more than {self.options.max_streams} streams on one connection")
            return await self._accept(request, path, subscriptions)

        return handle

    async def _accept(self, request: web.Request, path: PathKind, subscriptions: Subscriptions) -> web.StreamResponse:
        ws = web.WebSocketResponse(
            autoping=False, autoclose=False, compress=self.options.compression, timeout=self.options.close_timeout_s
        )
        if not ws.can_prepare(request):
            self._note(request, 400)
            raise web.HTTPBadRequest(text="this path takes WebSockets only")
        handshake = self._note(request, 101)
        writer = await ws.prepare(request)
        transport = request.transport
        if transport is None:
            return ws
        self._accepted += 1
        connection = Connection(self._accepted, handshake, path, subscriptions, self.options, self._hub.follow)
        if self._injector.drops_next():
            transport.abort()
            return ws
        self._hub.enter(connection)
        try:
            await connection.serve(ws, writer, transport)
        finally:
            self._hub.leave(connection)
        return ws

    def _note(self, request: web.Request, status: int) -> Handshake:
        headers = {name.lower(): value for name, value in request.headers.items()}
        handshake = Handshake(time.monotonic(), request.path_qs, headers, status)
        self.handshakes.append(handshake)
        return handshake

    def _start_mode(self) -> str:
        return self.options.start or ("subscribed" if self.market.waits_for_reader else "at_once")

    def _on_subscribed(self) -> None:
        self._readers_changed.set()
        if self._start_mode() == "subscribed":
            self.begin()

    async def _pump(self) -> None:
        """Move what the market issues to whoever is subscribed, until the market is over."""
        await self._begun.wait()
        self.market.begin(time.monotonic(), int(time.time() * 1_000))
        while (idle_s := self.market.idle_s(time.monotonic())) is not None:
            if idle_s > 0:
                await asyncio.sleep(min(max(idle_s, _SHORTEST_SLEEP_S), _LONGEST_SLEEP_S))
            if self.market.eager and not self._hub.has_readers:
                self._readers_changed.clear()
                await self._readers_changed.wait()
            await self._turn()
        self.exhausted.set()

    async def _turn(self) -> None:
        frames = self.market.pull(time.monotonic(), self._hub.wanted, _BATCH)
        receivers = self._hub.deliver(frames, bounded=not self.market.eager)
        if self.market.eager:
            for connection in receivers:
                await connection.drain()
        await asyncio.sleep(0)  # lets the sockets be read

    def state(self) -> bytes:
        """The oracle as JSON, for those in another process."""
        return msgspec.json.encode(
            {
                "sent": self.sent,
                "withheld": self.withheld,
                "garbage_sent": self.garbage_sent,
                "handshakes": Counter(str(handshake.status) for handshake in self.handshakes),
                "connections": [connection.summary() for connection in self.connections],
                "rest_requests": Counter(str(request.status) for request in self.rest_requests),
                "exhausted": self.exhausted.is_set(),
            }
        )


def _reason(error: OSError) -> str:
    """The system's own words; asyncio hides them in a longer text."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror)
