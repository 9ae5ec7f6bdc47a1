"""Work that runs beside the client: it ends with it, and does not die in silence."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from k2.ingestion.background import in_background

if TYPE_CHECKING:
    import pytest


async def test_it_ends_with_the_parts() -> None:
    """Whatever it waits for, nothing of it is left."""
    ended = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with AsyncExitStack() as parts:
        in_background(parts, endless())
        await asyncio.sleep(0)
    assert ended.is_set()


async def test_its_defect_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers that nobody refreshes any more look like true ones: the log says why."""

    async def broken() -> None:
        raise ZeroDivisionError

    async with AsyncExitStack() as parts:
        in_background(parts, broken())
        await asyncio.sleep(0.01)
    told = capsys.readouterr().out
    assert "Work in the background broke" in told
    assert "ZeroDivisionError" in told
