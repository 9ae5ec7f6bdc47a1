"""The distribution: what a user gets who installs the wheel, far from any checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that holds what the wheel installs, and nothing of the checkout."""
    wheels, site = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    subprocess.run(
        [UV, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", wheels, REPOSITORY],
        check=True,
    )
    (wheel,) = wheels.glob("k2_platform-*.whl")
    install: list[str | Path] = [
        UV,
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--python",
        sys.executable,
        "--target",
        site,
        wheel,
    ]
    subprocess.run(install, check=True)
    return site


def run_installed(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(site), "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, "-P", *words], cwd=site, env=environment, check=True, capture_output=True, text=True, timeout=60
    )


def test_installed_package_is_the_one_that_runs(installed: Path) -> None:
    """The tests below say something only when it is not the checkout that runs."""
    assert run_installed(installed, "-c", "import k2; print(k2.__file__)").stdout.startswith(str(installed))


def test_schemas_travel_inside_the_wheel(installed: Path) -> None:
    """The installed command shows the very schema that lies in the repository."""
    shown = json.loads(run_installed(installed, "-m", "k2.cli.main", "schemas", "show", "--json").stdout)
    assert shown["definition"] == json.loads((REPOSITORY / "schemas" / "trade_v2.avsc").read_text())


def test_the_status_page_travels_inside_the_wheel(installed: Path) -> None:
    """The installed client serves the very page that lies in the repository."""
    program = "from k2.ingestion.adapters.status_page import load_status_page; print(load_status_page().body.decode(), end='')"
    page = REPOSITORY / "src" / "k2" / "ingestion" / "adapters" / "status_page.html"
    assert run_installed(installed, "-c", program).stdout == page.read_text(encoding="utf-8")


def test_profiles_travel_inside_the_wheel(installed: Path) -> None:
    """Each profile of the repository is known by its name."""
    names = {path.stem for path in (REPOSITORY / "profiles").glob("*.yaml")}
    for name in names:
        shown = run_installed(installed, "-m", "k2.ingestion.binance_client", "--profile", name, "--print-config").stdout
        assert re.search(rf"^--profile +{name} ", shown, re.MULTILINE)
    assert {"trades", "candles", "envelopes", "events", "futures"} <= names


def test_command_k2_is_installed(installed: Path) -> None:
    """The wheel brings the command `k2`."""
    assert run_installed(installed, str(installed / "bin" / "k2"), "--version").stdout.split()[-1] == "0.1.0"


def test_installed_client_starts_from_anywhere(installed: Path) -> None:
    """The client comes up as far as its settings without a checkout around it."""
    shown = run_installed(installed, "-m", "k2.ingestion.binance_client", "--print-config").stdout
    assert "market.crypto.trades.binance" in shown
