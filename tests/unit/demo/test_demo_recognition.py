"""Claims about what the demo's reader makes of records: on real records of every stream in every form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import pytest

from k2.demo.recognition import candle_number, group_of
from k2.demo.sorts import SORTS
from k2.demo.tally import Tally
from k2.ingestion.core.outcome import Record
from k2.ingestion.exchanges.binance.layouts import LAYOUTS
from k2.ingestion.exchanges.binance.names import Stream
from k2.ingestion.topic_plan import AVRO, RAW, TopicPlan
from k2.ingestion.wishes import known_all_market_names, known_specs
from k2.simulator.catalogue import CATALOGUES
from k2.simulator.intervals import DAY_MS
from k2.simulator.market import Venue
from unit.demo.flows import decoded, frames_of, outcomes_of, pipeline_of, plan_for, records_in, streams_of

NUMBERED = {"aggTrade", "trade", "kline", "depth"}
SLOW = {"1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M", "3m", "5m", "15m", "30m"}


def flows() -> Iterator[tuple[Venue, str, str]]:
    """Every kind of stream of both markets in every form that can show it; of candles the shortest interval."""
    venues: tuple[Venue, ...] = ("spot", "usdm")
    for market in venues:
        for wish in (*known_specs(market), *known_all_market_names(market)):
            if wish not in CATALOGUES[market].kinds or wish.removeprefix("kline_").partition("@")[0] in SLOW or "+08" in wish:
                continue
            kind = streams_of(market, wish)[0].kind
            assert kind is not None
            for layout in (AVRO, RAW, *(name for name, each in LAYOUTS.items() if not each.kinds or kind.name in each.kinds)):
                yield market, wish, layout


FLOWS = tuple(flows())


@cache
def read_back(market: Venue, wish: str, layout: str) -> tuple[TopicPlan, tuple[Stream, ...], tuple[Record, ...]]:
    streams = streams_of(market, wish)
    plan = plan_for(layout, streams[0])
    _, frames = frames_of(market, streams)
    outcomes = outcomes_of(pipeline_of(market, streams, [plan]), [frame.combined for frame in frames])
    return plan, streams, tuple(records_in(outcomes))


def tallied(market: Venue, plan: TopicPlan, records: Sequence[Record]) -> Tally:
    tally = Tally([plan], market, closed_only=True)
    for record in records:
        tally.take(plan.name, decoded(plan, record), record.timestamp_ms)
    return tally


@pytest.mark.parametrize(("market", "wish", "layout"), FLOWS)
def test_records_of_every_stream_are_told_apart_and_counted(market: Venue, wish: str, layout: str) -> None:
    """Whatever the stream and the form: nothing is missing, nothing came twice, and what is shown of it was found in it."""
    plan, _, records = read_back(market, wish, layout)
    tally = tallied(market, plan, records)
    assert (tally.records, tally.distinct, tally.missing) == (len(records), len(records), 0)
    assert len(records) > 0
    for latest in tally.latest:
        assert latest.sort in SORTS
        assert latest.word
        assert not any("None" in cell for cell in latest.cells)


@pytest.mark.parametrize(("market", "wish", "layout"), FLOWS)
def test_a_record_that_comes_twice_is_noticed(market: Venue, wish: str, layout: str) -> None:
    """One twin among all records of a stream makes one less that is different."""
    plan, _, records = read_back(market, wish, layout)
    tally = tallied(market, plan, [*records, records[len(records) // 2]])
    assert tally.distinct == tally.records - 1


@pytest.mark.parametrize(
    ("market", "wish", "layout"),
    [
        (market, wish, layout)
        for market, wish, layout in FLOWS
        if layout not in {RAW, "futures-quote"} and group_of(market, wish).split("_")[0] in NUMBERED
    ],
)
def test_a_record_that_is_missing_is_noticed_where_numbers_have_no_holes(market: Venue, wish: str, layout: str) -> None:
    """One record taken out of the middle of a symbol's leaves a hole of at least one id."""
    plan, streams, records = read_back(market, wish, layout)
    key = streams[0].symbol.encode()
    places = [place for place, record in enumerate(records) if record.key == key]
    lost = places[len(places) // 2]
    tally = tallied(market, plan, [*records[:lost], *records[lost + 1 :]])
    assert tally.missing >= 1
    assert tally.distinct == tally.records


@pytest.mark.parametrize("layout", ["event", "envelope", "futures-kline", AVRO])
def test_updates_of_a_candle_are_different_records(layout: str) -> None:
    """Where every update is wanted, two of the same candle are no twins, though they may hold the same."""
    streams = streams_of("spot", "kline_1m")
    plan = plan_for(layout, streams[0])
    _, frames = frames_of("spot", streams, per_s=0.1)
    outcomes = outcomes_of(pipeline_of("spot", streams, [plan], updates=True), [frame.combined for frame in frames])
    records = records_in(outcomes)
    tally = Tally([plan], "spot", closed_only=False)
    for record in records:
        tally.take(plan.name, decoded(plan, record), record.timestamp_ms)
    assert (tally.records, tally.distinct, tally.missing) == (len(records), len(records), 0)


@pytest.mark.parametrize(
    ("interval", "opened_ms", "next_ms"),
    [
        pytest.param("1m", 60_000, 120_000, id="minute"),
        pytest.param("1d", 16 * 3_600_000, 16 * 3_600_000 + DAY_MS, id="day-in-UTC+8"),
        pytest.param("1w", 4 * DAY_MS, 11 * DAY_MS, id="week"),
        pytest.param("1M", 1_769_904_000_000, 1_772_323_200_000, id="february"),
        pytest.param("1M", 1_769_875_200_000, 1_772_294_400_000, id="february-in-UTC+8"),
        pytest.param("1M", 1_764_547_200_000, 1_767_225_600_000, id="december"),
    ],
)
def test_neighbouring_candles_have_neighbouring_numbers(interval: str, opened_ms: int, next_ms: int) -> None:
    """Of any interval, in either time zone, over the ends of months and years."""
    first, second = candle_number(interval, opened_ms), candle_number(interval, next_ms)
    assert first is not None
    assert second == first + 1


def test_an_interval_that_nobody_knows_has_no_number() -> None:
    """The exchange may add one: then nothing is said to be missing."""
    assert candle_number("7m", 0) is None


@pytest.mark.parametrize(
    ("market", "stream", "group"),
    [
        ("spot", "depth@100ms", "depth"),
        ("spot", "depth20@100ms", "partialDepth"),
        ("spot", "kline_1d@+08:00", "kline_1d"),
        ("spot", "ticker_4h", "windowTicker"),
        ("usdm", "markPrice@1s", "markPrice"),
        ("spot", "partialDepth", "partialDepth"),
        ("spot", "noSuchStream", "noSuchStream"),
    ],
)
def test_streams_are_called_what_their_payload_tells(market: str, stream: str, group: str) -> None:
    """How fast a stream is, is in its name and not in its records."""
    assert group_of(market, stream) == group
