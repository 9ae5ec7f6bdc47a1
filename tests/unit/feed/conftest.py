"""Fixtures of the feed's tests: both transports, and silence."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator

import pytest

from k2.ingestion.adapters.feed.port import Transport
from k2.ingestion.adapters.feed.transports import choose_transport


@pytest.fixture(params=["picows", "websockets"])
def transport(request: pytest.FixtureRequest) -> Transport:
    return choose_transport(request.param, compression=False)


@pytest.fixture(autouse=True)
async def nothing_is_said(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> AsyncIterator[None]:
    """No library writes to stderr or warns, and no exception is left for asyncio to complain about."""
    yield
    gc.collect()
    said = [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.WARNING]
    assert said == []
    assert capfd.readouterr().err == ""
