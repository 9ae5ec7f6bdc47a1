"""The commands of the runbooks, as they stand there: each block is run, in order, the way an operator would paste it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kit.registry import SchemaRegistry

REPOSITORY = Path(__file__).parents[2]
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
OURS = "market.crypto.trades.binance"


def blocks(document: str, **replaced: str) -> str:
    """All commands of a page as one script. `replaced` names what is elsewhere in a test."""
    script = "\n".join(BLOCK.findall((REPOSITORY / document).read_text(encoding="utf-8")))
    for place, here in replaced.items():
        script = script.replace(place, here)
    return script


def run(script: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=REPOSITORY,
        env={"PATH": path, "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl, which the runbook uses, is not on this machine")
def test_the_registry_is_operated_as_the_runbook_says(registry: SchemaRegistry, topic: str) -> None:
    """From an empty subject on, every command works, and in the end the schema is there under a level that protects consumers."""
    script = blocks("docs/runbooks/schema-registry-operations.md", **{"http://localhost:8081": registry.url, OURS: topic})
    done = run(script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"trade_v2 is well for {topic}-value" in done.stdout
    assert f"under {topic}-value (version 1)" in done.stdout
    assert registry.request("GET", f"/subjects/{topic}-value/versions") == [1]
    assert registry.request("GET", f"/config/{topic}-value")["compatibilityLevel"] == "BACKWARD"
