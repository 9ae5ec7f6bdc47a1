"""Programs that come from the machine and not from Python: a test that needs one says so, and is skipped where it is absent."""

from __future__ import annotations

import shutil

import pytest


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip, with the reason, where one of these programs is not on the PATH. CI installs them all and accepts no skip."""
    absent = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(absent), reason=f"not on this machine: {', '.join(absent)}")
