"""A mock cluster for every test that asks for one, and the producer on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.harness import TOPIC, Bench
from kit.mock_kafka import MockKafka

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def mock() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        cluster.create_topic(TOPIC)
        yield cluster


@pytest.fixture
def cold_bench(mock: MockKafka) -> Bench:
    return Bench(mock.bootstrap)
