"""
Closed candles that were missed are asked of REST and published late, marked as what they are.

A hole is known as soon as a later candle forms. It stays open, counted and named, until REST has told what was in it: it is asked
again and again at longer and longer intervals, unless it answers several times without the candle.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress

from msgspec import Struct

from k2.ingestion.adapters.logs import get_logger
from k2.ingestion.adapters.rest import RestClient, RestError
from k2.ingestion.core.outcome import GapOpened
from k2.ingestion.exchanges.binance.candle_history import MOST_CANDLES, frames, parameters
from k2.ingestion.exchanges.binance.names import stream_name

FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0  # the exchange's REST may be a moment behind its streams
MOST_HOLES = 10_000  # that wait; what comes beyond stays an open gap
MOST_ANSWERS = 5  # without the candle, until it is taken for one that the exchange has not
CANDLES_A_REQUEST = MOST_CANDLES // 2
SPEC_PREFIX = "kline_"

_log = get_logger("k2.repair")

OpenRest = Callable[[], AbstractAsyncContextManager[RestClient]]


class _Hole(Struct):
    """The numbers of missing candles of a stream, how long to wait after the next failure, and how often REST had them not."""

    spec: str
    symbol: str
    missing: set[int]
    wait_s: float
    answers: int = 0


class CandleRepair:
    """
    Asks for what is missing, one request after the other, each hole in its own time.

    Args:
        rest: Opens the exchange's REST API.
        publish: Takes a frame of the past through the pipeline.
        wants: Whether the stream of a name is wanted still.
        clock_s: Seconds, steady.
    """

    def __init__(
        self,
        rest: OpenRest,
        publish: Callable[[bytes], None],
        wants: Callable[[str], bool],
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rest, self._publish, self._wants, self._clock_s = rest, publish, wants, clock_s
        self._due: list[tuple[float, int, _Hole]] = []  # a heap; the count keeps equal times in their order
        self._count = itertools.count()
        self._some = asyncio.Event()

    def gap_opened(self, gap: GapOpened) -> None:
        """Take note of a hole; one that is not in candles is none of ours."""
        if not gap.stream.startswith(SPEC_PREFIX):
            return
        for first in range(gap.first_id, gap.last_id + 1, CANDLES_A_REQUEST):
            if len(self._due) >= MOST_HOLES:
                _log.error("Too many missed candles: the rest stays an open gap", stream=gap.stream, symbol=gap.symbol)
                return
            numbers = range(first, min(first + CANDLES_A_REQUEST, gap.last_id + 1))
            self._later(_Hole(gap.stream, gap.symbol, set(numbers), FIRST_WAIT_S))

    async def run(self) -> None:
        """Repair, for ever."""
        while True:
            await self._until_due()
            _, _, hole = heapq.heappop(self._due)
            if not self._wants(stream_name(hole.symbol, hole.spec)) or await self._repaired(hole):
                continue
            hole.wait_s = min(2 * hole.wait_s, LONGEST_WAIT_S)
            self._later(hole)

    def _later(self, hole: _Hole) -> None:
        heapq.heappush(self._due, (self._clock_s() + hole.wait_s, next(self._count), hole))
        self._some.set()

    async def _until_due(self) -> None:
        while not self._due or self._due[0][0] > self._clock_s():
            self._some.clear()
            wait_s = self._due[0][0] - self._clock_s() if self._due else None
            with suppress(TimeoutError):
                await asyncio.wait_for(self._some.wait(), wait_s)

    async def _repaired(self, hole: _Hole) -> bool:
        """Ask once. True where nothing is left to ask for."""
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
        hole.answers += 1
        _log.info("Missed candles asked for", stream=spec, symbol=symbol, found=len(found), missing=len(missing))
        return not missing or hole.answers >= MOST_ANSWERS
