"""Missed candles: asked for until they are there, and handed on as frames."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import pytest

from k2.ingestion import candle_repair
from k2.ingestion.adapters.rest import RestError, RestFailure
from k2.ingestion.candle_repair import CandleRepair
from k2.ingestion.core.outcome import GapOpened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

AWAY = RestError(RestFailure.REFUSED, "nobody there")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candle_repair, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(candle_repair, "LONGEST_WAIT_S", 0.002)


def row(number: int) -> list[Any]:
    return [number * 60_000, "1", "1", "1", "1", "1", number * 60_000 + 59_999, "1", 1, "1", "1", "0"]


class ListedRest:
    """Gives the answers one after the other, the last one again and again; `asked` holds the parameters."""

    def __init__(self, *answers: list[int] | Exception | bytes) -> None:
        self.answers, self.asked = list(answers), list[dict[str, str]]()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def klines(self, parameters: Mapping[str, str]) -> bytes:
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(dict(parameters))
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else json.dumps([row(number) for number in answer]).encode()


async def repaired(rest: ListedRest, *gaps: GapOpened, wanted: int, wants: Callable[[str], bool] = lambda _: True) -> list[int]:
    """The numbers of the candles that were handed on, until so many were."""
    numbers: list[int] = []
    enough = asyncio.Event()

    def publish(frame: bytes) -> None:
        numbers.append(json.loads(frame)["data"]["k"]["t"] // 60_000)
        if len(numbers) >= wanted:
            enough.set()

    repair = CandleRepair(lambda: rest, publish, wants)  # type: ignore[arg-type,return-value]  # a list in its place
    for gap in gaps:
        repair.gap_opened(gap)
    running = asyncio.create_task(repair.run())
    if wanted:
        await asyncio.wait_for(enough.wait(), 10)
    else:
        await asyncio.sleep(0.05)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return numbers


def gap(first: int, last: int, stream: str = "kline_1m") -> GapOpened:
    return GapOpened(stream, "BTCUSDT", first, last)


@pytest.mark.parametrize("before", [(), (AWAY, AWAY), (b"<html>",), ([],)], ids=["at-once", "away", "no-json", "not-there-yet"])
async def test_it_asks_until_the_candles_are_there(before: tuple[Any, ...]) -> None:
    """Whatever REST says first, what is missing comes in the end."""
    rest = ListedRest(*before, [7, 8, 9])
    assert await repaired(rest, gap(7, 9), wanted=3) == [7, 8, 9]
    assert len(rest.asked) == len(before) + 1


async def test_a_long_hole_is_asked_for_in_parts() -> None:
    """One answer holds a thousand candles, those around the hole among them."""
    rest = ListedRest(list(range(1_200)))
    assert await repaired(rest, gap(1, 1_199), wanted=1_199) == list(range(1, 1_200))
    assert len(rest.asked) == 3


async def test_what_came_is_not_asked_for_again() -> None:
    """An answer that leaves some out is taken for what it has."""
    rest = ListedRest([1, 3], [1, 2, 3])
    assert await repaired(rest, gap(1, 3), wanted=3) == [1, 3, 2]


async def test_holes_of_other_streams_are_left_alone() -> None:
    """Trades are not candles."""
    rest = ListedRest([1])
    assert await repaired(rest, gap(1, 1, "aggTrade"), wanted=0) == []
    assert rest.asked == []


async def test_a_hole_that_cannot_be_filled_holds_nobody_up() -> None:
    """Each waits its own time, and one that REST has answered several times without the candle is given up."""
    rest = ListedRest([], [], [], [], [], [8])
    assert await repaired(rest, gap(7, 7), wanted=0) == []
    assert len(rest.asked) == candle_repair.MOST_ANSWERS
    assert await repaired(ListedRest(AWAY, [8], [8]), gap(7, 7), gap(8, 8), wanted=1) == [8]


async def test_streams_that_are_let_go_are_not_asked_for() -> None:
    """Nobody wants their candles any more."""
    rest = ListedRest([7])
    assert await repaired(rest, gap(7, 7), wanted=0, wants=lambda name: name != "btcusdt@kline_1m") == []
    assert rest.asked == []


async def test_holes_beyond_all_reason_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many candles a gap says are missing, what waits is bounded."""
    monkeypatch.setattr(candle_repair, "MOST_HOLES", 3)
    rest = ListedRest([1])
    assert await repaired(rest, gap(1, 10**12), wanted=1) == [1]
    assert len(rest.asked) <= 3 * candle_repair.MOST_ANSWERS
