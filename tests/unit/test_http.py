"""The HTTP server over real sockets."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession

from k2.errors import EXIT_CONFIGURATION, ConfigurationError
from k2.ingestion.adapters.http import HttpServer, service_routes
from k2.ingestion.core.health import HealthInputs, evaluate, liveness, readiness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
EXPOSITION = b"# TYPE up gauge\nup 1.0\n"
STARTING = HealthInputs(connected=False, symbols=("BTCUSDT",), uptime_s=31.0, messages_received=0, disconnected_for_s=31.0)


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    routes = service_routes(
        metrics=lambda: (EXPOSITION, METRICS_TYPE),
        health=lambda: evaluate(STARTING),
        readiness=lambda: readiness(STARTING),
        liveness=liveness,
    )
    running = HttpServer("127.0.0.1", 0, routes)
    await running.start()
    yield running
    await running.stop()


async def ask(server: HttpServer, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    async with ClientSession() as session, session.request(method, f"http://127.0.0.1:{server.port}{path}") as answer:
        return answer.status, answer.headers["Content-Type"], await answer.read()


async def test_metrics_are_served_as_rendered(server: HttpServer) -> None:
    """Prometheus gets the exposition byte for byte under its own content type."""
    assert await ask(server, "/metrics") == (200, METRICS_TYPE, EXPOSITION)


@pytest.mark.parametrize(
    ("path", "status", "key"),
    [
        ("/health", 503, "connection_state"),
        ("/readyz", 503, "waiting_for"),
        ("/livez", 200, "alive"),
        ("/nothing", 404, "error"),
        ("/favicon.ico", 404, "error"),
    ],
)
async def test_answers_are_json(server: HttpServer, path: str, status: int, key: str) -> None:
    """Everything but the metrics and the page is JSON, the unknown path too, and the status says the verdict."""
    answered, content_type, body = await ask(server, path)
    assert (answered, content_type, key in json.loads(body)) == (status, "application/json", True)


@pytest.mark.parametrize("path", ["/", "/metrics", "/health", "/nothing"])
async def test_no_answer_is_kept_or_guessed_at(server: HttpServer, path: str) -> None:
    """No cache stores an answer, and no browser takes it for another type than it says."""
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{server.port}{path}") as answer:
        assert (answer.headers["Cache-Control"], answer.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


async def test_query_is_ignored(server: HttpServer) -> None:
    """A parameter that a probe adds does not change the route."""
    assert (await ask(server, "/livez?verbose"))[0] == 200


async def test_head_answers_without_a_body(server: HttpServer) -> None:
    """HEAD has the status and headers of GET, its length included."""
    async with ClientSession() as session, session.head(f"http://127.0.0.1:{server.port}/metrics") as answer:
        assert (answer.status, answer.headers["Content-Length"], await answer.read()) == (200, str(len(EXPOSITION)), b"")


async def test_other_methods_are_refused(server: HttpServer) -> None:
    """Nothing can be changed over HTTP, and the refusal names what is allowed."""
    async with ClientSession() as session, session.post(f"http://127.0.0.1:{server.port}/health") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


async def test_taken_port_is_a_configuration_error() -> None:
    """A port in use ends the start with exit code 2 and names the option and the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"--http-port: port {port} on 127\.0\.0\.1 is in use") as caught:
            await HttpServer("127.0.0.1", port, {}).start()
    assert caught.value.exit_code == EXIT_CONFIGURATION


async def test_foreign_address_is_a_configuration_error() -> None:
    """An address that is not this machine's names the other option."""
    with pytest.raises(ConfigurationError, match=r"--http-host: cannot listen on 192\.0\.2\.1"):
        await HttpServer("192.0.2.1", 0, {}).start()


async def test_stopped_server_frees_its_port(server: HttpServer) -> None:
    """After stop another server can take the same port, though a client's connection was still open."""
    async with ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{server.port}/livez") as answer:
            await answer.read()
        await server.stop()
        successor = HttpServer("127.0.0.1", server.port, {})
        await successor.start()
        await successor.stop()


async def test_stop_without_start_does_nothing() -> None:
    """A start that failed before the server's turn can be cleaned up all the same."""
    await HttpServer("127.0.0.1", 0, {}).stop()
