"""The documents say what is true: links lead somewhere, options, metrics and make targets named in them exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from k2.cli.main import COMMANDS
from k2.ingestion.options import BY_FLAG
from k2.ingestion.telemetry import CATALOGUE, exposed_name

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path for path in REPOSITORY.rglob("*.md") if not {part for part in path.relative_to(REPOSITORY).parts if part.startswith(".")}
)
SWITCHED_OFF = {f"--no-{flag.removeprefix('--')}" for flag in BY_FLAG}
FOREIGN_FLAGS = {"--topic", "--bootstrap-server", "--add", "--allow-principal", "--operation", "--cluster", "--require-hashes"}
TOOLBOX_FLAGS = {"--port", "--rate", "--recording", "--live", "--help", "--print-config"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_resolve(document: Path) -> None:
    """Every relative link leads to a file of the repository."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_options_in_the_documents_exist() -> None:
    """Every flag that README and the other pages name is an option of the client, or one of the tools shown beside it."""
    named = {flag for name in ("README.md", "ARCHITECTURE.md", "SECURITY.md") for flag in _flags((REPOSITORY / name).read_text())}
    assert named - set(BY_FLAG) - SWITCHED_OFF - FOREIGN_FLAGS - TOOLBOX_FLAGS == set()


def _flags(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+[a-z]", text))


def test_readme_lists_every_metric() -> None:
    """The table of metrics is complete."""
    readme = (REPOSITORY / "README.md").read_text()
    assert [name for name in map(exposed_name, CATALOGUE) if f"`{name}`" not in readme] == []


def test_readme_lists_every_option() -> None:
    """The table of options is complete."""
    readme = (REPOSITORY / "README.md").read_text()
    assert [flag for flag in BY_FLAG if flag not in readme] == []


def test_make_targets_in_the_documents_exist() -> None:
    """Every `make` command that a page shows can be made."""
    makefile = (REPOSITORY / "Makefile").read_text()
    named = {target for path in DOCUMENTS for target in re.findall(r"(?m)(?:^|`)make ([a-z]+)", path.read_text())}
    assert [target for target in named if not re.search(rf"(?m)^{target}:", makefile)] == []


def test_toolbox_commands_in_the_documents_exist() -> None:
    """Every `k2` command that a page shows is there."""
    named = {word for path in DOCUMENTS for word in re.findall(r"`k2 ([a-z]+)", path.read_text())}
    assert named - set(COMMANDS) == set()
