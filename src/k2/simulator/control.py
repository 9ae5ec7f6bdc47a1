"""How another process on the same machine makes a simulated exchange fail, and asks what it has sent."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from k2.simulator import faults

if TYPE_CHECKING:
    from k2.simulator.exchange import Exchange


def routes(exchange: Exchange) -> list[web.RouteDef]:
    """`POST /control/fault` with a fault as JSON, and `GET /control/state`. Both answer to loopback only."""

    async def fault(request: web.Request) -> web.Response:
        _require_loopback(request)
        try:
            await exchange.inject(faults.from_json(await request.read()))
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error
        return web.Response(body=msgspec.json.encode({"ok": True}), content_type="application/json")

    async def state(request: web.Request) -> web.Response:
        _require_loopback(request)
        return web.Response(body=exchange.state(), content_type="application/json")

    return [web.post("/control/fault", fault), web.get("/control/state", state)]


def _require_loopback(request: web.Request) -> None:
    if request.remote is None or not ip_address(request.remote).is_loopback:
        raise web.HTTPForbidden(text="the control endpoints answer to loopback addresses only\n")
