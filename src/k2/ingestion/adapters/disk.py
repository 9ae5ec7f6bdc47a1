"""How much room is left where we write: a full disk is a fault that can be seen coming."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

LOOK_EVERY_S = 10.0
STALE_AFTER_S = 30.0


class Space(Struct, frozen=True):
    """Of the file system that a directory is on. `free_bytes` is what an ordinary user may still take of it."""

    free_bytes: int
    capacity_bytes: int


class DirectoryWatch:
    """Looks at the room in each of our directories, by what they are for. What cannot be looked at is left out of `spaces`."""

    def __init__(self, directories: Mapping[str, Path]) -> None:
        self._directories = dict(directories)
        self.spaces = self._look()

    async def keep_looking(self) -> None:
        """
        Look again and again, beside the event loop: a network file system may take its time.

        While it does not answer, there are no numbers: old ones would be taken for true.
        """
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            looking = asyncio.ensure_future(asyncio.to_thread(self._look))
            await asyncio.wait({looking}, timeout=STALE_AFTER_S)
            if not looking.done():
                self.spaces = {}
            try:
                self.spaces = await looking
            except RuntimeError:  # no thread could be started
                self.spaces = {}

    def _look(self) -> dict[str, Space]:
        found = {name: space_in(directory) for name, directory in self._directories.items()}
        return {name: space for name, space in found.items() if space is not None}


def space_in(directory: Path) -> Space | None:
    """None where the directory is not there or does not tell."""
    try:
        usage = shutil.disk_usage(directory)
    except OSError:
        return None
    return Space(usage.free, usage.total)
