"""Starts simulated exchanges for a test and stops them after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import pytest

from k2.simulator.exchange import Exchange
from k2.simulator.options import options_for
from unit.simulator.wire import small_market

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from k2.simulator.market import Market


class Serve(Protocol):
    async def __call__(self, market: Market | None = None, **options: Any) -> Exchange: ...


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts an exchange; without a limit on client messages unless the test sets one."""
    running: list[Exchange] = []

    async def start(market: Market | None = None, **options: Any) -> Exchange:
        market = market or small_market()
        chosen = msgspec.structs.replace(options_for(market.venue), **{"messages_per_s": None, **options})
        exchange = Exchange(market, chosen)
        running.append(exchange)
        await exchange.start()
        return exchange

    yield start
    for exchange in running:
        await exchange.stop()
