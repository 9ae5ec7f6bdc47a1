"""The client inside another program: it runs once, what ends it is told, and its numbers can be read at any time."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from k2.errors import FatalError, UnavailableError
from k2.ingestion.library import BinanceClient
from k2.ingestion.service import Service
from kit.ports import free_port
from unit.feed.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path

UNTOUCHED = {
    "messages_received": 0, "messages_processed": 0, "messages_buffered": 0, "messages_delivered": 0, "messages_failed": 0,
    "connected": False, "reconnect_count": 0, "uptime_seconds": 0,
}  # fmt: skip


@pytest.fixture
def client(tmp_path: Path) -> BinanceClient:
    """One that nothing answers, so that it waits for its broker until it is stopped."""
    nowhere = f"127.0.0.1:{free_port()}"
    return BinanceClient(
        environ={}, kafka_bootstrap=nowhere, schema_registry=f"http://{nowhere}", symbols=["BTCUSDT"], http_port=free_port(),
        ws_url=f"ws://{nowhere}", rest_url="off", dead_letter_dir=str(tmp_path / "dlq"), state_dir=str(tmp_path / "state"),
    )  # fmt: skip


def break_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def run(_: Service) -> None:
        raise error

    monkeypatch.setattr(Service, "run", run)


def test_before_the_start_there_is_nothing_to_count(client: BinanceClient) -> None:
    """Numbers and health of a client that was only made."""
    assert client.get_metrics() == UNTOUCHED
    assert client.get_health()["status"] == "unhealthy"
    client.reload()
    client.stop()


def test_a_second_start_is_refused(client: BinanceClient) -> None:
    """In whatever way it is tried, and the first goes on."""
    with client:
        with pytest.raises(RuntimeError, match="runs once"):
            client.start_in_background()
        assert client.error is None
    with pytest.raises(RuntimeError, match="runs once"):
        client.run()


def test_a_stop_that_comes_first_holds(client: BinanceClient) -> None:
    """A client that was stopped before its thread came to work ends at once."""
    client.stop()
    thread = client.start_in_background()
    thread.join(20)
    assert not thread.is_alive()
    client.stop()


@pytest.mark.parametrize("error", [UnavailableError("the broker did not come"), FatalError("disk full")])
def test_what_ended_it_is_raised_by_stop(client: BinanceClient, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The caller hears of it, in its own thread."""
    break_with(monkeypatch, error)
    client.start_in_background().join(20)
    with pytest.raises(type(error), match=str(error)):
        client.stop()


def test_a_defect_is_an_error_as_well(client: BinanceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that ended in a way that nobody thought of does not look like one that ended well."""
    break_with(monkeypatch, ZeroDivisionError("division by zero"))
    client.start_in_background().join(20)
    with pytest.raises(FatalError, match="unexpected ZeroDivisionError: division by zero; please report this"):
        client.stop()


async def test_it_runs_in_the_callers_loop(client: BinanceClient) -> None:
    """And ends in order where its task is cancelled: it serves nothing any more."""
    task = asyncio.create_task(client.run_async())
    address = ("127.0.0.1", client.settings.http.port)
    await eventually(lambda: _answers(address))
    assert client.get_health()["status"] == "degraded"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not _answers(address)


def _answers(address: tuple[str, int]) -> bool:
    with closing(socket.socket()) as prober:
        return prober.connect_ex(address) == 0
