"""Simulated exchanges for the doctor to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from k2.simulator.exchange import Exchange
from k2.simulator.generated import GeneratedMarket, GeneratedOptions
from k2.simulator.options import options_for
from unit.doctor.contexts import SYMBOLS, Running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """Starts simulated exchanges, and stops them after the test."""
    started: list[Exchange] = []

    async def start(venue: str = "spot", rate: float | None = 500, **options: Any) -> Exchange:
        market = GeneratedMarket(GeneratedOptions(symbols=SYMBOLS, rate=rate, venue=venue))  # type: ignore[arg-type]
        exchange = Exchange(market, replace(options_for(market.venue), **options))
        await exchange.start()
        started.append(exchange)
        return exchange

    yield start
    for exchange in started:
        await exchange.stop()
