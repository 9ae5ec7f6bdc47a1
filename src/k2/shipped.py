"""Where the files lie that are part of the product and no code: schemas, profiles."""

from __future__ import annotations

from pathlib import Path


def shipped_directory(name: str) -> Path:
    """A directory of the installed package; in a checkout it lies at the top, where people look for it."""
    package = Path(__file__).resolve().parent
    installed, checkout = package / name, package.parents[1] / name
    return installed if installed.is_dir() else checkout
