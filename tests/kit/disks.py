"""A small disk that only one client sees, to be filled and freed under it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kit.client import CLIENT_COMMAND

if TYPE_CHECKING:
    from kit.client import ClientProcess

MORE_THAN_IT_HOLDS = bytes(1 << 20)
# Mounts a small disk that nobody else sees, and becomes the client.
MOUNT_AND_RUN = 'mount -t tmpfs -o "$1" k2 "$0" && cd "$0" && { eval "$2" || true; } && cd "$OLDPWD" && shift 2 && exec "$@"'


def mounting_refused() -> str:
    """
    Why no disk can be mounted on this machine, or empty.

    It needs neither root nor privileges where the kernel lets users have namespaces of their own, as most do.
    """
    try:
        tried = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "k2", "/tmp"], capture_output=True, check=False)
    except FileNotFoundError:
        return "there is no unshare (util-linux) on this machine, so no disk can be made full"
    return f"this machine gives its users no mount namespace: {tried.stderr.decode().strip()}" if tried.returncode else ""


class SmallDisk:
    """64 kB in a mount namespace of the client's own."""

    def __init__(self, at: Path) -> None:
        self.path = at
        at.mkdir()

    def command(self, options: str = "size=64k", first: str = "true") -> list[str]:
        """What to start instead of the client. `first` is run on the disk before it."""
        return ["unshare", "-rm", "sh", "-c", MOUNT_AND_RUN, str(self.path), options, first, *CLIENT_COMMAND]

    def seen_by(self, client: ClientProcess) -> Path:
        """Where the disk is from outside."""
        return Path(f"/proc/{client.pid}/root{self.path}")

    def fill(self, client: ClientProcess) -> None:
        with pytest.raises(OSError, match="No space left"):
            (self.seen_by(client) / "filler").write_bytes(MORE_THAN_IT_HOLDS)

    def free(self, client: ClientProcess) -> None:
        (self.seen_by(client) / "filler").unlink()
