"""Everything here runs against the real Kafka and the real registry, and is marked so."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Called for the tests of this directory only."""
    item.add_marker("real")
