"""The room in our directories, as it is watched."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import pytest

from k2.ingestion.adapters import disk
from k2.ingestion.adapters.disk import DirectoryWatch, Space, space_in
from k2.threads import DaemonThreads

if TYPE_CHECKING:
    from pathlib import Path


def test_room_is_what_an_ordinary_user_may_take(tmp_path: Path) -> None:
    """Free and whole size are those that the file system tells; what is kept for root does not count as free."""
    space = space_in(tmp_path)
    assert space is not None
    told = os.statvfs(tmp_path)
    assert space.capacity_bytes == told.f_blocks * told.f_frsize
    assert abs(space.free_bytes - told.f_bavail * told.f_frsize) < space.capacity_bytes / 100


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    """A directory that is gone is no reason to fail, and has no number that could be taken for one."""
    watch = DirectoryWatch({"state": tmp_path, "logs": tmp_path / "none"})
    assert watch.spaces.keys() == {"state"}


async def test_numbers_of_a_disk_that_hangs_vanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old number would be taken for true. When it answers again they are back."""
    mended, loop = threading.Event(), asyncio.get_running_loop()
    loop.set_default_executor(DaemonThreads())
    monkeypatch.setattr(disk, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(disk, "STALE_AFTER_S", 0.02)
    watch = DirectoryWatch({"state": tmp_path})
    assert watch.spaces
    monkeypatch.setattr(disk, "space_in", lambda _: Space(7, 9) if mended.wait(10) else None)
    looking = asyncio.create_task(watch.keep_looking())
    async with asyncio.timeout(10):
        while watch.spaces:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)
        mended.set()
        while watch.spaces != {"state": Space(7, 9)}:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.001)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


async def test_it_is_looked_at_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes shows without being asked for."""
    rooms, seen_thrice, loop = iter(range(1_000)), asyncio.Event(), asyncio.get_running_loop()

    def shrinking(_: Path) -> Space:
        room = next(rooms)
        if room == 3:
            loop.call_soon_threadsafe(seen_thrice.set)
        return Space(room, 1_000)

    monkeypatch.setattr(disk, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(disk, "space_in", shrinking)
    watch = DirectoryWatch({"state": tmp_path})
    looking = asyncio.create_task(watch.keep_looking())
    async with asyncio.timeout(10):
        await seen_thrice.wait()
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert watch.spaces["state"].free_bytes >= 2
