"""The Dockerfile's steps, carried out one by one, and the client run from what they make, confined as in its container."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit import dockerfile
from operations.compose_file import PLAIN, ROOT, command, environment_of, services

STAGES = dockerfile.stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))
FINAL = STAGES[-1]

# The image's root as its container has it: read-only, with a /tmp in memory and the two volumes.
CONFINE = """\
mount -o remount,ro "$root"
mount -t tmpfs -o mode=1777,noexec,nosuid,nodev tmp "$root/tmp"
for volume in tmp/dlq var/lib/k2; do
    mkdir -p "$root/$volume"
    mount -t tmpfs -o uid=10001,gid=10001,mode=0750 volume "$root/$volume"
done
root="$root" exec unshare -n bash {then}
"""

# Started, asked by its own health check until it is well, stopped as Docker stops it: without a network, as the image's user,
# without a capability, with the variables of the container alone.
RUN = """\
ip link set lo up
confined=(chroot "$root" setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all
    env -i --chdir=/app {environment})
"${{confined[@]}}" {client} &
client=$!
while kill -0 $client; do
    "${{confined[@]}}" {check} 2> /dev/null && healthy=yes && break
    sleep 0.2
done
echo "healthy: ${{healthy:-no}}"
kill -TERM $client
wait $client
echo "exit code: $?"
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for the file systems; skips where none can be laid over this machine's."""
    work = tmp_path_factory.mktemp("image")
    if os.geteuid() != 0:
        pytest.skip("only root can lay a file system over this machine's")
    tried = subprocess.run(["unshare", "-m", "bash", "-ec", dockerfile.script([], work, work)], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"this machine mounts nothing: {tried.stderr.decode().strip()}")
    yield work
    shutil.rmtree(work, ignore_errors=True)


@pytest.mark.timeout(400)
def test_image_runs_as_compose_runs_it(workshop: Path, tmp_path: Path) -> None:
    """Built from hashed requirements and the wheel, the documented command runs read-only, offline, unprivileged, and drains."""
    (tmp_path / "context").mkdir()
    dockerfile.context(ROOT, (ROOT / ".dockerignore").read_text(encoding="utf-8"), tmp_path / "context")
    (tmp_path / "run.sh").write_text(run(), encoding="utf-8")
    script = dockerfile.script(STAGES, tmp_path / "context", workshop) + CONFINE.format(then=tmp_path / "run.sh")
    ended = subprocess.run(["unshare", "-m", "bash", "-c", script], capture_output=True, text=True, check=False, timeout=380)
    assert "healthy: yes" in ended.stdout, ended.stdout + ended.stderr
    assert "Shutdown complete" in ended.stdout
    assert "exit code: 0" in ended.stdout


def run() -> str:
    """The script that runs the client as compose has it."""
    image = {**FINAL.environment, "PATH": FINAL.environment["PATH"].replace("$PATH", dockerfile.SYSTEM_PATH)}
    environment = {**image, **environment_of(services()[PLAIN])}
    return RUN.format(
        environment=" ".join(shlex.quote(f"{name}={value}") for name, value in environment.items()),
        client=shlex.join(command(services()[PLAIN])),
        check=shlex.join(services()[PLAIN]["healthcheck"]["test"][1:]),
    )
