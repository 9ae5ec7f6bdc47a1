"""
The HTTP side of the client: metrics for Prometheus, health for people and orchestrators, and a page to look at. Read-only.

Handlers run on the event loop between two batches of frames, so a route is a plain function that returns at once.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiohttp import web
from msgspec import Struct, field, structs

from k2.errors import ConfigurationError
from k2.ingestion.adapters.status_page import StatusPage, load_status_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from k2.ingestion.core.health import HealthReport

JSON_TYPE = "application/json"
_SHUTDOWN_TIMEOUT_S = 1.0  # a scraper's idle keep-alive connection must not hold up the end
_ALLOWED_METHODS = ("GET", "HEAD")


class Answer(Struct, frozen=True):
    """What a route returns. `content_type` is the whole header, its parameters included; `headers` come beside the usual ones."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


def service_routes(
    *,
    metrics: Callable[[], tuple[bytes, str]],
    health: Callable[[], HealthReport],
    readiness: Callable[[], HealthReport],
    liveness: Callable[[], HealthReport],
) -> dict[str, Callable[[], Answer]]:
    """The routes of the client. `metrics` returns the exposition and its content type."""
    page = _page_answer(load_status_page())
    return {
        "/": lambda: page,
        "/metrics": lambda: _metrics_answer(*metrics()),
        "/health": lambda: _report_answer(health()),
        "/livez": lambda: _report_answer(liveness()),
        "/readyz": lambda: _report_answer(readiness()),
    }


class HttpServer:
    """Serves `routes` (path to function) under one address. Port 0 takes any free port; `port` tells which after `start`."""

    def __init__(self, host: str, port: int, routes: Mapping[str, Callable[[], Answer]]) -> None:
        self.host, self.port = host, port
        self._routes = routes
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """
        Bind and serve.

        Raises:
            ConfigurationError: the address cannot be bound.
        """
        runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=_SHUTDOWN_TIMEOUT_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port).start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigurationError(_bind_fault(self.host, self.port, error)) from error
        self._runner, self.port = runner, runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop serving and close every connection. Without a start it does nothing."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        route = self._routes.get(request.path)
        if route is None:
            return _response(_json_answer(404, {"error": "not found", "paths": sorted(self._routes)}))
        if request.method not in _ALLOWED_METHODS:
            refusal = _json_answer(405, {"error": "only GET and HEAD are served"})
            return _response(structs.replace(refusal, headers={"Allow": ", ".join(_ALLOWED_METHODS)}))
        return _response(route())


def _page_answer(page: StatusPage) -> Answer:
    return Answer(200, page.body, page.content_type, page.headers)


def _metrics_answer(exposition: bytes, content_type: str) -> Answer:
    return Answer(200, exposition, content_type)


def _report_answer(report: HealthReport) -> Answer:
    return _json_answer(report.http_status, report.body)


def _json_answer(status: int, body: object) -> Answer:
    return Answer(status, json.dumps(body).encode("ascii") + b"\n")


def _response(answer: Answer) -> web.Response:
    # no-store: a health answer out of a proxy's cache is a lie. nosniff: nothing of ours is to be guessed at.
    usual = {"Content-Type": answer.content_type, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(status=answer.status, body=answer.body, headers={**usual, **answer.headers})


def _bind_fault(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--http-port: port {port} on {host} is in use by another process; choose another port, or 0 for any free one"
    if error.errno == errno.EACCES:
        return f"--http-port: port {port} needs privileges that this process has not; choose one above 1023"
    return f"--http-host: cannot listen on {host} port {port}: {error.strerror or error}"
