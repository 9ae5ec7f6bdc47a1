"""docker-compose.yml as the real `docker-compose config` understands it, with `.env` and an override file as they are now."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).parents[2]
COMPOSE_FILE = "docker-compose.yml"


class ComposeFile:
    """The compose file in `directory`, a copy of the repository's: docker-compose looks for `.env` where the file really lies."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._services: dict[str, Any] = {}
        self._read_as: list[str] = []
        shutil.copy(REPOSITORY / COMPOSE_FILE, directory)
        (directory / ".env").touch()

    @property
    def services(self) -> dict[str, Any]:
        now = [self._text(name) for name in (".env", "docker-compose.override.yml")]
        if now != self._read_as:
            environment = {"PATH": os.environ["PATH"], "HOME": str(self._directory)}
            command = ["docker-compose", "config"]
            read = subprocess.run(command, cwd=self._directory, env=environment, capture_output=True, text=True, check=True)
            self._services, self._read_as = yaml.safe_load(read.stdout)["services"], now
        return self._services

    def __getitem__(self, service: str) -> dict[str, Any]:
        assert service in self.services, f"{COMPOSE_FILE} has no service {service}"
        spec: dict[str, Any] = self.services[service]
        return spec

    def wanted(self, profiles: Sequence[str]) -> list[str]:
        """The services that `up` starts where none is named."""
        variables = dict(line.split("=", 1) for line in self._text(".env").splitlines() if "=" in line)
        active = {*profiles, *variables.get("COMPOSE_PROFILES", "").split(",")}
        return [name for name, spec in self.services.items() if not spec.get("profiles") or active & set(spec["profiles"])]

    def runs_clients(self, service: str) -> bool:
        """Whether it is one of ours, and any is wanted."""
        spec = self[service]
        return "binance_client" in str(spec.get("command")) and spec.get("deploy", {}).get("replicas", 1) > 0

    def _text(self, name: str) -> str:
        path = self._directory / name
        return path.read_text(encoding="utf-8") if path.exists() else ""
