"""What the tests of the simulated exchange share: a client, a small market, and the recordings."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from k2.simulator.generated import GeneratedMarket, GeneratedOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from websockets.asyncio.client import ClientConnection

    from k2.simulator.exchange import Exchange

PATIENCE_S = 20.0
_RECORDINGS = Path(__file__).parents[4] / "shared" / "recordings"


def recording_path(name: str) -> Path:
    """A real recording, or a skip where the recordings are not at hand."""
    path = _RECORDINGS / name
    if not path.exists():
        pytest.skip(f"needs the recording {name} in <repository>/../shared/recordings")
    return path


def small_market(**options: Any) -> GeneratedMarket:
    """A market of one symbol whose trades and aggregated trades are numbered alike from 1, as fast as it is read."""
    defaults = {"symbols": ("BTCUSDT",), "rate": None, "count": 20, "first_ids": 1, "fills": (1,)}
    return GeneratedMarket(GeneratedOptions(**{**defaults, **options}))


def dial(exchange: Exchange, target: str, **options: Any) -> AbstractAsyncContextManager[ClientConnection]:
    """A client that reads all it is sent, neither pings by itself nor offers compression, unless told otherwise."""
    defaults = {"max_queue": None, "proxy": None, "compression": None, "ping_interval": None, "close_timeout": 1.0}
    return connect(exchange.ws_url + target, **{**defaults, **options})


async def receive(client: ClientConnection, count: int = 1) -> list[bytes]:
    async with asyncio.timeout(PATIENCE_S):
        return [await client.recv(decode=False) for _ in range(count)]


async def ask(client: ClientConnection, method: str, params: list[Any] | None = None, request_id: Any = 1) -> Any:
    """Send a control message and return its reply."""
    await client.send(json.dumps({"method": method, "params": params or [], "id": request_id}))
    return json.loads((await receive(client))[0])


async def stays_silent(client: ClientConnection, for_s: float = 0.15) -> bool:
    try:
        await asyncio.wait_for(client.recv(), for_s)
    except TimeoutError:
        return True
    return False


async def eventually(holds: Callable[[], bool]) -> bool:
    """Wait until something holds that the exchange learns a moment later than its client."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - an exchange has no event for everything
            await asyncio.sleep(0.005)
    return True


async def get(exchange: Exchange, target: str, **options: Any) -> tuple[int, Any, dict[str, str]]:
    """Status, decoded body and headers of a REST answer."""
    async with aiohttp.ClientSession() as session, session.get(exchange.rest_url + target, **options) as response:
        return response.status, await response.json(), dict(response.headers)


async def ended(client: ClientConnection) -> tuple[int, str]:
    """Read to the end; its code and reason, 1006 where no close frame came."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            while True:
                await client.recv(decode=False)
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
