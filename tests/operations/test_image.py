"""The Dockerfile against the repository, the requirements and the compose file."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from k2.ingestion.options import BY_KEY, OPTIONS
from k2.ingestion.settings import load_settings
from kit import dockerfile
from kit.tools import needs
from operations.compose_file import PLAIN, ROOT, command, mounts, seconds, services

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
BUILD, FINAL = dockerfile.stages(TEXT)
STAGES = pytest.mark.parametrize("stage", [BUILD, FINAL], ids=["build", "final"])


def project() -> dict[str, Any]:
    loaded: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return loaded


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a builder is sent."""
    into = tmp_path_factory.mktemp("context")
    dockerfile.context(ROOT, (ROOT / ".dockerignore").read_text(encoding="utf-8"), into)
    return into


def copied_from_the_repository() -> list[str]:
    copies = [instruction for stage in (BUILD, FINAL) for instruction in stage.all("COPY") if "from" not in instruction.options]
    return [word for instruction in copies for word in instruction.words[:-1]]


def test_base_is_pinned_and_the_same_throughout() -> None:
    """Both stages stand on one Python that the project supports, named to its last number: what one builds runs in the other."""
    assert BUILD.image == FINAL.image
    version = re.fullmatch(r"python:(3\.[0-9]+)\.[0-9]+-slim-[a-z]+", FINAL.image)
    assert version
    assert f"Programming Language :: Python :: {version[1]}" in str(project()["classifiers"])


@pytest.mark.parametrize("source", sorted(set(copied_from_the_repository())))
def test_what_is_copied_is_sent(source: str, sent: Path) -> None:
    """Everything that a COPY names exists and gets past .dockerignore."""
    assert (sent / source).exists()


def test_nothing_else_is_sent(sent: Path) -> None:
    """A secret, a virtual environment or a history that lies in the directory does not get near the image."""
    wanted = {source.partition("/")[0] for source in copied_from_the_repository()}
    assert {path.name for path in sent.iterdir()} == wanted
    assert not list(sent.rglob("__pycache__"))


@STAGES
def test_every_installation_is_pinned(stage: dockerfile.Stage) -> None:
    """Whatever pip fetches has its hash checked; what has none is our own wheel, and takes no dependency with it."""
    installs = [instruction.text for instruction in stage.all("RUN") if re.search(r"\bpip\b.* install\b", instruction.text)]
    assert all("--require-hashes" in text or ("--no-deps" in text and "k2_platform-" in text) for text in installs)
    assert len(installs) == (3 if stage is BUILD else 0)


def test_requirements_have_hashes() -> None:
    """Each requirement of the image is an exact version with hashes."""
    text = (ROOT / "requirements/run.txt").read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) > len(project()["dependencies"])
    assert [block for block in blocks if not re.match(r"[a-z0-9.-]+==[0-9]\S* .*--hash=sha256:", block, re.DOTALL)] == []


@needs("awk")
def test_the_build_takes_its_tools_from_the_requirements(tmp_path: Path) -> None:
    """The step that picks the build's tools finds each with its hashes: uv, the builder of the wheel, and all that it needs."""
    (picking,) = (instruction.text for instruction in BUILD.all("RUN") if instruction.text.startswith("awk"))
    (tmp_path / "dev.txt").write_bytes((ROOT / "requirements/dev.txt").read_bytes())
    subprocess.run(["sh", "-ec", picking], cwd=tmp_path, check=True)
    blocks = re.split(r"^(?=[a-z])", (tmp_path / "build.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    picked = {block.partition("==")[0]: block for block in blocks}
    stated = importlib.metadata.requires("hatchling") or []
    needed = [re.split(r"[^A-Za-z0-9-]", text)[0] for text in stated if "python_version <" not in text]
    assert set(picked) == {"hatchling", "uv", *needed}
    assert all("--hash=sha256:" in block for block in blocks)


def test_uv_starts_what_is_installed() -> None:
    """`uv run` in the image takes the environment that was built, and neither changes nor fetches anything."""
    environment = FINAL.environment
    (made,) = (instruction.words[-1] for instruction in BUILD.all("RUN") if " -m venv " in instruction.text)
    assert environment["UV_PROJECT_ENVIRONMENT"] == made
    assert environment["PATH"].startswith(f"{made}/bin:")
    assert {environment[name] for name in ("UV_NO_SYNC", "UV_NO_CACHE", "UV_OFFLINE")} == {"1"}
    assert environment["UV_PYTHON_DOWNLOADS"] == "never"


def test_image_is_no_root() -> None:
    """The user is a number, so that an orchestrator can see that it is not root, and the one that compose names."""
    assert FINAL.one("USER").text == services()[PLAIN]["user"]
    number, _, _ = FINAL.one("USER").text.partition(":")
    (added,) = (instruction.text for instruction in FINAL.all("RUN") if "useradd" in instruction.text)
    assert f"--uid {number} " in added
    assert f"--gid {number} " in added
    assert FINAL.instructions.index(FINAL.one("USER")) > FINAL.instructions.index(FINAL.all("RUN")[-1])


def test_volumes_belong_to_the_user() -> None:
    """The directories over which compose mounts volumes exist and belong to the user: a new volume takes that over."""
    (made,) = (instruction.words for instruction in FINAL.all("RUN") if instruction.text.startswith("install -d"))
    assert {made[made.index("-o") + 1], made[made.index("-g") + 1]} == {"k2"}
    assert set(mounts(services()[PLAIN])) <= set(made)


def test_command_is_the_documented_one() -> None:
    """Without compose the image runs what compose runs, and that file is in it."""
    assert FINAL.one("CMD").words == command(services()[PLAIN])
    assert (ROOT / FINAL.one("CMD").words[-1]).is_file()


def test_health_check_is_that_of_compose() -> None:
    """One question to the client, whoever asks."""
    check, asked = FINAL.one("HEALTHCHECK"), services()[PLAIN]["healthcheck"]
    assert check.text.startswith("CMD ")
    words = dockerfile.Instruction("CMD", {}, check.text.removeprefix("CMD ")).words
    assert ["CMD", *words] == asked["test"]
    times = {name.replace("-", "_"): seconds(value) for name, value in check.options.items() if name != "retries"}
    assert times == {name: seconds(asked[name]) for name in ("interval", "timeout", "start_period")}
    assert int(check.options["retries"]) == asked["retries"]


def test_environment_is_understood() -> None:
    """The variables of the image are options of the client, with values that it takes, and mean what compose means."""
    environment = {name: value for name, value in FINAL.environment.items() if name.startswith(("K2_", "KAFKA_", "BINANCE_"))}
    assert set(environment) <= {option.variable for option in OPTIONS}
    settings = load_settings([], {"HOME": "/", **environment})
    assert settings.http.host == "0.0.0.0"  # noqa: S104
    compose = services()[PLAIN]["environment"]
    assert environment == {name: compose[name] for name in environment}


def test_port_and_signal() -> None:
    """The image names the client's own port, and the signal on which it drains."""
    assert FINAL.one("EXPOSE").text == BY_KEY["http.port"].default
    assert FINAL.one("STOPSIGNAL").text == "SIGTERM"


def test_labels() -> None:
    """The image says what it is and under which licence."""
    labels = FINAL.one("LABEL").pairs
    assert labels["org.opencontainers.image.licenses"] == project()["license"]
    assert labels["org.opencontainers.image.title"] == "k2"
