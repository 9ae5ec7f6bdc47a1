"""
Closed candles that were missed are asked of REST and published late, marked as what they are.

A hole is known as soon as a later candle forms. It stays open, counted and named, until REST has told what was in it: it is asked
again and again, at longer and longer intervals, for as long as the client runs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from msgspec import Struct

from k2.ingestion.adapters.logs import get_logger
from k2.ingestion.adapters.rest import RestClient, RestError
from k2.ingestion.core.outcome import GapOpened
from k2.ingestion.exchanges.binance.candle_history import MOST_CANDLES, frames, parameters

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 300.0
MOST_HOLES = 10_000  # that wait; what comes beyond stays an open gap
SPEC_PREFIX = "kline_"

_log = get_logger("k2.repair")

OpenRest = Callable[[], AbstractAsyncContextManager[RestClient]]


class _Hole(Struct):
    """The numbers of missing candles of a stream, and how long to wait after the next failure."""

    spec: str
    symbol: str
    missing: set[int]
    wait_s: float


class CandleRepair:
    """
    Asks for what is missing, one request after the other.

    Args:
        rest: Opens the exchange's REST API.
        publish: Takes a frame of the past through the pipeline.
    """

    def __init__(self, rest: OpenRest, publish: Callable[[bytes], None]) -> None:
        self._rest, self._publish = rest, publish
        self._holes: deque[_Hole] = deque()
        self._some = asyncio.Event()

    def gap_opened(self, gap: GapOpened) -> None:
        """Take note of a hole; one that is not in candles is none of ours."""
        if not gap.stream.startswith(SPEC_PREFIX) or len(self._holes) >= MOST_HOLES:
            return
        for first in range(gap.first_id, gap.last_id + 1, MOST_CANDLES // 2):
            numbers = range(first, min(first + MOST_CANDLES // 2, gap.last_id + 1))
            self._holes.append(_Hole(gap.stream, gap.symbol, set(numbers), FIRST_WAIT_S))
        self._some.set()

    async def run(self) -> None:
        """Repair, for ever."""
        while await self._some.wait():
            hole = self._holes.popleft()
            if not self._holes:
                self._some.clear()
            if not await self._repaired(hole):
                await asyncio.sleep(hole.wait_s)
                hole.wait_s = min(2 * hole.wait_s, LONGEST_WAIT_S)
                self._holes.append(hole)
                self._some.set()

    async def _repaired(self, hole: _Hole) -> bool:
        spec, symbol, missing = hole.spec, hole.symbol, hole.missing
        try:
            async with self._rest() as rest:
                found = frames(spec, symbol, missing, await rest.klines(parameters(spec, symbol, min(missing), max(missing))))
        except (RestError, ValueError) as error:
            hole.wait_s = max(hole.wait_s, (error.retry_after_s or 0.0) if isinstance(error, RestError) else 0.0)
            _log.warning("Missed candles could not be asked for", stream=spec, symbol=symbol, error=str(error))
            return False
        for frame in found.values():
            self._publish(frame)
        missing.difference_update(found)
        _log.info("Missed candles asked for", stream=spec, symbol=symbol, found=len(found), missing=len(missing))
        return not missing
